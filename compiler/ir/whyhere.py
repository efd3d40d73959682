"""Why a replica stands where it stands: the rule or objective that decided, and the alternatives.

Codes are stable; docs/explain.md lists them, and views/whyhere.py words them.
"""

from __future__ import annotations

from typing import Literal

from compiler.ir.facts import Record

WorseCode = Literal[
    "rung", "moves", "room", "gpus", "islands", "same-host", "same-gpu", "squeezes", "crowds",
    "larger-gpus", "shares-gpu", "more-in-use", "name", "better",
]  # fmt: skip
"""In what another place is worse, the first that counts; `better`: it is better by itself."""

HereCode = Literal[
    "frozen", "pinned", "only-place", "only-kind", "only-room",
    "rung", "moves", "room", "gpus", "islands", "same-host", "same-gpu", "squeezes", "crowds",
    "larger-gpus", "shares-gpu", "more-in-use", "name", "better",
]  # fmt: skip
"""What decided: a rule, that nothing else is open, or in what the next best place is worse."""

BarredCode = Literal[
    "hosts", "pin", "engine", "drained", "kinds", "min_compute", "broken", "refused", "too-large",
]  # fmt: skip


class Elsewhere(Record):
    """Another place where a replica could stand, all others left where they are."""

    place: str
    """`host/index,index`."""
    kinds: list[str]
    """Kind of each GPU there."""
    variant: str
    in_ram: bool
    """Whether layers, or experts of layers, would be in RAM there."""
    code: WorseCode
    amount: int
    """By how much it is worse, in the unit of the code: thousandths of rungs, replicas, points of
    room, GPUs, pairs of replicas, MiB; 0 for a name."""
    room_permille: int | None
    """Most that the KV cache could have there of the room wanted; None for one of one size."""
    alike: int = 0
    """Places of this kind that are open beside it."""


class Barred(Record):
    """What keeps the service off some GPUs even when they are empty."""

    code: BarredCode
    on: list[str]
    """GPU kinds, or hosts where it is about hosts."""
    missing_bytes: int = 0
    """Of the place that comes closest; 0 unless too-large."""
    detail: str = ""
    """The engine's own words when it refuses."""


class Full(Record):
    """The place without room beside the others that comes closest."""

    place: str
    kinds: list[str]
    missing_mib: int
    """Of its GPUs; 0 where something else is in the way."""
    held: dict[str, int]
    """MiB there by service, without what their caches grew by."""
    kept_mib: int = 0
    """MiB there that are kept for the loss of a host."""
    rule: str
    """What else is in the way: `spread`, `apart_from`, `ram` or `ports`."""


class WhyHere(Record):
    """Why one replica stands where it stands."""

    replica: str
    code: HereCode
    stays: bool
    """Goes on as it ran before: nothing is moved without need."""
    possible: int
    """Places that its rules allow and that could hold it empty."""
    open: int
    """Of them, those with room beside all others, whose KV caches give back what they grew by;
    its own counts."""
    room_permille: int | None
    """What its KV cache has of the room wanted; None for one of one size."""
    elsewhere: list[Elsewhere]
    """The best place of each make of GPUs, the next best first."""
    full: Full | None = None
    barred: list[Barred]


class RungPrice(Record):
    """What it would cost to run a service on a better variant that found no room."""

    variant: str
    fits: bool
    """Whether all that is needed still finds a place."""
    left_out: dict[str, int]
    """Replicas of other services that would be left out."""
    lower: dict[str, str]
    """Other services that would run on a lower variant, and on which."""
    moves: int
    """Running replicas that would move, beyond those of the plan."""
    less_room: list[str]
    """Other services whose poorest replica would have less than half of the room that it has."""
    fewer: int
    """Replicas of the service itself that would find no place."""


IdleCode = Literal["tensor_parallel", "consolidate", "rule"]


class IdleUse(Record):
    """A change that would let a service with a short KV cache use GPUs that stand idle."""

    code: IdleCode
    value: str
    """What to write, or the rule to leave out."""
    room_permille: int
    """What its poorest replica would have of the room wanted."""


class Idle(Record):
    """GPUs that stand idle beside a KV cache that is short of the room wanted."""

    gpus: list[str]
    room_permille: int
    """What the poorest replica of the service has."""
    uses: list[IdleUse]
    """Changes that were tried and would use them, the best first."""


class Reasons(Record):
    """All that is told of one service's places."""

    service: str
    concurrency: int
    here: list[WhyHere]
    rungs: list[RungPrice]
    idle: Idle | None
