"""A fleet compiled in a folder, and its scripts run as a user would run them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.cli import run
from compiler.ir.units import MIB
from tests.oracle import probe

_BUFFER = re.compile(r"(\S+) +(model|KV|compute|output) buffer size = +([0-9.]+) MiB")
_REQUEST_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """One host's scripts under `compiled/`, and where they keep their state."""

    folder: Path
    host: str
    environment: dict[str, str]

    def script(self, name: str) -> subprocess.CompletedProcess[str]:
        """Runs an emitted script, unchanged."""
        return subprocess.run(
            [self.folder / "compiled" / self.host / "scripts" / name],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def log(self, replica: str) -> str:
        """What a replica has logged."""
        path = Path(self.environment["MODELC_STATE_DIR"]) / self.host / f"{replica}.log"
        return path.read_text(encoding="utf-8", errors="replace")

    def replica(self, name: str) -> dict[str, Any]:
        """A replica as the plan has it."""
        plan = json.loads((self.folder / "compiled" / "plan.json").read_text(encoding="utf-8"))
        found: dict[str, Any] = next(each for each in plan["replicas"] if each["name"] == name)
        return found

    def get(self, replica: str, path: str) -> Any:  # noqa: ANN401 - JSON
        """The answer of a replica's HTTP server."""
        return self._ask(replica, path, None)

    def post(self, replica: str, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """The answer to a request with a JSON body."""
        return self._ask(replica, path, json.dumps(body).encode())

    def _ask(self, replica: str, path: str, body: bytes | None) -> Any:  # noqa: ANN401 - JSON
        url = f"http://127.0.0.1:{self.replica(replica)['port']}{path}"
        request = urllib.request.Request(
            url, data=body, headers={"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_REQUEST_SECONDS) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def served(
    folder: Path,
    models: str,
    replicas: Sequence[str],
    *,
    engine: str,
    host: str,
    environment: dict[str, str] | None = None,
) -> Iterator[Fleet]:
    """A fleet of one host, `box`, started by its scripts and stopped at the end.

    `engine` is its entry under `engines`, and `host` what the host has, both as YAML.
    """
    port = free_ports(len(replicas))
    inventory = f"""
version: 1
defaults:
  target: script
  ram_reserved: 1GiB
  models_dir: {folder}
  ports: {port}-{port + len(replicas) - 1}
  engines: {{{engine}}}
hosts:
  box: {{{host}}}
"""
    fleet = compile_fleet(folder, inventory, models, environment or {})
    started = fleet.script("start.sh")
    yield fleet
    log = "".join(fleet.log(replica)[-3000:] for replica in replicas if started.returncode)
    stopped = fleet.script("stop.sh")
    assert started.returncode == 0, started.stdout + started.stderr + log
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr


def on_paper_gpus(folder: Path, llama_server: Path) -> Path:
    """A program that starts llama-server with two GPUs that own no memory.

    Only the engine is to see them, and not every program that the scripts call.
    """
    program = folder / "bin" / "llama-server"
    program.parent.mkdir()
    words = [f"{name}={value}" for name, value in probe.environment(2, compute=89).items()]
    program.write_text(f'#!/bin/sh\nexec env {" ".join(words)} {llama_server} "$@"\n')
    program.chmod(0o755)
    return program


def compile_fleet(folder: Path, inventory: str, models: str, environment: dict[str, str]) -> Fleet:
    """Locks and compiles two texts in a folder; the scripts of their one host, called `box`."""
    (folder / "inventory.yaml").write_text(inventory, encoding="utf-8")
    (folder / "models.yaml").write_text(models, encoding="utf-8")
    assert run(["lock", str(folder)]) == 0
    assert run(["compile", str(folder)]) == 0
    state = {"MODELC_STATE_DIR": str(folder / "state")}
    return Fleet(folder=folder, host="box", environment=state | environment)


def free_ports(count: int) -> int:
    """The first of some neighbouring ports that nobody listens on."""
    for first in range(18000, 30000, count):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def logged_mib(log: str) -> dict[str, float]:
    """MiB of the buffers that llama-server logs, all devices together, by kind."""
    sums: dict[str, float] = {}
    for _, kind, size in _BUFFER.findall(log):
        sums[kind] = sums.get(kind, 0.0) + float(size)
    return sums


def planned_mib(replica: dict[str, Any], part: str) -> float:
    """A part of a replica's RAM in the plan."""
    size: int = replica["ram_breakdown"][part]["bytes"]
    return size / MIB
