"""A fleet of stand-in engines on a machine: what it was compiled from, and what the engines see."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError

from compiler.ir.manifest import MANIFEST_NAME, parse_manifest
from compiler.load.fields import safe_text
from tests.e2e.fleet import Fleet, compile_fleet
from tests.e2e.tiny_models import write_decoder, write_encoder
from tests.generators.plans import HOSTILE
from tests.hosts.handbook import commands
from tests.hosts.machine import Machine

UNITS = "/root/compiled/box/systemd"
STAND_IN = Path(__file__).with_name("stand_in.py")
# It has facts of models on the hub, which no test asks.
_LOCK = Path(__file__).parents[1] / "golden" / "every-target" / "modelc.lock"
SECRET = "between-you-and-me-9f2c"  # noqa: S105 - it opens nothing
WAIT_SECONDS = 60


def _is_carried(text: str) -> bool:
    try:
        return safe_text(text) == text
    except PydanticCustomError:
        return False


_HOSTILE_ENV = {
    f"HOSTILE_{number}": text for number, text in enumerate(filter(_is_carried, HOSTILE))
}
HOSTILE_ARGUMENT = "\n".join(_HOSTILE_ENV.values())
"""Every text that an inventory may hold and that some reader takes for more than a text."""

SECONDS_TO_HEALTH = 3
_CHAT_ENV = {"STAND_IN_SECONDS": str(SECONDS_TO_HEALTH), **_HOSTILE_ENV}
_TEMPLATE = json.dumps(HOSTILE_ARGUMENT, ensure_ascii=False)
# JSON is YAML. Two replicas share the one RTX 4090, and an engine that fetches its model itself has
# another GPU.
MODELS = f"""
version: 1
services:
  chat:
    model: ./models/chat.gguf
    replicas: 2
    context: 1024
    placement: {{gpus: {{kinds: [rtx-4090]}}}}
    secrets: [HF_TOKEN]
    env: {json.dumps(_CHAT_ENV, ensure_ascii=False)}
    llama.cpp: {{args: {{chat_template: {_TEMPLATE}}}}}
  embed:
    model: Qwen/Qwen3-Embedding-0.6B
    task: embed
    context: 1024
    placement: {{gpus: {{kinds: [rtx-3090]}}}}
    vllm: {{args: {{chat_template: {_TEMPLATE}}}}}
"""
CHANGED_MODELS = MODELS.replace("task: embed", 'task: embed\n    env: {NEW: "1"}')
"""The same with a variable more for `embed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an engine was started with."""

    pid: int
    uid: int
    folder: str
    started: float
    """Seconds since the machine's boot."""
    answered: float | None
    """The same, of the first check of its health that it passed."""
    argv: list[str]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A compiled fleet, and the machine that it is installed on."""

    machine: Machine
    fleet: Fleet

    def facts(self, replica: str) -> Facts:
        """What the engine of a replica says of itself."""
        said = self.ask(replica, "/facts")
        return Facts(
            pid=said["pid"],
            uid=said["uid"],
            folder=said["folder"],
            started=said["started"],
            answered=said.get("answered"),
            argv=[_text(word) for word in said["argv"]],
            environment={_text(name): _text(text) for name, text in said["environment"].items()},
        )

    def opening(self, replica: str, path: str, mode: str) -> str | None:
        """The error with which the engine of a replica fails to open a file; None when it can."""
        error: str | None = self.ask(replica, f"/open?path={path}&mode={mode}")["error"]
        return error

    def ask(self, replica: str, path: str) -> Any:  # noqa: ANN401 - JSON
        """What the server of a replica answers."""
        return self.machine.ask(self.fleet.replica(replica)["port"], path)

    def request(
        self, replica: str, path: str, body: object = None, *, key: str = ""
    ) -> tuple[int, str]:
        """The status and the text that a replica answers; with a body the request is a POST."""
        words = ["curl -sS --max-time 60 --write-out '\\n%{http_code}'"]
        words.append(f"--header 'authorization: Bearer {key}'")
        if body is not None:
            self.machine.write("/root/body.json", json.dumps(body))
            words.append("--header 'content-type: application/json' --data @/root/body.json")
        words.append(f"http://127.0.0.1:{self.fleet.replica(replica)['port']}{path}")
        text, _, status = self.machine.run(" ".join(words)).rpartition("\n")
        return int(status), text

    def argv(self, replica: str) -> list[str]:
        """The command line of a replica in the plan."""
        words: list[str] = self.fleet.replica(replica)["argv"]
        return words

    def artifacts(self) -> Path:
        """The folder of what was emitted for the one host."""
        return self.fleet.folder / "compiled" / self.fleet.host

    def semantic_digests(self) -> dict[str, str]:
        """Those of what was emitted, by path."""
        text = (self.artifacts() / MANIFEST_NAME).read_text(encoding="utf-8")
        return {entry.path: entry.semantic_digest for entry in parse_manifest(text)}

    def processes(self) -> str:
        """The pids of all engines and their workers."""
        return self.machine.attempt("pgrep --full 'llama-server|vllm|sleep 86399'").stdout

    def becomes_healthy(self, replica: str) -> bool:
        """Whether a replica passes a check of its health in time."""
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            try:
                if self.facts(replica).answered is not None:
                    return True
            except AssertionError:
                pass  # It does not listen yet.
            time.sleep(0.2)
        return False


def compiled(folder: Path, inventory: str, models: str) -> Fleet:
    """A fleet of `./models/chat.gguf`, `./models/embed.gguf` and models of the lock."""
    if not (folder / "models").exists():
        write_decoder(folder / "models" / "chat.gguf")
        write_encoder(folder / "models" / "embed.gguf", scores=False)
        shutil.copy(_LOCK, folder / "modelc.lock")
    return compile_fleet(folder, inventory, models, {})


def install_units(machine: Machine, fleet: Fleet, secret: str, value: str) -> Deployment:
    """The fleet on the machine, its units installed as docs/targets.md says, with one secret."""
    machine.place(fleet.folder / "models", "/srv/models/models")
    deployment = Deployment(machine=machine, fleet=fleet)
    machine.place(deployment.artifacts(), "/root/compiled/box")
    machine.write(f"/root/{secret}", f"{value}\n", mode=0o600)
    for command in commands("systemd", "Install"):
        machine.run(command.replace("HF_TOKEN", secret), folder=UNITS)
    return deployment


def _text(hexadecimal: str) -> str:
    return bytes.fromhex(hexadecimal).decode()
