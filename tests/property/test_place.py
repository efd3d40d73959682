"""Laws of the place pass, with a brute force over tiny fleets as the judge."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.ir.demand import Demands
from compiler.ir.inventory import Inventory
from compiler.ir.placement import Crowded, PlacementError, Placements
from compiler.ir.plan import InputDigests, Plan
from compiler.ir.spec import Spec
from compiler.place.conflicts import insisting_on, why_left_out
from compiler.place.fleet import rank
from compiler.place.placing import place
from tests.generators.fleets import TinyFleet, TinyService
from tests.generators.small_plans import replica as small_replica
from tests.generators.small_plans import share
from tests.property.oracle import Running, Way, best_score, holds, score
from tests.property.strategies import fleets

SLOW = settings(max_examples=60, derandomize=True)


def placed(fleet: TinyFleet, previous: Plan | None = None) -> Placements | None:
    """The placements of a tiny fleet, or None when it cannot be placed."""
    try:
        return place(fleet.inventory(), fleet.spec(), fleet.demands(), previous)
    except PlacementError as error:
        conflicts = error.conflicts
    assert conflicts
    return None


def ways(fleet: TinyFleet, answer: Placements) -> dict[str, tuple[Way, ...]]:
    """The answer in the oracle's terms."""
    found: dict[str, list[Way]] = {service.name: [] for service in fleet.services}
    for each in answer.chosen:
        found[each.service].append((each.variant, each.host, each.gpus))
    return {name: tuple(sorted(each)) for name, each in found.items()}


@SLOW
@given(fleets())
def test_places_exactly_when_a_brute_force_can_and_no_worse(fleet: TinyFleet) -> None:
    best = best_score(fleet)
    answer = placed(fleet)
    assert (answer is None) == (best is None)
    if answer is None:
        return
    chosen = ways(fleet, answer)
    assert holds(fleet, chosen)
    assert score(fleet, chosen) == best
    assert all(each.reached == each.bound for each in answer.objectives)


@SLOW
@given(fleets(), st.sampled_from([None, 0, 1]), st.booleans())
def test_moves_no_more_than_a_brute_force_must(
    fleet: TinyFleet, max_moves: int | None, more: bool
) -> None:
    """One service grows, another wants one replica more, and a host may lose a GPU."""
    first = placed(fleet)
    assume(first is not None)
    assert first is not None
    running = Running(ways(fleet, first))
    previous = plan_of(fleet, running)
    services = tuple(
        replace(service, variants=tuple(map(_grown, service.variants)))
        if service.name == "a"
        else replace(service, replicas=service.replicas + more)
        for service in fleet.services
    )
    hosts = {name: gpus[: len(gpus) - more] or gpus for name, gpus in fleet.hosts.items()}
    changed = replace(fleet, max_moves=max_moves, services=services, hosts=hosts, consolidate=True)
    best = best_score(changed, running)
    answer = placed(changed, previous)
    assert (answer is None) == (best is None)
    if answer is not None:
        chosen = ways(changed, answer)
        assert holds(changed, chosen, running)
        assert score(changed, chosen, running) == best


@SLOW
@given(fleets())
def test_unchanged_inputs_move_nothing(fleet: TinyFleet) -> None:
    first = placed(fleet)
    assume(first is not None)
    assert first is not None
    again = placed(fleet, plan_of(fleet, Running(ways(fleet, first))))
    assert again is not None
    assert ways(fleet, again) == ways(fleet, first)


@SLOW
@given(fleets())
def test_an_unused_host_moves_nothing(fleet: TinyFleet) -> None:
    first = placed(fleet)
    assume(first is not None and not first.unplaced)
    assert first is not None
    assume(all(each.variant == 0 for each in first.chosen))
    assume(all(len(each.gpus) == 1 for each in first.chosen))
    wider = replace(fleet, hosts={**fleet.hosts, "h9": (10,)})
    again = placed(wider, plan_of(fleet, Running(ways(fleet, first))))
    assert again is not None
    assert ways(wider, again) == ways(fleet, first)


