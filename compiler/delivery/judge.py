"""What hosts answer, against the plan: what a delivery would do, and what differs from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from compiler.ir.plan import Plan
from compiler.ir.rollout import NO_RELEASE, HostRelease

Outcome = Literal[
    "done",
    "unchanged",
    "pending",
    "stale",
    "locked",
    "drift",
    "refused",
    "rolled_back",
    "broken",
    "unreachable",
    "stopped",
]

EXIT_CODES: dict[Outcome, int] = {
    "broken": 8,
    "rolled_back": 7,
    "unreachable": 9,
    "stale": 6,
    "locked": 1,
    "drift": 1,
    "refused": 1,
    "stopped": 1,
    "done": 0,
    "pending": 0,
    "unchanged": 2,
}
"""The first one that some host has is the exit code of the run; of none but `unchanged` it is 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """What became of one host."""

    host: str
    outcome: Outcome
    why: str
    release: str
    """The one that it has; empty where it did not say."""
    seconds: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is on a host and is not in the plan, or the other way round."""

    host: str
    what: str
    matters: bool
    """What changes a model, its memory or who reaches it; the rest is told and is no failure."""


def releases(plan: Plan) -> dict[str, HostRelease]:
    """The release that each host should have; those that have left the inventory among them."""
    leaving = plan.rollout.leaving if plan.rollout else []
    return {each.host: each for each in (*plan.releases, *leaving)}


def looked(
    plan: Plan, hosts: Iterable[str], answers: Mapping[str, Mapping[str, Any]]
) -> list[HostResult]:
    """What a delivery would find on these hosts, by what they say of themselves."""
    wanted = releases(plan)
    visits = plan.rollout.waves if plan.rollout else []
    bases = {visit.host: visit.base for wave in visits for visit in wave.visits}
    found = []
    for host in hosts:
        answer = answers.get(host)
        if answer is None:
            found.append(HostResult(host=host, outcome="unreachable", why="", release=""))
            continue
        has, goal = str(answer.get("release", NO_RELEASE)), wanted[host].id
        states = answer.get("states") or {}
        down = [name for name, state in states.items() if not state.get("active")]
        drift = [str(each) for each in answer.get("drift") or ()]
        outcome: Outcome = "pending"
        why = ""
        if answer.get("holder"):
            outcome, why = "locked", str(answer["holder"])
        elif has not in (goal, bases.get(host, goal)):
            outcome = "stale"
            why = f"it has release {has}, and the plan leads from {bases.get(host, goal)}"
        elif drift:
            outcome, why = "drift", "; ".join(drift)
        elif has == goal and not down:
            outcome = "unchanged"
        found.append(HostResult(host=host, outcome=outcome, why=why, release=has))
    return found


def delivered(
    hosts: Iterable[str],
    answers: Mapping[str, Mapping[str, Any]],
    unreachable: Iterable[str],
) -> list[HostResult]:
    """What became of these hosts in a delivery."""
    gone = set(unreachable)
    found = []
    for host in hosts:
        answer = answers.get(host)
        if answer is None:
            outcome: Outcome = "unreachable" if host in gone else "stopped"
            why = "" if host in gone else "an earlier wave did not succeed"
            found.append(HostResult(host=host, outcome=outcome, why=why, release=""))
            continue
        outcome, why = _named(str(answer.get("outcome", "")), str(answer.get("why", "")))
        # What was begun and never came to an answer goes on without us.
        if host in gone and outcome not in ("done", "unchanged"):
            outcome = "unreachable"
        found.append(
            HostResult(
                host=host,
                outcome=outcome,
                why=why,
                release=str(answer.get("release", "")),
                seconds=int(answer.get("seconds") or 0),
                warnings=tuple(map(str, answer.get("warnings") or ())),
            )
        )
    return found


def exit_code(results: Iterable[HostResult]) -> int:
    """The exit code of a run: 0 only when every host is as it should be, 2 when all were before."""
    outcomes = {result.outcome for result in results}
    for outcome, code in EXIT_CODES.items():
        if outcome in outcomes:
            return code
    return EXIT_CODES["unchanged"]


def differences(plan: Plan, answers: Mapping[str, Mapping[str, Any]]) -> list[Difference]:
    """How the hosts that have answered differ from the plan."""
    services = {replica.name: replica.service for replica in plan.replicas}
    found: list[Difference] = []
    for host, wanted in releases(plan).items():
        answer = answers.get(host)
        if answer is not None:
            found += _differences(host, wanted, answer, services)
    return found


def _differences(
    host: str, wanted: HostRelease, answer: Mapping[str, Any], services: Mapping[str, str]
) -> Iterable[Difference]:
    def told(what: str, *, matters: bool = True) -> Difference:
        return Difference(host=host, what=what, matters=matters)

    has = str(answer.get("release", NO_RELEASE))
    if has != wanted.id:
        yield told(f"has release {has}, and {wanted.id} is planned")
    for each in answer.get("drift") or ():
        yield told(str(each))
    states: Mapping[str, Any] = answer.get("states") or {}
    served: Mapping[str, Any] = answer.get("served") or {}
    for name, state in states.items():
        if not state.get("active"):
            yield told(f"{name} is {state.get('state')}")
            continue
        models = served.get(name)
        if models is not None and services.get(name, models[0] if models else "") not in models:
            yield told(f"{name} serves {', '.join(map(str, models)) or 'nothing'}")
        if state.get("restarts"):
            yield told(f"{name} has restarted {state['restarts']} times", matters=False)
    for name in answer.get("reload") or ():
        yield told(f"{name}: systemd has not read its unit anew", matters=False)


_WORDS: dict[str, Outcome] = {
    "done": "done",
    "unchanged": "unchanged",
    "rolled_back": "rolled_back",
    "broken": "broken",
}


def _named(outcome: str, why: str) -> tuple[Outcome, str]:
    """The outcome of a host in a word; a refusal says its kind in the first word of its reason."""
    if outcome in _WORDS:
        return _WORDS[outcome], why
    if outcome == "running":
        return "unreachable", "the change goes on, and nobody waited for its end"
    kind, colon, rest = why.partition(": ")
    for known in ("stale", "locked", "drift"):
        if colon and kind == known:
            return known, rest
    return "refused", why
