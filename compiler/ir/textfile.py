"""A text file that was read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """The text of a file, and its path as shown to the user."""

    path: str
    text: str
