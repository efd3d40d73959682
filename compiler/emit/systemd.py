"""Systemd: a unit for each replica, a target and a slice for the host."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.emit.conventions import (
    STOP_SECONDS,
    engine_title,
    fetch_dir,
    health_url,
    naming,
    user_name,
)
from compiler.emit.quoting import (
    plain_path,
    systemd_env_file_line,
    systemd_environment,
    systemd_exec_text,
    systemd_exec_word,
    unit_line,
)
from compiler.emit.rendering import Templates, render
from compiler.emit.starting import SECRETS_DIR, WRONG_ENGINE_STATUS, Start, secret_names, start_of
from compiler.ir.artifact import Artifact
from compiler.ir.inventory import HIDDEN_FROM_UNITS
from compiler.ir.plan import Replica, Share
from compiler.ir.units import show_mib

# What systemd itself gives a system service (DEFAULT_PATH of systemd 252), after the engine's own.
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Constant text; the URL is its parameter. While it runs, the unit is still starting, so units
# ordered after this one wait. systemd does not end it when the engine dies: it looks itself.
_WAIT_FOR_HEALTH = (
    'while kill -0 "$MAINPID" 2>/dev/null; do '
    "curl -q --silent --fail --noproxy '*' --max-time 5 --output /dev/null \"$1\" && exit 0; "
    "sleep 1; done; exit 1"
)

# Every process of CUDA opens these, whichever GPU it uses.
_COMMON_DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")

# Where the plan does not name the node of every GPU, CUDA_VISIBLE_DEVICES alone keeps replicas
# apart. The class was renamed in driver 550: both names stand here, and systemd passes over the one
# that is not there.
_ALL_DEVICES = ("char-nvidia", "char-nvidia-frontend")

# A MIG slice is reached through the node of its parent GPU and two of these.
_MIG_DEVICES = (*_ALL_DEVICES, "char-nvidia-caps")


def emit_systemd(
    templates: Templates, folder: str, replicas: tuple[Replica, ...]
) -> Iterator[Artifact]:
    """The units of one host, the variables of each, and what must exist before they start."""
    for replica in replicas:
        with naming(replica):
            values, lines = _unit_values(replica), _env_file_lines(replica)
        unit = f"{folder}/systemd/modelc-{replica.name}.service"
        yield render(templates, "systemd/replica.service", unit, values)
        env = f"{folder}/systemd/env/{replica.name}.env"
        yield render(templates, "systemd/replica.env", env, {"lines": lines})
    target = f"{folder}/systemd/modelc.target"
    names = {"names": [replica.name for replica in replicas]}
    yield render(templates, "systemd/modelc.target", target, names)
    yield render(templates, "systemd/modelc.slice", f"{folder}/systemd/modelc.slice", {})
    users = {"users": [{"name": user_name(r), "replica": r.name} for r in replicas]}
    sysusers = f"{folder}/systemd/sysusers.d/modelc.conf"
    yield render(templates, "systemd/sysusers.conf", sysusers, users)
    tmpfiles = f"{folder}/systemd/tmpfiles.d/modelc.conf"
    yield render(templates, "systemd/tmpfiles.conf", tmpfiles, _tmpfiles_values(replicas))


def _unit_values(replica: Replica) -> dict[str, object]:
    name = replica.name
    start = start_of(replica, selects_gpus=True)
    fetches = fetch_dir(replica)
    return {
        "name": name,
        "user": user_name(replica),
        "engine": engine_title(replica),
        "after": [f"modelc-{earlier}.service" for earlier in replica.start_after],
        "command": _start_line(start),
        "wait": _command_line(
            ("/bin/sh", "-c", _WAIT_FOR_HEALTH, "modelc-wait", health_url(replica))
        ),
        "environment": _unit_environment(replica),
        "credentials": [f"{secret}:{SECRETS_DIR}/{secret}" for secret in secret_names(replica)],
        "devices": _devices(replica.shares),
        "models_dir": plain_path(replica.models_dir),
        "read_dirs": [
            plain_path(path) for path in replica.read_dirs if path.startswith(HIDDEN_FROM_UNITS)
        ],
        "fetch_dir": fetches and plain_path(fetches),
        "wrong_engine": WRONG_ENGINE_STATUS,
        "timeout": replica.start_timeout_seconds,
        "stop_seconds": STOP_SECONDS,
        "ram": show_mib(replica.ram_bytes),
    }


def _command_line(argv: tuple[str, ...]) -> str:
    """`:` keeps `$` from systemd. One argument a line, so that a diff shows which one changed."""
    program, *arguments = argv
    words = [f":{plain_path(program)}", *(systemd_exec_word(argument) for argument in arguments)]
    return unit_line(" \\\n  ".join(words))


def _start_line(start: Start) -> str:
    """The same for the text that becomes the engine, and for the engine's own arguments."""
    shell, flag, _, *words = start.argv()
    plain_path(start.parameters[4])
    text = [systemd_exec_word(flag), systemd_exec_text(start.lines)]
    line = " \\\n  ".join([f":{shell}", *text, *map(systemd_exec_word, words)])
    return unit_line(line)


def _unit_environment(replica: Replica) -> list[str]:
    """What belongs to this unit's own folders and devices; the file with the rest may override it.

    Selection of devices stands beside DeviceAllow=, so that the two cannot come apart.
    """
    variables = {
        "HOME": f"/var/lib/modelc-{replica.name}",
        "PATH": ":".join([*map(plain_path, replica.bin_dirs), _SYSTEM_PATH]),
        "XDG_CACHE_HOME": f"/var/cache/modelc-{replica.name}",
        **{name: replica.env[name] for name in replica.device_env if name in replica.env},
    }
    return [systemd_environment(name, value) for name, value in sorted(variables.items())]


def _env_file_lines(replica: Replica) -> list[str]:
    """Variables of the user and the engine, in a file as every local user can ask for a unit's."""
    return [
        systemd_env_file_line(name, value)
        for name, value in sorted(replica.env.items())
        if name not in replica.device_env
    ]


def _devices(shares: list[Share]) -> list[str]:
    if not shares:
        return []
    nodes = [f"/dev/nvidia{share.minor}" for share in shares if share.minor is not None]
    if len(nodes) == len(shares):
        return [*nodes, *_COMMON_DEVICES]
    is_mig = any(share.uuid is not None and share.uuid.startswith("MIG-") for share in shares)
    return [*(_MIG_DEVICES if is_mig else _ALL_DEVICES), *_COMMON_DEVICES]


def _tmpfiles_values(replicas: tuple[Replica, ...]) -> dict[str, object]:
    written = {plain_path(folder) for r in replicas if (folder := fetch_dir(r))}
    read = {plain_path(r.models_dir) for r in replicas} - written
    return {"written": sorted(written), "read": sorted(read), "secrets_dir": SECRETS_DIR}
