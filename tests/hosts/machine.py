"""Boots a Debian root as a host of its own: its systemd, network and devices, and no one else's.

A machine leaves nothing behind. Whatever it writes is in a tmpfs over the root, mounted where only
its own processes see it, so that the kernel takes all of it away with the last of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOOT_SECONDS = 60
STOP_SECONDS = 30
# A start of vLLM is one command.
COMMAND_SECONDS = 600
ANSWER_SECONDS = 20

_CGROUPS = Path("/sys/fs/cgroup")

# Its parameters: a folder, the root, the name, the cgroups to enter, `--`, more options of nspawn.
# Docker and podman cannot keep their layers on an overlay, so that they get folders of the tmpfs.
# A machine has its own cgroup since nspawn, unregistered, would share ours. nspawn ends with
# 133 for a reboot that whoever started it is to carry out.
_BOOT = """
set -eu
scratch=$1 root=$2 name=$3
shift 3
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done
shift
mount -t tmpfs -o mode=755 tmpfs "$scratch"
cd "$scratch"
mkdir upper work root docker containerd containers
mount -t overlay -o "lowerdir=$root,upperdir=upper,workdir=work" overlay root
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
trap 'trap "" TERM; kill -TERM $running; wait $running; exit' TERM
status=133
while [ $status = 133 ]; do
  systemd-nspawn --quiet --directory=root --machine="$name" --hostname=box \
    --register=no --keep-unit --private-network --resolv-conf=off --timezone=off \
    --capability=all --drop-capability=CAP_SYS_MODULE --system-call-filter='bpf @keyring @mount' \
    --bind="$scratch/docker:/var/lib/docker" --bind="$scratch/containerd:/var/lib/containerd" \
    --bind="$scratch/containers:/var/lib/containers" \
    --link-journal=no --boot --console=pipe "$@" &
  running=$!
  wait $running && status=0 || status=$?
done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A host that runs."""

    process: subprocess.Popen[bytes]
    """The shell that runs systemd-nspawn."""

    @property
    def root(self) -> Path:
        """Its files, as seen from here."""
        return Path(f"/proc/{self.leader}/root")

    @property
    def leader(self) -> int:
        """The pid, here, of its first process; another one after a reboot."""
        for pid in (leaf for child in _children(self.process.pid) for leaf in _children(child)):
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            inside = re.search(r"^NSpid:\s.*\s(\d+)$", status, re.MULTILINE)
            if inside and inside[1] == "1":
                return pid
        raise ProcessLookupError(self.process.pid)

    def run(self, command: str, *, user: str = "root", folder: str = "/") -> str:
        """What a command of bash prints; AssertionError with all of it when it fails."""
        done = self.attempt(command, user=user, folder=folder)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def attempt(
        self, command: str, *, user: str = "root", folder: str = "/"
    ) -> subprocess.CompletedProcess[str]:
        """A command of bash with a user's own environment, whatever comes of it."""
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root")
        enter = ["nsenter", f"--target={self.leader}", *spaces, "--wd=/", "--"]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--reset-env"]
        shell = ["env", f"--chdir={folder}", "bash", "-euo", "pipefail", "-c", command]
        return subprocess.run(
            [*enter, *become, *shell],
            capture_output=True,
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
        )

    def place(self, source: Path, target: str, *, mode: int | None = None) -> None:
        """Copies a file or a folder of ours into the machine."""
        path = self.root / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, path, dirs_exist_ok=True)
        else:
            shutil.copy(source, path)
        if mode is not None:
            path.chmod(mode)

    def write(self, target: str, text: str, *, mode: int = 0o644) -> None:
        """Writes a file of the machine."""
        path = self.root / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def ask(self, port: int, path: str) -> Any:  # noqa: ANN401 - JSON
        """The JSON that a server of the machine answers."""
        # A server that dies under a request can leave it without an answer.
        limit = f"--max-time {ANSWER_SECONDS}"
        return json.loads(self.run(f"curl -sS --fail {limit} 'http://127.0.0.1:{port}{path}'"))

    def reboot(self) -> None:
        """Boots it anew, and waits until it is up."""
        before = self.leader
        self.attempt("systemctl reboot")
        _wait_until_up(self, before)


@contextmanager
def booted(
    root: Path, scratch: Path, folders: Mapping[str, Path] | None = None
) -> Iterator[Machine]:
    """A machine over a root that it leaves as it is; `scratch` is an empty folder.

    `folders` of ours stand in the machine, where no one can write them, under the paths given.
    """
    name = f"{scratch.name}-{os.getpid()}"
    cgroups = _own_cgroups(name)
    # If we die, however hard, it dies too.
    guard = ("setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "private")
    command: list[str | Path] = [*guard, "sh", "-c", _BOOT, "boot", scratch, root, name, *cgroups]
    binds = [f"--bind-ro={source}:{target}" for target, source in (folders or {}).items()]
    command += ["--", *binds]
    console = scratch.with_suffix(".console")
    with console.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    machine = Machine(process=process)
    try:
        try:
            _wait_until_up(machine, None)
        except AssertionError as error:
            error.add_note(console.read_text(encoding="utf-8", errors="replace")[-3000:])
            raise
        yield machine
    finally:
        _stop(process)
        for cgroup in cgroups:
            _remove(cgroup)


def _wait_until_up(machine: Machine, before: int | None) -> None:
    """Returns when every unit of the boot has started or failed; `before` is the old leader."""
    end = time.monotonic() + BOOT_SECONDS
    said = ""
    while time.monotonic() < end and machine.process.poll() is None:
        try:
            if machine.leader != before:
                asked = machine.attempt("systemctl is-system-running --wait")
                said = asked.stdout.strip() or asked.stderr
                if said in {"running", "degraded"}:
                    return
        except (ProcessLookupError, FileNotFoundError):
            pass  # Not yet, or between two boots.
        time.sleep(0.05)
    raise AssertionError(f"the machine did not boot: {said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Shuts the machine down; a second SIGTERM would kill it, so that there is only one."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(word) for word in text.split()]


def _own_cgroups(name: str) -> Sequence[Path]:
    """New cgroups, in both hierarchies of systemd where the machine has the old and the new one."""
    hybrid = [_CGROUPS / kind for kind in ("unified", "systemd")]
    parents = hybrid if hybrid[0].is_dir() else [_CGROUPS]
    cgroups = [parent / name for parent in parents]
    for cgroup in cgroups:
        cgroup.mkdir()
    return cgroups


def _remove(cgroup: Path) -> None:
    """The deepest first: a cgroup can be removed, and its files cannot."""
    end = time.monotonic() + STOP_SECONDS
    while cgroup.exists():
        try:
            for folder, _, _ in os.walk(cgroup, topdown=False):
                Path(folder).rmdir()
        except OSError:
            # What was killed with the machine needs a moment to be gone.
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
