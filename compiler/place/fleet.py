"""The fleet as one integer program, a column for each place, to find out which rules clash.

It decides no placement; small fleets alone are looked at so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from compiler.ir.demand import Demand, Demands, Option
from compiler.ir.inventory import GpuKey, Inventory
from compiler.ir.placement import Placement
from compiler.ir.plan import Plan, Replica
from compiler.ir.pool import gpu_bytes, ram_bytes
from compiler.ir.rules import are_apart
from compiler.ir.spec import Service, Spec
from compiler.ir.units import budget_mib, demand_mib
from compiler.place.alone import alone
from compiler.place.ladder import thin
from compiler.place.solver import Program

Place = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A variable of the program: how many replicas run in this way at this place."""

    variable: int
    option: Option
    host: str
    gpus: tuple[int, ...]
    demand: Demand
    mib: tuple[tuple[GpuKey, int], ...]
    """What one replica takes of each GPU: all of it where its engine cannot share one."""
    ram_mib: int

    @property
    def draws_on(self) -> tuple[int, ...]:
        """GPUs of whose memory it takes; on the CPU of a host with one pool, the pool's."""
        return tuple(index for (_, index), _ in self.mib)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """Which rules to leave out, to find out what stands in the way."""

    coverage: bool = False
    """No service has to be placed, and those that are take the least memory, whatever the rung."""
    max_moves: bool = False
    spread: bool = False
    apart: bool = False


