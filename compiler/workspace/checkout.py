"""Where the working folder lies in its git checkout."""

from __future__ import annotations

from pathlib import Path


def repository_prefix() -> str:
    """What leads from the root of the git checkout to the working folder: `` or `fleets/lab/`."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            inside = here.relative_to(folder).as_posix()
            return "" if inside == "." else f"{inside}/"
    return ""
