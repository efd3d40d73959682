"""Room against a brute force that tries every place and every level of each replica's cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, combinations_with_replacement, product

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.assemble.growth import kv_sizes
from compiler.ir.placement import Placements
from compiler.ir.units import MIB
from compiler.place.placing import place
from tests.generators.room import RoomFleet, Wish

SLOW = settings(max_examples=40, derandomize=True, deadline=None)

Way = tuple[str, tuple[int, ...], int, int]
"""Host, GPUs, MiB on each of them, points."""


@st.composite
def wishes(draw: st.DrawFn, name: str) -> Wish:
    """A service of a few MiB that wants a few requests."""
    return Wish(
        name=name,
        weights=draw(st.sampled_from([2, 4, 6, 10])),
        request=draw(st.sampled_from([1, 2, 3])),
        wanted=draw(st.sampled_from([1, 2, 4, 9])),
        replicas=draw(st.integers(1, 2)),
        priority=draw(st.sampled_from([10, 50])),
        optional=True,
    )


@st.composite
def fleets(draw: st.DrawFn) -> RoomFleet:
    """One or two hosts of one or two GPUs, and up to three services."""
    budgets = st.sampled_from([8, 12, 16, 24])
    hosts = {
        f"h{n}": tuple(draw(st.lists(budgets, min_size=1, max_size=2)))
        for n in range(draw(st.integers(1, 2)))
    }
    names = "abc"[: draw(st.integers(1, 3))]
    return RoomFleet(hosts=hosts, wishes=tuple(draw(wishes(name)) for name in names))


def ways(fleet: RoomFleet, wish: Wish) -> list[Way]:
    """Every place of a service, with its cache at the least, at a quarter and at half."""
    found = []
    least, wanted = wish.request, wish.request * wish.wanted
    sizes = sorted({least, *(kv for part in (4, 2) if (kv := -(-wanted // part)) > least)})
    for (host, budgets), kv in product(sorted(fleet.hosts.items()), sizes):
        points = 3 if kv * 4 < wanted else int(kv * 2 < wanted)
        for gpus in combinations(range(len(budgets)), 1):
            mib = wish.weights + wish.overhead + kv
            if mib <= budgets[gpus[0]]:
                found.append((host, gpus, mib, points))
    return found


def plans(fleet: RoomFleet) -> Iterator[tuple[tuple[Way, ...], ...]]:
    """Every choice for every service that keeps the budgets."""
    choices = [
        [
            each
            for count in range(wish.replicas + 1)
            for each in combinations_with_replacement(ways(fleet, wish), count)
        ]
        for wish in fleet.wishes
    ]
    for chosen in product(*choices):
        load = Counter[tuple[str, int]]()
        for each in chosen:
            for host, gpus, mib, _ in each:
                load[host, gpus[0]] += mib
        if all(mib <= fleet.hosts[host][gpu] for (host, gpu), mib in load.items()):
            yield chosen


def score(fleet: RoomFleet, chosen: tuple[tuple[Way, ...], ...]) -> tuple[int, ...]:
    """Coverage, then points, by priority."""
    priorities = sorted({wish.priority for wish in fleet.wishes}, reverse=True)
    pairs = list(zip(fleet.wishes, chosen, strict=True))
    coverage = [-sum(len(each) for wish, each in pairs if wish.priority == p) for p in priorities]
    points = [
        sum(way[3] for wish, each in pairs if wish.priority == p for way in each)
        for p in priorities
    ]
    return (*coverage, *points)


def reached(fleet: RoomFleet, answer: Placements) -> tuple[int, ...]:
    """The same figures of an answer, by what is reserved."""
    found: dict[str, list[Way]] = {wish.name: [] for wish in fleet.wishes}
    by_name = {wish.name: wish for wish in fleet.wishes}
    for each in answer.chosen:
        wish = by_name[each.service]
        kv = (each.kv_bytes or each.demand.kv_bytes) // MIB
        wanted = wish.request * wish.wanted
        points = 3 if kv * 4 < wanted else int(kv * 2 < wanted)
        found[each.service].append((each.host, each.gpus, wish.weights + kv, points))
    return score(fleet, tuple(tuple(found[wish.name]) for wish in fleet.wishes))


@SLOW
@given(fleets())
def test_coverage_and_room_are_those_of_a_brute_force(fleet: RoomFleet) -> None:
    answer = place(fleet.inventory(), fleet.spec(), fleet.demands(), None)
    best = min(score(fleet, chosen) for chosen in plans(fleet))
    assert reached(fleet, answer) == best
    assert answer.optimality == "optimal"
    for objective in answer.objectives:
        assert objective.reached == objective.bound


@SLOW
@given(fleets())
def test_what_is_granted_fits_in_whole_mib_and_is_never_less_than_reserved(
    fleet: RoomFleet,
) -> None:
    answer = place(fleet.inventory(), fleet.spec(), fleet.demands(), None)
    load = Counter[tuple[str, int]]()
    for each, size in zip(answer.chosen, kv_sizes(fleet.inventory(), answer), strict=True):
        assert size is not None
        assert size >= (each.kv_bytes or 0)
        load[each.host, each.gpus[0]] += each.demand.high_bytes_with(size)[0] // MIB
    assert all(mib <= fleet.hosts[host][gpu] for (host, gpu), mib in load.items())


@SLOW
@given(fleets(), st.sampled_from([8, 16]))
def test_an_idle_host_makes_no_plan_worse(fleet: RoomFleet, mib: int) -> None:
    before = place(fleet.inventory(), fleet.spec(), fleet.demands(), None)
    wider = replace(fleet, hosts={**fleet.hosts, "h9": (mib,)})
    after = place(wider.inventory(), wider.spec(), wider.demands(), None)
    assert reached(wider, after) <= reached(fleet, before)
