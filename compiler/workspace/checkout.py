"""Where the working folder lies in its git checkout."""

from __future__ import annotations

import posixpath
from pathlib import Path


def repository_prefix() -> str:
    """What leads from the root of the git checkout to the working folder: `` or `fleets/lab/`."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            inside = here.relative_to(folder).as_posix()
            return "" if inside == "." else f"{inside}/"
    return ""


def path_in_repository(folder: Path) -> str:
    """A folder as everybody with this checkout may call it: its path from the root, or its name."""
    if folder.is_absolute():
        return folder.name
    return posixpath.normpath(repository_prefix() + folder.as_posix())
