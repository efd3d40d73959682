"""First answers: replicas placed one after another, each where it gives up and takes least.

Memory of each family of places has a price; how much prices count against rungs is a factor. With
factor 0 every service takes its best rung, with a large one its smallest. Prices are whole
numbers, so that no rounding decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.place.dice import Dice
from compiler.place.problem import Problem, Way
from compiler.place.score import SCALE, Weights
from compiler.place.state import State

SMALLEST = 1 << 14
"""A factor with which the smallest way is taken, whatever its rung."""

Prices = list[int]
"""Of a MiB on each family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """How a construction chooses among ways."""

    factor: int
    levels: bool = False
    """Whether room is bought too; otherwise all stand at their least level."""
    by_priority: bool = True
    since: int | None = None
    """Services of this priority and above alone, and those that are needed."""
    emptiest: bool = False
    """Whether replicas that are still poor take the emptiest place and not the fullest."""


def table_of(weights: Weights, prices: Prices, i: int, taste: Taste) -> list[tuple[int, int, Way]]:
    """The ways of a service by what they give up and what they take."""
    rows = weights.rows(i, levels=taste.levels)
    if not taste.factor:
        return rows.by_loss
    factor = taste.factor
    return sorted(
        [
            (base + factor * prices[family] * total // 16, n, way)
            for base, family, total, n, way in rows.of_ways
        ]
    )


def construct(
    problem: Problem,
    weights: Weights,
    prices: Prices,
    taste: Taste,
    state: State | None = None,
) -> State:
    """Best fit, the largest first; goes on from a state if one is given."""
    state = state or State(problem)
    tables = {
        i: table_of(weights, prices, i, taste)
        for i in range(len(problem.services))
        if weights.counts(i, taste.since) and len(state.of[i]) < problem.possible[i]
    }

    def rank(i: int) -> tuple[object, ...]:
        way = tables[i][0][2]
        first = weights.order[i] if taste.by_priority else (False, 0)
        return first, -way.size, -way.total, i

    for i in sorted((i for i, table in tables.items() if table), key=rank):
        dead: dict[tuple[int, int], int] = {}
        while len(state.of[i]) < problem.possible[i]:
            found = cheapest(state, tables[i], prices, dead, emptiest=taste.emptiest)
            if found is None:
                break
            state.put(*found)
    return state


def cheapest(
    state: State,
    table: list[tuple[int, int, Way]],
    prices: Prices,
    dead: dict[tuple[int, int], int],
    *,
    emptiest: bool = False,
) -> tuple[Way, int] | None:
    """The way and the place that cost least now; `dead` remembers sizes that found no place."""
    best: tuple[int, Way, int] | None = None
    for cost, _, way in table:
        if best is not None and cost >= best[0]:
            break
        key = (way.family, way.ram)
        if way.least_mib >= dead.get(key, 1 << 62):
            continue
        found = state.best(way, emptiest=emptiest and bool(way.points))
        if found is None:
            if way.uniform and way.only is None:
                dead[key] = way.least_mib
            continue
        waste = prices[way.family] * found[0] * way.size >> 3
        if best is None or cost + waste < best[0]:
            best = (cost + waste, way, found[1])
    return None if best is None else (best[1], best[2])


def climb(problem: Problem, prices: Prices, trials: int, seed: int) -> tuple[Prices, State]:
    """Prices at which plain construction covers most, by trial.

    Which GPUs are scarce for the replicas at the edge no price of a linear program tells exactly,
    and a trial costs no more than a construction.
    """
    weights, dice = Weights(problem, coverage_alone=True), Dice(seed)
    middle = max(1, sorted(prices)[len(prices) // 2]) if prices else 1
    best: tuple[int, Prices, State] | None = None
    for _ in range(trials):
        few = 1 + dice.below(max(1, len(prices)))
        if best is None:
            some = [max(1, SCALE * price // middle) for price in prices]
        else:
            some = [
                max(1, price * (12, 16, 16, 21)[dice.below(4)] // 16)
                if dice.below(len(prices)) < few
                else price
                for price in best[1]
            ]
        state = construct(problem, weights, some, Taste(factor=SMALLEST))
        value = sum(weights.of(standing.way) for standing in state.placed.values())
        if best is None or value >= best[0]:
            best = (value, some, state)
    assert best is not None  # noqa: S101  There is at least one trial.
    return best[1], best[2]


def realise(problem: Problem, targets: dict[Way, int]) -> State:
    """Whole replicas of what a linear program wants of each way, in 1,024ths; the largest first."""
    state = State(problem)
    wanted: dict[int, list[tuple[Way, int]]] = {}
    for way, count in targets.items():
        wanted.setdefault(way.service, []).append((way, count))
    jobs: list[Way] = []
    for i, rows in sorted(wanted.items()):
        rows.sort(key=lambda row: (row[0].loss, row[0].points, -row[1], row[0].family))
        most = min(problem.possible[i], (sum(n for _, n in rows) + SCALE // 2) // SCALE)
        counts = [n // SCALE for _, n in rows]
        for at in sorted(range(len(rows)), key=lambda at: (-(rows[at][1] % SCALE), at)):
            if sum(counts) < most:
                counts[at] += 1
        jobs += [way for (way, _), n in zip(rows, counts, strict=True) for _ in range(n)]
    jobs.sort(
        key=lambda w: (
            -w.size, -w.total, -problem.services[w.service].priority, w.service, w.family,
        )
    )  # fmt: skip
    for way in jobs:
        if len(state.of[way.service]) < problem.possible[way.service]:
            found = state.best(way)
            if found is not None:
                state.put(way, found[1])
    return state
