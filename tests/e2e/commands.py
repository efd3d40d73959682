"""The command lines of all fleets of the repository, compiled for one version of an engine."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler.cli import run

ROOT = Path(__file__).resolve().parents[2]
FLEETS = sorted(
    path.parent
    for pattern in ("tests/golden/*/inventory.yaml", "inventories/*/inventory.yaml")
    for path in ROOT.glob(pattern)
)


# Files that parsers read at once. The text is a template that all of them know, and a key.
_READ_AT_ONCE = ("--api-key-file", "--chat-template-file")
_TEXT = "<|im_start|>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One replica's command line, and the GPUs that it is to see."""

    argv: tuple[str, ...]
    gpus: int
    replica: dict[str, Any] = field(compare=False)
    """The replica as the plan has it."""


def commands(fleet: Path, folder: Path, engine: str, version: str) -> Iterator[Command]:
    """The commands of a fleet's replicas on one engine; none where the fleet does not compile."""
    for name in ("inventory.yaml", "models.yaml", "modelc.lock"):
        shutil.copy(fleet / name, folder)
    inventory = folder / "inventory.yaml"
    key = {"vllm": "version", "llama.cpp": "build"}[engine]
    text = inventory.read_text(encoding="utf-8")
    changed = re.sub(rf"({re.escape(engine)}:\s*{{?\s*{key}): *[^,}}\n]+", rf"\1: {version}", text)
    inventory.write_text(changed, encoding="utf-8")
    if run(["compile", str(folder), "--previous", "none"]) != 0:
        return
    plan = json.loads((folder / "compiled" / "plan.json").read_text(encoding="utf-8"))
    for replica in plan["replicas"]:
        if replica["engine"] == engine:
            assert replica["engine_version"] == version
            argv, gpus = _with_files(replica["argv"], folder), len(replica["shares"])
            yield Command(argv=argv, gpus=gpus, replica=replica)


def _with_files(argv: list[str], folder: Path) -> tuple[str, ...]:
    """The command with a file of ours for each that its fleet names and nobody here has."""
    ours = folder / "read-at-once"
    ours.write_text(_TEXT, encoding="utf-8")
    before = ["", *argv]
    pairs = zip(before, argv, strict=False)
    return tuple(str(ours) if flag in _READ_AT_ONCE else word for flag, word in pairs)
