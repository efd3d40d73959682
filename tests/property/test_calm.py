"""What runs beside what is new, against a brute force that leaves everybody where they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.assemble.growth import kv_sizes
from compiler.ir.placement import Placements
from compiler.ir.plan import Plan
from compiler.ir.units import MIB
from compiler.place.placing import place
from tests.generators.room import RoomFleet, Wish
from tests.generators.small_plans import plan as small_plan
from tests.generators.small_plans import replica, share
from tests.property.test_room import fleets, wishes

SLOW = settings(max_examples=40, derandomize=True, deadline=None)

Running = dict[str, list[tuple[str, int, int]]]
"""Of each service host, GPU and MiB of KV cache of its replicas."""


def placed(fleet: RoomFleet, previous: Plan | None = None) -> Placements:
    return place(fleet.inventory(), fleet.spec(), fleet.demands(), previous)


def sizes_of(fleet: RoomFleet, answer: Placements) -> Running:
    """Who stands where, with the cache that it is granted in the end."""
    found: Running = {wish.name: [] for wish in fleet.wishes}
    for each, size in zip(answer.chosen, kv_sizes(fleet.inventory(), answer), strict=True):
        found[each.service].append((each.host, each.gpus[0], (size or 0) // MIB))
    return {name: sorted(each) for name, each in found.items()}


def previous_of(fleet: RoomFleet, running: Running) -> Plan:
    """A plan that runs these replicas."""
    found = []
    for wish in fleet.wishes:
        for number, (host, gpu, kv) in enumerate(running.get(wish.name, ())):
            mib = wish.weights + wish.overhead + kv
            held = share(gpu, mib, kind=f"card-{fleet.hosts[host][gpu]}")
            cache = held.breakdown.kv.model_copy(update={"bytes": kv * MIB})
            breakdown = held.breakdown.model_copy(update={"kv": cache})
            found.append(
                replica(
                    f"{wish.name}-{number}", host,
                    [held.model_copy(update={"breakdown": breakdown})], variant="v",
                )
            )  # fmt: skip
    return small_plan({}, found)


def places_for(fleet: RoomFleet, new: Wish, running: Running) -> Iterator[tuple[bool, int]]:
    """For every choice of places for the newcomer: whether it fits beside all as they run, and how
    many of it fit when they give away all that they do not need.
    """
    gpus = [(host, gpu) for host, mibs in fleet.hosts.items() for gpu in range(len(mibs))]
    as_they_run: Counter[tuple[str, int]] = Counter()
    at_least: Counter[tuple[str, int]] = Counter()
    for wish in fleet.wishes:
        for host, gpu, kv in running.get(wish.name, ()):
            as_they_run[host, gpu] += wish.weights + wish.overhead + kv
            at_least[host, gpu] += wish.weights + wish.overhead + wish.request
    need = new.weights + new.overhead + new.request
    for chosen in product([None, *gpus], repeat=new.replicas):
        load = Counter({at: n * need for at, n in Counter(chosen).items() if at})
        count = sum(at is not None for at in chosen)
        if all(fleet.hosts[h][g] >= load[h, g] + at_least[h, g] for h, g in load):
            beside = all(fleet.hosts[h][g] >= load[h, g] + as_they_run[h, g] for h, g in load)
            yield beside, count


@SLOW
@given(fleets(), wishes("n"))
def test_a_newcomer_moves_nobody_and_disturbs_only_where_it_must(
    fleet: RoomFleet, new: Wish
) -> None:
    running = sizes_of(fleet, placed(fleet))
    fleet = replace(fleet, wishes=tuple(w for w in fleet.wishes if running[w.name]))
    # Nobody is given up for what is less important.
    new = replace(new, priority=1)
    wider = replace(fleet, wishes=(*fleet.wishes, new))
    answer = placed(wider, previous_of(fleet, running))
    after = sizes_of(wider, answer)
    most = max(count for _, count in places_for(fleet, new, running))
    short = {w.name for w in fleet.wishes if len(running[w.name]) < w.replicas}
    for wish in fleet.wishes:
        stand = [at[:2] for at in after[wish.name]]
        if wish.name not in short:
            assert stand == [at[:2] for at in running[wish.name]]
    if not short:
        assert answer.moved == 0
        assert len(after["n"]) == most
        if any(beside and count == most for beside, count in places_for(fleet, new, running)):
            assert answer.disturbed == 0


@SLOW
@given(fleets(), st.sampled_from("abc"))
def test_a_share_grows_by_a_quarter_or_not_at_all(fleet: RoomFleet, leaves: str) -> None:
    running = sizes_of(fleet, placed(fleet))
    stay = tuple(w for w in fleet.wishes if w.name != leaves and len(running[w.name]) == w.replicas)
    if not stay:
        return
    rest = replace(fleet, wishes=stay)
    kept = {wish.name: running[wish.name] for wish in stay}
    answer = placed(rest, previous_of(rest, kept))
    after = sizes_of(rest, answer)
    for wish in stay:
        for (host, gpu, had), (now_host, now_gpu, has) in zip(
            kept[wish.name], after[wish.name], strict=True
        ):
            assert (host, gpu) == (now_host, now_gpu)
            assert has == had or (has - had) * 4 >= wish.request * wish.wanted
    again = sizes_of(rest, placed(rest, previous_of(rest, after)))
    assert again == after


@SLOW
@given(fleets(), st.sampled_from("abc"))
def test_a_higher_priority_never_costs_a_service_replicas(fleet: RoomFleet, raised: str) -> None:
    before = sizes_of(fleet, placed(fleet))
    if raised not in before:
        return
    higher = replace(
        fleet,
        wishes=tuple(
            replace(wish, priority=wish.priority + 40) if wish.name == raised else wish
            for wish in fleet.wishes
        ),
    )
    after = sizes_of(higher, placed(higher))
    assert len(after[raised]) >= len(before[raised])
