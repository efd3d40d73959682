"""The previous plan's text: of compiled/, of a file, or of a git revision."""

from __future__ import annotations

import os
import re
from pathlib import Path

from compiler.ir.manifest import MANIFEST_NAME, PLAN_NAME
from compiler.ir.plan import digest
from compiler.ir.textfile import TextFile, conflict_line
from compiler.workspace.reading import failure, read_optional, shown_path
from compiler.workspace.revision import read_revision
from compiler.workspace.standing import manifest_digests, standing

COMPILED = "compiled"

# What git takes for a revision, and nobody calls a file.
_REVISION = re.compile(r"(?!.*\.json$)[A-Za-z0-9_.][A-Za-z0-9_./@^~{}-]{0,100}")


def read_previous(root: Path, compiled: Path, previous: str | None) -> TextFile | None:
    """The previous plan's text: compiled/plan.json, a file, `git:REV`, or none at all.

    `compiled` is where the output goes. It is often written elsewhere to be looked at, so what runs
    is in compiled/ of the root, and in the output only where the root has no plan.
    """
    if previous == "none":
        return None
    places = dict.fromkeys((root / COMPILED, compiled))
    if previous is None:
        try:
            return next(filter(None, map(_own_plan, map(standing, places))), None)
        except OSError as error:
            raise failure(
                "file-unreadable", f"`{shown_path(compiled.parent)}`: {error.strerror}."
            ) from None
    if previous.startswith("git:"):
        # What is committed with the output is what it is compared with.
        committed = (place / PLAN_NAME for place in reversed(places))
        return read_revision(root, committed, previous.removeprefix("git:"))
    path = Path(previous)
    if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises for a name that is too long.
        path /= PLAN_NAME
    plan = read_optional(path, pipe=True)
    if plan is None:
        hints = [f"For a revision of git write `git:{previous}`."]
        raise failure(
            "previous-missing",
            f"There is no `{shown_path(path)}`.",
            *(hints if _REVISION.fullmatch(previous) else ()),
        )
    return plan


def _own_plan(compiled: Path) -> TextFile | None:
    """The plan of this tree; raises CompileError when it is not the one that modelc wrote there."""
    plan = read_optional(compiled / PLAN_NAME)
    if plan is None or conflict_line(plan.text):
        return plan
    listed = manifest_digests(compiled, compiled / MANIFEST_NAME).get(PLAN_NAME)
    if listed is None or digest(plan.text) in listed:
        return plan
    raise failure(
        "edited-output",
        f"`{plan.path}` is not the plan that modelc wrote there, and would be taken for what runs.",
        f"Bring it back with git, or say what runs: `--previous git:HEAD`, or `--previous "
        f"{plan.path}` if the file is right as it is.",
    )
