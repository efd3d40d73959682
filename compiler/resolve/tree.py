"""The files of a source, by name, wherever they lie; and the tree of a local file or folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from compiler.resolve.ranges import LocalFile, Ranges

# A model folder has tens of files; a home directory that was named by mistake has millions.
_MAX_FILES = 20_000
_MAX_DEPTH = 3
_SHA256_LENGTH = 64


class SourceMissingError(Exception):
    """What the source names is not there; the text says what was looked for, `hints` what is."""

    def __init__(self, text: str, *hints: str) -> None:
        super().__init__(text)
        self.hints = hints


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFile:
    """One file of a tree; `sha256` only where somebody else has already counted it."""

    bytes: int
    sha256: str | None = None
    is_broken: bool = False
    """A link to a file that is not there."""


class Tree(Protocol):
    """A folder or repository of model files."""

    @property
    def name(self) -> str:
        """The repository's or folder's own name."""

    @property
    def files(self) -> Mapping[str, TreeFile]:
        """All files by their path inside the tree, in sorted order."""

    @property
    def readers(self) -> int:
        """How many files may be read at once."""

    def open(self, name: str) -> Ranges:
        """One file for reading in parts."""


class LocalTree:
    """A folder on disk."""

    readers = 1  # One disk; a header is read faster than a thread starts.

    def __init__(self, folder: Path, depth: int = _MAX_DEPTH) -> None:
        self._folder = folder
        self.name = _folder_name(folder)
        self.files = dict(sorted(_walk(folder, depth)))

    def open(self, name: str) -> Ranges:
        """One file of the folder."""
        return LocalFile(self._folder / name, name)


def local_tree(path: Path) -> tuple[LocalTree, str | None]:
    """The tree of a local path, and the file of it that the path names, if it names one.

    Raises SourceMissingError when nothing is there.
    """
    if path.is_file():
        return LocalTree(path.parent, depth=0), path.name
    if not path.is_dir():
        raise SourceMissingError("there is no such file or folder")
    return LocalTree(_snapshot(path)), None


def _snapshot(path: Path) -> Path:
    """In a folder of the hub's cache (`models--org--repo`), the snapshot of its main branch."""
    snapshots = path / "snapshots"
    if not (path.name.startswith("models--") and snapshots.is_dir()):
        return path
    main = path / "refs" / "main"
    if main.is_file():
        revision = snapshots / main.read_text(encoding="utf-8", errors="replace").strip()[:200]
        if revision.is_dir():
            return revision
    found = sorted(entry for entry in snapshots.iterdir() if entry.is_dir())
    if len(found) != 1:
        names = ", ".join(entry.name for entry in found[:5]) or "none"
        raise SourceMissingError(
            f"this cache folder has no main branch and not one snapshot (found: {names})",
            "name the snapshot folder itself",
        )
    return found[0]


def _folder_name(folder: Path) -> str:
    """The folder's name; inside the hub's cache the repository's."""
    for part in (folder.resolve(), *folder.resolve().parents[:2]):
        if part.name.startswith("models--"):
            return part.name.split("--")[-1]
    return folder.resolve().name


def _walk(folder: Path, depth: int) -> list[tuple[str, TreeFile]]:
    found: list[tuple[str, TreeFile]] = []
    next(folder.iterdir(), None)  # Raises what os.walk keeps to itself: the folder is closed to us.
    for parent, folders, names in os.walk(folder):
        inside = Path(parent).relative_to(folder)
        if len(inside.parts) >= depth:
            folders.clear()
        named = (name for name in folders if name.isprintable() and not name.startswith("."))
        folders[:] = sorted(named)
        # As on the hub: other names can be no part of a lock, as the bytes may be no text.
        for name in filter(str.isprintable, names):
            path = Path(parent, name)
            if path.is_file():
                found.append(((inside / name).as_posix(), _file(path)))
            elif path.is_symlink() and not path.exists():
                found.append(((inside / name).as_posix(), TreeFile(bytes=0, is_broken=True)))
        if len(found) > _MAX_FILES:
            raise SourceMissingError(f"`{folder.name}` holds more than {_MAX_FILES} files")
    return found


def _file(path: Path) -> TreeFile:
    """Size, and the sha256 that the hub's cache keeps as the name of the file behind a link."""
    digest: str | None = None
    if path.is_symlink():
        blob = path.readlink().name
        if len(blob) == _SHA256_LENGTH and set(blob) <= set("0123456789abcdef"):
            digest = blob
    return TreeFile(bytes=path.stat().st_size, sha256=digest)
