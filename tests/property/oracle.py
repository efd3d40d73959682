"""A brute-force placer for tiny fleets: tries every way there is, and shares no code with place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement, product

from tests.generators.fleets import TinyFleet, TinyService

Way = tuple[int, str, tuple[int, ...]]
"""Variant, host and GPUs of one replica."""
Score = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Running:
    """Where replicas stand before: service to ways."""

    ways: dict[str, tuple[Way, ...]]


def best_score(fleet: TinyFleet, running: Running | None = None) -> Score | None:
    """The best score of all placements, or None when no placement satisfies the rules."""
    scores = (score(fleet, dict(chosen), running) for chosen in all_placements(fleet, running))
    return min(scores, default=None)


def score(
    fleet: TinyFleet, chosen: dict[str, tuple[Way, ...]], running: Running | None = None
) -> Score:
    """Lexicographic score, smaller is better: coverage, variants, disturbed, moved, GPUs."""
    priorities = sorted({service.priority for service in fleet.services}, reverse=True)
    coverage = tuple(
        -sum(len(chosen[s.name]) for s in fleet.services if s.priority == p) for p in priorities
    )
    variants = tuple(
        sum(way[0] for s in fleet.services if s.priority == p for way in chosen[s.name])
        for p in priorities
    )
    disturbed = sum(_shortfall(s, chosen[s.name], running, places=False) for s in fleet.services)
    moved = sum(_shortfall(s, chosen[s.name], running, places=True) for s in fleet.services)
    gpus = sum(len(way[2]) for ways in chosen.values() for way in ways)
    return coverage, variants, (disturbed,), (moved,), (gpus,)


def holds(
    fleet: TinyFleet, chosen: dict[str, tuple[Way, ...]], running: Running | None = None
) -> bool:
    """Whether a placement satisfies every rule."""
    load = Counter[tuple[str, int]]()
    users: dict[tuple[str, int], list[str]] = {}
    for service in fleet.services:
        ways = chosen[service.name]
        if len(ways) > service.replicas or (len(ways) < service.replicas and not service.optional):
            return False
        for variant, host, gpus in ways:
            for gpu in gpus:
                load[host, gpu] += service.variants[variant][len(gpus)]
                users.setdefault((host, gpu), []).append(service.name)
        hosts = [host for _, host, _ in ways]
        if service.spread == "host" and len(set(hosts)) < len(hosts):
            return False
        gpus_taken = [(host, gpu) for _, host, gpus in ways for gpu in gpus]
        if service.spread == "gpu" and len(set(gpus_taken)) < len(gpus_taken):
            return False
    if any(mib > fleet.hosts[host][gpu] for (host, gpu), mib in load.items()):
        return False
    for service in fleet.services:
        for other in service.apart_from:
            if any(service.name in names and other in names for names in users.values()):
                return False
    moves = sum(_shortfall(s, chosen[s.name], running, places=True) for s in fleet.services)
    return fleet.max_moves is None or moves <= fleet.max_moves


def all_placements(
    fleet: TinyFleet, running: Running | None = None
) -> Iterator[tuple[tuple[str, tuple[Way, ...]], ...]]:
    """Every placement that satisfies all rules."""
    names = [service.name for service in fleet.services]
    for choice in product(*(_choices(fleet, service) for service in fleet.services)):
        chosen = dict(zip(names, choice, strict=True))
        if holds(fleet, chosen, running):
            yield tuple(chosen.items())


def _choices(fleet: TinyFleet, service: TinyService) -> list[tuple[Way, ...]]:
    ways = [
        (variant, host, gpus)
        for variant, sizes in enumerate(service.variants)
        for size, mib in sizes.items()
        for host, budgets in fleet.hosts.items()
        for gpus in combinations(range(len(budgets)), size)
        if all(mib <= budgets[gpu] for gpu in gpus)
        and (service.pin is None or service.pin == (host, gpus))
    ]
    fewest = 0 if service.optional else service.replicas
    return [
        each
        for count in range(fewest, service.replicas + 1)
        for each in combinations_with_replacement(ways, count)
    ]


def _shortfall(
    service: TinyService, ways: tuple[Way, ...], running: Running | None, *, places: bool
) -> int:
    """Replicas that do not stay: as they are, or at least at their place."""
    before = running.ways.get(service.name, ()) if running else ()
    if not before:
        return 0
    old = Counter(way[1:] if places else way for way in before)
    new = Counter(way[1:] if places else way for way in ways)
    staying = sum((old & new).values())
    added = max(0, len(ways) - len(before))
    return max(0, len(ways) - staying - added)
