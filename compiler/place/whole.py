"""A whole small fleet as one program: coverage alone, or one objective after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from compiler.place.exact import FIRST, Cut, Model, value_of
from compiler.place.problem import Problem, Way
from compiler.place.score import Goal, Kind
from compiler.place.solver import improve
from compiler.place.state import State

# Less work than this proves nothing.
_LEAST_WORK = 0.05


def place_in_order(
    state: State,
    kinds: tuple[Kind, ...],
    bounds: dict[Goal, int],
    limit: float,
    cuts: Callable[[Goal], Iterable[Cut]],
) -> dict[Goal, int]:
    """The whole fleet, one objective of these kinds after another, each held for those after it.

    `bounds`: what no plan passes, of each objective; one that is at its bound is held at once.
    The state is never worse for it. Gives the bounds of all that is proven now.
    """
    p = state.problem
    levels = "room" in kinds
    entries = [(s.way, s.place) for s in (state.take(key) for key in sorted(state.placed))]
    if not levels:
        entries = [(way.ladder[0], n) for way, n in entries]
    wanted = +Counter(dict(enumerate(p.possible)))
    every = p.ways if levels else p.least
    model = Model(state, range(len(p.host_names)), wanted, lambda i: every[i])
    values = model.values(entries)
    proven: dict[Goal, int] = {}
    needed = sum(service.replicas for service in p.services if not service.optional)
    for each in model.sums():
        # What is required counts those that are missing, its sum those that are there.
        missing = needed if each.goal[0] == "required" else 0
        if each.goal[0] not in kinds or not each.terms:
            if each.terms and each.goal[0] in FIRST:
                model.hold_sum(each, values)
            continue
        if value_of(each, values) + missing > bounds[each.goal] and limit > _LEAST_WORK:
            model.add_cuts(cuts(each.goal))
            values, is_proven, work = improve(model.program, [each.terms], values, limit / 2)
            limit -= work
            if is_proven:
                proven[each.goal] = value_of(each, values) + missing
        model.hold_sum(each, values)
    names = model.names()
    if names.terms:
        values, _, _ = improve(model.program, [names.terms], values, _LEAST_WORK)
    for way, n in model.chosen(values):
        state.put(way, n)
    return proven


def cover_all(state: State, limit: float) -> bool:
    """Coverage alone over the whole of a small fleet, each way at its smallest; True if proven."""
    p = state.problem
    wanted = +Counter(dict(enumerate(p.possible)))
    small = {i: _smallest(p, i) for i in wanted}
    by_family = {(w.service, w.family): w for ways in small.values() for w in ways}
    entries = [(s.way, s.place) for s in (state.take(key) for key in sorted(state.placed))]
    model = Model(state, range(len(p.host_names)), wanted, lambda i: small[i])
    start = model.values((by_family[way.service, way.family], n) for way, n in entries)
    best, proven, _ = model.solve(FIRST[:2], start, limit)
    for way, n in model.chosen(best):
        state.put(way, n)
    return proven


def _smallest(problem: Problem, i: int) -> list[Way]:
    best: dict[int, Way] = {}
    for way in problem.least[i]:
        now = best.get(way.family)
        if now is None or (way.mib, way.ram, way.loss) < (now.mib, now.ram, now.loss):
            best[way.family] = way
    return list(best.values())
