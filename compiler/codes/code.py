"""What is fixed of a diagnostic, by its code."""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """The text of one code, with no names of the user's in it."""

    summary: str
    """Without a full stop, so that readers learn to recognise it."""
    cause: str
    cure: str
