"""What becomes of hosts in a delivery, and how they differ from the plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compiler.delivery.judge import Difference, HostResult, Outcome, releases
from compiler.ir.plan import Plan
from compiler.ir.units import show_mib
from compiler.views.terminal import safe_text

_WORDS: dict[Outcome, str] = {
    "done": "has its release",
    "unchanged": "nothing to do",
    "pending": "to change",
    "stale": "STALE",
    "locked": "changed by somebody else just now",
    "drift": "CHANGED BY HAND",
    "refused": "REFUSED, nothing was changed",
    "rolled_back": "ROLLED BACK",
    "broken": "BROKEN",
    "unreachable": "UNREACHABLE",
    "stopped": "not begun",
}


def result_lines(results: Iterable[HostResult]) -> list[str]:
    """A row for each host, and under it why, where there is something to say."""
    rows = [(each.host, each.release or "?", _WORDS[each.outcome], each) for each in results]
    widths = [max((len(row[n]) for row in rows), default=0) for n in (0, 1)]  # type: ignore[arg-type]
    lines = []
    for host, release, words, each in rows:
        spent = f" in {each.seconds} s" if each.seconds else ""
        lines.append(f"{host:{widths[0]}}  {release:{widths[1]}}  {words}{spent}")
        said = (*((each.why,) if each.why else ()), *each.warnings)
        lines += [f"    {safe_text(text)}" for text in said]
    return lines


def change_lines(plan: Plan, hosts: Sequence[str]) -> list[str]:
    """What a delivery does on these hosts, wave by wave."""
    lines = []
    chosen = set(hosts)
    for number, wave in enumerate(plan.rollout.waves if plan.rollout else ()):
        visits = [visit for visit in wave.visits if visit.host in chosen]
        if not visits:
            continue
        lines.append(f"Wave {number}")
        for visit in visits:
            stops = [name for step in visit.steps for name in step.stop]
            starts = [name for step in visit.steps for name in step.start]
            parts = [
                f"{sign} {' '.join(names)}"
                for sign, names in (
                    ("-", [n for n in stops if n not in starts]),
                    ("~", [n for n in starts if n in stops]),
                    ("+", [n for n in starts if n not in stops]),
                )
                if names
            ]
            lines.append(f"  {visit.host}  {', '.join(parts) or 'files that restart nothing'}")
        lines += [
            f"  {each.service} has {each.up} of {each.wanted} replicas for a while"
            for each in wave.short
        ]
    return lines


def difference_lines(differences: Iterable[Difference]) -> list[str]:
    """A line for each difference, those first that matter."""
    ordered = sorted(differences, key=lambda each: not each.matters)
    return [
        f"{'!' if each.matters else ' '} {each.host}: {safe_text(each.what)}" for each in ordered
    ]


def event_line(kind: str, **fields: object) -> str:
    """One event for a program, as a line of JSON."""
    return json.dumps({"event": kind, **fields}, ensure_ascii=True, sort_keys=True)


def result_event(result: HostResult) -> str:
    """What became of a host, for a program."""
    return event_line(
        "host",
        host=result.host,
        outcome=result.outcome,
        release=result.release,
        why=result.why,
        seconds=result.seconds,
        warnings=list(result.warnings),
    )


def difference_event(difference: Difference) -> str:
    """A difference, for a program."""
    return event_line(
        "difference", host=difference.host, what=difference.what, matters=difference.matters
    )


def status_lines(
    plan: Plan, answers: Mapping[str, Mapping[str, Any]], silent: Iterable[str]
) -> list[str]:
    """A row for each host that has answered, with its replicas under it."""
    wanted = releases(plan)
    gone = set(silent)
    lines = []
    for host in wanted:
        if host in gone:
            lines.append(f"{host}  UNREACHABLE")
        if host not in answers:
            continue
        answer = answers[host]
        has = str(answer.get("release", ""))
        goal = "as planned" if has == wanted[host].id else f"planned is {wanted[host].id}"
        holder = f", changed by {safe_text(str(answer['holder']))}" if answer.get("holder") else ""
        lines.append(f"{host}  release {safe_text(has)}, {goal}{holder}")
        gpu_bytes: Mapping[str, int] = answer.get("gpu_bytes") or {}
        served: Mapping[str, Any] = answer.get("served") or {}
        for name, state in (answer.get("states") or {}).items():
            models = ", ".join(map(str, served.get(name) or ())) or "nothing"
            held = f", {show_mib(gpu_bytes[name])} of GPUs" if name in gpu_bytes else ""
            lines.append(
                safe_text(
                    f"  {name}  {state.get('state')}, serves {models}{held}, "
                    f"{state.get('restarts', 0)} restarts"
                )
            )
    return lines
