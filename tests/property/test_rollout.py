"""Laws of the rollout: every step is carried out on paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from compiler.ir.plan import Plan
from compiler.ir.rollout import SwitchStep
from compiler.recount_rollout import rollout_faults
from compiler.rollout.availability import wanted_up
from compiler.rollout.waves import rollout
from tests.generators.rollouts import Pair, pairs
from tests.generators.small_plans import BUDGET_BYTES

Running = dict[tuple[str, str], str]
"""Host and name of what runs, and its service."""


def carried(pair: Pair) -> Plan:
    """The plan with its rollout."""
    made = rollout(pair.previous, pair.plan, pair.spec)
    return pair.plan.model_copy(update={"rollout": made})


def running(plan: Plan) -> Running:
    return {(r.host, r.name): r.service for r in plan.replicas}


def up(now: Running) -> Counter[str]:
    return Counter(name.rpartition("-")[0] for name in {name for _, name in now})


def carry_out(host: str, steps: Sequence[SwitchStep], now: Running) -> list[Counter[str]]:
    """Changes a host in `now`; what is up after each stop."""
    lows = []
    for step in steps:
        for name in step.stop:
            del now[host, name]
        lows.append(up(now))
        for name in step.start:
            now[host, name] = name.rpartition("-")[0]
    return lows


@given(pairs())
def test_every_step_fits_and_leads_to_the_plan(pair: Pair) -> None:
    plan = carried(pair)
    assert list(rollout_faults(pair.previous, plan)) == []
    now = running(pair.previous)
    for wave in plan.rollout.waves if plan.rollout else ():
        for visit in wave.visits:
            carry_out(visit.host, visit.steps, now)
    assert now == running(plan)


@given(pairs())
def test_no_gpu_and_no_port_is_taken_twice_at_any_moment(pair: Pair) -> None:
    """Without the code that recounts a rollout in a compile."""
    plan = carried(pair)
    new = {r.name: r for r in plan.replicas}
    for wave in plan.rollout.waves if plan.rollout else ():
        for visit in wave.visits:
            now = {r.name: r for r in pair.previous.replicas if r.host == visit.host}
            for step in visit.steps:
                for name in step.stop:
                    del now[name]
                for name in step.start:
                    now[name] = new[name]
                held = Counter[int]()
                for each in now.values():
                    held.update({share.gpu: share.share_bytes for share in each.shares})
                assert all(size <= BUDGET_BYTES for size in held.values())
                assert len({each.port for each in now.values()}) == len(now)


@given(pairs())
def test_what_is_not_said_to_fall_short_does_not(pair: Pair) -> None:
    """Hosts of a wave change at once, so that all of their lowest moments may come together."""
    plan = carried(pair)
    wanted = wanted_up(pair.previous, plan, pair.spec)
    now = running(pair.previous)
    for wave in plan.rollout.waves if plan.rollout else ():
        said = {short.service: short.up for short in wave.short}
        before = dict(now)
        lowest = up(before)
        for visit in wave.visits:
            alone = dict(before)
            low = up(before)
            for moment in carry_out(visit.host, visit.steps, alone):
                low = Counter({key: min(low[key], moment[key]) for key in low})
            lowest = Counter({key: lowest[key] - (up(before)[key] - low[key]) for key in lowest})
            carry_out(visit.host, visit.steps, now)
        for service, least in wanted.items():
            assert lowest[service] >= said.get(service, least)
            assert service not in said or said[service] < least


@given(pairs(n_hosts=4))
def test_nothing_falls_short_where_an_order_of_the_hosts_spares_all(pair: Pair) -> None:
    """Against every order there is, one host after another."""
    plan = carried(pair)
    assert plan.rollout is not None
    visits = [visit for wave in plan.rollout.waves for visit in wave.visits]
    wanted = wanted_up(pair.previous, plan, pair.spec)

    def spares_all(order: Sequence[int]) -> bool:
        now = running(pair.previous)
        for number in order:
            visit = visits[number]
            lows = [up(now), *carry_out(visit.host, visit.steps, now), up(now)]
            if any(low[name] < least for low in lows for name, least in wanted.items()):
                return False
        return True

    said = [short for wave in plan.rollout.waves for short in wave.short]
    possible = any(map(spares_all, permutations(range(len(visits)))))
    assert possible == (not said)


@given(pairs())
def test_a_plan_that_changes_nothing_keeps_the_rollout(pair: Pair) -> None:
    plan = carried(pair)
    assert rollout(plan, plan, pair.spec) == plan.rollout


@given(pairs(), st.integers(0, 5))
def test_a_rollout_does_not_depend_on_the_order_of_the_services(pair: Pair, seed: int) -> None:
    services = pair.spec.services
    turned = services[seed % len(services) :] + services[: seed % len(services)]
    spec = type(pair.spec)(services=turned, policy=pair.spec.policy)
    assert rollout(pair.previous, pair.plan, spec) == rollout(pair.previous, pair.plan, pair.spec)
