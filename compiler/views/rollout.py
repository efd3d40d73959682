"""The waves in which a plan is carried out, for PLAN.md."""

from __future__ import annotations

from compiler.ir.names import folded, natural_key
from compiler.ir.plan import Plan
from compiler.ir.rollout import Rollout, Visit, Wave
from compiler.views.markdown import code, escaped, table


def rollout_lines(plan: Plan) -> list[str]:
    """A table with a row for each wave, and what falls short in it; nothing without waves."""
    rollout = plan.rollout
    if rollout is None or not rollout.waves:
        return []
    rows = [_row(number, wave) for number, wave in enumerate(rollout.waves)]
    return table(("wave", "hosts", "stop", "restart", "start", "short of replicas"), rows)


def leaving_lines(rollout: Rollout | None) -> list[str]:
    """A line for each host that has left the inventory."""
    return [
        f"- {code(each.host)} has left the inventory, and stops all that runs there."
        for each in (rollout.leaving if rollout else ())
    ]


def _row(number: int, wave: Wave) -> list[str]:
    # A replica that moves between two hosts of one wave would be in two columns: none does.
    stops = {name for visit in wave.visits for name in _named(visit, "stop")}
    starts = {name for visit in wave.visits for name in _named(visit, "start")}
    short = [f"{each.service} ({each.up} of {each.wanted} up)" for each in wave.short]
    return [
        str(number),
        escaped(folded([visit.host for visit in wave.visits])),
        *(_names(names) for names in (stops - starts, stops & starts, starts - stops)),
        escaped(", ".join(short) or "-"),
    ]


def _named(visit: Visit, what: str) -> list[str]:
    return [name for step in visit.steps for name in (step.stop if what == "stop" else step.start)]


def _names(names: set[str]) -> str:
    return escaped(folded(sorted(names, key=natural_key)) or "-")
