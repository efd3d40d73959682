"""Scripts: start, stop and status of a host that has neither systemd nor containers for us."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import TopologicalSorter

from compiler.emit.conventions import STOP_SECONDS, engine_title, health_url, naming
from compiler.emit.quoting import env_name, plain_path, sh_word
from compiler.emit.rendering import Templates, render
from compiler.emit.starting import SECRETS_DIR, start_of
from compiler.ir.artifact import Artifact
from compiler.ir.plan import Replica


def emit_scripts(
    templates: Templates, folder: str, replicas: tuple[Replica, ...]
) -> Iterator[Artifact]:
    """The scripts of one host, and one for each replica that becomes its engine."""
    scripts = f"{folder}/scripts"
    for replica in replicas:
        with naming(replica):
            values = _run_values(replica)
        yield render(templates, "script/run.sh", f"{scripts}/run-{replica.name}.sh", values)
    host = {"host": sh_word(folder), "stop_seconds": STOP_SECONDS}
    checks = {"checks": [_check(replica) for replica in replicas]}
    yield render(templates, "script/lib.sh", f"{scripts}/lib.sh", host)
    yield render(templates, "script/start.sh", f"{scripts}/start.sh", {"steps": _steps(replicas)})
    yield render(templates, "script/status.sh", f"{scripts}/status.sh", checks)
    yield render(templates, "script/stop.sh", f"{scripts}/stop.sh", {})


def _run_values(replica: Replica) -> dict[str, object]:
    start = start_of(replica, selects_gpus=True)
    plain_path(replica.argv[0])
    return {
        "title": sh_word(f"{replica.name}: {engine_title(replica)}"),
        "cache_dir": sh_word(replica.cache_dir),
        "bin_dirs": ":".join(map(plain_path, replica.bin_dirs)),
        "secrets_dir": SECRETS_DIR,
        "has_secrets": bool(replica.secrets),
        "words": [
            *(sh_word(f"{env_name(name)}={replica.env[name]}") for name in sorted(replica.env)),
            *map(sh_word, start.argv()),
        ],
    }


def _steps(replicas: tuple[Replica, ...]) -> list[str]:
    """Calls of lib.sh's functions: all launches, each after the answers it waits for."""
    by_name = {replica.name: replica for replica in replicas}
    order = TopologicalSorter({name: by_name[name].start_after for name in sorted(by_name)})
    steps: dict[str, None] = {}  # As an ordered set: one replica may hold back several.
    for name in order.static_order():
        steps.update({_await(by_name[earlier]): None for earlier in by_name[name].start_after})
        steps[f"launch {sh_word(name)}"] = None
    steps.update({_await(replica): None for replica in replicas})
    return list(steps)


def _await(replica: Replica) -> str:
    return f"await {_check(replica)} {replica.start_timeout_seconds} || failed=1"


def _check(replica: Replica) -> str:
    return f"{sh_word(replica.name)} {sh_word(health_url(replica))}"
