"""What an expert does where the objectives leave a choice, and why nowhere else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from compiler.ir.placement import Placement, Placements
from compiler.ir.spec import PlacementRules, Policy
from compiler.place.placing import place
from compiler.place.reasons import reasons
from tests.generators.room import RoomFleet, Wish
from tests.generators.small_plans import replica as small_replica
from tests.generators.small_plans import share

EMBED = Wish(name="embed", weights=1500, request=100, wanted=8, overhead=400)


def embedders(n: int) -> tuple[Wish, ...]:
    return tuple(replace(EMBED, name=f"e{number}") for number in range(n))


def placed(fleet: RoomFleet) -> Placements:
    return place(fleet.inventory(), fleet.spec(), fleet.demands(), None)


def loads(answer: Placements) -> Counter[tuple[str, int]]:
    """Replicas on each GPU in use."""
    return Counter((each.host, gpu) for each in answer.chosen for gpu in each.gpus)


def test_small_services_take_idle_gpus_of_one_size_before_they_share_one() -> None:
    for hosts in ({"tower": (23_000,) * 4}, {f"n{number}": (23_000,) for number in range(4)}):
        answer = placed(RoomFleet(hosts=hosts, wishes=embedders(4)))
        assert set(loads(answer).values()) == {1}
        six = placed(RoomFleet(hosts=hosts, wishes=embedders(6)))
        assert sorted(loads(six).values()) == [1, 1, 2, 2]


def test_a_few_mib_between_kinds_of_one_size_are_no_reason_to_share_a_gpu() -> None:
    answer = placed(RoomFleet(hosts={"tower": (23_335, 23_347)}, wishes=embedders(2)))
    assert set(loads(answer).values()) == {1}


def test_many_embedders_leave_the_large_gpus_alone_while_the_small_ones_have_room() -> None:
    hosts: dict[str, tuple[int, ...]] = {f"big-{n}": (77_000,) * 8 for n in range(6)}
    hosts |= {f"mid-{n}": (43_000,) * 4 for n in range(4)}
    answer = placed(RoomFleet(hosts=hosts, wishes=embedders(20)))
    assert not any(each.host.startswith("big") for each in answer.chosen)
    assert sorted(loads(answer).values()) == [1] * 12 + [2] * 4


def test_one_small_gpu_is_filled_to_the_half_and_larger_ones_take_the_rest() -> None:
    hosts = {"large": (43_000, 43_000), "little": (14_000,)}
    answer = placed(RoomFleet(hosts=hosts, wishes=embedders(5)))
    # Each wants 2,700 MiB: two stay below half of the small GPU.
    assert loads(answer)["little", 0] == 2
    assert sorted(loads(answer).values()) == [1, 2, 2]


def test_two_that_would_fill_a_gpu_do_not_share_it_while_a_larger_one_idles() -> None:
    wishes = tuple(
        Wish(name=name, weights=8000, request=1000, wanted=8, overhead=500) for name in "ab"
    )
    answer = placed(RoomFleet(hosts={"h": (77_000,), "m": (43_000,)}, wishes=wishes))
    assert {each.host for each in answer.chosen} == {"h", "m"}
    packed = RoomFleet(
        hosts={"h": (77_000,), "m": (43_000,)}, wishes=wishes, policy=Policy(prefer="pack")
    )
    assert {each.host for each in placed(packed).chosen} == {"m"}


def test_hosts_are_taken_as_people_count() -> None:
    fleet = RoomFleet(hosts={f"h{n}": (23_000,) for n in range(1, 13)}, wishes=embedders(3))
    inventory = fleet.inventory()
    inventory = replace(
        inventory, hosts=tuple(sorted(inventory.hosts, key=lambda host: int(host.name[1:])))
    )
    answer = place(inventory, fleet.spec(), fleet.demands(), None)
    assert sorted(each.host for each in answer.chosen) == ["h1", "h2", "h3"]


def test_a_split_wider_than_needed_is_no_way_to_take_a_neighbours_room() -> None:
    """One GPU alone would hold half of what `small` wants; its neighbours fill all of them."""
    large = Wish(
        name="large", weights=140_000, request=10_000, wanted=14, overhead=2000, sizes=(4,),
        priority=100,
    )  # fmt: skip
    small = Wish(
        name="small", weights=15_000, request=1000, wanted=30, overhead=1500, sizes=(1, 2, 4)
    )
    hosts = {"h": (80_000,) * 4}
    answer = placed(RoomFleet(hosts=hosts, wishes=(large, small)))
    assert len(standing(answer, "small").gpus) == 1
    rules = PlacementRules(tensor_parallel=(1, 2, 4))
    asked = placed(RoomFleet(hosts=hosts, wishes=(large, replace(small, rules=rules))))
    assert len(standing(asked, "small").gpus) > 1


def standing(answer: Placements, service: str) -> Placement:
    return next(each for each in answer.chosen if each.service == service)


def test_other_places_say_what_decides_against_them() -> None:
    chat = Wish(name="chat", weights=30_000, request=4000, wanted=8, overhead=1500, priority=90)
    fleet = RoomFleet(
        hosts={"a": (77_000, 77_000), "b": (43_000,), "c": (23_000,)}, wishes=(chat, EMBED)
    )
    answer = placed(fleet)
    told = {}
    for each in answer.chosen:
        replica = small_replica(f"{each.service}-0", each.host, [share(g, 1) for g in each.gpus])
        args = (fleet.inventory(), fleet.spec(), fleet.demands(), None, answer, [replica])
        (found,) = reasons(*args)
        told[each.service] = {o.place: (o.code, o.amount > 0) for o in found.elsewhere}
    assert told["chat"] == {"a/1": ("name", False), "b/0": ("room", True)}
    assert told["embed"] == {"a/1": ("larger-gpus", True), "b/0": ("larger-gpus", True)}
