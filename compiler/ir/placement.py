"""Where every replica stands, or why that cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from compiler.ir.demand import Demand, Refused, TooLarge
from compiler.ir.engine_name import EngineName
from compiler.ir.inventory import GpuKey
from compiler.ir.plan import Objective, Optimality, Replica, Unplaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One replica of a service on its devices."""

    service: str
    variant: int
    host: str
    gpus: tuple[int, ...]
    demand: Demand
    kv_bytes: int | None = None
    """KV cache that is reserved on the GPU that has most. None: as much as the demand has."""
    stays: bool = False
    """Goes on as it runs, with the share that it has: what is left over does not restart it."""

    @property
    def draws_on(self) -> tuple[int, ...]:
        """GPUs whose memory it takes: its own, and on the CPU of a host with one pool the pool's.

        As long as `Demand.high_bytes_with`; the GPU of a pool is its host's only one.
        """
        return self.gpus or ((0,) if self.demand.site.unified else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Spare:
    """Where a replica that stands on a host would go if that host were lost."""

    lost: str
    service: str
    variant: int
    host: str
    gpus: tuple[int, ...]
    mib: tuple[int, ...]
    """What it would take of each GPU."""
    ram_mib: int
    tensor_parallel: int


def spare_mib(spares: Iterable[Spare]) -> dict[GpuKey, int]:
    """MiB of each GPU that are kept for the loss of a host: the most that any one loss takes."""
    of_loss: Counter[tuple[str, GpuKey]] = Counter()
    for spare in spares:
        for index, mib in zip(spare.gpus, spare.mib, strict=True):
            of_loss[spare.lost, (spare.host, index)] += mib
    most: dict[GpuKey, int] = {}
    for (_, key), mib in of_loss.items():
        most[key] = max(most.get(key, 0), mib)
    return most


@dataclass(frozen=True, slots=True, kw_only=True)
class Placements:
    """The whole answer of the place pass. Frozen replicas are taken over from the previous plan."""

    chosen: tuple[Placement, ...]
    frozen: tuple[Replica, ...]
    unplaced: tuple[Unplaced, ...]
    objectives: tuple[Objective, ...] = ()
    optimality: Optimality = "optimal"
    disturbed: int = 0
    """Running replicas that do not go on as they run, and of them those that move."""
    moved: int = 0
    spares: tuple[Spare, ...] = ()
    """One for each replica of a service that is to survive the loss of its host."""
    exposed: tuple[str, ...] = ()
    """Services that are to survive and would not, as a loss is being borne or they are frozen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitsNowhere:
    """No place of the fleet could hold one replica, even if it were empty."""

    service: str
    too_large: tuple[TooLarge, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """What a replica holds of a device in the closest placement that there is."""

    service: str
    priority: int
    share_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A service whose replicas have their GPUs to themselves, and why."""

    service: str
    engine: EngineName | None = None
    """The engine that counts what others hold on its GPUs; None: `exclusive` says so."""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A device that lacks memory for a service, with who else is on it."""

    device: str
    """`host/index`, or `host` for its RAM."""
    need_mib: int
    free_mib: int
    budget_mib: int
    tenants: tuple[Tenant, ...]
    alone: Alone | None = None
    """Who cannot share the device, if that is why nothing of it is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowded:
    """A service that fits an empty fleet but not beside the others."""

    service: str
    wanted: int
    placed: int
    variant: str
    shortages: tuple[Shortage, ...]
    """Of the place where the least is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesClash:
    """Named rules that cannot all hold, though memory would suffice without one of them."""

    rules: tuple[str, ...]
    without: tuple[str, ...]
    """Each of these rules alone, taken out, lets everything be placed."""
    moves: int | None = None
    """The fewest running replicas that move when max_moves is taken out, if it is one of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeBroken:
    """A frozen replica whose place no longer holds it."""

    replica: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfPorts:
    """A host whose range of ports is too short for the replicas that must stand there."""

    host: str
    ports: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSpare:
    """A service that would not survive the loss of a host."""

    lost: str
    service: str
    replicas: int
    """How many of those that stand there find no room."""
    host: str | None = None
    """Where least is missing; None when no other host is in its reach."""
    gpus: tuple[int, ...] = ()
    variant: str = ""
    need_mib: tuple[int, ...] = ()
    missing_mib: int = 0
    tenants: tuple[Tenant, ...] = ()
    """Who holds memory of these GPUs."""


Conflict = NoSpare | FitsNowhere | Crowded | RulesClash | FreezeBroken | OutOfPorts


class PlacementError(Exception):
    """The fleet cannot be placed; carries every conflict."""

    def __init__(self, conflicts: tuple[Conflict, ...]) -> None:
        super().__init__(f"{len(conflicts)} conflicts")
        self.conflicts = conflicts
