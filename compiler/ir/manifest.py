"""The manifest of a host: which files modelc owns there, and their digests."""

from __future__ import annotations

import re
from dataclasses import dataclass

MANIFEST_NAME = "MANIFEST"

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


def _parse_line(number: int, line: str) -> ManifestEntry:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"line {number}: expected two digests and a path inside this folder")
    sha256, semantic_digest, path = match.groups()
    return ManifestEntry(path=path, sha256=sha256, semantic_digest=semantic_digest)
