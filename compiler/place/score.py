"""Objectives in their order, and one integer that orders plans as they do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from compiler.place.levels import POINTS
from compiler.place.problem import Problem, Way
from compiler.place.state import State

Kind = Literal["required", "coverage", "rungs", "disturbed", "moved", "room", "gpus"]
Goal = tuple[Kind, int | None]
"""An objective, and the priority that it is about."""
Score = tuple[int, ...]
"""The value of each objective in their order; the smaller the better."""


def goals_of(problem: Problem) -> tuple[Goal, ...]:
    """All objectives, the most important first."""
    of = problem.priorities
    calm: list[Goal] = [("disturbed", None), ("moved", None)]
    room: list[Goal] = [("room", p) for p in of]
    middle = [*room, *calm] if problem.policy.consolidate else [*calm, *room]
    return (
        ("required", None),
        *(("coverage", p) for p in of),
        *(("rungs", p) for p in of),
        *middle,
        ("gpus", None),
    )


def score_of(state: State) -> Score:
    """Every objective of a plan."""
    p = state.problem
    coverage, rungs, room = Counter[int](), Counter[int](), Counter[int]()
    required = sum(s.replicas for s in p.services if not s.optional)
    gpus = 0
    for standing in state.placed.values():
        way = standing.way
        service = p.services[way.service]
        required -= not service.optional
        coverage[service.priority] -= 1
        rungs[service.priority] += way.loss
        room[service.priority] += way.points
        gpus += way.span
    values: dict[Kind, Counter[int]] = {"coverage": coverage, "rungs": rungs, "room": room}
    single: dict[Kind, int] = {
        "required": required, "disturbed": state.disturbed, "moved": state.moved, "gpus": gpus,
    }  # fmt: skip
    return tuple(
        single[kind] if priority is None else values[kind][priority]
        for kind, priority in goals_of(p)
    )


SCALE = 1024
"""Prices and costs count in 1,024ths."""

# What a point of room is worth in thousandths of a rung, for choices by price alone.
_POINT = 50


@dataclass(frozen=True, slots=True)
class Rows:
    """The ways of a service by what they give up, as a construction reads them."""

    of_ways: list[tuple[int, int, int, int, Way]]
    """What the way gives up and takes at no price, its family, MiB, number, and the way."""
    by_loss: list[tuple[int, int, Way]]
    """At no price, the best first."""


@dataclass(slots=True, eq=False)
class _Tables:
    cover: dict[int, int]
    rungs: dict[int, int]
    room: dict[int, int]


class Weights:
    """What each replica is worth in one integer that orders plans as their scores do.

    `coverage_alone` leaves out all that comes after coverage.
    """

    def __init__(self, problem: Problem, *, coverage_alone: bool = False) -> None:
        self.coverage_alone = coverage_alone
        self._problem = problem
        self._rows: dict[tuple[int, bool], Rows] = {}
        self._services = problem.services
        total = sum(service.replicas for service in problem.services) + 1
        spans = max((family.span for family in problem.families), default=0)
        loss = max((way.loss for ways in problem.least for way in ways), default=0)
        of = {
            p: sum(s.replicas for s in problem.services if s.priority == p)
            for p in problem.priorities
        }
        weight = spans * total + 1
        tables = _Tables({}, {}, {})
        room = [(tables.room, POINTS[0][1])]
        order: list[tuple[dict[int, int] | None, int]] = (
            [(None, 1), *room] if problem.policy.consolidate else [*room, (None, 1)]
        )
        self.moved = self.disturbed = 0
        for table, reach in (*order, (tables.rungs, loss), (tables.cover, 1)):
            if table is None:
                self.moved, self.disturbed = weight, weight * total
                weight *= total * total
                continue
            for p in reversed(problem.priorities):
                table[p] = weight
                weight *= reach * of[p] + 1
        self.cover, self._rungs, self._room, self.need = (
            tables.cover, tables.rungs, tables.room, weight,
        )  # fmt: skip
        self.floor = min(self.cover.values(), default=1)
        ranks = {p: r + 1 for r, p in enumerate(reversed(problem.priorities))}
        self.rank = [ranks[service.priority] for service in problem.services]
        self.order = [(service.optional, -service.priority) for service in problem.services]

    def of(self, way: Way) -> int:
        """What a replica that runs so is worth."""
        service = self._services[way.service]
        p = service.priority
        value = self.cover[p]
        if not self.coverage_alone:
            value -= way.loss * self._rungs[p] + way.points * self._room[p] + way.span
        return value if service.optional else value + self.need

    def rows(self, i: int, *, levels: bool) -> Rows:
        """The ways of a service; `levels`: at every level of room, else at the least alone."""
        known = self._rows.get((i, levels))
        if known is None:
            ways = self._problem.ways[i] if levels else self._problem.least[i]
            rank = self.rank[i] * SCALE
            of_ways = [
                ((way.loss + _POINT * way.points) * rank + way.span, way.family, way.total, n, way)
                for n, way in enumerate(ways)
            ]
            by_loss = sorted([(base, n, way) for base, _, _, n, way in of_ways])
            known = self._rows[i, levels] = Rows(of_ways, by_loss)
        return known

    def counts(self, i: int, since: int | None) -> bool:
        """Whether a service is looked at when only this priority and above are."""
        service = self._services[i]
        return since is None or service.priority >= since or not service.optional
