"""The manifest of a folder, compiled/ itself or a host's: the files that modelc owns there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compiler.ir.textfile import merge_sides

MANIFEST_NAME = "MANIFEST"
PLAN_NAME = "plan.json"
OVERVIEW_NAME = "PLAN.md"

# The number is the version of the format: a reader that finds another one must not delete by it.
FIRST_LINE = "# modelc manifest 1: sha256, semantic digest, path from this folder"

# Paths as modelc makes them. No part starts with a dot, so that none leads out of the folder.
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_LINE = re.compile(rf"([0-9a-f]{{64}})  ([0-9a-f]{{64}})  ({_PART}(?:/{_PART})*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One file that modelc owns. `path` is relative to the folder of the manifest."""

    path: str
    sha256: str
    """Of the file's bytes: an edit by hand shows."""
    semantic_digest: str
    """As in Artifact: when it stays the same, nothing has to be restarted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """A file as it stands in compiled/."""

    sha256: str
    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTree:
    """What stands in compiled/; all paths are relative to it."""

    folder: str
    """compiled/ itself, as shown to the user."""
    files: dict[str, WrittenFile]
    owned: frozenset[str]
    """Files that modelc wrote; it overwrites and deletes no others."""
    listed: dict[str, frozenset[str]]
    """sha256 of each file that a manifest lists, as modelc wrote it: one, or that of each side of
    a merge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFiles:
    """What a write of compiled/ found changed by others, and did not destroy."""

    folder: str
    """compiled/ itself, as shown to the user."""
    moved: tuple[tuple[str, str], ...]
    """Files edited by hand that gave way to new ones: path, and path under which they are kept."""
    left: tuple[str, ...]
    """Files edited by hand that the plan has no more; they stay."""
    strays: tuple[str, ...]
    """Files that came or changed during the write, as shown to the user, in its work folder."""


def manifest_text(entries: tuple[ManifestEntry, ...]) -> str:
    """The manifest as it stands in the file, sorted by path; `parse_manifest` reads it back."""
    ordered = sorted(entries, key=lambda entry: entry.path)
    lines = [f"{entry.sha256}  {entry.semantic_digest}  {entry.path}" for entry in ordered]
    return "\n".join([FIRST_LINE, *lines]) + "\n"


def parse_manifest(text: str) -> tuple[ManifestEntry, ...]:
    """The entries of a manifest.

    Raises ValueError for anything that modelc does not write itself: files are deleted by what
    this returns, so a path that leaves the folder, or comes twice, must not get through.
    """
    first, *lines = text.removesuffix("\n").split("\n")
    if first != FIRST_LINE:
        raise ValueError("line 1: this is not a manifest that this modelc can read")
    entries = tuple(_parse_line(number, line) for number, line in enumerate(lines, start=2))
    paths = [entry.path for entry in entries]
    if paths != sorted(set(paths)):
        raise ValueError("the paths are not sorted, or one comes twice")
    return entries


def listed_digests(text: str) -> dict[str, frozenset[str]]:
    """sha256 of each file that a manifest lists, in one with a conflict on either side of it.

    Raises ValueError as `parse_manifest`.
    """
    found: dict[str, set[str]] = {}
    for side in merge_sides(text):
        for entry in parse_manifest(side):
            found.setdefault(entry.path, set()).add(entry.sha256)
    return {path: frozenset(digests) for path, digests in found.items()}


def _parse_line(number: int, line: str) -> ManifestEntry:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"line {number}: expected two digests and a path inside this folder")
    sha256, semantic_digest, path = match.groups()
    return ManifestEntry(path=path, sha256=sha256, semantic_digest=semantic_digest)
