"""Shares memory that is left on each GPU out to the KV caches that can grow there."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

from compiler.assemble.room import left_bytes
from compiler.ir.demand import Demand
from compiler.ir.inventory import GpuKey, Inventory
from compiler.ir.placement import Placements


def kv_sizes(inventory: Inventory, placements: Placements) -> list[int | None]:
    """For each chosen placement the KV bytes on each of its devices; None where it cannot grow.

    Every cache grows by the same fraction of what it lacks to context x concurrency tokens, until
    a GPU is full; the others then go on. So no service starves another, and the answer depends on
    nothing but the placements.
    """
    left = left_bytes(inventory, placements)
    wanted: dict[int, int] = {}
    for position, placement in enumerate(placements.chosen):
        growth = placement.demand.growth
        if growth is not None:
            lacking = max(0, growth.max_kv_bytes - _kv_bytes(placement.demand))
            wanted[position] = lacking // growth.step_bytes * growth.step_bytes
    # No replica spans hosts. Each host alone keeps the fractions short.
    on_host: dict[str, dict[int, int]] = defaultdict(dict)
    for position, more in wanted.items():
        on_host[placements.chosen[position].host][position] = more
    fractions: dict[int, Fraction] = {}
    for here in on_host.values():
        fractions |= _fill(placements, here, left)
    sizes: list[int | None] = []
    for position, placement in enumerate(placements.chosen):
        growth = placement.demand.growth
        if growth is None:
            sizes.append(None)
            continue
        more = int(wanted[position] * fractions[position])
        more = more // growth.step_bytes * growth.step_bytes
        sizes.append(_kv_bytes(placement.demand) + more)
    return sizes


def _kv_bytes(demand: Demand) -> int:
    return max((breakdown.kv.bytes for breakdown in demand.devices), default=0)


def _fill(
    placements: Placements, wanted: dict[int, int], left: dict[GpuKey, int]
) -> dict[int, Fraction]:
    """The fraction of its wish that each placement gets, raised for all together."""
    fraction = {position: Fraction(0) for position in wanted}
    active = {position for position, more in wanted.items() if more}
    users: dict[GpuKey, set[int]] = defaultdict(set)
    for position in active:
        placement = placements.chosen[position]
        for gpu in placement.gpus:
            users[placement.host, gpu].add(position)
    room = {key: Fraction(max(0, left[key])) for key in users}
    while active:
        step = min(1 - fraction[position] for position in active)
        for key, positions in users.items():
            total = sum(wanted[position] for position in positions & active)
            if total:
                step = min(step, room[key] / total)
        for position in active:
            fraction[position] += step
        for key, positions in users.items():
            room[key] -= step * sum(wanted[position] for position in positions & active)
        full = {p for key, positions in users.items() if room[key] == 0 for p in positions}
        active = {p for p in active if fraction[p] < 1 and p not in full}
    return fraction
