"""Room: the worked examples of docs/placement.md, what an expert does, and what runs stays."""

from __future__ import annotations

from dataclasses import replace

from compiler.assemble.growth import kv_sizes
from compiler.ir.placement import Placement, Placements
from compiler.ir.plan import Plan
from compiler.ir.progress import Step
from compiler.ir.spec import PlacementRules, Policy
from compiler.ir.units import MIB
from compiler.place.placing import How, place
from tests.generators.room import RoomFleet, Wish
from tests.generators.small_plans import plan as small_plan
from tests.generators.small_plans import replica, share

CARD = 77_337
CHAT = Wish(
    name="chat", weights=61 * 1024, request=8 * 1024, wanted=16, overhead=2500, sizes=(1, 2, 4)
)
SMALL = Wish(
    name="small", weights=15 * 1024, request=2 * 1024, wanted=32, overhead=1800, sizes=(1, 2, 4)
)


def placed(fleet: RoomFleet, previous: Plan | None = None) -> tuple[Placements, list[float]]:
    """The placements, and the requests that each replica's cache holds in the end."""
    answer = place(fleet.inventory(), fleet.spec(), fleet.demands(), previous)
    sizes = kv_sizes(fleet.inventory(), answer)
    requests = [
        (size or 0) / each.demand.kv_bytes for size, each in zip(sizes, answer.chosen, strict=True)
    ]
    return answer, requests


