"""Levels of a KV cache: the least with which a replica starts, a quarter and half of what it wants.

Half is enough for the placement: what is left of each GPU is shared out afterwards, up to all that
is wanted. With all of it as a level, the best plan would lay every service over every GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.demand import Demand
from compiler.ir.units import MIB, demand_mib, round_up

POINTS = ((4, 3), (2, 1))
"""One part of the room wanted, and the points of a replica that has less than it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A size of a demand's KV cache on the GPU that has most, and what each GPU then holds."""

    kv_bytes: int | None
    mib: tuple[int, ...]
    points: int


def points_of(kv_bytes: int, wanted_bytes: int) -> int:
    """Room that is missing: 3 below a quarter of what is wanted, 1 below half, else 0."""
    return next((missing for part, missing in POINTS if kv_bytes * part < wanted_bytes), 0)


def levels_of(demand: Demand, budgets_mib: tuple[int, ...]) -> list[Level]:
    """The levels that GPUs of these budgets can hold, the least first."""
    mib = tuple(map(demand_mib, demand.taken_bytes))
    growth = demand.growth
    least = demand.kv_bytes
    if growth is None or not least:
        return [Level(kv_bytes=None, mib=mib, points=0)]
    wanted = growth.max_kv_bytes
    found = [Level(kv_bytes=least, mib=mib, points=points_of(least, wanted))]
    for part, _ in POINTS:
        kv_bytes = round_up(-(-wanted // part), growth.step_bytes)
        if kv_bytes > (found[-1].kv_bytes or 0):
            mib = mib_with(demand, kv_bytes)
            if all(need <= budget for need, budget in zip(mib, budgets_mib, strict=True)):
                found.append(Level(kv_bytes=kv_bytes, mib=mib, points=points_of(kv_bytes, wanted)))
    return found


def mib_with(demand: Demand, kv_bytes: int) -> tuple[int, ...]:
    """What each GPU holds with this much KV on the GPU that has most."""
    return tuple(map(demand_mib, demand.high_bytes_with(kv_bytes)))


def filled(demand: Demand, budgets_mib: tuple[int, ...]) -> Level:
    """The one level of a replica that has its GPUs to itself: all of them, up to what is wanted."""
    growth = demand.growth
    least = demand.kv_bytes
    if growth is None or not least:
        return Level(kv_bytes=None, mib=budgets_mib, points=0)
    steps = least // growth.step_bytes
    most = min(
        (
            (budget * MIB - taken + device.kv.high_bytes) // (device.kv.bytes // steps)
            for device, taken, budget in zip(
                demand.devices, demand.taken_bytes, budgets_mib, strict=True
            )
            if device.kv.bytes
        ),
        default=steps,
    )
    kv_bytes = min(growth.max_kv_bytes, max(steps, most) * growth.step_bytes)
    kv_bytes = max(least, kv_bytes)
    return Level(
        kv_bytes=kv_bytes, mib=budgets_mib, points=points_of(kv_bytes, growth.max_kv_bytes)
    )
