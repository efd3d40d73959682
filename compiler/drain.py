"""Placing beside hosts that are drained: what runs there leaves, unless it has no other place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from compiler.ir.demand import Demands, Option
from compiler.ir.inventory import Inventory
from compiler.ir.placement import PlacementError, Placements
from compiler.ir.plan import Plan, Replica
from compiler.ir.rules import leaving
from compiler.ir.spec import Service, Spec
from compiler.place import surviving
from compiler.place.placing import How
from compiler.place.surviving import place_surviving

Stay = tuple[str, str, tuple[int, ...]]
"""Service, drained host and GPUs there."""


def fits(inventory: Inventory, spec: Spec, demands: Demands, previous: Plan | None) -> bool:
    """Whether all that is not optional can be placed; what runs on drained hosts may stay there."""
    return surviving.fits(inventory, spec, demands, previous)


def place_draining(
    inventory: Inventory,
    spec: Spec,
    demands: Demands,
    previous: Plan | None,
    how: How | None = None,
) -> Placements:
    """The best placement in which as few replicas as possible stay on drained hosts.

    None of them is stopped before it has another place: when not all can leave, those that come
    first leave first. Raises PlacementError when there is no placement even if all stay.
    """
    stays = _stays(spec, leaving(inventory, previous))
    if not stays:
        return place_surviving(inventory, spec, demands, previous, how)

    def with_leaving(count: int) -> Placements | None:
        try:
            return place_surviving(inventory, spec, _barred(demands, stays[:count]), previous, how)
        except PlacementError:
            return None

    emptied = with_leaving(len(stays))
    if emptied and not emptied.unplaced:
        return emptied
    # When nothing leaves, the most is covered; who leaves must not lower that.
    best = place_surviving(inventory, spec, demands, previous, how)
    covered = _missing(best)
    low, high = 0, len(stays)
    if emptied and _missing(emptied) <= covered:
        return emptied
    # Leaving is harder the more have to, so that the most that can is found by bisection.
    while high - low > 1:
        middle = (low + high) // 2
        answer = with_leaving(middle)
        if answer and _missing(answer) <= covered:
            best, low = answer, middle
        else:
            high = middle
    return best


def _stays(spec: Spec, replicas: Iterable[Replica]) -> list[Stay]:
    """Where running replicas could stay, those first that come first: needed, then by priority."""
    services = {service.name: service for service in spec.services}
    found = {
        (replica.service, replica.host, tuple(share.gpu for share in replica.shares))
        for replica in replicas
        if replica.service in services and replica.service not in spec.policy.freeze
    }

    def order(stay: Stay) -> tuple[object, ...]:
        service: Service = services[stay[0]]
        return service.optional, -service.priority, stay

    return sorted(found, key=order)


def _barred(demands: Demands, stays: Iterable[Stay]) -> Demands:
    """The demands without these places on drained hosts."""
    barred = set(stays)

    def is_open(option: Option) -> bool:
        # An option on a drained host is of one host and one group.
        return (option.service, option.hosts[0], option.groups[0]) not in barred

    options = {name: tuple(filter(is_open, found)) for name, found in demands.options.items()}
    return replace(demands, options=options)


def _missing(placements: Placements) -> int:
    return sum(each.wanted - each.placed for each in placements.unplaced)
