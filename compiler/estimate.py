"""The estimate pass: each variant on each place it could stand, with what it would take there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import comb

from compiler.engines.companions import companion_facts, companions_of
from compiler.engines.registry import engine_of, traits_of
from compiler.ir.demand import (
    Demand,
    Demands,
    Option,
    Refusal,
    Refused,
    Request,
    Site,
    TooLarge,
    request_of,
)
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import ModelFacts
from compiler.ir.inventory import Gpu, Host, Inventory
from compiler.ir.lock import Lock
from compiler.ir.plan import Plan, Replica
from compiler.ir.pool import site_of
from compiler.ir.progress import Reporter, Step, silent
from compiler.ir.rules import engine_hosts, leaving, takes_gpus_only, working_gpus
from compiler.ir.spec import Service, Spec, Variant

# With more subsets than this of one host's GPUs, only runs of neighbours are offered: the GPUs of
# large hosts are alike, so that a scattered set is no better than an aligned one.
MAX_SUBSETS = 10


# Layers of a replica can be dealt out to few GPUs in many ways; on more GPUs each takes
# less, and cuts by the whole budgets do.
MAX_LEANING_GPUS = 4

_NO_FACTS = ModelFacts(
    format="config", architecture="", task="generate", parameters=0, layers=0, vocabulary=0,
    position_limit=0, quantization="", header={},
)  # fmt: skip


def estimate(
    inventory: Inventory,
    spec: Spec,
    lock: Lock,
    previous: Plan | None,
    report: Reporter = silent,
    *,
    only: frozenset[str] | None = None,
) -> Demands:
    """Every option of every service, or of `only` these, budgets of empty GPUs applied."""
    estimator = _Estimator(
        inventory,
        lock,
        _previous_groups(previous),
        len(spec.services) > 1,
        classes=_classes(inventory),
        leaving=leaving(inventory, previous),
    )
    asked = [service for service in spec.services if only is None or service.name in only]
    for number, service in enumerate(asked):
        report(Step(stage="estimate", item=service.name, done=number, total=len(asked)))
        estimator.add(service)
    return Demands(
        options={name: tuple(found) for name, found in estimator.options.items()},
        too_large={name: tuple(found) for name, found in estimator.too_large.items()},
        refused={name: tuple(found) for name, found in estimator.refused.items()},
    )


_SiteKey = tuple[int, Site]
_Groups = tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class _Estimator:
    """One run of the pass; thrown away after it. The law is asked once for all places alike."""

    inventory: Inventory
    lock: Lock
    previous_groups: dict[str, set[tuple[int, ...]]]
    shared: bool
    """Whether there is more than one service, so that a GPU may be partly taken."""
    leaving: tuple[Replica, ...] = ()
    """What runs on drained hosts: there, it alone may stay, where it is and as it is."""
    options: dict[str, list[Option]] = field(default_factory=dict)
    too_large: dict[str, list[TooLarge]] = field(default_factory=dict)
    refused: dict[str, list[Refused]] = field(default_factory=dict)
    answers: dict[_SiteKey, tuple[Demand, ...] | Refusal] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    numbers: dict[object, int] = field(default_factory=dict)
    """Numbers of requests by all that they say: services that ask alike are answered once."""
    whole: dict[int, int] = field(default_factory=dict)
    """Number of the same request without offload."""
    classes: dict[str, int] = field(default_factory=dict)
    """Of hosts, by name: those of one number have the same GPUs, RAM and engines."""
    sites: dict[tuple[bool, tuple[Gpu, ...]], Site] = field(default_factory=dict)
    reach: dict[object, list[tuple[Host, tuple[str, ...]]]] = field(default_factory=dict)
    """The first host of each class and the names of all, by rules about hosts and engine."""

    def add(self, service: Service) -> None:
        self.options[service.name] = []
        self.too_large[service.name] = []
        self.refused[service.name] = []
        for position, variant in enumerate(service.variants):
            self._add_variant(service, position, variant)

    def _add_variant(self, service: Service, position: int, variant: Variant) -> None:
        locked = self.lock.find(variant.model)
        if locked is None:
            return
        companions = companion_facts(companions_of(variant, self.lock))
        for host, names in self._alike(service, variant.engine):
            version = host.engines[variant.engine].version
            request = request_of(service, variant, locked.facts, version, companions)
            number = self._number(request)
            for site, groups in self._sites_of(host, service, variant).items():
                self._add_places(service.name, position, number, site, (host, names, groups))
            for name, extra in self._extra_groups(host, names, service, variant):
                here = (host, (name,), (extra,))
                site = self._site(host, tuple(host.gpus[index] for index in extra))
                self._add_places(service.name, position, number, site, here)
        for host, group in self._stays(service, variant):
            version = host.engines[variant.engine].version
            request = request_of(service, variant, locked.facts, version, companions)
            site = self._site(host, tuple(host.gpus[index] for index in group))
            here = (host, (host.name,), (group,))
            self._add_places(service.name, position, self._number(request), site, here)

    def _stays(self, service: Service, variant: Variant) -> list[tuple[Host, tuple[int, ...]]]:
        """Where this variant runs on drained hosts, as far as the rules still allow it."""
        hosts = {each.name: each for each in engine_hosts(self.inventory, service, variant.engine)}
        found = {}
        for replica in self.leaving:
            if (replica.service, replica.variant) == (service.name, variant.name):
                group = tuple(share.gpu for share in replica.shares)
                host = hosts.get(replica.host)
                if host and group in {
                    tuple(gpu.index for gpu in gpus)
                    for gpus in self._groups(host, service, variant)
                    if len(gpus) == len(group)
                }:
                    found[host.name, group] = (host, group)
        return list(found.values())

    def _alike(self, service: Service, engine: EngineName) -> list[tuple[Host, tuple[str, ...]]]:
        """Hosts that a service may take, by class."""
        rules = service.placement
        pin = rules.pin.host if rules.pin else None
        key = (engine, pin, tuple(sorted(rules.host_labels.items())))
        if key not in self.reach:
            found: dict[int, list[Host]] = {}
            ready = [
                host
                for host in engine_hosts(self.inventory, service, engine)
                if host.state == "ready"
            ]
            for host in ready:
                found.setdefault(self.classes[host.name], []).append(host)
            self.reach[key] = [(h[0], tuple(each.name for each in h)) for h in found.values()]
        return self.reach[key]

    def _number(self, request: Request) -> int:
        # Facts and companions are large; whose they are says as much.
        facts = (id(request.facts), *(id(f) for each in request.companions.values() for f in each))
        small = replace(request, facts=_NO_FACTS, companions={})
        key = (facts, tuple(request.companions), repr(small))
        if key not in self.numbers:
            self.numbers[key] = len(self.requests)
            self.requests.append(request)
        return self.numbers[key]

    def _site(self, host: Host, gpus: tuple[Gpu, ...]) -> Site:
        key = (host.pool is not None, gpus)
        if key not in self.sites:
            self.sites[key] = site_of(host, gpus)
        return self.sites[key]

    def _sites_of(self, host: Host, service: Service, variant: Variant) -> dict[Site, _Groups]:
        """The groups of GPUs on which a replica could stand, by the site that they make."""
        found: dict[Site, _Groups] = {}
        for gpus in self._groups(host, service, variant):
            site = self._site(host, gpus)
            found[site] = (*found.get(site, ()), tuple(gpu.index for gpu in gpus))
        return found

    def _add_places(
        self,
        service: str,
        position: int,
        number: int,
        site: Site,
        places: tuple[Host, tuple[str, ...], _Groups],
    ) -> None:
        """The same site on alike hosts: each group of each of them is a place."""
        host, names, groups = places
        gpus = tuple(host.gpus[index] for index in groups[0])
        answer = _unnamed(host, gpus, self.requests[number]) or self._ask(number, site)
        if isinstance(answer, Refusal):
            self.refused[service].append(
                Refused(
                    service=service, variant=position, host=names[0], gpus=groups[0], refusal=answer
                )
            )
            return
        leaning = self._leaning(number, site) if self.shared else ()
        fitting = tuple(demand for demand in (*leaning, *answer) if _fits(demand, host, gpus))
        if not fitting and answer:
            first = replace(host, name=names[0])
            found = [_too_large(service, position, first, gpus, demand) for demand in answer]
            self.too_large[service].append(min(found, key=lambda p: p.total_missing_bytes))
        if fitting:
            split: dict[bool, _Groups] = {}
            for group in groups:
                whole = len({host.gpus[index].island for index in group}) <= 1
                split[whole] = (*split.get(whole, ()), group)
            self.options[service] += [
                Option(
                    service=service, variant=position, hosts=names, groups=each,
                    one_island=whole, demands=fitting,
                )
                for whole, each in split.items()
            ]  # fmt: skip

    def _ask(self, number: int, site: Site) -> tuple[Demand, ...] | Refusal:
        key = (number, site)
        if key not in self.answers:
            request = self.requests[number]
            self.answers[key] = engine_of(request.engine).demands(request, site)
        return self.answers[key]

    def _leaning(self, number: int, site: Site) -> tuple[Demand, ...]:
        """Whole offloads cut as if one GPU were partly taken: for places beside other services."""
        request = self.requests[number]
        n_gpus = len(site.kinds)
        if traits_of(request.engine).cuts != "layers" or not 1 < n_gpus <= MAX_LEANING_GPUS:
            return ()
        if number not in self.whole:
            self.whole[number] = len(self.requests)
            self.requests.append(
                replace(request, offload="none") if request.offload == "auto" else request
            )
        found: dict[tuple[int, ...], Demand] = {}
        for gpu in range(n_gpus):
            for quarters in (3, 2, 1):
                budgets = list(site.budgets_bytes)
                budgets[gpu] = budgets[gpu] * quarters // 4
                answer = self._ask(self.whole[number], replace(site, budgets_bytes=tuple(budgets)))
                for demand in () if isinstance(answer, Refusal) else answer:
                    found.setdefault(demand.split.tensor_split, demand)
        return tuple(found.values())

    def _groups(self, host: Host, service: Service, variant: Variant) -> Iterator[tuple[Gpu, ...]]:
        """Sets of GPUs on which a replica could stand, and the empty set for the CPU."""
        rules, traits = service.placement, traits_of(variant.engine)
        gpus = tuple(working_gpus(host, rules))
        if rules.pin and rules.pin.gpus:
            chosen = {gpu.index: gpu for gpu in gpus}
            if all(index in chosen for index in rules.pin.gpus):
                yield tuple(chosen[index] for index in sorted(rules.pin.gpus))
            return
        if not takes_gpus_only(rules) and (traits.cpu_beside_gpus or not host.gpus):
            yield ()
        for size in self._sizes(len(gpus), rules.tensor_parallel, variant):
            yield from _subsets(gpus, size)

    def _sizes(
        self, n_gpus: int, tensor_parallel: tuple[int, ...], variant: Variant
    ) -> Iterator[int]:
        """How many GPUs a replica may take: any number of layers' homes, powers of two of ranks."""
        if variant.offload == "cpu":
            return
        # With pipeline stages or data parallel engines each rank stands for several GPUs.
        step = engine_of(variant.engine).gpus_per_shard(variant.args)
        by_layers = traits_of(variant.engine).cuts == "layers"
        for size in range(step, n_gpus + 1, step):
            ranks = size // step
            is_power_of_two = ranks & (ranks - 1) == 0
            wanted = ranks in tensor_parallel or (is_power_of_two and not tensor_parallel)
            if by_layers or wanted:
                yield size

    def _extra_groups(
        self, host: Host, names: tuple[str, ...], service: Service, variant: Variant
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Where a replica stands today is always an option, so that it may stay."""
        if not any(name in self.previous_groups for name in names):
            return
        usual = {tuple(gpu.index for gpu in gpus) for gpus in self._groups(host, service, variant)}
        sizes = {len(group) for group in usual}
        known = {gpu.index for gpu in working_gpus(host, service.placement)}
        for name in names:
            for group in sorted(self.previous_groups.get(name, set()) - usual):
                if len(group) in sizes and group and known.issuperset(group):
                    yield name, group


def _subsets(gpus: tuple[Gpu, ...], size: int) -> Iterator[tuple[Gpu, ...]]:
    if comb(len(gpus), size) <= MAX_SUBSETS:
        yield from combinations(gpus, size)
        return
    for start in range(0, len(gpus) - size + 1, size):
        yield gpus[start : start + size]


def _classes(inventory: Inventory) -> dict[str, int]:
    """A number for each host, the same for hosts that no memory law can tell apart."""
    numbers: dict[object, int] = {}
    found = {}
    for host in inventory.hosts:
        gpus = tuple(replace(gpu, uuid=None, minor=None) for gpu in host.gpus)
        engines = tuple(sorted((name, each.version) for name, each in host.engines.items()))
        # Slices are found by their UUIDs, or shown by a container's runtime.
        slices = host.runs_containers if any(gpu.kind.mig for gpu in gpus) else None
        key = (gpus, host.ram_budget_bytes, engines, slices)
        found[host.name] = numbers.setdefault(key, len(numbers))
    return found


def _unnamed(host: Host, gpus: tuple[Gpu, ...], request: Request) -> Refusal | None:
    """A MIG slice is found by its UUID alone, which not every version of an engine takes.

    A container's runtime shows it one slice as its only GPU, so that it needs no name there.
    """
    named = not host.runs_containers and any(gpu.kind.mig and gpu.uuid for gpu in gpus)
    if not named or engine_of(request.engine).takes_uuids(request.version):
        return None
    return Refusal(
        code="mig",
        detail=f"{request.engine} {request.version} takes no UUIDs in CUDA_VISIBLE_DEVICES, and a "
        f"MIG slice has no other name; a newer one does, and with the target compose or quadlet "
        f"the slice is the only GPU that it sees.",
    )


def _previous_groups(previous: Plan | None) -> dict[str, set[tuple[int, ...]]]:
    groups: dict[str, set[tuple[int, ...]]] = {}
    for replica in previous.replicas if previous else ():
        groups.setdefault(replica.host, set()).add(tuple(share.gpu for share in replica.shares))
    return groups


def _fits(demand: Demand, host: Host, gpus: tuple[Gpu, ...]) -> bool:
    place = _too_large("", 0, host, gpus, demand)
    return place.total_missing_bytes == 0


def _too_large(
    service: str, position: int, host: Host, gpus: tuple[Gpu, ...], demand: Demand
) -> TooLarge:
    # On the CPU of a pool its budget is that of the host's RAM.
    taken = demand.taken_bytes if gpus else ()
    missing = tuple(max(0, size - gpu.budget_bytes) for size, gpu in zip(taken, gpus, strict=True))
    in_ram = demand.ram_high_bytes if gpus else demand.host.high_bytes
    return TooLarge(
        service=service,
        variant=position,
        host=host.name,
        gpus=tuple(gpu.index for gpu in gpus),
        demand=demand,
        missing_bytes=missing,
        missing_ram_bytes=max(0, in_ram - host.ram_budget_bytes),
    )
