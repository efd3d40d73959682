"""Host names, and ranges such as `gpu-[01-08]` that stand for many of them."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product

# Ranges are for racks, not for mistakes: the largest known GPU fleets under one file fit.
MAX_HOSTS = 10_000

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63})*")
_GROUP = re.compile(r"\[([^\[\]]*)\]")
_SPAN = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
# DNS allows no more, and a folder of this name must still be possible.
_MAX_LENGTH = 253
# Each host has a folder in compiled/, beside these files.
_TAKEN = frozenset({"plan.json", "plan.md"})


def expand(pattern: str) -> list[str]:
    """Names of a pattern: `gpu-[01-08]`, `gpu-[01-03,05]`, `rack[1-2]-n[1-4]`, several by comma.

    The width of the first number of a range is kept. Raises ValueError, with the reason as a
    sentence, when it is neither a name nor a range.
    """
    names = [name for part in _parts(pattern) for name in _expanded(part.strip(), pattern)]
    for name in names:
        if not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
            raise ValueError(f"`{pattern[:80]}` is no host name and no range of them.")
        if name.lower() in _TAKEN:
            raise ValueError(f"`{name}` is the name of a file in compiled/.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"`{pattern[:80]}` gives `{twice[0]}` twice.")
    return names


def _parts(pattern: str) -> list[str]:
    """The pattern at its commas; those in brackets are of a range."""
    return re.split(r",(?![^\[]*\])", pattern)


def _expanded(part: str, pattern: str) -> list[str]:
    texts = _GROUP.split(part)
    choices = [[text] if at % 2 == 0 else _numbers(text, pattern) for at, text in enumerate(texts)]
    count = 1
    for each in choices:
        count *= len(each)
        if count > MAX_HOSTS:
            raise ValueError(f"The range `{pattern[:80]}` has more than {MAX_HOSTS:,} hosts.")
    return ["".join(each) for each in product(*choices)]


def _numbers(text: str, pattern: str) -> list[str]:
    """The numbers in brackets."""
    found: list[str] = []
    for span in text.split(","):
        match = _SPAN.fullmatch(span.strip())
        if match is None:
            raise ValueError(f"`{pattern[:80]}` is no host name and no range of them.")
        first, last = match[1], match[2] or match[1]
        if int(first) > int(last):
            raise ValueError(f"The range `{first}-{last}` runs backwards.")
        if int(last) - int(first) >= MAX_HOSTS:
            raise ValueError(f"The range `{first}-{last}` has more than {MAX_HOSTS:,} hosts.")
        width = len(first)
        found += [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
        if len(found) > MAX_HOSTS:
            raise ValueError(f"The range `{pattern[:80]}` has more than {MAX_HOSTS:,} hosts.")
    return found
