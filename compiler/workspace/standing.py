"""What stands in compiled/: every name in it, and which of the files modelc wrote."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from compiler.diagnostics import CompileError
from compiler.ir.manifest import (
    MANIFEST_NAME,
    WrittenFile,
    WrittenTree,
    listed_digests,
)
from compiler.workspace.reading import failure, read_bytes, shown_path

# No tree that people work with is nested as deeply; one that is cannot be carried over, because
# its paths grow longer than the system allows.
_MAX_DEPTH = 64

_WORK_NAME = re.compile(r"[.](.+)[.]modelc-work-[a-z0-9_]{8}")


_MANIFEST_HINT = (
    "Bring it back with git; or if modelc never wrote it, move it away, or write to another folder "
    "with `--out`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Every name in a folder; all paths are relative to it, with forward slashes."""

    folders: dict[str, os.stat_result]
    files: dict[str, os.stat_result]
    """Whatever is no folder: pipes and devices are among them."""
    listed: dict[str, frozenset[str]]
    """sha256 of what the manifests list: one, or that of each side of a merge."""
    manifests: frozenset[str]


def look(folder: Path) -> Standing:
    """All that stands in a folder.

    Raises CompileError for a symbolic link, whose target can be another file tomorrow, for folders
    nested too deeply, and for a MANIFEST that is none; OSError for a folder that cannot be listed,
    since it may hold files that are not ours.
    """
    folders: dict[str, os.stat_result] = {}
    files: dict[str, os.stat_result] = {}
    if folder.is_symlink():
        raise _link(folder)
    waiting = [""] if folder.is_dir() else []
    while waiting:
        place = waiting.pop()
        if place.count("/") > _MAX_DEPTH:
            detail = f"`{shown_path(folder)}` holds folders nested over {_MAX_DEPTH} deep."
            raise failure(
                "unsafe-path", detail, "Move them away, or write to another folder with `--out`."
            )
        with os.scandir(folder / place) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            path = f"{place}{entry.name}"
            if entry.is_symlink():
                raise _link(folder / path)
            if entry.is_dir(follow_symlinks=False):
                folders[path] = entry.stat(follow_symlinks=False)
                waiting.append(f"{path}/")
            else:
                files[path] = entry.stat(follow_symlinks=False)
    manifests = [
        path for path in files if path == MANIFEST_NAME or path.split("/")[1:] == [MANIFEST_NAME]
    ]
    listed: dict[str, frozenset[str]] = {}
    for path in sorted(manifests):
        listed |= manifest_digests(folder, folder / path)
    return Standing(folders=folders, files=files, listed=listed, manifests=frozenset(manifests))


def read_tree(compiled: Path, paths: Iterable[str]) -> WrittenTree:
    """What stands in compiled/: of these paths, and of all that modelc owns there."""
    compiled = standing(compiled)
    try:
        found = look(compiled)
        owned = (set(found.listed) | found.manifests) & set(found.files)
        return WrittenTree(
            folder=shown_path(compiled),
            files={
                path: _written(compiled / path, found.files[path])
                for path in sorted({*paths, *owned} & set(found.files))
            },
            owned=frozenset(owned),
            listed=found.listed,
        )
    except OSError as error:
        detail = f"`{shown_path(Path(error.filename or compiled))}`: {error.strerror}."
        raise failure("file-unreadable", detail) from None


def manifest_digests(compiled: Path, manifest: Path) -> dict[str, frozenset[str]]:
    """What a manifest lists, by path in compiled/; nothing where it is not there."""
    try:
        text = read_bytes(manifest).decode("utf-8")
        listed = listed_digests(text)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        detail = f"`{shown_path(manifest)}`: {error}."
        raise failure("edited-output", detail, _MANIFEST_HINT) from None
    except OSError as error:
        detail = f"`{shown_path(manifest)}`: {error.strerror or error}."
        raise failure("unsafe-path", detail, _MANIFEST_HINT) from None
    folder = manifest.parent.relative_to(compiled)
    return {(folder / path).as_posix(): digests for path, digests in listed.items()}


def is_as_listed(folder: Path, path: str, found: Standing) -> bool:
    """Whether a file is what modelc wrote there, or what a merge has made of it."""
    if path in found.manifests:
        return True
    digests = found.listed.get(path)
    if digests is None or not stat.S_ISREG(found.files[path].st_mode):
        return False
    # Where a merge left the manifest with both sides, git has mixed the two files itself, and has
    # each of them in its history.
    return len(digests) > 1 or file_digest(folder / path) in digests


def file_digest(path: Path) -> str:
    """sha256 of a file of any size, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def work_folders(compiled: Path) -> list[Path]:
    """The folders beside compiled/ in which killed writes of it have left their work."""
    if not compiled.parent.is_dir():
        return []
    with os.scandir(compiled.parent) as entries:
        found = [
            Path(entry.path)
            for entry in entries
            if (match := _WORK_NAME.fullmatch(entry.name))
            and match[1] == compiled.name
            and entry.is_dir(follow_symlinks=False)
        ]
    return sorted(path for path in found if _is_ours(path))


def work_prefix(compiled: Path) -> str:
    """How the name of such a folder begins."""
    return f".{compiled.name}.modelc-work-"


# In a folder of this name modelc builds and takes apart; a folder without the file, or with another
# text in it, is somebody else's, whatever its name.
WORK_MARKER = "MODELC-WORK"
WORK_TEXT = "modelc makes this folder to change the one beside it at once, and takes it away.\n"

# The old tree, put aside where two folders cannot be exchanged in one step.
ASIDE = "old"


def standing(compiled: Path) -> Path:
    """Where the tree is: aside, if a write was killed between its two renames."""
    if not os.path.lexists(compiled):
        for work in work_folders(compiled):
            if (work / ASIDE).is_dir() and not (work / ASIDE).is_symlink():
                return work / ASIDE
    return compiled


def _is_ours(work: Path) -> bool:
    try:
        names = [path.name for path in work.iterdir()]
        text = read_bytes(work / WORK_MARKER) if names else b""
    except OSError:
        return False
    # Killed at its beginning, a write leaves a folder with half a marker or none, and nothing else.
    begun = names in ([], [WORK_MARKER]) and WORK_TEXT.encode().startswith(text)
    return begun or text == WORK_TEXT.encode()


def _written(path: Path, found: os.stat_result) -> WrittenFile:
    if not stat.S_ISREG(found.st_mode):
        return WrittenFile(sha256="", executable=False)
    return WrittenFile(sha256=file_digest(path), executable=bool(found.st_mode & stat.S_IXUSR))


def _link(path: Path) -> CompileError:
    return failure(
        "unsafe-path",
        f"`{shown_path(path)}` is a symbolic link, which modelc does not follow.",
        "Replace it by a real folder or file.",
    )
