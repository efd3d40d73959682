"""A plan from nothing: constructions, prices of a linear program, search, exact where it is small.

First coverage and rungs at the least levels, then room and GPUs with those held. Every stage
begins with an answer, and what is at its bound already is not searched for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import gcd

from compiler.ir.progress import Effort, Reporter, Step
from compiler.place.construct import SMALLEST, Prices, Taste, climb, construct, realise
from compiler.place.exact import FIRST, Cut
from compiler.place.patterns import Patterns
from compiler.place.problem import Problem
from compiler.place.score import Goal, Kind, Score, Weights, goals_of, score_of
from compiler.place.search import Search, cover
from compiler.place.state import State
from compiler.place.whole import cover_all, place_in_order

# Of the normal work, in quarters.
_QUARTERS: dict[Effort, int] = {"low": 1, "normal": 4, "high": 16}

# Up to so many GPUs and replicas one exact program is the whole fleet.
_SMALL_GPUS, _SMALL_REPLICAS = 32, 60

# With so few the program proves most, so that less is searched for before it.
_FEW_REPLICAS = 20

# A bound from fewer rounds of the linear program is too weak to be told.
_FEWEST_ROUNDS = 10

# Work of the solver before anything else is tried on them.
_AT_ONCE = 0.2

# More columns than this CP-SAT cannot look at within its limit.
_SMALL_COLUMNS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The work of one pass: questions to the state, solver work, rounds of the linear program.

    `bounds`: rounds for all bounds of coverage and rungs; half as many for room and GPUs.
    """

    questions: int
    solver: float
    rounds: int
    bounds: int
    trials: int
    starts: int

    @staticmethod
    def of(problem: Problem, effort: Effort) -> Budget:
        """By the size of the fleet, so that the time is some ten seconds for a few hundred GPUs."""
        n = len(problem.gpu_host)
        steps = ((40, 240_000, 40, 8), (400, 300_000, 30, 4), (6000, 2_500_000, 25, 2))
        found = next((each for each in steps if n <= each[0]), (0, 12_000_000, 10, 2))
        part = _QUARTERS[effort]
        few = n <= _SMALL_GPUS and sum(problem.possible) <= _FEW_REPLICAS
        return Budget(
            questions=found[1] * part // 4,
            solver=(2.0 if few else 0.6) * part / 4,
            rounds=max(10, 15 * part),
            bounds=max(20, 10 * part) * (3 if n <= steps[0][0] else 1),
            trials=max(4, found[2] * part // 4),
            starts=max(2, found[3] // 2) if effort == "low" else found[3],
        )


@dataclass(slots=True)
class Best:
    """The best plan so far, with the bound of each objective."""

    problem: Problem
    state: State
    score: Score
    bounds: list[int]
    report: Reporter
    goals: tuple[Goal, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.goals = goals_of(self.problem)

    def consider(self, state: State) -> Score:
        """Takes a state if it is better; gives its score."""
        score = score_of(state)
        if score < self.score:
            self.state, self.score = state.copy(), score
        return score

    @property
    def first_gap(self) -> int | None:
        """The place of the first objective that is not proven; None when all are."""
        pairs = zip(self.score, self.bounds, strict=True)
        return next((n for n, (value, bound) in enumerate(pairs) if value > bound), None)

    def tell(self, stage: str) -> None:
        """Says how far the first objective is that is not proven."""
        at = self.first_gap
        if at is None:
            self.report(Step(stage=f"place: {stage}"))
            return
        kind, priority = self.goals[at]
        item = f"({kind})" if priority is None else f"({kind} of priority {priority})"
        best, bound = (_shown(kind, value) for value in (self.score[at], self.bounds[at]))
        self.report(Step(stage=f"place: {stage}", item=item, best=best, bound=bound))


def _shown(kind: Kind, value: int) -> int:
    """A value as the plan tells it: replicas placed, whole rungs, points, GPUs."""
    match kind:
        case "coverage":
            return -value
        case "rungs":
            return -(-value // 1000)
        case "gpus":
            return value // 2
        case _:
            return value


def ideal_of(problem: Problem) -> list[int]:
    """What no plan can beat: all placed, each on its best rung with its room, on fewest GPUs."""
    cover = dict.fromkeys(problem.priorities, 0)
    rungs, room, gpus = dict(cover), dict(cover), 0
    required = 0
    for i, service in enumerate(problem.services):
        n = problem.possible[i]
        required += 0 if service.optional else service.replicas - n
        if n:
            p = service.priority
            cover[p] -= n
            rungs[p] += n * min(way.loss for way in problem.ways[i])
            loss = min(way.loss for way in problem.ways[i])
            room[p] += n * min(way.points for way in problem.ways[i] if way.loss == loss)
            gpus += n * min(way.span for way in problem.ways[i] if way.loss == loss)
    values = {"coverage": cover, "rungs": rungs, "room": room}
    single = {"required": required, "disturbed": 0, "moved": 0, "gpus": gpus}
    return [
        single[kind] if priority is None else values[kind][priority]
        for kind, priority in goals_of(problem)
    ]


class Fresh:
    """One run of the pass without a previous plan."""

    def __init__(self, problem: Problem, budget: Budget, report: Reporter) -> None:
        self.problem, self.budget = problem, budget
        self.weights = Weights(problem)
        self.ideal = ideal_of(problem)
        self.flat: Prices = [500] * len(problem.families)
        self.n_first = 1 + 2 * len(problem.priorities)
        """Objectives before room: those that the least levels decide."""
        state = construct(problem, self.weights, self.flat, Taste(factor=0))
        self.best = Best(problem, state, score_of(state), list(self.ideal), report)
        columns = sum(len(problem.families[w.family].places) for ways in problem.ways for w in ways)
        self.is_tiny = sum(problem.possible) <= _FEW_REPLICAS
        self.is_small = (
            len(problem.gpu_host) <= _SMALL_GPUS
            and sum(problem.possible) <= _SMALL_REPLICAS
            and columns <= _SMALL_COLUMNS
        )

    def run(self) -> Best:
        """The best plan within the budget."""
        best, p = self.best, self.problem
        for prices, factor in ((0, 0), (1, 0), (500, SMALLEST)):
            state = construct(
                p, self.weights, [prices] * len(p.families), Taste(factor=factor, by_priority=True)
            )
            if self._first(best.consider(state)) == self._first(self.ideal):
                break
        best.tell("first answer")
        if self._first(best.score) != self._first(self.ideal):
            n = 1 + len(p.priorities)
            # The ideal of what comes later is that of replicas that are all placed.
            self._forget(n)
            if not self._exact_at_once(0, self.n_first):
                self._search_places()
            if self._first(best.score) == self._first(self.ideal):
                best.bounds = list(self.ideal)
        if not best.score[0]:
            # Room is for a plan; without one it is told why there is none.
            self._room()
        return best

    def _first(self, score: Score | list[int]) -> tuple[int, ...]:
        return tuple(score[: self.n_first])

    def _exact_at_once(self, low: int, high: int) -> bool:
        """A few replicas as one program, without prices and search; True when that proves it."""
        if self.is_small and self.is_tiny:
            self._exact(lambda _: (), _AT_ONCE, room=low > 0)
        return not self._has_gap(low, high)

    def _exact(self, cuts: Callable[[Goal], Iterable[Cut]], limit: float, *, room: bool) -> None:
        """A small fleet as one program, objective by objective, from the best plan there is."""
        best = self.best
        best.tell("exact")
        kinds: tuple[Kind, ...] = ("room", "gpus") if room else FIRST
        state = best.state.copy()
        before = best.score
        bounds = dict(zip(best.goals, best.bounds, strict=True))
        proven = place_in_order(state, kinds, bounds, limit, cuts)
        if not room:
            # What the best plan had room for, it has at a better rung no more.
            _raise(state)
        score = score_of(state)
        if score <= best.score:
            best.state, best.score = state, score
        for at, goal in enumerate(best.goals):
            if goal in proven and best.score[at] == proven[goal]:
                best.bounds[at] = proven[goal]
        if self._first(best.score) != self._first(before):
            self._forget(self.n_first)

    def _forget(self, since: int) -> None:
        """Of room and GPUs no more is known than that none of them is negative."""
        bounds = self.best.bounds
        bounds[since:] = [0] * (len(bounds) - since)
        bounds[-1] = self._fewest_gpus()

    def _guide(self, *, levels: bool) -> tuple[Patterns, Prices]:
        patterns = Patterns(self.problem, levels=levels)
        patterns.seed(self.best.state)
        patterns.solve(None, rounds=self.budget.rounds // (2 if levels else 1))
        return patterns, patterns.prices()

    # Coverage and rungs

    def _search_places(self) -> None:
        p, best, budget = self.problem, self.best, self.budget
        best.tell("prices")
        patterns, prices = self._guide(levels=False)
        for factor in (16, SMALLEST):
            best.consider(construct(p, self.weights, prices, Taste(factor=factor)))
        guided = realise(p, patterns.targets())
        guided = construct(p, self.weights, prices, Taste(factor=16), guided)
        best.consider(guided)
        n = 1 + len(p.priorities)
        full = best.score[:n] == tuple(self.ideal[:n])
        proven: State | None = None
        if not full and len(p.gpu_host) <= _SMALL_GPUS:
            best.tell("coverage")
            proven = cover(p, prices, budget.questions // 32, 1)
            if cover_all(proven, 1.0):
                best.bounds[:n] = score_of(proven)[:n]
            best.consider(proven)
        self._starts(guided, proven, prices, full=full)
        self._prove(patterns, 0, self.n_first)
        if self.is_small and self._has_gap(0, self.n_first):
            self._exact(patterns.cuts, budget.solver, room=False)

    def _has_gap(self, low: int, high: int) -> bool:
        best = self.best
        return best.score[low:high] != tuple(best.bounds[low:high])

    def _starts(self, guided: State, proven: State | None, prices: Prices, *, full: bool) -> None:
        """Searches from several starts; each round keeps half of them, with twice as much each."""
        p, best, budget = self.problem, self.best, self.budget
        questions = budget.questions // (3 if self.is_small and self.is_tiny else 1)
        climbed: Prices | None = None
        searches = []
        for seed in range(1, budget.starts + 1):
            best.tell(f"start {seed} of {budget.starts}")
            if proven is not None and seed % 4:
                state = proven.copy()
            elif full or not (seed + 1) % 4:
                state = guided.copy()
            elif seed % 2:
                climbed, state = climb(p, prices, budget.trials, seed)
            else:
                share = questions // (4 * budget.starts)
                state = cover(p, climbed or prices, share, seed)
            state.questions = 0
            searches.append(Search(state, self.weights, prices, seed))
        while True:
            for search in searches:
                search.run(questions // (4 * len(searches)))
                if self._first(best.consider(search.state)) == self._first(self.ideal):
                    return
                best.tell("search")
            if len(searches) == 1:
                return
            searches.sort(key=lambda each: score_of(each.state))
            searches = searches[: len(searches) // 2]

    # Room and GPUs

    def _room(self) -> None:
        p, best, budget = self.problem, self.best, self.budget
        best.tell("room")
        for emptiest in (False, True):
            state = best.state.copy()
            _raise(state)
            best.consider(state)
            for factor in (0, 1, 4, 16):
                taste = Taste(factor=factor, levels=True, emptiest=emptiest)
                state = construct(p, self.weights, self.flat, taste)
                _raise(state)
                if list(best.consider(state)) == self.ideal:
                    return
        if self._exact_at_once(self.n_first, len(self.ideal)):
            return
        patterns, prices = self._guide(levels=True)
        for factor in (4, 16, 64):
            state = construct(p, self.weights, prices, Taste(factor=factor, levels=True))
            _raise(state)
            best.consider(state)
        state = realise(p, patterns.targets())
        state = construct(p, self.weights, prices, Taste(factor=16, levels=True), state)
        _raise(state)
        best.consider(state)
        search = Search(best.state.copy(), self.weights, prices, levels=True)
        for _ in range(4):
            search.run(budget.questions // (24 if self.is_small and self.is_tiny else 8))
            if list(best.consider(search.state)) == self.ideal:
                return
            best.tell("room")
        self._prove(patterns, self.n_first, len(self.ideal))
        if self.is_small and self._has_gap(self.n_first, len(self.ideal)):
            self._exact(patterns.cuts, budget.solver, room=True)

    # Bounds

    def _prove(self, patterns: Patterns, low: int, high: int) -> None:
        """Bounds of the objectives from low to high, each with those before it as reached.

        All of them share one number of rounds; what comes later keeps the bound that is there.
        """
        p, best = self.problem, self.best
        n = 1 + len(p.priorities)
        score, bounds = best.score, best.bounds
        # The ideal of what comes later is that of replicas that are all placed.
        if low == 0 and score[1:n] != tuple(self.ideal[1:n]):
            self._forget(n)
        elif low == 0 and self._first(score) != self._first(self.ideal):
            self._forget(self.n_first)
        patterns.seed(best.state)
        needed = sum(s.replicas for s in p.services if not s.optional)
        end = patterns.rounds + (self.budget.bounds if low == 0 else self.budget.bounds // 2)
        for at in range(high):
            goal = best.goals[at]
            kind = goal[0]
            if kind in ("disturbed", "moved"):
                continue
            value = needed - score[at] if kind == "required" else -score[at]
            left = end - patterns.rounds
            if at >= low and score[at] != bounds[at] and left >= _FEWEST_ROUNDS:
                best.tell("bounds")
                rounds = self.budget.rounds // (1 if kind in ("required", "coverage") else 2)
                most = patterns.solve(goal, rounds=min(left, rounds), stop_at=value)
                if most is not None:
                    unit = self._unit(goal)
                    bound = -(most // unit) * unit
                    bound = bound + needed if kind == "required" else bound
                    bounds[at] = min(score[at], max(bounds[at], bound))
            if kind != "gpus" and (kind != "required" or needed):
                patterns.hold(goal, value)

    def _fewest_gpus(self) -> int:
        """GPUs of as many replicas of each priority as are placed, each with its fewest."""
        p, placed, spans = self.problem, Counter[int](), defaultdict[int, list[int]](list)
        for standing in self.best.state.placed.values():
            placed[p.services[standing.way.service].priority] += 1
        for i, service in enumerate(p.services):
            fewest = min((way.span for way in p.ways[i]), default=0)
            spans[service.priority] += [fewest] * p.possible[i]
        return sum(sum(sorted(spans[priority])[:n]) for priority, n in placed.items())

    def _unit(self, goal: Goal) -> int:
        """What every value of an objective is a multiple of."""
        ways = [way for ways in self.problem.least for way in ways]
        if goal[0] == "rungs":
            return max(1, gcd(*(way.loss for way in ways)))
        return max(1, gcd(*(way.span for way in ways))) if goal[0] == "gpus" else 1


def _raise(state: State) -> None:
    for _ in state.raise_all(sorted(state.placed)):
        pass
