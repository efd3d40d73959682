"""Names with numbers in them: sorted as people count, and folded as an inventory writes ranges."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")

# A number, or a range that an earlier turn made of several.
_NUMBER = re.compile(r"([0-9]+|\[[0-9,-]+\])")
_DIGITS = re.compile(r"([0-9]+)")
# A longer number counts nothing: it is part of a digest or a serial number.
_MAX_DIGITS = 9


def natural_key(name: str) -> tuple[object, ...]:
    """A sort key with which `chat-2` comes before `chat-10`.

    Numbers are compared by length and then by digits: a file may hold one of any length.
    """
    words = _DIGITS.split(name)
    numbers = ((len(digits), digits) for digits in (w.lstrip("0") for w in words[1::2]))
    keyed: list[object] = [words[0]]
    for number, text in zip(numbers, words[2::2], strict=True):
        keyed += [number, text]
    # Names that count alike, such as `a1` and `a01`, keep an order of their own.
    return (*keyed, name)


def folded(names: Sequence[str]) -> str:
    """The names in one line, in their own order, with what counts up written as a range.

    `edge-01, edge-02, edge-04` is `edge-[01-02,04]`; `a/0, a/1, b/0, b/1` is `a/[0-1], b/[0-1]`.
    A name that comes several times in a row stands there once.
    """
    rows = [_NUMBER.split(name) for name, _ in groupby(names)]
    n_numbers = max((len(row) // 2 for row in rows), default=0)
    # From the right: the GPUs of each host first, and then the hosts with equal ones.
    for number in reversed(range(n_numbers)):
        rows = _folded_at(rows, 2 * number + 1)
    return ", ".join("".join(row) for row in rows)


def grouped(items: Iterable[tuple[Key, Item]]) -> dict[Key, list[Item]]:
    """Items by key, the groups in the order of their first items."""
    found: dict[Key, list[Item]] = {}
    for key, item in items:
        found.setdefault(key, []).append(item)
    return found


def _folded_at(rows: Sequence[list[str]], position: int) -> list[list[str]]:
    """Rows one after another that differ in this number alone, each such run as one row."""
    runs: list[list[list[str]]] = []
    for row in rows:
        if runs and _continues(runs[-1][-1], row, position):
            runs[-1].append(row)
        else:
            runs.append([row])
    return [
        run[0]
        if len(run) == 1
        else [*run[0][:position], _range([row[position] for row in run]), *run[0][position + 1 :]]
        for run in runs
    ]


def _continues(row: Sequence[str], following: Sequence[str], position: int) -> bool:
    """Whether the following row is this one, but for a larger number of the same style."""
    if len(row) != len(following) or position >= len(row):
        return False
    if row[:position] != following[:position] or row[position + 1 :] != following[position + 1 :]:
        return False
    first, second = row[position], following[position]
    if "[" in first + second or max(len(first), len(second)) > _MAX_DIGITS:
        return False
    padded = any(len(digits) > 1 and digits.startswith("0") for digits in (first, second))
    if padded and len(first) != len(second):
        return False
    return _size(first) < _size(second)


def _size(digits: str) -> tuple[int, str]:
    bare = digits.lstrip("0")
    return len(bare), bare


def _range(numbers: Sequence[str]) -> str:
    """`[1-3,5]` of numbers that grow."""
    parts: list[list[str]] = []
    for number in numbers:
        if parts and int(parts[-1][-1]) + 1 == int(number):
            parts[-1].append(number)
        else:
            parts.append([number])
    spelt = (part[0] if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
    return f"[{','.join(spelt)}]"
