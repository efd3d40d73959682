"""The order in which replicas start: engines on one GPU measure it, so they start one by one."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from compiler.ir.inventory import GpuKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What the order depends on for one replica."""

    name: str
    priority: int
    gpus: tuple[GpuKey, ...]
    frozen_after: tuple[str, ...] | None
    """A frozen replica's own list, which should not change; None for all others."""


def start_order(starters: list[Starter]) -> dict[str, list[str]]:
    """For each replica, the ones whose health it waits for: its predecessor on each of its GPUs.

    Frozen replicas run already and keep their list (less what is gone); the others come after
    them unless a frozen one waits for them; then higher priority first, then by name. Where the
    kept lists leave two replicas of a GPU without an order, because what stood between them is
    gone or has moved, the frozen ones come first and their lists are made anew.
    """
    by_name = {starter.name: starter for starter in starters}
    waits = {
        starter.name: [name for name in starter.frozen_after or () if name in by_name]
        for starter in starters
    }
    order = _sorted(by_name, waits)
    kept = {starter.name for starter in starters if starter.frozen_after is not None}
    waits.update(_predecessors([by_name[name] for name in order], kept))
    if kept and not _is_complete([by_name[name] for name in order], waits):
        ranked = sorted(starters, key=lambda each: (each.name not in kept, *_rank(each)))
        waits = _predecessors(ranked, frozenset())
    return waits


def _rank(starter: Starter) -> tuple[int, str]:
    return -starter.priority, starter.name


def _predecessors(order: list[Starter], kept: set[str] | frozenset[str]) -> dict[str, list[str]]:
    """The lists of all that do not keep theirs: who was last on each of their GPUs."""
    waits: dict[str, list[str]] = {}
    last: dict[GpuKey, str] = {}
    for starter in order:
        if starter.name not in kept:
            waits[starter.name] = sorted({last[key] for key in starter.gpus if key in last})
        for key in starter.gpus:
            last[key] = starter.name
    return waits


def _is_complete(order: list[Starter], waits: Mapping[str, list[str]]) -> bool:
    """Whether all replicas are in the order, and each follows its neighbour on every GPU."""
    before: dict[str, set[str]] = {}
    on: dict[GpuKey, list[str]] = defaultdict(list)
    for starter in order:
        earlier = waits[starter.name]
        before[starter.name] = set(earlier).union(*(before.get(each, ()) for each in earlier))
        for key in starter.gpus:
            on[key].append(starter.name)
    in_line = all(
        first in before[second] for names in on.values() for first, second in pairwise(names)
    )
    return in_line and len(order) == len(waits)


def _sorted(by_name: Mapping[str, Starter], waits: Mapping[str, list[str]]) -> list[str]:
    """All names, every frozen replica after those it waits for."""
    n_missing = {name: len(waits[name]) for name in by_name}
    followers: dict[str, list[str]] = defaultdict(list)
    for name, earlier in waits.items():
        for each in earlier:
            followers[each].append(name)
    # What a frozen replica waits for takes part among the frozen ones.
    early = {name for earlier in waits.values() for name in earlier}

    def rank(name: str) -> tuple[bool, int, str]:
        starter = by_name[name]
        settled = starter.frozen_after is not None or name in early
        return not settled, *_rank(starter)

    ready = [rank(name) for name, missing in n_missing.items() if not missing]
    heapq.heapify(ready)
    order = []
    while ready:
        name = heapq.heappop(ready)[2]
        order.append(name)
        for follower in followers[name]:
            n_missing[follower] -= 1
            if not n_missing[follower]:
                heapq.heappush(ready, rank(follower))
    return order
