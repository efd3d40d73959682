"""Generated documents: each has one writer here, and a check that says what is not current.

`make tables` writes them, `make tables CHECK=1` compares.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(path: str, text: Callable[[], str]) -> None:
    """Writes a document, or with `--check` fails when it is not what its source gives."""
    target = ROOT / path
    made = text()
    if "--check" not in sys.argv[1:]:
        target.write_text(made, encoding="utf-8")
        return
    if not target.exists() or target.read_text(encoding="utf-8") != made:
        sys.exit(f"{path} is not current: run `make tables` and commit it.")


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A Markdown table."""
    rule = tuple("---" for _ in header)
    return [f"| {' | '.join(map(cell, row))} |" for row in (header, rule, *rows)]
