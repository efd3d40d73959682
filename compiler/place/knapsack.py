"""The pricing of patterns: the most that one GPU can hold, as a bounded knapsack."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Kind:
    """GPUs that are the same for every way: in the same families, with the same memory."""

    number: int
    count: int
    hosts: int
    row: int
    cap: int
    items: Numbers
    need: Numbers
    """Units of each item."""
    size: Numbers
    service: Numbers
    copies: list[int]
    side: dict[int, int] = field(default_factory=dict)
    """Row number, in `_sides`, of services that spread over hosts."""


def knapsack(kind: Kind, profit: Numbers) -> tuple[int, dict[int, int]]:
    """The most that one GPU of a kind can hold at these profits, and the pattern that does.

    Bounded, with copies by binary splitting; an item is left out when those before it, no larger
    and worth no less, leave no room for it.
    """
    keep = np.nonzero(profit > 0)[0]
    order = keep[np.lexsort((-profit[keep], kind.need[keep]))]
    best = np.zeros(kind.cap + 1, dtype=np.int64)
    history: list[tuple[int, int, int, Numbers]] = []
    # Of items that are kept, by falling worth: what they are worth, and units of all up to each.
    worths: list[int] = []
    units_to: list[int] = []
    told = zip(order.tolist(), profit[order].tolist(), kind.need[order].tolist(), strict=True)
    for x, value, need in told:
        at = bisect_right(worths, -value)
        beside = units_to[at - 1] if at else 0
        if beside + need > kind.cap:
            continue
        copies = min(kind.copies[x], kind.cap // need if need else kind.copies[x])
        worths.insert(at, -value)
        units_to.insert(at, beside)
        for later in range(at, len(units_to)):
            units_to[later] += copies * need
        step = 1
        while copies > 0:
            times = min(step, copies)
            copies -= times
            step *= 2
            units = need * times
            if units > kind.cap:
                break
            after = best.copy()
            np.maximum(
                best[units:], best[: kind.cap + 1 - units] + value * times, out=after[units:]
            )
            history.append((x, times, units, best))
            best = after
    value = int(best[kind.cap])
    pattern: dict[int, int] = {}
    room = kind.cap
    for x, times, units, before in reversed(history):
        if best[room] != before[room]:
            item = int(kind.items[x])
            pattern[item] = pattern.get(item, 0) + times
            room -= units
        best = before
    return value, pattern
