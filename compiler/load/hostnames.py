"""Host names, and ranges such as `gpu-[01-08]` that stand for many of them."""

from __future__ import annotations

import re

# Ranges are for racks, not for mistakes: the largest known GPU fleets under one file fit.
MAX_HOSTS = 10_000

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63})*")
_RANGE = re.compile(r"([^\[\]]*)\[([0-9]{1,6})-([0-9]{1,6})\]([^\[\]]*)")
# DNS allows no more, and a folder of this name must still be possible.
_MAX_LENGTH = 253
# Each host has a folder in compiled/, beside these files.
_TAKEN = frozenset({"plan.json", "plan.md"})


def expand(pattern: str) -> list[str]:
    """Names of a pattern with at most one `[first-last]`; the width of first is kept.

    Raises ValueError, with the reason as a sentence, when it is neither a name nor a range.
    """
    match = _RANGE.fullmatch(pattern)
    names = _count(*match.groups()) if match else [pattern]
    for name in names:
        if not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
            raise ValueError(f"`{pattern[:80]}` is no host name and no range of them.")
        if name.lower() in _TAKEN:
            raise ValueError(f"`{name}` is the name of a file in compiled/.")
    return names


def _count(before: str, first: str, last: str, after: str) -> list[str]:
    if int(first) > int(last):
        raise ValueError(f"The range `{first}-{last}` runs backwards.")
    if int(last) - int(first) >= MAX_HOSTS:
        raise ValueError(f"The range `{first}-{last}` has more than {MAX_HOSTS:,} hosts.")
    width = len(first)
    return [f"{before}{number:0{width}d}{after}" for number in range(int(first), int(last) + 1)]
