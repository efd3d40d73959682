"""Several hosts and a repository whose plan is brought to them, over ssh, by `modelc apply`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from compiler.cli import run
from tests.e2e.tiny_models import write_decoder
from tests.hosts.deployment import STAND_IN
from tests.hosts.gpus import make_gpus
from tests.hosts.machine import Machine, booted

LOCK = Path(__file__).parents[1] / "golden" / "every-target" / "modelc.lock"
# sshd by itself asks nobody for the network that hosts of a test do not have: it is started in the
# host for one connection, which comes through here as it would through a bastion.
_ENTER = """#!/bin/sh
set -eu
pid=$(cat "{folder}/$1.pid")
exec nsenter --target "$pid" --mount --uts --ipc --net --pid --root --wd=/ -- \\
  /usr/sbin/sshd -i -o UsePAM=no -o PrintMotd=no
"""
_SSH = """
Host *
  User root
  IdentityFile {folder}/key
  UserKnownHostsFile {folder}/known
  ProxyCommand {folder}/enter %n
  ConnectTimeout 10
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What a command of modelc ended with."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """Hosts that run, and the folder of the fleet that they belong to."""

    folder: Path
    machines: dict[str, Machine]

    def modelc(self, *words: str) -> Screen:
        """A command of modelc in the fleet's folder."""
        return called([words[0], "-C", str(self.folder), *words[1:]])

    def apply(self, *words: str) -> Screen:
        """`modelc apply`, over the connection of the test."""
        return self.modelc("apply", "--yes", *words, "--", *self.ssh_words)

    @property
    def ssh_words(self) -> tuple[str, ...]:
        """What ansible-playbook is told of the connection."""
        config = self.folder / "ssh" / "config"
        return (f"--ssh-common-args=-F {config}", "--extra-vars", "modelc_window_seconds=1")

    def compile(self, models: str, inventory: str | None = None, *words: str) -> Screen:
        """Writes models.yaml, locks and compiles."""
        (self.folder / "models.yaml").write_text(models, encoding="utf-8")
        if inventory is not None:
            (self.folder / "inventory.yaml").write_text(inventory, encoding="utf-8")
        assert called(["lock", str(self.folder)]).code == 0
        screen = called(["compile", str(self.folder), *words])
        assert screen.code == 0, screen.err
        return screen

    def plan(self) -> dict[str, Any]:
        """The compiled plan."""
        found: dict[str, Any] = json.loads(
            (self.folder / "compiled" / "plan.json").read_text(encoding="utf-8")
        )
        return found

    def planned_release(self, host: str) -> str:
        """The id of the release that the plan gives a host."""
        return next(str(r["id"]) for r in self.plan()["releases"] if r["host"] == host)

    def release(self, host: str) -> str:
        """The id of the release that a host has."""
        path = self.machines[host].root / "var/lib/modelc/release.json"
        return str(json.loads(path.read_text(encoding="utf-8"))["id"]) if path.exists() else "none"

    def pids(self) -> dict[str, str]:
        """The main process of each unit of modelc that runs, by host and unit."""
        found = {}
        for host, machine in self.machines.items():
            text = machine.run(
                "systemctl show --property=Id,MainPID,ActiveState 'modelc-*.service'"
            )
            for block in text.strip().split("\n\n"):
                unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
                if unit.get("ActiveState") == "active" and unit.get("MainPID", "0") != "0":
                    found[f"{host} {unit['Id']}"] = unit["MainPID"]
        return found

    def units(self) -> set[str]:
        """Host and replica of all that runs."""
        return {key.replace(" modelc-", " ").removesuffix(".service") for key in self.pids()}


def called(words: list[str]) -> Screen:
    """What a command of modelc prints, and how it ends."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(words)
    return Screen(code=code, out=out.getvalue(), err=err.getvalue())


@contextmanager
def running(debian: Path, folder: Path, names: Sequence[str]) -> Iterator[Hosts]:
    """Hosts with engines that stand in for real ones, reached by ssh through `folder`."""
    ssh = folder / "ssh"
    ssh.mkdir(parents=True)
    write_decoder(folder / "models" / "chat.gguf")
    shutil.copy(LOCK, folder / "modelc.lock")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / "key"], check=True)
    (ssh / "config").write_text(_SSH.format(folder=ssh), encoding="utf-8")
    (ssh / "enter").write_text(_ENTER.format(folder=ssh), encoding="utf-8")
    (ssh / "enter").chmod(0o755)
    with ExitStack() as stack:
        machines = {}
        for name in names:
            scratch = folder / f"host-{name}"
            scratch.mkdir()
            machine = stack.enter_context(booted(debian, scratch))
            machines[name] = machine
            set_up(machine, name, ssh, folder)
        yield Hosts(folder=folder, machines=machines)


def set_up(machine: Machine, name: str, ssh: Path, folder: Path) -> None:
    """What a host has before modelc comes: engines, models, the controller's key."""
    (ssh / f"{name}.pid").write_text(str(machine.leader), encoding="utf-8")
    machine.run("mkdir -p /run/sshd && ssh-keygen -A")
    machine.write("/root/.ssh/authorized_keys", (ssh / "key.pub").read_text("utf-8"), mode=0o600)
    public = (machine.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text("utf-8").split()
    with (ssh / "known").open("a", encoding="utf-8") as known:
        known.write(f"{name} {public[0]} {public[1]}\n")
    machine.place(STAND_IN, "/usr/local/bin/llama-server", mode=0o755)
    machine.place(folder / "models", "/srv/models/models")
    make_gpus(machine)
