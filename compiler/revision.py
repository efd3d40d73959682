"""A file as it is in a git revision."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from compiler.diagnostics import CompileError, Diagnostic
from compiler.ir.textfile import TextFile


def read_revision(root: Path, places: Iterable[Path], revision: str) -> TextFile:
    """The first of these files that the revision has; root is a folder of the repository.

    Raises CompileError when there is no such revision, no git, or none of the files.
    """
    hint = (
        "`git log -- compiled/plan.json` lists the revisions that have a plan; `--previous none` "
        "starts afresh."
    )
    if not revision or revision.startswith("-"):
        raise _missing(f"`{revision}` is no git revision.", hint)
    fault = ""
    for path in dict.fromkeys(places):
        relative = os.path.relpath(path, root)
        command = ["git", "-C", str(root), "show", f"{revision}:./{relative}"]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _missing(f"git cannot be run: {error}.") from None
        if not done.returncode:
            text = done.stdout.decode("utf-8", "replace")
            return TextFile(path=f"git:{revision}:{relative}", text=text)
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["git failed"]
        fault = said[-1].removeprefix("fatal: ").rstrip(".")
    raise _missing(f"git: {fault}.", hint)


def _missing(detail: str, *hints: str) -> CompileError:
    return CompileError([Diagnostic(code="previous-missing", detail=detail, hints=hints)])
