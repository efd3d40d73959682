"""The estimate pass: each variant on each place it could stand, with what it would take there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import comb

from compiler.engines.companions import companion_facts, companions_of
from compiler.engines.registry import engine_of
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
from compiler.ir.inventory import Gpu, Host, Inventory
from compiler.ir.lock import Lock
from compiler.ir.plan import Plan
from compiler.ir.rules import engine_hosts, gpus_of, takes_gpus_only
from compiler.ir.spec import Service, Spec, Variant

# With more subsets than this of one host's GPUs, only runs of neighbours are offered: the GPUs of
# large hosts are alike, so that a scattered set is no better than an aligned one.
MAX_SUBSETS = 10


# Layers of a llama.cpp replica can be dealt out to few GPUs in many ways; on more GPUs each takes
# less, and cuts by the whole budgets do.
MAX_LEANING_GPUS = 4


def estimate(inventory: Inventory, spec: Spec, lock: Lock, previous: Plan | None) -> Demands:
    """Every option of every service that is not frozen, budgets of empty GPUs applied."""
    estimator = _Estimator(inventory, lock, _previous_groups(previous), len(spec.services) > 1)
    for service in spec.services:
        estimator.add(service)
    return Demands(
        options={name: tuple(found) for name, found in estimator.options.items()},
        too_large={name: tuple(found) for name, found in estimator.too_large.items()},
        refused={name: tuple(found) for name, found in estimator.refused.items()},
    )


def site_of(gpus: tuple[Gpu, ...]) -> Site:
    """The site that these GPUs of one host make."""
    islands = {gpu.island for gpu in gpus}
    return Site(
        kinds=tuple(gpu.kind for gpu in gpus),
        budgets_bytes=tuple(gpu.budget_bytes for gpu in gpus),
        linked=len(islands) == 1 and all(gpu.kind.link == "nvlink" for gpu in gpus),
    )


_SiteKey = tuple[int, Site]


@dataclass(slots=True)
class _Estimator:
    """One run of the pass; thrown away after it."""

    inventory: Inventory
    lock: Lock
    previous_groups: dict[str, set[tuple[int, ...]]]
    shared: bool
    """Whether there is more than one service, so that a GPU may be partly taken."""
    options: dict[str, list[Option]] = field(default_factory=dict)
    too_large: dict[str, list[TooLarge]] = field(default_factory=dict)
    refused: dict[str, list[Refused]] = field(default_factory=dict)
    answers: dict[_SiteKey, tuple[Demand, ...] | Refusal] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    whole: dict[int, int] = field(default_factory=dict)
    """Number of the same request without offload."""

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
        numbers: dict[str, int] = {}
        for host in engine_hosts(self.inventory, service, variant.engine):
            version = host.engines[variant.engine].version
            if version not in numbers:
                numbers[version] = len(self.requests)
                self.requests.append(
                    request_of(service, variant, locked.facts, version, companions)
                )
            for gpus in self._groups(host, service, variant):
                self._add_place(service.name, position, host, gpus, numbers[version])

    def _add_place(
        self, service: str, position: int, host: Host, gpus: tuple[Gpu, ...], number: int
    ) -> None:
        site = site_of(gpus)
        indices = tuple(gpu.index for gpu in gpus)
        answer = self._ask(number, site)
        if isinstance(answer, Refusal):
            self.refused[service].append(
                Refused(
                    service=service, variant=position, host=host.name, gpus=indices, refusal=answer
                )
            )
            return
        leaning = self._leaning(number, site) if self.shared else ()
        fitting = tuple(demand for demand in (*leaning, *answer) if _fits(demand, host, gpus))
        if not fitting and answer:
            places = [_too_large(service, position, host, gpus, demand) for demand in answer]
            self.too_large[service].append(min(places, key=lambda p: p.total_missing_bytes))
        if fitting:
            self.options[service].append(
                Option(
                    service=service, variant=position, host=host.name, gpus=indices,
                    one_island=len({gpu.island for gpu in gpus}) <= 1, demands=fitting,
                )
            )  # fmt: skip

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
        if request.engine != "llama.cpp" or not 1 < n_gpus <= MAX_LEANING_GPUS:
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
        rules = service.placement
        gpus = tuple(gpus_of(host, rules))
        if rules.pin and rules.pin.gpus:
            chosen = {gpu.index: gpu for gpu in gpus}
            if all(index in chosen for index in rules.pin.gpus):
                yield tuple(chosen[index] for index in sorted(rules.pin.gpus))
            return
        if not takes_gpus_only(rules) and (variant.engine == "llama.cpp" or not host.gpus):
            yield ()
        for size in self._sizes(len(gpus), rules.tensor_parallel, variant):
            yield from self._subsets(host.name, gpus, size)

    def _sizes(
        self, n_gpus: int, tensor_parallel: tuple[int, ...], variant: Variant
    ) -> Iterator[int]:
        """How many GPUs a replica may take: any number of layers' homes, powers of two of ranks."""
        if variant.offload == "cpu":
            return
        # With pipeline stages or data parallel engines each rank stands for several GPUs.
        step = engine_of(variant.engine).gpus_per_shard(variant.args)
        for size in range(step, n_gpus + 1, step):
            ranks = size // step
            is_power_of_two = ranks & (ranks - 1) == 0
            wanted = ranks in tensor_parallel or (is_power_of_two and not tensor_parallel)
            if variant.engine == "llama.cpp" or wanted:
                yield size

    def _subsets(self, host: str, gpus: tuple[Gpu, ...], size: int) -> Iterator[tuple[Gpu, ...]]:
        if comb(len(gpus), size) <= MAX_SUBSETS:
            yield from combinations(gpus, size)
            return
        seen = set()
        for start in range(0, len(gpus) - size + 1, size):
            group = gpus[start : start + size]
            seen.add(tuple(gpu.index for gpu in group))
            yield group
        # Where a replica stands today is always an option, so that it may stay.
        by_index = {gpu.index: gpu for gpu in gpus}
        for indices in sorted(self.previous_groups.get(host, set()) - seen):
            if len(indices) == size and all(index in by_index for index in indices):
                yield tuple(by_index[index] for index in indices)


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
    missing = tuple(
        max(0, breakdown.high_bytes - gpu.budget_bytes)
        for breakdown, gpu in zip(demand.devices, gpus, strict=True)
    )
    return TooLarge(
        service=service,
        variant=position,
        host=host.name,
        gpus=tuple(gpu.index for gpu in gpus),
        demand=demand,
        missing_bytes=missing,
        missing_ram_bytes=max(0, demand.host.high_bytes - host.ram_budget_bytes),
    )