@settings(max_examples=150, derandomize=True)
@given(fleets())
def test_who_is_told_to_stand_in_the_way_does(fleet: TinyFleet) -> None:
    """What comes after a service can go: it still finds no place, by the figures that are told."""
    spec = fleet.spec()
    try:
        place(fleet.inventory(), spec, fleet.demands(), None)
    except PlacementError as error:
        conflicts = error.conflicts
    else:
        conflicts = ()
    for conflict in conflicts:
        if isinstance(conflict, Crowded):
            assert_in_the_way(spec, conflict)
            last = rank(spec.service(conflict.service))
            first = {service.name for service in spec.services if rank(service) <= last}
            left = tuple(each for each in fleet.services if each.name in first)
            assert placed(replace(fleet, services=left)) is None


@settings(max_examples=150, derandomize=True)
@given(fleets())
def test_an_optional_service_is_left_out_for_what_comes_before_it(fleet: TinyFleet) -> None:
    answer = placed(fleet)
    assume(answer is not None)
    assert answer is not None
    spec, demands = fleet.spec(), fleet.demands()
    standing = Counter(each.service for each in answer.chosen)
    for unplaced in answer.unplaced:
        needed = insisting_on(spec, unplaced.service, standing)
        reasons = why_left_out(fleet.inventory(), needed, demands, None, unplaced.service)
        assert reasons
        for reason in reasons:
            if isinstance(reason, Crowded):
                assert reason.service == unplaced.service
                assert_in_the_way(spec, reason)


def test_of_optional_services_of_one_priority_the_first_by_name_comes_first() -> None:
    """Each could take the other's replica, and coverage is the same."""
    small, large = ({1: 5}, {1: 1}), ({1: 5},)
    for names in (("a", "b"), ("b", "a")):
        two = TinyService(name=names[0], variants=small, replicas=2, optional=True, spread="host")
        one = TinyService(name=names[1], variants=large, optional=True, apart_from=(names[0],))
        answer = placed(TinyFleet(hosts={"h0": (4,), "h1": (6,)}, services=(two, one)))
        assert answer is not None
        standing = Counter(each.service for each in answer.chosen)
        # Two of one, or one of each: either way two, and the first by name is not the one short.
        assert standing == ({"a": 2} if names[0] == "a" else {"a": 1, "b": 1})


def assert_in_the_way(spec: Spec, conflict: Crowded) -> None:
    """The figures add up, and nobody is named who would step aside."""
    assert conflict.shortages
    for shortage in conflict.shortages:
        taken = sum(tenant.share_mib for tenant in shortage.tenants)
        assert shortage.free_mib == shortage.budget_mib - taken < shortage.need_mib
        for tenant in shortage.tenants:
            assert rank(spec.service(tenant.service)) <= rank(spec.service(conflict.service))


@SLOW
@given(fleets(), st.integers(1, 4))
def test_more_memory_never_makes_a_fit_unfit(fleet: TinyFleet, more: int) -> None:
    assume(placed(fleet) is not None)
    larger = {host: tuple(mib + more for mib in gpus) for host, gpus in fleet.hosts.items()}
    assert placed(replace(fleet, hosts=larger)) is not None


@SLOW
@given(fleets())
def test_the_order_of_the_input_changes_nothing(fleet: TinyFleet) -> None:
    first = placed(fleet)
    demands = fleet.demands()
    reversed_demands = Demands(
        options=dict(reversed(demands.options.items())),
        too_large=demands.too_large,
        refused=demands.refused,
    )
    inventory = Inventory(hosts=fleet.inventory().hosts)
    try:
        second = place(inventory, fleet.spec(), reversed_demands, None)
    except PlacementError:
        second = None
    assert (first is None) == (second is None)
    if first and second:
        assert Counter(map(repr, first.chosen)) == Counter(map(repr, second.chosen))


def _grown(sizes: dict[int, int]) -> dict[int, int]:
    return {n_gpus: mib + 1 for n_gpus, mib in sizes.items()}


def plan_of(fleet: TinyFleet, running: Running) -> Plan:
    """A plan that runs these replicas, as a previous plan."""
    sizes = {service.name: service.variants for service in fleet.services}
    return Plan(
        inputs=InputDigests(inventory="", spec="", lock=""),
        optimality="optimal",
        replicas=[
            small_replica(
                f"{name}-{number}",
                host,
                [
                    share(
                        gpu,
                        sizes[name][variant][len(gpus)],
                        kind=f"card-{fleet.hosts[host][gpu]}",
                    )
                    for gpu in gpus
                ],
                variant=f"v{variant}",
            )
            for name, each in sorted(running.ways.items())
            for number, (variant, host, gpus) in enumerate(each)
        ],
        gpus=[],
        hosts=[],
        unplaced=[],
    )
