"""Carries a rollout out on paper, step by step, without the code that made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from compiler.ir.plan import Plan, Replica
from compiler.ir.rollout import NO_RELEASE, Visit


def rollout_faults(previous: Plan | None, plan: Plan) -> Iterator[str]:
    """Whatever would go wrong on the way from the previous plan to this one."""
    if plan.rollout is None:
        yield "the plan has no rollout"
        return
    before = {each.host: each.id for each in previous.releases} if previous else {}
    after = {each.host: each.id for each in (*plan.releases, *plan.rollout.leaving)}
    visits = [visit for wave in plan.rollout.waves for visit in wave.visits]
    visited = [visit.host for visit in visits]
    if len(visited) != len(set(visited)):
        yield "a host changes twice"
    ran = {replica.host for replica in previous.replicas} if previous else set()
    for host in sorted(before.keys() | after.keys() | ran):
        base = before.get(host, NO_RELEASE)
        # What was installed by hand has no release, and is taken over by its visit.
        unknown = host in ran and host not in before
        if (base != after.get(host, NO_RELEASE) or unknown) != (host in visited):
            yield f"host `{host}` changes without need, or does not"
    if plan.rollout.waves and len(plan.rollout.waves[0].visits) != 1:
        yield "not one host goes first"
    for visit in visits:
        if visit.base != before.get(visit.host, NO_RELEASE):
            yield f"host `{visit.host}` does not start from its release"
        yield from _visit_faults(visit, _on(previous, visit.host), _on(plan, visit.host), plan)


def kept_rollout_faults(plan: Plan) -> Iterator[str]:
    """What cannot be in a rollout that leads to this plan, wherever it leads from."""
    if plan.rollout is None:
        return
    known = {each.host: {r.name for r in each.replicas} for each in plan.releases}
    known |= {each.host: set() for each in plan.rollout.leaving}
    for each in plan.rollout.leaving:
        if each.replicas or each.id != NO_RELEASE or each.host in {h.host for h in plan.hosts}:
            yield f"`{each.host}` leaves and stays"
    for visit in (visit for wave in plan.rollout.waves for visit in wave.visits):
        started = {name for step in visit.steps for name in step.start}
        stopped = {name for step in visit.steps for name in step.stop}
        if visit.host not in known or not started <= known[visit.host]:
            yield f"`{visit.host}` starts what is not planned there"
        elif stopped & known[visit.host] - started:
            yield f"`{visit.host}` stops what is planned there"


def _visit_faults(
    visit: Visit, old: dict[str, Replica], new: dict[str, Replica], plan: Plan
) -> Iterator[str]:
    running = dict(old)
    started: set[str] = set()
    for step in visit.steps:
        for name in step.stop:
            if running.pop(name, None) is None:
                yield f"`{name}` stops on `{visit.host}` without running there"
        for name in step.start:
            if name in running or name not in new:
                yield f"`{name}` starts on `{visit.host}` beside itself, or unplanned"
                continue
            running[name] = new[name]
            started.add(name)
            yield from _crowded(visit.host, running.values(), old, plan)
    if running.keys() != new.keys():
        yield f"after its visit `{visit.host}` does not run what is planned"
    if not (new.keys() - old.keys()) <= started:
        yield f"on `{visit.host}` something new does not start"


def _crowded(
    host: str, replicas: Iterable[Replica], old: dict[str, Replica], plan: Plan
) -> Iterator[str]:
    replicas = list(replicas)
    unified = any(each.unified for each in plan.hosts if each.host == host)
    held = _held(replicas, unified=unified)
    ran = _held(old.values(), unified=unified)
    budgets = {(g.host, str(g.gpu)): g.budget_bytes for g in plan.gpus}
    budgets |= {(h.host, "ram"): h.ram_budget_bytes for h in plan.hosts}
    for device, size in held.items():
        if size > max(budgets.get((host, device), 0), ran[device]):
            yield f"`{host}/{device}` holds more than its budget for a while"
    ports = Counter(each.port for each in replicas if each.listen != "none")
    if any(count > 1 for count in ports.values()):
        yield f"two replicas of `{host}` want one port for a while"


def _held(replicas: Iterable[Replica], *, unified: bool) -> Counter[str]:
    held = Counter[str]()
    for replica in replicas:
        held["ram"] += replica.ram_bytes
        for share in replica.shares:
            held["ram" if unified else str(share.gpu)] += share.share_bytes
    return held


def _on(plan: Plan | None, host: str) -> dict[str, Replica]:
    return {r.name: r for r in plan.replicas if r.host == host} if plan else {}
