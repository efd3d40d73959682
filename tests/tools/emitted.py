"""Puts the artifacts of a plan where the tools can read them."""

from __future__ import annotations

from pathlib import Path

from compiler.emit import emit
from compiler.ir.plan import Plan


def write_artifacts(made: Plan, folder: Path) -> None:
    """Writes every artifact under a folder, byte for byte."""
    for artifact in emit(made):
        path = folder / artifact.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(artifact.text, encoding="utf-8", newline="")
        path.chmod(0o755 if artifact.executable else 0o644)
