"""What stands in compiled/ as nobody's compile has left it: plans, manifests and files by hand."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from tests.generators.hostile_values import (
    TEXTS,
    hostile_value,
    mutated_text,
    mutated_tree,
    places,
)

_FLEETS = ("homelab", "mixed", "rag")
_COMMANDS = (
    *(
        ["compile"],
        ["compile"],
        ["compile"],
        ["compile", "--check"],
        ["diff"],
        ["diff", "git:HEAD"],
    ),
    *(["compile", "--previous", "{plan}"], ["compile", "--ledger"], ["diff", "--format", "json"]),
    *(["explain", "chat"], ["whatif", "--n-1"], ["diff", "{plan}", "{plan}"]),
)
_POLICIES = ("", "", "policy: {freeze: [%s]}\n", "policy: {consolidate: true}\n")


def attack_tree(dice: random.Random, folder: Path, root: Path) -> list[str]:
    """Copies an example with its compiled/, changes some of it, and gives a command."""
    source = root / "inventories" / dice.choice(_FLEETS)
    shutil.copytree(source, folder, dirs_exist_ok=True)
    spec = folder / "models.yaml"
    text = spec.read_text("utf-8")
    services = sorted({each["service"] for each in json.loads(_plan(source))["replicas"]})
    policy = dice.choice(_POLICIES)
    if "policy:" not in text:
        text += policy % dice.choice(services) if "%" in policy else policy
    if dice.random() < 0.3:
        text = text.replace("priority: 80", "priority: 70").replace("4096", "2048")
    spec.write_text(text, "utf-8")
    compiled = folder / "compiled"
    for _ in range(dice.choice((1, 1, 2, 3))):
        _change(dice, compiled)
    plan = str(compiled / "plan.json")
    command, *rest = dice.choice(_COMMANDS)
    rest = [each.format(plan=plan) for each in rest]
    if command in {"diff", "explain", "whatif"}:
        return [command, *rest, "-C", str(folder)]
    return [command, str(folder), *rest]


@cache
def _plan(source: Path) -> str:
    return (source / "compiled" / "plan.json").read_text("utf-8")


def _change(dice: random.Random, compiled: Path) -> None:
    files = sorted(path for path in compiled.rglob("*") if path.is_file())
    if not files:
        return
    manifests = [path for path in files if path.name == "MANIFEST"]
    plan = compiled / "plan.json"
    chosen = dice.choice((dice.choice(files), plan, plan, dice.choice(manifests or files)))
    if not chosen.is_file():
        return
    match dice.randrange(8):
        case 0:
            chosen.unlink()
        case 1:
            _replace(dice, chosen)
        case 2:
            _add(dice, compiled)
        case _ if chosen == plan:
            _edit_plan(dice, compiled)
        case _:
            text = chosen.read_text("utf-8", "replace")
            chosen.write_text(mutated_text(dice, text), "utf-8", "replace")


def _edit_plan(dice: random.Random, compiled: Path) -> None:
    """The plan changed; half of the time its MANIFEST lists it as it is now."""
    plan, manifest = compiled / "plan.json", compiled / "MANIFEST"
    raw = plan.read_bytes()
    try:
        tree = json.loads(raw)
    except ValueError:
        return
    if dice.random() < 0.7:
        for _ in range(dice.choice((1, 2, 3))):
            holder, key = dice.choice(list(places(tree)))
            holder[key] = _of_its_type(dice, holder[key])
    else:
        tree = mutated_tree(dice, tree, hostile_value)
    text = json.dumps(tree)
    if dice.random() < 0.2:
        text = mutated_text(dice, text)
    plan.write_text(text, "utf-8", "replace")
    if manifest.is_file() and dice.random() < 0.7:
        old, new = (hashlib.sha256(each).hexdigest() for each in (raw, plan.read_bytes()))
        manifest.write_text(
            manifest.read_text("utf-8", "replace").replace(old, new), "utf-8", "replace"
        )


def _of_its_type(dice: random.Random, value: Any) -> Any:  # noqa: ANN401 (any value)
    """What the reader's types let pass."""
    match value:
        case bool():
            return not value
        case int():
            return dice.choice((0, 1, -1, value + 1, value - 1, value * 2, -value, 2**63, 10**30))
        case str():
            return dice.choice((*TEXTS, value + "x", value.upper(), value[:-1]))
        case list():
            return dice.choice(([], value + value, value[1:], value[::-1]))
        case dict():
            return dict(list(value.items())[: dice.randrange(len(value) + 1)])
        case _:
            return dice.choice((0, "", "x"))


def _replace(dice: random.Random, path: Path) -> None:
    """Something else than a file in its place."""
    path.unlink()
    match dice.randrange(5):
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to(dice.choice(("/etc/passwd", "/dev/zero", "nowhere", str(path))))
        case 3:
            path.write_bytes(dice.choice((b"", b"\x00", b"\xff\xfe", b"x" * 100_000)))
        case _:
            path.write_text("<<<<<<< HEAD\na\n=======\nb\n>>>>>>> x\n", "utf-8")


def _add(dice: random.Random, compiled: Path) -> None:
    """A name of somebody else's."""
    folders = [compiled, *sorted(path for path in compiled.rglob("*") if path.is_dir())]
    place = dice.choice(folders)
    names = (
        "x",
        "a\nb",
        "\x1b[31m",
        ".git",
        "MANIFEST",
        "plan.json.edited",
        "é",
        "x.new",
        "\udcff",
    )
    path = place / dice.choice(names)
    if os.path.lexists(path):
        return
    match dice.randrange(4):
        case 0:
            path.mkdir()
        case 1:
            path.symlink_to("/etc")
        case 2:
            os.mkfifo(path)
        case _:
            path.write_bytes(b"my own")
