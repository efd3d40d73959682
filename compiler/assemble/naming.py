"""Names of replicas: who was `chat-0` before stays `chat-0` wherever that can be said."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.placement import Placement
from compiler.ir.plan import Plan, Replica
from compiler.ir.spec import Spec


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
            key=lambda each: (each.host, each.gpus, each.variant),
        )
        before = {
            _number(replica): replica
            for replica in (previous.replicas if previous else ())
            if replica.service == service.name
        }
        named += _name_service(here, before)
    return named


def _name_service(here: list[Placement], before: dict[int, Replica]) -> list[Named]:
    free = dict(sorted(before.items()))
    named = []
    homeless = []
    for placement in here:
        number = next((n for n, r in free.items() if _stands_on(r, placement)), None)
        if number is None:
            homeless.append(placement)
        else:
            named.append(Named(number=number, placement=placement, before=free.pop(number)))
    for placement in homeless:
        number = next(iter(free), None)
        taken = {each.number for each in named}
        if number is None:
            number = next(n for n in range(len(here) + len(taken)) if n not in taken)
        named.append(Named(number=number, placement=placement, before=free.pop(number, None)))
    return sorted(named, key=lambda each: each.number)


def _stands_on(replica: Replica, placement: Placement) -> bool:
    gpus = tuple(share.gpu for share in replica.shares)
    return (replica.host, gpus) == (placement.host, placement.gpus)


def _number(replica: Replica) -> int:
    return int(replica.name.removeprefix(f"{replica.service}-"))
