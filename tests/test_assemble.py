"""Assembling: growth shares fairly, names and ports stay, and replicas start one after another."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.assemble.assembling import _ports
from compiler.assemble.files import located, read_dirs
from compiler.assemble.growth import kv_sizes
from compiler.assemble.naming import Named, name_replicas
from compiler.assemble.order import Starter, start_order
from compiler.diagnostics import CompileError
from compiler.ir.demand import Breakdown, Growth, Part
from compiler.ir.inventory import GpuKey, Inventory
from compiler.ir.lock import LockedSource
from compiler.ir.placement import Placement, Placements
from compiler.ir.plan import Plan, Replica
from compiler.ir.units import MIB
from tests.generators.fleets import TinyFleet, TinyService, demand
from tests.generators.published import locked as published
from tests.generators.small_plans import plan, replica, share

LAWS = settings(max_examples=100, derandomize=True)


# Growth


def placement(
    gpus: tuple[int, ...], weights: int, kv: int = 0, most: int = 0, step: int = MIB
) -> Placement:
    """A replica on GPUs of host `h`: MiB of weights, KV now and at most, on each of them."""
    breakdown = Breakdown(
        weights=Part.exact(weights * MIB, ""), kv=Part.exact(kv * MIB, ""),
        runtime=Part(bytes=MIB // 2, low_bytes=0, high_bytes=MIB),
    )  # fmt: skip
    growth = Growth(step_bytes=step, max_kv_bytes=most * MIB) if most else None
    wanted = replace(demand(0, len(gpus)), devices=(breakdown,) * len(gpus), growth=growth)
    return Placement(service="a", variant=0, host="h", gpus=gpus, demand=wanted)


def grown(
    budgets: tuple[int, ...], *chosen: Placement, frozen: tuple[Replica, ...] = ()
) -> list[int | None]:
    """The KV sizes in bytes on a host with GPUs of these budgets in MiB."""
    return kv_sizes(inventory(budgets), placements(chosen, frozen))


def inventory(budgets: tuple[int, ...]) -> Inventory:
    return TinyFleet(hosts={"h": budgets}, services=()).inventory()


def placements(chosen: tuple[Placement, ...], frozen: tuple[Replica, ...] = ()) -> Placements:
    return Placements(chosen=chosen, frozen=frozen, unplaced=())


def test_a_lone_cache_grows_to_its_wish() -> None:
    assert grown((1000,), placement((0,), 100, kv=50, most=400)) == [400 * MIB]


def test_a_cache_without_growth_stays() -> None:
    assert grown((1000,), placement((0,), 100, kv=50)) == [None]


def test_a_cache_beyond_its_wish_stays() -> None:
    assert grown((1000,), placement((0,), 100, kv=50, most=20)) == [50 * MIB]


def test_a_full_gpu_leaves_no_room() -> None:
    assert grown((151,), placement((0,), 100, kv=50, most=400)) == [50 * MIB]


def test_what_is_left_goes_to_each_in_proportion_to_its_wish() -> None:
    small, large = placement((0,), 99, kv=0, most=100), placement((0,), 99, kv=0, most=300)
    assert grown((400,), small, large) == [50 * MIB, 150 * MIB]


def test_who_cannot_go_on_leaves_its_room_to_the_others() -> None:
    stuck = placement((0, 1), 99, most=1000)
    beside = placement((1,), 99, most=1000)
    assert grown((120, 500), stuck, beside) == [20 * MIB, 280 * MIB]


def test_a_split_cache_is_as_large_as_its_fullest_gpu_lets_it() -> None:
    split = placement((0, 1), 99, most=500)
    beside = placement((1,), 199, most=500)
    assert grown((1000, 400), split, beside) == [50 * MIB, 50 * MIB]


def test_what_is_frozen_keeps_its_share() -> None:
    kept = (replica("z-0", "h", [share(0, 300)]),)
    assert grown((1000,), placement((0,), 99, most=900), frozen=kept) == [600 * MIB]


def test_growth_goes_in_whole_steps() -> None:
    stepping = placement((0,), 99, kv=7, most=1000, step=16 * MIB)
    assert grown((200,), stepping) == [(7 + 5 * 16) * MIB]


@st.composite
def crowds(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[Placement, ...]]:
    """Replicas on up to three GPUs whose budgets hold them without growth."""
    n_gpus = draw(st.integers(1, 3))
    subsets = [gpus for size in (1, 2, 3) for gpus in combinations(range(n_gpus), size)]
    chosen = tuple(
        placement(
            draw(st.sampled_from(subsets)),
            draw(st.integers(0, 50)),
            kv=draw(st.integers(0, 20)),
            most=draw(st.sampled_from([0, 1, 30, 100, 1000])),
            step=draw(st.sampled_from([1, 4096, MIB, 3 * MIB])),
        )
        for _ in range(draw(st.integers(1, 5)))
    )
    least = [sum(_taken(each) for each in chosen if gpu in each.gpus) for gpu in range(n_gpus)]
    spare = draw(st.tuples(*[st.integers(0, 300)] * n_gpus))
    return tuple(-(-a // MIB) + b for a, b in zip(least, spare, strict=True)), chosen


def _taken(each: Placement, kv_bytes: int | None = None) -> int:
    """Bytes on each of its GPUs, with another KV size."""
    breakdown = each.demand.devices[0]
    return breakdown.high_bytes + (0 if kv_bytes is None else kv_bytes - breakdown.kv.bytes)


def _left(
    budgets: tuple[int, ...], chosen: tuple[Placement, ...], sizes: list[int | None]
) -> list[int]:
    taken = [_taken(each, size) for each, size in zip(chosen, sizes, strict=True)]
    return [
        budget * MIB - sum(t for t, each in zip(taken, chosen, strict=True) if gpu in each.gpus)
        for gpu, budget in enumerate(budgets)
    ]


@LAWS
@given(crowds())
def test_growth_exceeds_no_budget_and_no_wish(
    crowd: tuple[tuple[int, ...], tuple[Placement, ...]],
) -> None:
    budgets, chosen = crowd
    sizes = grown(budgets, *chosen)
    assert min(_left(budgets, chosen, sizes)) >= 0
    for each, size in zip(chosen, sizes, strict=True):
        growth, now = each.demand.growth, each.demand.devices[0].kv.bytes
        assert (size is None) == (growth is None)
        if growth and size is not None:
            assert now <= size <= max(now, growth.max_kv_bytes)
            assert (size - now) % growth.step_bytes == 0


@LAWS
@given(crowds())
def test_a_cache_stops_only_at_its_wish_or_at_a_full_gpu(
    crowd: tuple[tuple[int, ...], tuple[Placement, ...]],
) -> None:
    budgets, chosen = crowd
    sizes = grown(budgets, *chosen)
    left = _left(budgets, chosen, sizes)
    for each, size in zip(chosen, sizes, strict=True):
        growth = each.demand.growth
        if growth is None or size is None or size + growth.step_bytes > growth.max_kv_bytes:
            continue
        # Each user of a full GPU may have been rounded down by less than a step, and then to whole
        # MiB; once more where others, which did not grow, are counted in whole MiB.
        rounding = [
            sum(
                o.demand.growth.step_bytes + 2 * MIB if o.demand.growth else MIB
                for o in chosen
                if gpu in o.gpus
            )
            for gpu in each.gpus
        ]
        assert any(left[gpu] < most for gpu, most in zip(each.gpus, rounding, strict=True))


@LAWS
@given(st.lists(st.integers(1, 500), min_size=2, max_size=5), st.integers(0, 900))
def test_on_one_gpu_all_get_the_same_part_of_their_wish(wishes: list[int], spare: int) -> None:
    chosen = tuple(placement((0,), 9, most=wish, step=1) for wish in wishes)
    sizes = grown((10 * len(wishes) + spare,), *chosen)
    expected = [min(wish * MIB, wish * MIB * spare // sum(wishes)) for wish in wishes]
    if sum(-(-size // MIB) for size in expected) > spare:
        # The next compile counts whole MiB, rounded up, and must find room for all.
        expected = [size // MIB * MIB for size in expected]
    assert sizes == expected


@LAWS
@given(crowds(), st.randoms(use_true_random=False))
def test_growth_does_not_depend_on_the_order(
    crowd: tuple[tuple[int, ...], tuple[Placement, ...]], dice: st.DataObject
) -> None:
    budgets, chosen = crowd
    positions = list(range(len(chosen)))
    dice.shuffle(positions)  # type: ignore[attr-defined]
    sizes = grown(budgets, *chosen)
    shuffled = grown(budgets, *(chosen[position] for position in positions))
    assert shuffled == [sizes[position] for position in positions]


# Names

SPEC = TinyFleet(
    hosts={}, services=(TinyService(name="a", variants=({1: 1}, {1: 1}), replicas=9),)
).spec()


def stands(host: str, *gpus: int, variant: int = 0) -> Placement:
    """A replica of `a` on these GPUs."""
    return Placement(
        service="a", variant=variant, host=host, gpus=gpus, demand=demand(1, len(gpus))
    )


def running(**places: tuple[object, ...]) -> Plan:
    """A previous plan: replicas of `a` by number, each with host, GPUs and perhaps a variant."""
    replicas = []
    for name, (host, *gpus) in places.items():
        variant = gpus.pop() if gpus and isinstance(gpus[-1], str) else "v0"
        shares = [share(int(str(gpu)), 1) for gpu in gpus]
        replicas.append(replica(name.replace("_", "-"), str(host), shares, variant=variant))
    return plan({}, replicas)


def names(previous: Plan | None, *chosen: Placement) -> dict[str, str]:
    """`host/gpus` of each replica by its name."""
    named = name_replicas(SPEC, chosen, previous)
    return {
        each.name: f"{each.placement.host}/{','.join(map(str, each.placement.gpus))}"
        for each in named
    }


def test_names_follow_places_from_the_start() -> None:
    found = names(None, stands("h2", 0), stands("h1", 1), stands("h1", 0))
    assert found == {"a-0": "h1/0", "a-1": "h1/1", "a-2": "h2/0"}


def test_who_stays_keeps_its_name_whatever_comes() -> None:
    before = running(a_0=("h2", 0), a_1=("h1", 0))
    found = names(before, stands("h1", 0), stands("h0", 0), stands("h2", 0))
    assert found == {"a-0": "h2/0", "a-1": "h1/0", "a-2": "h0/0"}


def test_places_that_swap_swap_no_names() -> None:
    before = running(a_0=("h1", 0), a_1=("h1", 1))
    assert names(before, stands("h1", 1), stands("h1", 0)) == {"a-0": "h1/0", "a-1": "h1/1"}


def test_who_moves_keeps_its_name() -> None:
    before = running(a_0=("h1", 0), a_1=("h2", 0), a_2=("h3", 0))
    found = names(before, stands("h1", 0), stands("h9", 0), stands("h3", 0))
    assert found == {"a-0": "h1/0", "a-1": "h9/0", "a-2": "h3/0"}


def test_who_is_gone_leaves_a_gap_that_the_next_one_fills() -> None:
    before = running(a_1=("h2", 0))
    assert names(before, stands("h2", 0)) == {"a-1": "h2/0"}
    assert names(before, stands("h2", 0), stands("h3", 0)) == {"a-0": "h3/0", "a-1": "h2/0"}


def test_two_in_one_place_keep_both_names() -> None:
    before = running(a_3=("h1", 0), a_5=("h1", 0))
    assert names(before, stands("h1", 0), stands("h1", 0)) == {"a-3": "h1/0", "a-5": "h1/0"}


def test_who_moves_in_beside_another_takes_not_its_name() -> None:
    before = running(a_0=("h1", 0, "v1"), a_1=("h2", 0, "v0"))
    chosen = (stands("h1", 0, variant=0), stands("h1", 0, variant=1))
    named = name_replicas(SPEC, chosen, before)
    assert {each.name: each.placement.variant for each in named} == {"a-0": 1, "a-1": 0}


@pytest.mark.parametrize("name", ["a", "a-x", "a-00", "a-²", "a-" + "9" * 5000, "b-0"])
def test_a_name_that_modelc_does_not_give_is_no_number(name: str) -> None:
    before = plan({}, [replica(name, "h1", [share(0, 1)], service="a")])
    assert names(before, stands("h1", 0)) == {"a-0": "h1/0"}


places = st.tuples(st.sampled_from(["h1", "h2"]), st.integers(0, 2))


@LAWS
@given(
    st.dictionaries(st.integers(0, 5), places, max_size=5),
    st.lists(places, max_size=5, unique=True),
)
def test_names_are_unique_and_stay_where_they_were(
    before: dict[int, tuple[str, int]], now: list[tuple[str, int]]
) -> None:
    previous = running(**{f"a_{number}": place for number, place in sorted(before.items())})
    found = names(previous, *(stands(*place) for place in now))
    assert sorted(found.values()) == sorted(f"{host}/{gpu}" for host, gpu in now)
    for host, gpu in now:
        there = {f"a-{number}" for number, place in before.items() if place == (host, gpu)}
        name = next(name for name, place in found.items() if place == f"{host}/{gpu}")
        assert not there or name in there
    # Once named, named for good.
    after = running(
        **{
            name.replace("-", "_"): (place.split("/")[0], int(place.split("/")[1]))
            for name, place in found.items()
        }
    )
    assert names(after, *(stands(*place) for place in reversed(now))) == found


# Ports


def ports(
    named: list[Named], *, frozen: tuple[Replica, ...] = (), first: int = 8000, last: int = 8999
) -> dict[str, int]:
    hosts = TinyFleet(hosts={"h1": (9,), "h2": (9,)}, services=()).inventory().hosts
    ranged = tuple(replace(host, ports=(first, last)) for host in hosts)
    return _ports(Inventory(hosts=ranged), named, frozen)


def named(number: int, host: str, before: Replica | None = None) -> Named:
    return Named(number=number, placement=stands(host, 0), before=before)


def test_ports_are_given_in_order_on_each_host() -> None:
    found = ports([named(0, "h1"), named(1, "h1"), named(2, "h2")])
    assert found == {"a-0": 8000, "a-1": 8001, "a-2": 8000}


def test_a_port_stays_and_others_go_round_it() -> None:
    before = replica("a-1", "h1", port=8000)
    assert ports([named(0, "h1"), named(1, "h1", before)]) == {"a-0": 8001, "a-1": 8000}


def test_a_port_does_not_move_to_another_host() -> None:
    assert ports([named(0, "h2", replica("a-0", "h1", port=8044))]) == {"a-0": 8000}


def test_a_port_outside_of_the_range_is_given_up() -> None:
    assert ports([named(0, "h1", replica("a-0", "h1", port=22))]) == {"a-0": 8000}


def test_a_frozen_port_is_taken() -> None:
    kept = (replica("z-0", "h1", port=8000),)
    before = replica("a-0", "h1", port=8000)
    assert ports([named(0, "h1", before)], frozen=kept) == {"a-0": 8001}


def test_a_host_without_a_free_port_is_reported() -> None:
    with pytest.raises(CompileError, match="ports-exhausted: Host `h1` has the ports 8000-8000"):
        ports([named(0, "h1"), named(1, "h1")], last=8000)


# Start order


def starter(
    name: str, *gpus: int, priority: int = 50, frozen_after: tuple[str, ...] | None = None
) -> Starter:
    keys: tuple[GpuKey, ...] = tuple(("h", gpu) for gpu in gpus)
    return Starter(name=name, priority=priority, gpus=keys, frozen_after=frozen_after)


def closure(waits: dict[str, list[str]]) -> dict[str, set[str]]:
    """Everybody that each one waits for, directly or not; a circle would not end."""
    before: dict[str, set[str]] = {}
    while len(before) < len(waits):
        ready = [n for n in waits if n not in before and set(waits[n]) <= before.keys()]
        assert ready, f"a circle, or somebody waits for nobody: {waits}"
        for name in ready:
            before[name] = set(waits[name]).union(*(before[each] for each in waits[name]))
    return before


def check_order(starters: list[Starter]) -> dict[str, list[str]]:
    """The order, after looking that every two on a GPU are in it."""
    waits = start_order(starters)
    assert waits.keys() == {each.name for each in starters}
    before = closure(waits)
    for first, second in combinations(starters, 2):
        if set(first.gpus) & set(second.gpus):
            assert first.name in before[second.name] or second.name in before[first.name]
    return waits


def test_those_apart_start_at_once() -> None:
    assert check_order([starter("a", 0), starter("b", 1), starter("c")]) == {
        "a": [], "b": [], "c": [],
    }  # fmt: skip


def test_higher_priority_starts_first_then_the_name_decides() -> None:
    found = check_order([starter("a", 0), starter("c", 0), starter("b", 0, priority=90)])
    assert found == {"b": [], "a": ["b"], "c": ["a"]}


def test_a_split_replica_waits_on_each_of_its_gpus() -> None:
    found = check_order([starter("a", 0), starter("b", 1), starter("c", 0, 1), starter("d", 0)])
    assert found == {"a": [], "b": [], "c": ["a", "b"], "d": ["c"]}


def test_frozen_ones_keep_their_lists_and_come_first() -> None:
    frozen = [starter("x", 0, frozen_after=()), starter("y", 0, frozen_after=("x",))]
    found = check_order([*frozen, starter("a", 0, priority=99)])
    assert found == {"x": [], "y": ["x"], "a": ["y"]}


def test_what_a_frozen_one_waits_for_comes_before_it() -> None:
    found = check_order([starter("a", 0), starter("b", 0), starter("x", 0, frozen_after=("a",))])
    assert found == {"a": [], "x": ["a"], "b": ["x"]}


def test_a_frozen_list_loses_what_is_gone() -> None:
    found = check_order([starter("x", 0, frozen_after=("gone",)), starter("a", 0)])
    assert found == {"x": [], "a": ["x"]}


def test_frozen_ones_between_which_one_is_gone_are_put_in_order_anew() -> None:
    found = check_order([starter("x", 0, frozen_after=()), starter("y", 0, frozen_after=("gone",))])
    assert found == {"x": [], "y": ["x"]}


def test_frozen_ones_between_which_one_has_moved_are_put_in_order_anew() -> None:
    found = check_order(
        [
            starter("x", 0, frozen_after=()),
            starter("m", 1, priority=99),
            starter("y", 0, frozen_after=("m",)),
        ]
    )
    assert found == {"x": [], "y": ["x"], "m": []}


@st.composite
def fleets(draw: st.DrawFn) -> list[Starter]:
    """Up to seven replicas on three GPUs."""
    gpus = st.lists(st.integers(0, 2), max_size=3, unique=True)
    names = draw(st.lists(st.sampled_from("abcdefg"), unique=True, min_size=1))
    return [starter(name, *draw(gpus), priority=draw(st.integers(0, 2))) for name in names]


@LAWS
@given(fleets())
def test_every_two_on_a_gpu_are_in_order(fleet: list[Starter]) -> None:
    waits = check_order(fleet)
    assert start_order(list(reversed(fleet))) == waits
    assert all(names == sorted(names) for names in waits.values())


@LAWS
@given(fleets(), fleets(), st.sets(st.sampled_from("abcdefg")))
def test_a_fleet_of_which_some_is_frozen_has_an_order(
    old: list[Starter], new: list[Starter], frozen: set[str]
) -> None:
    """Frozen ones stay as they were; the others are what the new fleet has."""
    waits = start_order(old)
    kept = [
        replace(each, frozen_after=tuple(waits[each.name])) for each in old if each.name in frozen
    ]
    fresh = [each for each in new if each.name not in {k.name for k in kept}]
    check_order([*kept, *fresh])


@LAWS
@given(fleets(), st.sets(st.sampled_from("abcdefg")))
def test_an_order_frozen_in_parts_or_whole_stays(fleet: list[Starter], frozen: set[str]) -> None:
    waits = start_order(fleet)
    again = [
        replace(each, frozen_after=tuple(waits[each.name])) if each.name in frozen else each
        for each in fleet
    ]
    found = check_order(again)
    if frozen >= {each.name for each in fleet}:
        assert found == waits


# Files


def test_a_model_in_a_home_lies_under_models_dir_on_its_host() -> None:
    entry = LockedSource(source="~/deep/x.gguf", files=[], facts=published("Qwen/Qwen3-8B").facts)
    (host,) = inventory((1,)).hosts
    assert located(entry, "llama.cpp", host).path == f"{host.models_dir}/deep/x.gguf"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Qwen/Qwen3-8B", []),
        ("/srv/models/deep/x.gguf", []),
        ("/srv/models-of-others/x.gguf", ["/srv/models-of-others"]),
        ("/x.gguf", ["/x.gguf"]),
        ("/data/qwen", ["/data/qwen"]),
    ],
)
def test_what_lies_outside_models_dir(path: str, expected: list[str]) -> None:
    assert read_dirs([path, path], "/srv/models") == expected
