"""The fleet as the place pass counts it: families of alike groups of GPUs, services and ways.

Everything is a number here: hosts, GPUs and services in the order of their names, memory in MiB,
demands rounded up and budgets rounded down. Places that no rule and no memory can tell apart are
one family, so that tables are as long as there are families and not places.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from compiler.ir.demand import Demand, Demands, Option
from compiler.ir.inventory import GpuKey, Inventory
from compiler.ir.plan import Replica
from compiler.ir.pool import gpu_bytes, ram_bytes
from compiler.ir.rules import are_apart
from compiler.ir.spec import Spec
from compiler.ir.units import budget_mib, demand_mib
from compiler.place.alone import alone
from compiler.place.ladder import loss_of, thin
from compiler.place.levels import Level, filled, levels_of

Place = tuple[int, tuple[int, ...]]
"""A host and GPUs of it, by their numbers in the fleet; none for the CPU.

Where one pool serves both, what is on the CPU stands on the GPU, of whose memory it takes.
"""


# No fleet has a million replicas of a service.
_MOST_DIGITS = 6


@dataclass(slots=True, eq=False)
class Family:
    """Groups of GPUs that are alike: of one size, on alike hosts, in reach of the same rules."""

    number: int
    size: int
    one_island: bool
    places: list[Place]
    hosts: list[int]

    @property
    def span(self) -> int:
        """Twice the GPUs of a replica, and one more when they are not in one island."""
        return 2 * self.size + (not self.one_island)


@dataclass(slots=True, eq=False)
class Way:
    """How a replica of a service can run on any place of a family, with one level of its cache."""

    service: int
    variant: int
    family: int
    demand: Demand
    mib: tuple[int, ...]
    """On each GPU, in the order of the group."""
    ram: int
    loss: int
    """Thousandths of a rung."""
    points: int
    kv_bytes: int | None
    """None: the cache has one size, or there is none."""
    span: int
    bulk: int
    """MiB of the GPUs that it stands on, by size class: the less, the more is left for others."""
    ladder: list[Way] = field(default_factory=list)
    """Its levels, the least first."""
    only: int | None = None
    """The place of the family, for what goes on there as it runs; None: any."""
    size: int = 0
    total: int = 0
    least_mib: int = 0
    uniform: bool = True

    def __post_init__(self) -> None:
        self.size = len(self.mib)
        self.total = sum(self.mib)
        self.least_mib = min(self.mib, default=self.ram)
        self.uniform = len(set(self.mib)) <= 1


@dataclass(slots=True, eq=False, kw_only=True)
class Runs:
    """A replica of the previous plan whose service is still wanted."""

    service: int
    name: str
    place: Place | None
    """None when it is gone."""
    way: Way | None
    """As it runs; None when it cannot go on so, or is asked for something else."""
    changed: bool


class Problem:
    """A fleet to be placed; what is frozen is taken off first."""

    def __init__(
        self,
        inventory: Inventory,
        spec: Spec,
        demands: Demands,
        frozen: tuple[Replica, ...],
    ) -> None:
        self.inventory, self.spec, self.demands, self.frozen = inventory, spec, demands, frozen
        self.policy = spec.policy
        held = {replica.service for replica in frozen}
        self.services = [service for service in spec.services if service.name not in held]
        self.index = {service.name: i for i, service in enumerate(self.services)}
        self._number_devices()
        self._take_frozen()
        self.priorities = sorted({s.priority for s in self.services}, reverse=True)
        self.apart = self._apart()
        self.families: list[Family] = []
        self.place_at: dict[Place, list[tuple[int, int]]] = defaultdict(list)
        """Families that hold a place, with its number there."""
        self.ways: list[list[Way]] = []
        """Every level of every way of each service."""
        self.least: list[list[Way]] = []
        """Those at the least level alone."""
        self._add_ways()
        self.hosts_of = [
            sorted({h for way in ways for h in self.families[way.family].hosts})
            for ways in self.least
        ]
        self.possible = [self._possible(i) for i in range(len(self.services))]
        self.running: list[Runs] = []
        """Filled by `running.py`, which asks this object for its ways."""

    # Devices

    def _number_devices(self) -> None:
        self.host_names = [host.name for host in self.inventory.hosts]
        self.host_number = {name: number for number, name in enumerate(self.host_names)}
        self.gpu_host: list[int] = []
        self.gpu_index: list[int] = []
        self.budget: list[int] = []
        """MiB of each GPU, frozen replicas not taken off."""
        self.host_gpus: list[list[int]] = []
        for number, host in enumerate(self.inventory.hosts):
            self.host_gpus.append([])
            for gpu in host.gpus:
                self.host_gpus[-1].append(len(self.gpu_host))
                self.gpu_host.append(number)
                self.gpu_index.append(gpu.index)
                self.budget.append(budget_mib(gpu.budget_bytes))
        self.bulk = _size_classes(self.budget)
        """MiB of the smallest GPU that counts as large as this one."""
        self.ram = [budget_mib(host.ram_budget_bytes) for host in self.inventory.hosts]
        self.ports = [host.ports[1] - host.ports[0] + 1 for host in self.inventory.hosts]
        self.free = list(self.budget)

    def keep_free(self, kept: Mapping[GpuKey, int]) -> None:
        """Takes memory off GPUs, in MiB, that nothing may take."""
        for (name, index), mib in kept.items():
            self.free[self.host_gpus[self.host_number[name]][index]] -= mib

    def _take_frozen(self) -> None:
        """Takes frozen replicas off; their GPUs are barred to services that are apart from them."""
        by_name = {service.name: service for service in self.spec.services}
        self.barred: list[set[int]] = [set() for _ in self.services]
        for replica in self.frozen:
            host = self.host_number[replica.host]
            taken = gpu_bytes(replica, self.inventory.hosts[host])
            self.ram[host] -= demand_mib(ram_bytes(replica, self.inventory.hosts[host]))
            self.ports[host] -= 1
            frozen = by_name[replica.service]
            gpus = [self.host_gpus[host][index] for index in taken]
            whole = alone(frozen, replica.engine, replica.engine_version)
            for gpu, size in zip(gpus, taken.values(), strict=True):
                self.free[gpu] -= demand_mib(size)
                if whole:
                    self.free[gpu] = 0
            for i, service in enumerate(self.services):
                if are_apart(service, frozen):
                    self.barred[i].update(gpus)

    def _apart(self) -> list[list[int]]:
        """For each service those with which it must not share a GPU."""
        found: list[set[int]] = [set() for _ in self.services]
        for i, service in enumerate(self.services):
            for name in service.placement.apart_from:
                j = self.index.get(name)
                if j is not None:
                    found[i].add(j)
                    found[j].add(i)
        return [sorted(each) for each in found]

    # Ways

    def _add_ways(self) -> None:
        options = [o for s in self.services for o in self.demands.options[s.name]]
        classes = self._host_classes(options)
        known: dict[object, int] = {}
        for i, service in enumerate(self.services):
            least: list[Way] = []
            enough: dict[object, int] = {}
            found: list[tuple[object, list[Way]]] = []
            for option in self.demands.options[service.name]:
                for hosts in classes[option.hosts]:
                    groups = (hosts, option.groups)
                    if groups not in known:
                        known[groups] = self._add_family(hosts, option)
                    ways = self._ways_of(i, option, known[groups])
                    kinds = frozenset(self.bulk[gpu] for gpu in self.gpus_at(known[groups], 0))
                    alike: object = (option.variant, hosts, kinds)
                    found.append((alike, ways))
                    if any(level.kv_bytes and not level.points for w in ways for level in w.ladder):
                        enough[alike] = min(option.n_gpus, enough.get(alike, option.n_gpus))
            for key, ways in found:
                for way in ways:
                    if self._is_wide(i, way, enough.get(key)):
                        # The list is that of all its levels.
                        way.ladder[1:] = [level for level in way.ladder[1:] if level.points]
                least += ways
            self.least.append(least)
            self.ways.append([level for way in least for level in way.ladder])

    def _is_wide(self, i: int, way: Way, enough: int | None) -> bool:
        """Whether a replica is split over more GPUs than it needs for half of its room.

        With `enough` such GPUs to itself it would have that. A wider split is there for who would
        find no place otherwise, or have less than a quarter of its room. More room is no reason: it
        would stand in the way of more neighbours. Who lists `tensor_parallel` wants what it says.
        """
        asked_for = self.services[i].placement.tensor_parallel
        return enough is not None and way.size > enough and not asked_for

    def _host_classes(self, options: list[Option]) -> dict[tuple[str, ...], list[tuple[int, ...]]]:
        """Each set of hosts of an option as disjoint sets that no other option cuts."""
        within: dict[str, list[int]] = defaultdict(list)
        distinct = list(dict.fromkeys(option.hosts for option in options))
        for number, names in enumerate(distinct):
            for name in names:
                within[name].append(number)
        found: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
        for names in distinct:
            parts: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for name in names:
                parts[tuple(within[name])].append(self.host_number[name])
            found[names] = [tuple(part) for part in parts.values()]
        return found

    def _add_family(self, hosts: tuple[int, ...], option: Option) -> int:
        places = [
            self.place(host, group, pooled=option.demands[0].site.unified)
            for host in hosts
            for group in option.groups
        ]
        number = len(self.families)
        for n, place in enumerate(places):
            self.place_at[place].append((number, n))
        self.families.append(
            Family(number, option.n_gpus, option.one_island, places, sorted(hosts))
        )
        return number

    def place(self, host: int, group: tuple[int, ...], *, pooled: bool) -> Place:
        """The place that GPUs of a host are, by their indices there; of a pool always its GPU."""
        gpus = self.host_gpus[host]
        return host, tuple(gpus if pooled else (gpus[index] for index in group))

    def _ways_of(self, i: int, option: Option, family: int) -> list[Way]:
        """One way for each step of the option's ladder, each with its levels."""
        places = self.families[family].places
        budgets = tuple(self.budget[gpu] for gpu in places[0][1])
        found = []
        for demand in thin(option.demands):
            if budgets and self.is_alone(i, demand):
                levels = [filled(demand, budgets)]
            else:
                levels = levels_of(demand, budgets)
            ladder: list[Way] = []
            for level in levels:
                ladder.append(self.way(i, option.variant, family, demand, level, ladder))
            found.append(ladder[0])
        return found

    def is_alone(self, i: int, demand: Demand) -> bool:
        """Whether a replica has its GPUs to itself, by the spec or because its engine must."""
        request = demand.request
        return alone(self.services[i], request.engine, request.version) is not None

    def way(
        self, i: int, variant: int, family: int, demand: Demand, level: Level, ladder: list[Way]
    ) -> Way:
        """A way on a family; the caller adds it to its ladder."""
        group = self.families[family]
        return Way(
            service=i,
            variant=variant,
            family=family,
            demand=demand,
            mib=level.mib,
            ram=demand_mib(demand.ram_high_bytes),
            loss=loss_of(self.services[i], variant, demand),
            points=level.points,
            kv_bytes=level.kv_bytes,
            span=group.span,
            bulk=sum(self.bulk[gpu] for gpu in group.places[0][1]),
            ladder=ladder,
        )

    def _possible(self, i: int) -> int:
        """Replicas of a service that an empty fleet could hold."""
        service = self.services[i]
        if not self.least[i]:
            return 0
        if service.placement.spread == "host":
            return min(service.replicas, len(self.hosts_of[i]))
        return service.replicas

    def gpus_at(self, family: int, place: int) -> tuple[int, ...]:
        """The GPUs of a place."""
        return self.families[family].places[place][1]


def _size_classes(budgets: list[int]) -> list[int]:
    """For each GPU the smallest budget that is less than an eighth below that of its class.

    Kinds of one nominal size differ by a few MiB, which is no reason to prefer one of them.
    """
    first: dict[int, int] = {}
    smallest = 0
    for mib in sorted(set(budgets)):
        if mib * 7 >= smallest * 8:
            smallest = mib
        first[mib] = smallest
    return [first[mib] for mib in budgets]
