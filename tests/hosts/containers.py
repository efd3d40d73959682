"""Docker and podman on a machine, with an image of the stand-in engine."""

from __future__ import annotations

import json
from pathlib import Path

from tests.hosts.deployment import STAND_IN
from tests.hosts.machine import Machine

IMAGE = "stand-in:1"
# What the image is made of: the machine's own programs, without what no engine needs.
_TREES = "app bin etc lib lib64 sbin usr"
_LEFT_OUT = (
    *("etc/modelc", "usr/share", "usr/libexec/docker", "usr/lib/systemd", "usr/lib/udev"),
    *("usr/bin/docker*", "usr/sbin/docker*", "usr/bin/containerd*", "usr/sbin/runc*"),
    *("usr/bin/podman*", "usr/bin/crun*", "usr/libexec/podman", "usr/lib/podman"),
)

# Docker gives the GPUs that a service reserves to NVIDIA's hook, as the container's variable
# NVIDIA_VISIBLE_DEVICES, and refuses to reserve any when the hook is not installed. The real one
# then mounts the devices of the driver.
_HOOK = "#!/bin/sh\nexec cat >/dev/null\n"

# A test's machine may lack what every real host has: the right to lift the limit of locked memory,
# and a cgroup that counts processes. Then these two stay as they are, whatever a container is to
# have.
_LIMITED = """#!/usr/bin/python3
import json, os, resource, sys
from pathlib import Path

here = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
for flag, name in (("--bundle", "config.json"), ("--process", "")):
    if flag in sys.argv:
        path = Path(sys.argv[sys.argv.index(flag) + 1], name)
        document = json.loads(path.read_text())
        for limit in document.get("process", document).get("rlimits") or []:
            if limit["type"] == "RLIMIT_MEMLOCK":
                limit.update(soft=here, hard=here)
        document.get("linux", {}).get("resources", {}).pop("pids", None)
        path.write_text(json.dumps(document))
os.execvp(RUNTIME, [RUNTIME, *sys.argv[1:]])
"""
_CAP_SYS_RESOURCE = 24


def start_docker(machine: Machine) -> None:
    """Docker with the image, and NVIDIA's hook."""
    machine.write("/usr/bin/nvidia-container-runtime-hook", _HOOK, mode=0o755)
    if not _is_whole(machine):
        runtime = {"path": _limited_runtime(machine, "runc")}
        settings = {"runtimes": {"limited": runtime}, "default-runtime": "limited"}
        machine.write("/etc/docker/daemon.json", json.dumps(settings))
    machine.run("systemctl enable --now docker")
    _import_image(machine, f"docker import - {IMAGE}")


def start_podman(machine: Machine) -> None:
    """Podman with the image; it needs no service."""
    if not _is_whole(machine):
        runtime = _limited_runtime(machine, "crun")
        settings = f'[engine]\nruntime="limited"\n[engine.runtimes]\nlimited=["{runtime}"]\n'
        machine.write("/etc/containers/containers.conf.d/limited.conf", settings)
    _import_image(machine, f"podman import - docker.io/library/{IMAGE}")


def _import_image(machine: Machine, command: str) -> None:
    """The image that has the stand-in engine under the names that a plan calls."""
    for program in ("/app/llama-server", "/usr/local/bin/vllm"):
        machine.place(STAND_IN, program, mode=0o755)
    left_out = " ".join(f"--exclude='{path}'" for path in _LEFT_OUT)
    machine.run(f"tar --create {left_out} {_TREES} | {command}")


def _limited_runtime(machine: Machine, name: str) -> str:
    path = f"/usr/local/sbin/{name}-limited"
    machine.write(path, _LIMITED.replace("RUNTIME", repr(name)), mode=0o755)
    return path


def _is_whole(machine: Machine) -> bool:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (effective,) = (line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
    may_lift_limits = bool(int(effective, 16) >> _CAP_SYS_RESOURCE & 1)
    return may_lift_limits and "pids" in machine.run("cat /sys/fs/cgroup/cgroup.controllers")
