"""Gives layers that a partial offload left in RAM the GPU memory that nobody else has taken."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from compiler.engines.registry import engine_of
from compiler.ir.demand import Demand, Refusal
from compiler.ir.inventory import Inventory
from compiler.ir.placement import Placement, Placements
from compiler.ir.spec import Spec
from compiler.ir.units import MIB, budget_mib, demand_mib

GpuKey = tuple[str, int]


def with_more_layers(inventory: Inventory, spec: Spec, placements: Placements) -> Placements:
    """The placements, each partial offload cut anew by what is really left on its GPUs.

    The place pass chose among cuts by the budgets of empty GPUs; what the other replicas leave
    may hold more layers when it is dealt out as it is. Higher priority first.
    """
    left = _left(inventory, placements)
    priority = {service.name: service.priority for service in spec.services}
    chosen = list(placements.chosen)
    order = sorted(
        range(len(chosen)), key=lambda n: (-priority[chosen[n].service], chosen[n].service, n)
    )
    for number in order:
        placement = chosen[number]
        if placement.gpus and placement.demand.host_layers:
            chosen[number] = _deeper(placement, left)
    return replace(placements, chosen=tuple(chosen))


def _deeper(placement: Placement, left: Counter[GpuKey]) -> Placement:
    """The placement with the most layers on its GPUs that fit; `left` is kept true."""
    demand = placement.demand
    keys = [(placement.host, gpu) for gpu in placement.gpus]
    own = _mib(demand)
    room = [left[key] + mib for key, mib in zip(keys, own, strict=True)]
    site = replace(demand.site, budgets_bytes=tuple(mib * MIB for mib in room))
    answer = engine_of(demand.request.engine).demands(demand.request, site)
    for better in () if isinstance(answer, Refusal) else answer:
        if better.host_layers >= demand.host_layers:
            break
        fits = all(mib <= most for mib, most in zip(_mib(better), room, strict=True))
        if fits and better.host.high_bytes <= demand.host.high_bytes:
            left.update(dict(zip(keys, own, strict=True)))
            left.subtract(dict(zip(keys, _mib(better), strict=True)))
            return replace(placement, demand=better)
    return placement


def _mib(demand: Demand) -> list[int]:
    return [demand_mib(breakdown.high_bytes) for breakdown in demand.devices]


def _left(inventory: Inventory, placements: Placements) -> Counter[GpuKey]:
    left = Counter(
        {
            (host.name, gpu.index): budget_mib(gpu.budget_bytes)
            for host in inventory.hosts
            for gpu in host.gpus
        }
    )
    for placement in placements.chosen:
        for gpu, mib in zip(placement.gpus, _mib(placement.demand), strict=True):
            left[placement.host, gpu] -= mib
    for replica in placements.frozen:
        for share in replica.shares:
            left[replica.host, share.gpu] -= demand_mib(share.share_bytes)
    return left
