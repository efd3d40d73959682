"""Names of replicas: who was `chat-0` before stays `chat-0` wherever that can be said."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compiler.ir.names import natural_key
from compiler.ir.placement import Placement
from compiler.ir.plan import Plan, Replica
from compiler.ir.spec import Service, Spec

# No fleet has a million replicas of a service.
_NAME = re.compile(r"-(0|[1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A placement with the number of its replica, and the replica of that name before."""

    number: int
    placement: Placement
    before: Replica | None

    @property
    def name(self) -> str:
        """`<service>-<number>`."""
        return f"{self.placement.service}-{self.number}"


def name_replicas(
    spec: Spec, placements: tuple[Placement, ...], previous: Plan | None
) -> list[Named]:
    """Numbers every placement: by place, then what moved takes the free old names in order."""
    named: list[Named] = []
    for service in spec.services:
        here = sorted(
            (each for each in placements if each.service == service.name),
            key=lambda each: (natural_key(each.host), each.gpus, each.variant),
        )
        before = {
            number: replica
            for replica in (previous.replicas if previous else ())
            if replica.service == service.name and (number := number_of(replica)) is not None
        }
        named += _name_service(service, here, before)
    return named


def _name_service(
    service: Service, here: list[Placement], before: dict[int, Replica]
) -> list[Named]:
    free = dict(sorted(before.items()))
    named: list[Named] = []
    homeless = here
    # Who runs on in its place comes first: another replica may have moved in beside it.
    for is_same in (_runs_on, _stands_on):
        moving = []
        for placement in homeless:
            number = next((n for n, r in free.items() if is_same(service, r, placement)), None)
            if number is None:
                moving.append(placement)
            else:
                named.append(Named(number=number, placement=placement, before=free.pop(number)))
        homeless = moving
    for placement in homeless:
        number = next(iter(free), None)
        taken = {each.number for each in named}
        if number is None:
            number = next(n for n in range(len(here) + len(taken)) if n not in taken)
        named.append(Named(number=number, placement=placement, before=free.pop(number, None)))
    return sorted(named, key=lambda each: each.number)


def _runs_on(service: Service, replica: Replica, placement: Placement) -> bool:
    variant = service.variants[placement.variant].name
    return replica.variant == variant and _stands_on(service, replica, placement)


def _stands_on(_: Service, replica: Replica, placement: Placement) -> bool:
    gpus = tuple(share.gpu for share in replica.shares)
    return (replica.host, gpus) == (placement.host, placement.gpus)


def number_of(replica: Replica) -> int | None:
    """The number in a name; None for a name that modelc does not give."""
    match = _NAME.fullmatch(replica.name.removeprefix(replica.service))
    return int(match[1]) if match else None
