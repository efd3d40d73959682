"""Gives layers that a partial offload left in RAM the GPU memory that nobody else has taken."""

from __future__ import annotations

from dataclasses import replace

from compiler.assemble.room import left_bytes
from compiler.engines.registry import engine_of
from compiler.ir.demand import Refusal
from compiler.ir.inventory import GpuKey, Inventory
from compiler.ir.placement import Placement, Placements
from compiler.ir.spec import Spec


def with_more_layers(inventory: Inventory, spec: Spec, placements: Placements) -> Placements:
    """The placements, each partial offload cut anew by what is really left on its GPUs.

    The place pass chose among cuts by the budgets of empty GPUs; what the other replicas leave
    may hold more layers when it is dealt out as it is. Higher priority first.
    """
    left = left_bytes(inventory, placements)
    priority = {service.name: service.priority for service in spec.services}
    chosen = list(placements.chosen)
    order = sorted(
        range(len(chosen)), key=lambda n: (-priority[chosen[n].service], chosen[n].service, n)
    )
    for number in order:
        placement = chosen[number]
        if placement.gpus and placement.demand.partial and not placement.stays:
            chosen[number] = _deeper(placement, left)
    return replace(placements, chosen=tuple(chosen))


def _deeper(placement: Placement, left: dict[GpuKey, int]) -> Placement:
    """The placement with the most layers on its GPUs that fit; `left` is kept true."""
    demand = placement.demand
    keys = [(placement.host, gpu) for gpu in placement.draws_on]
    own = demand.taken_bytes
    room = [left[key] + size for key, size in zip(keys, own, strict=True)]
    site = replace(demand.site, budgets_bytes=tuple(room))
    answer = engine_of(demand.request.engine).demands(demand.request, site)
    for better in () if isinstance(answer, Refusal) else answer:
        if better.host_permille >= demand.host_permille:
            break
        sizes = better.taken_bytes
        fits = all(size <= most for size, most in zip(sizes, room, strict=True))
        if fits and better.ram_high_bytes <= demand.ram_high_bytes:
            for key, most, size in zip(keys, room, sizes, strict=True):
                left[key] = most - size
            return replace(placement, demand=better)
    return placement
