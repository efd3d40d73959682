"""`survives: host` against a brute force over every placement and every loss of a tiny fleet."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations, combinations_with_replacement, product

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ir.placement import NoSpare, PlacementError, Placements
from compiler.place.surviving import place_surviving
from tests.generators.fleets import TinyFleet, TinyService
from tests.property.oracle import Way, all_placements, holds, score
from tests.property.strategies import SIZES

SLOW = settings(max_examples=80, derandomize=True)


@st.composite
def survivors(draw: st.DrawFn) -> TinyFleet:
    """Two or three hosts of one or two GPUs, and up to three services, of which some survive."""
    budgets = st.sampled_from([4, 6, 8, 10])
    hosts = {
        f"h{number}": tuple(draw(st.lists(budgets, min_size=1, max_size=2)))
        for number in range(draw(st.integers(2, 3)))
    }
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    return TinyFleet(
        hosts=hosts,
        services=tuple(
            draw(survivor(name, names, most=2 if len(names) < 3 else 1)) for name in names
        ),
    )


@st.composite
def survivor(draw: st.DrawFn, name: str, names: list[str], *, most: int) -> TinyService:
    first = draw(SIZES)
    rungs = [first, *([draw(st.integers(1, first))] if draw(st.booleans()) else [])]
    return TinyService(
        name=name,
        variants=tuple({1: mib} for mib in rungs),
        replicas=draw(st.integers(1, most)),
        priority=draw(st.sampled_from([10, 50])),
        optional=draw(st.booleans()),
        spread=draw(st.sampled_from([None, "host", "gpu"])),
        apart_from=draw(st.sampled_from([(), (), tuple(n for n in names if n != name)[:1]])),
        survives=draw(st.booleans()),
    )


Chosen = dict[str, tuple[Way, ...]]


def survives(fleet: TinyFleet, chosen: Chosen) -> bool:
    """Whether every loss of a host is borne while all others stand as they are."""
    return all(_is_borne(fleet, chosen, host) for host in fleet.hosts)


def _is_borne(fleet: TinyFleet, chosen: Chosen, lost: str) -> bool:
    left = {name: tuple(w for w in ways if w[1] != lost) for name, ways in chosen.items()}
    short = [
        (service, len(chosen[service.name]) - len(left[service.name]))
        for service in fleet.services
        if service.survives
    ]
    hosts = {name: gpus for name, gpus in fleet.hosts.items() if name != lost}
    choices = [
        list(
            combinations_with_replacement(
                [
                    (variant, host, gpus)
                    for variant, sizes in enumerate(service.variants)
                    for size in sizes
                    for host, budgets in hosts.items()
                    for gpus in combinations(range(len(budgets)), size)
                ],
                missing,
            )
        )
        for service, missing in short
    ]
    anybody = tuple(replace(service, optional=True) for service in fleet.services)
    after = replace(fleet, hosts=hosts, services=anybody)
    for choice in product(*choices):
        more = {s.name: ways for (s, _), ways in zip(short, choice, strict=True)}
        then = {name: (*ways, *more.get(name, ())) for name, ways in left.items()}
        if holds(after, then):
            return True
    return False


def answer_of(fleet: TinyFleet) -> Placements | None:
    try:
        return place_surviving(fleet.inventory(), fleet.spec(), fleet.demands(), None)
    except PlacementError as error:
        conflicts = error.conflicts
    assert conflicts
    return None


@SLOW
@given(survivors())
def test_room_is_kept_exactly_when_a_brute_force_can_and_no_worse(fleet: TinyFleet) -> None:
    possible = [dict(each) for each in all_placements(fleet)]
    best = min((score(fleet, each) for each in possible if survives(fleet, each)), default=None)
    answer = answer_of(fleet)
    assert (answer is None) == (best is None)
    if answer is None:
        return
    chosen: dict[str, list[Way]] = {service.name: [] for service in fleet.services}
    for each in answer.chosen:
        chosen[each.service].append((each.variant, each.host, each.gpus))
    ways = {name: tuple(sorted(each)) for name, each in chosen.items()}
    assert holds(fleet, ways)
    assert score(fleet, ways) == best
    assert not answer.exposed
    surviving = {service.name for service in fleet.services if service.survives}
    stood = Counter((e.service, e.host) for e in answer.chosen if e.service in surviving)
    assert Counter((spare.service, spare.lost) for spare in answer.spares) == stood
    for host in fleet.hosts:
        left = {name: [w for w in each if w[1] != host] for name, each in ways.items()}
        for spare in answer.spares:
            if spare.lost == host:
                left[spare.service].append((spare.variant, spare.host, spare.gpus))
        hosts = {name: gpus for name, gpus in fleet.hosts.items() if name != host}
        anybody = tuple(replace(service, optional=True) for service in fleet.services)
        after = replace(fleet, hosts=hosts, services=anybody)
        assert holds(after, {name: tuple(each) for name, each in left.items()})


def test_what_cannot_survive_says_what_is_missing_where() -> None:
    big = TinyService(name="big", variants=({1: 6},), survives=True)
    small = TinyService(name="small", variants=({1: 5},))
    fleet = TinyFleet(hosts={"h0": (8,), "h1": (8,)}, services=(big, small))
    try:
        place_surviving(fleet.inventory(), fleet.spec(), fleet.demands(), None)
    except PlacementError as error:
        (conflict,) = error.conflicts
    assert isinstance(conflict, NoSpare)
    assert (conflict.service, conflict.replicas) == ("big", 1)
    assert conflict.missing_mib == 3
    assert [tenant.service for tenant in conflict.tenants] == ["small"]


def test_spares_for_different_losses_are_the_same_memory() -> None:
    """Three hosts full of one service each, and one that is idle: it is the spare of all."""
    services = tuple(TinyService(name=n, variants=({1: 6},), survives=True) for n in "abc")
    fleet = TinyFleet(hosts={f"h{n}": (8,) for n in range(4)}, services=services)
    answer = answer_of(fleet)
    assert answer is not None
    assert len({spare.lost for spare in answer.spares}) == 3
    assert len({(spare.host, spare.gpus) for spare in answer.spares}) == 1
