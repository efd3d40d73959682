"""Shares memory that is left on each GPU out to the KV caches that can grow there."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from fractions import Fraction

from compiler.assemble.room import left_bytes
from compiler.ir.inventory import GpuKey, Inventory
from compiler.ir.placement import Placement, Placements
from compiler.ir.pool import gpu_bytes
from compiler.ir.units import budget_mib, demand_mib

# What goes on as it runs is restarted for more room only when that is so much of what it wants.
WORTH_A_RESTART = 4


def kv_sizes(inventory: Inventory, placements: Placements) -> list[int | None]:
    """For each chosen placement the KV bytes on each of its devices; None where it cannot grow.

    Every cache grows by the same fraction of what it lacks to the room wanted, until a GPU is full;
    the others then go on. So no service starves another, and the answer depends on nothing but the
    placements. What goes on as it runs keeps its size, unless what is left then gives it at least a
    quarter of the room that it wants.
    """
    growing = [p for p, each in enumerate(placements.chosen) if each.demand.growth is not None]
    sizes = {p: _reserved(placements.chosen[p]) for p in growing}
    new = [p for p in growing if not placements.chosen[p].stays]
    sizes |= _shared(inventory, placements, sizes, new)
    running = [p for p in growing if placements.chosen[p].stays]
    while raised := _raised(inventory, placements, sizes, running):
        sizes |= raised
    return [sizes.get(position) for position in range(len(placements.chosen))]


def _reserved(placement: Placement) -> int:
    return placement.demand.kv_bytes if placement.kv_bytes is None else placement.kv_bytes


def _shared(
    inventory: Inventory, placements: Placements, sizes: dict[int, int], who: list[int]
) -> dict[int, int]:
    """The sizes of these caches when what the sizes of all leave is shared out to them."""
    held = [
        replace(each, kv_bytes=sizes.get(position, each.kv_bytes))
        for position, each in enumerate(placements.chosen)
    ]
    left = left_bytes(inventory, replace(placements, chosen=tuple(held)))
    wanted: dict[int, int] = {}
    for position in who:
        growth = placements.chosen[position].demand.growth
        if growth is not None:
            lacking = max(0, growth.max_kv_bytes - sizes[position])
            wanted[position] = lacking // growth.step_bytes * growth.step_bytes
    # No replica spans hosts. Each host alone keeps the fractions short.
    on_host: dict[str, dict[int, int]] = defaultdict(dict)
    for position, more in wanted.items():
        on_host[placements.chosen[position].host][position] = more
    found = {}
    for here in on_host.values():
        for position, fraction in _fill(placements, here, left).items():
            growth = placements.chosen[position].demand.growth
            step = growth.step_bytes if growth else 1
            found[position] = sizes[position] + int(wanted[position] * fraction) // step * step
    return _in_whole_mib(inventory, placements, sizes, found)


def _in_whole_mib(
    inventory: Inventory, placements: Placements, sizes: dict[int, int], grown: dict[int, int]
) -> dict[int, int]:
    """The grown sizes, lowered where shares rounded up to MiB would exceed a budget.

    So the next compile, which counts in MiB, finds room for all that runs. On such a GPU all that
    grew give way alike, first to whole MiB and then MiB by MiB, so that the order of the placements
    does not matter.
    """
    chosen = placements.chosen
    found = dict(grown)
    held = Counter[GpuKey]()
    for replica in placements.frozen:
        for index, size in gpu_bytes(replica, inventory.host(replica.host)).items():
            held[replica.host, index] += demand_mib(size)
    on: dict[GpuKey, list[int]] = defaultdict(list)
    for position, each in enumerate(chosen):
        for index in each.draws_on:
            on[each.host, index].append(position)

    def mib_on(key: GpuKey) -> int:
        total = held[key]
        for position in on[key]:
            each = chosen[position]
            size = found.get(position, sizes.get(position, 0))
            total += demand_mib(each.demand.high_bytes_with(size)[each.draws_on.index(key[1])])
        return total

    for host in inventory.hosts:
        for gpu in host.gpus:
            key = (host.name, gpu.index)
            less_mib = 0
            while mib_on(key) > budget_mib(gpu.budget_bytes):
                growing = [p for p in on[key] if p in found and found[p] > sizes[p]]
                if not growing:
                    break
                found |= {p: _lowered(chosen[p], sizes[p], found[p], less_mib) for p in growing}
                less_mib = 1
    return found


def _lowered(placement: Placement, least: int, size: int, less_mib: int) -> int:
    """The largest size, in whole steps, at which each share has so many MiB less, rounded down."""
    growth = placement.demand.growth
    if growth is None or size <= least:
        return size
    most = [budget_mib(high) - less_mib for high in placement.demand.high_bytes_with(size)]
    while size > least:
        now = placement.demand.high_bytes_with(size)
        over = max(high - (mib << 20) for high, mib in zip(now, most, strict=True))
        if over <= 0:
            return size
        size -= -(-over // growth.step_bytes) * growth.step_bytes
    return least


def _raised(
    inventory: Inventory, placements: Placements, sizes: dict[int, int], running: list[int]
) -> dict[int, int]:
    """Caches of running replicas that gain enough to be worth a restart, with their new sizes.

    Who gains least steps back first, so that the others share what it leaves.
    """
    who = [p for p in running if sizes[p] < _wanted(placements.chosen[p])]
    while who:
        found = _shared(inventory, placements, sizes, who)
        gains = {
            p: Fraction(found[p] - sizes[p], max(1, _wanted(placements.chosen[p]))) for p in who
        }
        least = min(who, key=lambda p: (gains[p], p))
        if gains[least] * WORTH_A_RESTART >= 1:
            return found
        # All that gain nothing step back at once: nothing is left on their GPUs.
        who = [p for p in who if p != least and (gains[p] or gains[least])]
    return {}


def _wanted(placement: Placement) -> int:
    growth = placement.demand.growth
    return growth.max_kv_bytes if growth else 0


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
