"""Where else a replica could run, all others as they stand, and what decides against each place.

For explanations: what comes first in the order of the objectives, then of the figures, is why the
replica does not stand there. What does not fit tells the rule or the memory that is in the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compiler.ir.placement import Placement, Placements
from compiler.place.figures import Figure, Judge, minus
from compiler.place.problem import Place, Problem, Way
from compiler.place.score import Kind, goals_of, score_of
from compiler.place.state import State

Rule = Literal["memory", "ram", "ports", "spread", "apart_from"]

# Of a family so many places are looked at; those of more hosts are like one of these.
_PLACES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """One other way and place of a replica, at the most room that it could reserve there."""

    variant: int
    host: str
    gpus: tuple[int, ...]
    kv_bytes: int | None
    """KV cache on the GPU that has most, as far as it is reserved; None where it has one size."""
    worse: Kind | Figure | Rule | None
    """The first objective or figure in which it is worse, or the rule that forbids it; None when it
    is as good in all."""
    by: int
    """How much worse, in the unit of the objective; MiB missing on the fullest GPU for `memory`."""
    fits: bool


def state_of(problem: Problem, placements: Placements) -> State:
    """The state in which every chosen replica stands; KeyError when a placement is no way here."""
    state = State(problem)
    for each in placements.chosen:
        state.put(*_entry(problem, each))
    return state


def _entry(problem: Problem, each: Placement) -> tuple[Way, int]:
    i = problem.index[each.service]
    place = _place(problem, each)
    at = dict(problem.place_at[place])
    runs = [r.way for r in problem.running if r.service == i and r.way is not None]
    for way in (*runs, *problem.ways[i]):
        here = way.family in at and way.only in (None, at.get(way.family))
        same = way.variant == each.variant and way.kv_bytes == each.kv_bytes
        if here and same and way.demand == each.demand:
            return way, at[way.family]
    raise KeyError(each.service)


def _place(problem: Problem, each: Placement) -> Place:
    host = problem.host_number[each.host]
    return host, tuple(problem.host_gpus[host][index] for index in each.gpus)


def others_of(problem: Problem, placements: Placements, chosen: Placement) -> list[Other]:
    """Every other way of a replica on every place, the next best first, what fits no place last.

    Of each way on a place the best level that its GPUs have the memory for.
    """
    state = state_of(problem, placements)
    judge = Judge(problem)
    way, place = _entry(problem, chosen)
    key = next(
        key
        for key in sorted(state.of[way.service])
        if (state.placed[key].way, state.placed[key].place) == (way, place)
    )
    hosts = range(len(problem.host_names))
    here = state.place_of(state.placed[key])[0]
    before, with_it = score_of(state), judge.of_host(state, here)
    state.take(key)
    alone = [judge.of_host(state, host) for host in hosts]
    with_it = minus(with_it, alone[here])
    names: list[Kind | Figure] = [*(kind for kind, _ in goals_of(problem)), *judge.order]
    found: list[tuple[tuple[int, ...], int, Other]] = []
    for least in problem.least[way.service]:
        for n in range(min(len(problem.families[least.family].places), _PLACES)):
            other = _best_level(state, least, n)
            if other is None:
                found.append(((1,), len(found), _told(problem, least, n, _rule(state, least, n))))
                continue
            spot = problem.families[other.family].places[n]
            state.put(other, n, key)
            score = minus(score_of(state), before)
            figures = minus(judge.of_host(state, spot[0]), alone[spot[0]])
            state.take(key)
            cost = (*score, *minus(figures, with_it))
            if spot == _place(problem, chosen) and (other.variant, other.mib) == (
                way.variant, way.mib
            ):  # fmt: skip
                continue
            at = next((at for at, value in enumerate(cost) if value), None)
            # What a later figure gains is no reason; what is better at once was not allowed.
            reason = (None, 0) if at is None or cost[at] < 0 else (names[at], cost[at])
            found.append(((0, *cost), len(found), _told(problem, other, n, reason, fits=True)))
    return [other for _, _, other in sorted(found, key=lambda each: each[:2])]


def _best_level(state: State, least: Way, n: int) -> Way | None:
    """The level with most room that the place holds; None when not even the least stands there."""
    fitting = [way for way in least.ladder if state.fits(way, n)]
    return fitting[-1] if fitting else None


def _rule(state: State, way: Way, n: int) -> tuple[Rule, int]:
    """What forbids a place."""
    host, gpus = state.problem.families[way.family].places[n]
    missing = [mib - state.free[gpu] for gpu, mib in zip(gpus, way.mib, strict=True)]
    if missing and max(missing) > 0:
        return "memory", max(missing)
    if state.ram[host] < way.ram:
        return "ram", way.ram - state.ram[host]
    if state.ports[host] <= 0:
        return "ports", 1
    i = way.service
    spread = state.spread[i]
    by_host = spread == "host" or (spread is not None and not gpus)
    taken = state.on_host[i][host] if by_host else sum(state.on_gpu[i][gpu] for gpu in gpus)
    return ("spread" if spread is not None and taken else "apart_from"), 1


def _told(
    problem: Problem,
    way: Way,
    n: int,
    reason: tuple[Kind | Figure | Rule | None, int],
    *,
    fits: bool = False,
) -> Other:
    host, gpus = problem.families[way.family].places[n]
    return Other(
        variant=way.variant,
        host=problem.host_names[host],
        gpus=tuple(problem.gpu_index[gpu] for gpu in gpus),
        kv_bytes=way.kv_bytes,
        worse=reason[0],
        by=reason[1],
        fits=fits,
    )
