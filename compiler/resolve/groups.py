"""Tensors of a file as groups: one line for what repeats in every layer instead of thousands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from compiler.ir.facts import Tensor, TensorGroup

_NUMBER = re.compile(r"(?:(?<=\.)|^)(\d+)(?=\.|$)")
_MAX_NUMBER_DIGITS = 6
_Kind = tuple[str, tuple[int, ...], int]
_Parsed = tuple[str, tuple[int, ...]]


def group_tensors(tensors: Sequence[Tensor]) -> list[TensorGroup]:
    """Groups whose expansion gives the same tensors; no name has a `*` in it.

    The groups of a block stand in an order that holds in every block, where there is one, so that
    the expansion keeps the order of the file if the file goes through its blocks one by one.
    """
    kinds: dict[str, dict[_Kind, list[tuple[int, ...]]]] = {}
    parsed = [_pattern(tensor.name) for tensor in tensors]
    for tensor, (pattern, numbers) in zip(tensors, parsed, strict=True):
        kind = (tensor.dtype, tuple(tensor.shape), tensor.bytes)
        kinds.setdefault(pattern, {}).setdefault(kind, []).append(numbers)
    return [
        TensorGroup(name=pattern, index=index, dtype=dtype, shape=list(shape), bytes=size)
        for pattern in _order(parsed, kinds)
        for (dtype, shape, size), members in kinds[pattern].items()
        for index in _products(members)
    ]


def same_order(names: Iterable[str], expanded: Iterable[Tensor]) -> bool:
    """Whether the expansion of the groups gives the tensors in just this order."""
    return list(names) == [tensor.name for tensor in expanded]


def _pattern(name: str) -> _Parsed:
    """The name with `*` for its numbers; whole if it could not be put together again."""
    parts = _NUMBER.split(name)
    found = parts[1::2]
    plain = all(len(text) <= _MAX_NUMBER_DIGITS and str(int(text)) == text for text in found)
    return ("*".join(parts[::2]), tuple(int(text) for text in found)) if plain else (name, ())


def _order(parsed: Sequence[_Parsed], kinds: Iterable[str]) -> list[str]:
    """Patterns by first appearance, but inside a run of blocks so that each block agrees."""
    ordered: list[str] = []
    run: list[str] = []
    stem: str | None = None
    for pattern in kinds:
        own = pattern.partition("*")[0] if "*" in pattern else None
        if own is None or own != stem:
            ordered += _agreed(parsed, run)
            run, stem = [], own
        run.append(pattern)
    return ordered + _agreed(parsed, run)


def _agreed(parsed: Sequence[_Parsed], run: list[str]) -> list[str]:
    """The run sorted by what follows what in the blocks; unchanged if blocks contradict it."""
    blocks: dict[int, list[str]] = {}
    members = {pattern: position for position, pattern in enumerate(run)}
    if len(run) < 2 or "*" not in run[0]:  # noqa: PLR2004 (one pattern has one order)
        return run
    for pattern, numbers in parsed:
        if pattern in members:
            names = blocks.setdefault(numbers[0], [])
            if not names or names[-1] != pattern:
                names.append(pattern)
    after: dict[str, set[str]] = {pattern: set() for pattern in run}
    for names in blocks.values():
        for first, second in pairwise(names):
            after[second].add(first)
    return _sorted_by(after, members)


def _sorted_by(after: dict[str, set[str]], members: dict[str, int]) -> list[str]:
    sorter = TopologicalSorter(after)
    try:
        sorter.prepare()
    except CycleError:
        return list(members)
    ordered: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=members.__getitem__)
        first = ready.pop(0)
        ordered.append(first)
        sorter.done(first)
    return ordered


def _products(members: list[tuple[int, ...]]) -> list[list[str]]:
    """The members as products of ranges: layers that have the same experts stand together."""
    if not members[0]:
        return [[]]
    inner: dict[int, list[tuple[int, ...]]] = {}
    for first, *rest in members:
        inner.setdefault(first, []).append(tuple(rest))
    alike: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for first, rests in inner.items():
        alike.setdefault(tuple(sorted(rests)), []).append(first)
    return [
        [_ranges(firsts), *rest]
        for rests, firsts in alike.items()
        for rest in _products(list(rests))
    ]


def _ranges(numbers: Iterable[int]) -> str:
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)