def previous_of(answer: Placements, sizes: list[int | None]) -> Plan:
    """A plan that runs these placements, with the shares that they were granted."""
    replicas = []
    counts: dict[str, int] = {}
    for each, size in zip(answer.chosen, sizes, strict=True):
        number = counts.get(each.service, 0)
        counts[each.service] = number + 1
        shares = []
        for gpu, high in zip(each.gpus, each.demand.high_bytes_with(size or 0), strict=True):
            held = share(gpu, high // MIB, kind=f"card-{CARD}")
            kv = held.breakdown.kv.model_copy(update={"bytes": size})
            breakdown = held.breakdown.model_copy(update={"kv": kv})
            shares.append(held.model_copy(update={"breakdown": breakdown}))
        replicas.append(replica(f"{each.service}-{number}", each.host, shares, variant="v"))
    return small_plan({}, replicas)


def standing(answer: Placements, service: str) -> list[Placement]:
    return [each for each in answer.chosen if each.service == service]


def test_a_large_model_takes_two_gpus_for_its_cache_and_a_small_one_its_own() -> None:
    answer, requests = placed(RoomFleet(hosts={"a": (CARD,) * 4}, wishes=(CHAT, SMALL)))
    held = {
        each.service: (each.gpus, room) for each, room in zip(answer.chosen, requests, strict=True)
    }
    assert len(held["chat"][0]) == 2
    assert held["chat"][1] > 10
    assert len(held["small"][0]) == 1
    assert not set(held["small"][0]) & set(held["chat"][0])
    assert answer.optimality == "optimal"


def test_replicas_do_not_all_stack_on_the_one_large_gpu() -> None:
    hosts = {"l": (43_300,), **{f"t{n}": (10_200,) for n in range(4)}}
    hosts |= {f"u{n}": (11_180,) for n in range(2)}
    wish = Wish(name="s", weights=5530, request=1152, wanted=8, overhead=1300, replicas=4)
    answer, requests = placed(RoomFleet(hosts=hosts, wishes=(wish,)))
    assert sum(requests) > 22.6
    assert sum(1 for each in answer.chosen if each.host == "l") == 3


def test_replicas_stand_apart_and_small_services_on_small_gpus() -> None:
    hosts = {"big-0": (80_000,) * 2, "big-1": (80_000,) * 2, "small-0": (24_000,) * 4}
    embed = Wish(name="embed", weights=1500, request=200, wanted=8, overhead=800)
    chat = Wish(name="chat", weights=30_000, request=4000, wanted=8, overhead=1500, replicas=2)
    answer, _ = placed(RoomFleet(hosts=hosts, wishes=(chat, embed)))
    assert {each.host for each in standing(answer, "chat")} == {"big-0", "big-1"}
    assert standing(answer, "embed")[0].host == "small-0"


def test_an_idle_gpu_is_taken_before_a_neighbour_is_squeezed_unless_packing_is_preferred() -> None:
    wishes = tuple(
        Wish(name=name, weights=10_000, request=1000, wanted=12, overhead=500) for name in "ab"
    )
    spread, requests = placed(RoomFleet(hosts={"h": (24_000, 24_000)}, wishes=wishes))
    assert {each.gpus for each in spread.chosen} == {(0,), (1,)}
    assert requests == [12, 12]
    fleet = RoomFleet(hosts={"h": (40_000, 40_000)}, wishes=wishes, policy=Policy(prefer="pack"))
    packed, _ = placed(fleet)
    assert len({each.gpus for each in packed.chosen}) == 1


def test_an_exclusive_service_has_its_gpu_to_itself() -> None:
    alone = Wish(
        name="a", weights=5000, request=100, wanted=4, rules=PlacementRules(exclusive=True)
    )
    other = Wish(name="b", weights=5000, request=100, wanted=4)
    fleet = RoomFleet(
        hosts={"h": (24_000, 24_000)}, wishes=(alone, other), policy=Policy(prefer="pack")
    )
    answer, _ = placed(fleet)
    assert {each.gpus for each in answer.chosen} == {(0,), (1,)}


def test_a_service_that_comes_in_leaves_what_runs_as_it_is() -> None:
    hosts = {"a": (CARD,) * 4}
    first, _ = placed(RoomFleet(hosts=hosts, wishes=(CHAT,)))
    sizes = kv_sizes(RoomFleet(hosts=hosts, wishes=(CHAT,)).inventory(), first)
    fleet = RoomFleet(hosts=hosts, wishes=(CHAT, SMALL))
    second, _ = placed(fleet, previous_of(first, sizes))
    (chat,) = standing(second, "chat")
    assert chat.stays
    assert chat.gpus == first.chosen[0].gpus
    assert second.disturbed == second.moved == 0
    assert kv_sizes(fleet.inventory(), second)[0] == sizes[0]


def test_a_running_cache_grows_only_by_a_quarter_of_what_it_wants() -> None:
    """A neighbour goes: what it leaves is worth a restart to one, and not to the other."""
    wish = Wish(name="a", weights=10_000, request=1000, wanted=40)
    fleet = RoomFleet(hosts={"h": (60_000,)}, wishes=(wish,))
    first, _ = placed(fleet)
    for held, grows in ((30_000, True), (35_000, False)):
        sizes: list[int | None] = [held * MIB]
        previous = previous_of(first, sizes)
        shares = [
            each.model_copy(update={"kind": "card-60000"}) for each in previous.replicas[0].shares
        ]
        running = previous.replicas[0].model_copy(update={"shares": shares})
        again, _ = placed(fleet, previous.model_copy(update={"replicas": [running]}))
        (after,) = kv_sizes(fleet.inventory(), again)
        assert after == (40_000 * MIB if grows else held * MIB)


def test_a_service_that_takes_the_least_does_not_grow() -> None:
    wish = replace(CHAT, wanted=1)
    answer, requests = placed(RoomFleet(hosts={"a": (CARD,) * 4}, wishes=(wish,)))
    assert requests == [1]
    assert len(answer.chosen[0].gpus) == 1


def test_progress_is_told_in_the_units_of_the_plan() -> None:
    wish = replace(SMALL, weights=60 * 1024, replicas=5, optional=True, sizes=(1,))
    fleet = RoomFleet(hosts={"a": (CARD,) * 4}, wishes=(wish,))
    steps: list[Step] = []
    place(fleet.inventory(), fleet.spec(), fleet.demands(), None, How(report=steps.append))
    told = {(step.item.split(" of ")[0], step.best, step.bound) for step in steps if step.item}
    assert ("(coverage", 4, 5) in told
