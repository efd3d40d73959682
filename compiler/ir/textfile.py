"""A text file that was read, be it with both sides of a merge in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Seven signs and a blank or nothing: git writes longer ones for a merge within a merge.
_MARKER = re.compile(r"(<{7}|\|{7}|={7}|>{7})(?: .*)?\r?\n?")
_BOTH, _OURS, _BASE, _THEIRS = range(4)
_NEXT = {"<": (_BOTH, _OURS), "|": (_OURS, _BASE), "=": (_BASE, _THEIRS), ">": (_THEIRS, _BOTH)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """The text of a file, and its path as shown to the user."""

    path: str
    text: str


def conflict_line(text: str) -> int | None:
    """The line on which the first conflict of a merge begins, counted from 1."""
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        marker = _MARKER.fullmatch(line)
        if marker and marker[1][0] == "<":
            return number
    return None


def merge_sides(text: str) -> tuple[str, ...]:
    """Both sides of a text with git's conflict markers; the text alone where it has none.

    What both sides have had before the merge (the style diff3) belongs to neither.
    """
    ours, theirs = [], []
    part = _BOTH
    for line in text.splitlines(keepends=True):
        marker = _MARKER.fullmatch(line)
        if marker:
            before, after = _NEXT[marker[1][0]]
            # Without a base, `=======` follows our side at once.
            if part == before or (part == _OURS and after == _THEIRS):
                part = after
                continue
        if part in (_BOTH, _OURS):
            ours.append(line)
        if part in (_BOTH, _THEIRS):
            theirs.append(line)
    sides = "".join(ours), "".join(theirs)
    return sides if conflict_line(text) else (text,)
