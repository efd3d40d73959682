"""The commands of docs/targets.md, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "targets.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"[#$] ")


def commands(target: str, step: str, **names: str) -> list[str]:
    """The console lines of a step (`Install`, `Remove`) of a target.

    `names` puts a value in the place of each `<name>`.
    """
    section = _under(DOCUMENT.read_text(encoding="utf-8"), f"## {target}")
    blocks = _BLOCK.findall(_under(section, f"### {step}"))
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines, f"{DOCUMENT} has no commands to {step.lower()} {target}"
    assert all(_PROMPT.match(line) for line in lines), lines
    for name, value in names.items():
        lines = [line.replace(f"<{name}>", value) for line in lines]
    return [line[2:] for line in lines]


def _under(text: str, heading: str) -> str:
    """What stands between a heading and the next one of its level or above."""
    level = heading.count("#")
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{DOCUMENT} has no {heading}"
    # A single sign stands before commands of root, and not before a heading of this document.
    return re.split(rf"^#{{2,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
