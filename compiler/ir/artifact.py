"""An artifact: one emitted file, relative to compiled/."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One emitted file. `path` is relative to compiled/, with forward slashes."""

    path: str
    text: str
    executable: bool = False
    semantic_digest: str
    """sha256 of what the reader of the file acts on: comments and provenance left out."""