@dataclass(slots=True)
class Fleet:
    """The program under construction, and how to read its answer."""

    inventory: Inventory
    spec: Spec
    frozen: tuple[Replica, ...]
    previous: Plan | None
    relaxed: Relaxation
    budgets: dict[GpuKey, int] = field(init=False)
    """Of each GPU, in MiB."""
    program: Program = field(default_factory=Program)
    columns: list[Column] = field(default_factory=list)
    by_service: dict[str, list[Column]] = field(default_factory=lambda: defaultdict(list))
    free_mib: dict[GpuKey, int] = field(default_factory=dict)
    loads: dict[GpuKey, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    moves: dict[int, int] = field(default_factory=dict)
    """Replicas that move."""
    disturbance: dict[int, int] = field(default_factory=dict)
    """Replicas that move or change their variant, and, weighing less, those that move."""

    def __post_init__(self) -> None:
        """Counts the budgets, by which columns are made."""
        self.budgets = {
            (host.name, gpu.index): budget_mib(gpu.budget_bytes)
            for host in self.inventory.hosts
            for gpu in host.gpus
        }

    @property
    def services(self) -> list[Service]:
        """Services that are to be placed: frozen ones stand where they stood."""
        frozen = {replica.service for replica in self.frozen}
        return [service for service in self.spec.services if service.name not in frozen]

    def of(self, service: str) -> list[Column]:
        """The columns of a service."""
        return self.by_service[service]

    def add(self, option: Option, place: Place, demand: Demand, most: int) -> Column:
        """A new column for at most so many replicas."""
        host, gpus = place
        draws_on = gpus or ((0,) if demand.site.unified else ())
        service, request = self.spec.service(option.service), demand.request
        whole = alone(service, request.engine, request.version)
        column = Column(
            variable=self.program.variable(most),
            option=option,
            host=host,
            gpus=gpus,
            demand=demand,
            mib=tuple(
                (
                    (host, index),
                    self.budgets[host, index] if whole else demand_mib(size),
                )
                for index, size in zip(draws_on, demand.taken_bytes, strict=True)
            ),
            ram_mib=demand_mib(demand.ram_high_bytes),
        )
        self.columns.append(column)
        self.by_service[option.service].append(column)
        return column

    def chosen(self, values: tuple[int, ...]) -> tuple[Placement, ...]:
        """The placements that the values stand for, one for each replica."""
        return tuple(
            Placement(
                service=column.option.service,
                variant=column.option.variant,
                host=column.host,
                gpus=column.gpus,
                demand=column.demand,
            )
            for column in self.columns
            for _ in range(values[column.variable])
        )


def build(
    inventory: Inventory,
    spec: Spec,
    demands: Demands,
    frozen: tuple[Replica, ...],
    previous: Plan | None,
    relaxed: Relaxation | None = None,
) -> Fleet:
    """The program of a fleet, with at most MAX_LADDER steps of each ladder."""
    fleet = Fleet(inventory, spec, frozen, previous, relaxed or Relaxation())
    for service in fleet.services:
        for option in demands.options[service.name]:
            for place in option.places():
                for demand in thin(option.demands):
                    fleet.add(option, place, demand, service.replicas)
    _add_rules(fleet)
    if fleet.relaxed.coverage:
        _add_closest(fleet)
    return fleet


def _add_rules(fleet: Fleet) -> None:
    _add_budgets(fleet)
    _add_host_limits(fleet)
    for service in fleet.services:
        every = {column.variable: 1 for column in fleet.of(service.name)}
        fleet.program.at_most("", every, service.replicas)
        if not service.optional and not fleet.relaxed.coverage:
            fleet.program.at_least(f"replicas {service.name}", every, service.replicas)
        if service.placement.spread and not fleet.relaxed.spread:
            _add_spread(fleet, service)
    if not fleet.relaxed.apart:
        _add_apart(fleet)
    _add_moves(fleet)


def _add_budgets(fleet: Fleet) -> None:
    held = Counter[GpuKey]()
    for replica in fleet.frozen:
        service = fleet.spec.service(replica.service)
        whole = alone(service, replica.engine, replica.engine_version)
        for index, size in gpu_bytes(replica, fleet.inventory.host(replica.host)).items():
            key = (replica.host, index)
            held[key] += fleet.budgets[key] if whole else demand_mib(size)
    for column in fleet.columns:
        for key, mib in column.mib:
            fleet.loads[key][column.variable] = mib
    for host in fleet.inventory.hosts:
        for gpu in host.gpus:
            key = (host.name, gpu.index)
            fleet.free_mib[key] = fleet.budgets[key] - held[key]
            if fleet.loads.get(key):
                name = f"budget {host.name}/{gpu.index}"
                fleet.program.at_most(name, fleet.loads[key], fleet.free_mib[key])


def _add_host_limits(fleet: Fleet) -> None:
    for host in fleet.inventory.hosts:
        here = [column for column in fleet.columns if column.host == host.name]
        if not here:
            continue
        stays = [replica for replica in fleet.frozen if replica.host == host.name]
        ram = budget_mib(host.ram_budget_bytes)
        ram -= sum(demand_mib(ram_bytes(replica, host)) for replica in stays)
        needs = {column.variable: column.ram_mib for column in here}
        fleet.program.at_most(f"ram {host.name}", needs, ram)
        n_ports = host.ports[1] - host.ports[0] + 1 - len(stays)
        if sum(service.replicas for service in fleet.services) > n_ports:
            fleet.program.at_most(f"ports {host.name}", {c.variable: 1 for c in here}, n_ports)


def _add_spread(fleet: Fleet, service: Service) -> None:
    shared: dict[object, dict[int, int]] = defaultdict(dict)
    for column in fleet.of(service.name):
        if service.placement.spread == "host" or not column.gpus:
            shared[column.host][column.variable] = 1
        else:
            for gpu in column.gpus:
                shared[column.host, gpu][column.variable] = 1
    for terms in shared.values():
        fleet.program.at_most(f"spread {service.name}", terms, 1)


def _add_apart(fleet: Fleet) -> None:
    services = fleet.spec.services
    frozen_on = defaultdict(set)
    for replica in fleet.frozen:
        for share in replica.shares:
            frozen_on[replica.service].add((replica.host, share.gpu))
    on = {service.name: _columns_by_gpu(fleet, service.name) for service in services}
    for position, first in enumerate(services):
        for second in services[position + 1 :]:
            if not are_apart(first, second):
                continue
            name = f"apart_from {first.name} {second.name}"
            for key in sorted(on[first.name].keys() & on[second.name].keys()):
                either = fleet.program.variable(1)
                left, right = on[first.name][key], on[second.name][key]
                fleet.program.at_most(name, {**left, either: -first.replicas}, 0)
                fleet.program.at_most(name, {**right, either: second.replicas}, second.replicas)
            for mover, stayer in ((first, second), (second, first)):
                for key in sorted(frozen_on[stayer.name] & on[mover.name].keys()):
                    fleet.program.at_most(name, on[mover.name][key], 0)


def _columns_by_gpu(fleet: Fleet, service: str) -> dict[GpuKey, dict[int, int]]:
    found: dict[GpuKey, dict[int, int]] = defaultdict(dict)
    for column in fleet.of(service):
        for gpu in column.gpus:
            found[column.host, gpu][column.variable] = 1
    return found


@dataclass(frozen=True, slots=True)
class _Stays:
    """Variables that count, for one service, the running replicas that stay."""

    moved: int
    disturbed: int


def _add_moves(fleet: Fleet) -> None:
    """Counts replicas that move, and those that move or change their variant; bounds the moves.

    A replica counts as new, not as moved, when the service has more replicas than before.
    """
    disturbed: dict[int, int] = {}
    moved: dict[int, int] = {}
    for service in fleet.services:
        stays = _stays(fleet, service)
        if stays:
            moved[stays.moved] = 1
            disturbed[stays.disturbed] = 1
    fleet.moves = moved
    most = fleet.spec.policy.max_moves
    if most is not None and moved and not fleet.relaxed.max_moves:
        fleet.program.at_most("max_moves", moved, most)
    n_services = len(moved) * max((s.replicas for s in fleet.services), default=1)
    weight = n_services + 1
    combined = Counter(dict.fromkeys(disturbed, weight))
    combined.update(moved)
    fleet.disturbance = dict(combined)


def _stays(fleet: Fleet, service: Service) -> _Stays | None:
    before = [
        replica
        for replica in (fleet.previous.replicas if fleet.previous else ())
        if replica.service == service.name
    ]
    if not before:
        return None
    program = fleet.program
    columns = fleet.of(service.name)
    every = {column.variable: 1 for column in columns}
    at: dict[Place, dict[int, int]] = defaultdict(dict)
    alike: dict[tuple[Place, str], dict[int, int]] = defaultdict(dict)
    for column in columns:
        place = (column.host, column.gpus)
        at[place][column.variable] = 1
        alike[place, service.variants[column.option.variant].name][column.variable] = 1
    places = Counter(_place_of(replica) for replica in before)
    ways = Counter((_place_of(replica), replica.variant) for replica in before)
    stays = [_counted(program, at[place], n) for place, n in sorted(places.items())]
    same = [_counted(program, alike[way], n) for way, n in sorted(ways.items())]
    new = _counted_beyond(program, every, len(before), service.replicas)
    moved = _shortfall(program, every, [*stays, new], service.replicas)
    disturbed = _shortfall(program, every, [*same, new], service.replicas)
    return _Stays(moved, disturbed)


def _place_of(replica: Replica) -> Place:
    return replica.host, tuple(share.gpu for share in replica.shares)


def _counted(program: Program, terms: dict[int, int], most: int) -> int:
    """A variable of at most `most` and at most the sum of terms."""
    variable = program.variable(most)
    program.at_most("", {variable: 1, **dict.fromkeys(terms, -1)}, 0)
    return variable


def _counted_beyond(program: Program, terms: dict[int, int], base: int, most: int) -> int:
    """A variable of at most: the sum of terms beyond base; 0 when the sum is smaller."""
    surplus = max(0, most - base)
    variable = program.variable(surplus)
    if surplus:
        beyond = program.variable(1)
        # Without `beyond` there is no surplus; with it, the sum less the base bounds it.
        program.at_most("", {variable: 1, beyond: -surplus}, 0)
        program.at_most("", {variable: 1, **dict.fromkeys(terms, -1), beyond: base}, 0)
    return variable


def _shortfall(program: Program, every: dict[int, int], settled: list[int], most: int) -> int:
    """A variable of at least: replicas placed, less those that stay or are new."""
    variable = program.variable(most)
    terms = {variable: 1, **dict.fromkeys(every, -1), **dict.fromkeys(settled, 1)}
    program.at_least("", terms, 0)
    return variable


def rank(service: Service) -> tuple[bool, int]:
    """Who is placed first when not all fit, the smallest: what is needed, then by priority."""
    return service.optional, -service.priority


def _add_closest(fleet: Fleet) -> None:
    """As many replicas as can be placed, rank by rank, in as little memory as they can take."""
    for each in sorted({rank(service) for service in fleet.services}):
        here = [service for service in fleet.services if rank(service) == each]
        terms = {c.variable: -1 for s in here for c in fleet.of(s.name)}
        fleet.program.minimise(f"coverage at rank {each}", terms)
    taken = {c.variable: sum(mib for _, mib in c.mib) + c.ram_mib for c in fleet.columns}
    fleet.program.minimise("memory", taken)
