"""Bounds and prices for any fleet: a linear program over patterns of ONE GPU.

A replica on k GPUs is k parts of 1/k, one on each. For equal GPUs that loses nothing against
patterns of whole hosts: k equal parts side by side are the replica. Unequal splits and overlapping
groups are covered alike, since a part needs nothing but its own GPU. RAM, ports and apart_from are
left out, and a way without a GPU is free: the bound stays a bound.

Patterns come by column generation: a bounded knapsack of one GPU prices them (Gilmore and Gomory
1961). Every bound is recomputed from rounded duals in whole numbers (Lagrange), so that it holds
whatever the floats of the linear solver say:

    max sum(value) <= sum(mu R) - sum(eta held) + sum(nu hosts) + sum over GPUs of its knapsack
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from compiler.place.exact import Cut
from compiler.place.knapsack import Kind, Numbers, knapsack
from compiler.place.linear import Linear
from compiler.place.problem import Problem, Way
from compiler.place.score import SCALE, Goal
from compiler.place.state import State

# Duals are rounded to so many parts of one.
_S = 1 << 20

# A knapsack has at most so many units; demand and budget both round down, which keeps the bound.
_UNITS = 2048

# Worths in a cut are at most this.
_COARSE = 1000

# Rounds in which every kind of GPU is priced.
_WHOLE_AT_FIRST, _WHOLE_EVERY = 3, 6

_NOTHING = 1e-9

# A point of room in thousandths of a rung, for prices alone.
_POINT = 50


@dataclass(slots=True, eq=False)
class _Duals:
    mu: Numbers
    eta: dict[Goal, int]
    nu: list[int]
    sigma: list[float]
    """The price of a GPU of each kind, which the bound does not need."""


class Patterns:
    """The program of a fleet. `levels`: with every level of room, else the least alone, which
    decide coverage and rungs.
    """

    def __init__(self, problem: Problem, *, levels: bool) -> None:
        self.problem = problem
        self.items = [way for ways in (problem.ways if levels else problem.least) for way in ways]
        self._index = {id(way): n for n, way in enumerate(self.items)}
        services = problem.services
        self._service = _array(way.service for way in self.items)
        self._size = _array(max(1, way.size) for way in self.items)
        self._priority = _array(services[way.service].priority for way in self.items)
        self._loss = _array(way.loss for way in self.items)
        self._points = _array(way.points for way in self.items)
        self._span = _array(way.span for way in self.items)
        self._required = _array(int(not services[way.service].optional) for way in self.items)
        self._most = _array(problem.possible)
        self._linear = Linear()
        self._rows = [self._linear.at_most(n) for n in problem.possible]
        self._sides: list[tuple[int, int]] = []
        self._kinds: list[Kind] = []
        self._of_gpu: dict[int, Kind] = {}
        self._add_kinds()
        self._held: dict[Goal, tuple[int, Numbers, int]] = {}
        self._columns: list[tuple[Kind | None, tuple[tuple[int, int], ...], int]] = []
        self._known: set[object] = set()
        self._value: Numbers = np.zeros(len(self.items), dtype=np.int64)
        self._prices_of_kinds = [0.0] * len(self._kinds)
        self.rounds = 0
        self._solved: dict[Goal, Numbers] = {}
        """Worths of parts at the best prices of the bound of each objective."""
        for n, way in enumerate(self.items):
            if not way.size:
                self._add(None, {n: 1})

    def _add_kinds(self) -> None:
        p = self.problem
        member: dict[int, list[int]] = defaultdict(list)
        for family in p.families:
            for gpu in sorted({gpu for _, gpus in family.places for gpu in gpus}):
                member[gpu].append(family.number)
        alike: dict[tuple[tuple[int, ...], int], list[int]] = defaultdict(list)
        for gpu, numbers in sorted(member.items()):
            if p.free[gpu] > 0:
                alike[tuple(numbers), p.free[gpu]].append(gpu)
        of_family: dict[int, list[int]] = defaultdict(list)
        for n, way in enumerate(self.items):
            of_family[way.family].append(n)
        for (families, budget), gpus in alike.items():
            here = [
                n
                for family in families
                for n in of_family[family]
                if self.items[n].least_mib <= budget
            ]
            if here:
                self._add_kind(here, budget, gpus)

    def _add_kind(self, here: list[int], budget: int, gpus: list[int]) -> None:
        unit = -(-budget // _UNITS)
        items = _array(here)
        kind = Kind(
            number=len(self._kinds),
            count=len(gpus),
            hosts=len({self.problem.gpu_host[gpu] for gpu in gpus}),
            row=self._linear.at_most(len(gpus)),
            cap=budget // unit,
            items=items,
            need=_array(self.items[n].least_mib // unit for n in here),
            size=self._size[items],
            service=self._service[items],
            copies=[self._copies(self.items[n].service) for n in here],
        )
        for i in sorted(set(kind.service.tolist())):
            spread = self.problem.services[i].placement.spread
            if spread == "host" and self.problem.possible[i] > kind.hosts:
                kind.side[i] = len(self._sides)
                self._sides.append((self._linear.at_most(kind.hosts), kind.hosts))
        self._kinds.append(kind)
        for gpu in gpus:
            self._of_gpu[gpu] = kind

    def _copies(self, i: int) -> int:
        service = self.problem.services[i]
        return 1 if service.placement.spread else service.replicas

    # Columns

    def seed(self, state: State) -> None:
        """The patterns of a plan as columns."""
        on: dict[int, Counter[int]] = defaultdict(Counter)
        for standing in state.placed.values():
            way = standing.way
            n = self._index.get(id(way), self._index.get(id(way.ladder[0])))
            for gpu in state.place_of(standing)[1]:
                if n is not None:
                    on[gpu][n] += 1
        for gpu in sorted(on):
            if gpu in self._of_gpu:
                self._add(self._of_gpu[gpu], on[gpu])

    def _share(self, values: Numbers, pattern: Mapping[int, int]) -> float:
        return sum(n * int(values[item]) / int(self._size[item]) for item, n in pattern.items())

    def _add(self, kind: Kind | None, pattern: Mapping[int, int]) -> bool:
        told = tuple(sorted(pattern.items()))
        key = (kind.number if kind else -1, told)
        if not told or key in self._known:
            return False
        self._known.add(key)
        weights: dict[int, float] = {}
        for item, n in told:
            i = int(self._service[item])
            part = n / int(self._size[item])
            weights[self._rows[i]] = weights.get(self._rows[i], 0.0) + part
            if kind is not None and i in kind.side:
                row = self._sides[kind.side[i]][0]
                weights[row] = weights.get(row, 0.0) + part
        if kind is not None:
            weights[kind.row] = 1.0
        for row, values, _ in self._held.values():
            share = self._share(values, dict(told))
            if share:
                weights[row] = share
        column = self._linear.column(weights, self._share(self._value, dict(told)))
        self._columns.append((kind, told, column))
        return True

    # Objectives, all as values to be maximised

    def _values(self, goal: Goal | None) -> Numbers:
        if goal is None:
            return self._guide()
        name, priority = goal
        here = self._priority == priority
        zero = np.zeros(len(self.items), dtype=np.int64)
        match name:
            case "required":
                return self._required
            case "coverage":
                return np.where(here, 1, zero)
            case "rungs":
                return np.where(here, -self._loss, zero)
            case "room":
                return np.where(here, -self._points, zero)
            case "gpus":
                return -self._span
            case _:
                raise AssertionError(name)

    def _guide(self) -> Numbers:
        """One weighted sum, for prices and targets alone."""
        of = sorted(self.problem.priorities)
        steps = max(1, len(of) - 1)
        base = next((b for b in (10, 6, 4, 3, 2) if b**steps <= 10**5), 1)
        cover, rank = {}, {}
        for r, p in enumerate(of):
            cover[p] = 200 * (base**r if base > 1 else 1 + r)
            rank[p] = min(base, 3) ** r if base > 1 else 1 + r
        most = max(cover.values(), default=0)
        covers = _array(cover[p] for p in self._priority.tolist())
        ranks = _array(rank[p] for p in self._priority.tolist())
        lost = self._loss + _POINT * self._points
        return 1000 * covers + 1000 * most * self._required - lost * ranks

    def hold(self, goal: Goal, reached: int) -> None:
        """Keeps an objective at a value reached, as a value to be maximised."""
        values = self._values(goal)
        row = self._linear.at_least(reached)
        self._held[goal] = (row, values, reached)
        for _, told, column in self._columns:
            share = self._share(values, dict(told))
            if share:
                self._linear.term(row, column, share)

    # Solving

    def solve(self, goal: Goal | None, *, rounds: int, stop_at: int | None = None) -> int | None:
        """A bound that no plan passes: the most that an objective can be, in whole numbers.

        None when the program was not solved. `stop_at`: where the bound is proof enough.
        """
        self._value = self._values(goal)
        self._linear.maximise(
            {column: self._share(self._value, dict(told)) for _, told, column in self._columns}
        )
        best: tuple[int, _Duals] | None = None
        tolerance = 3e-3 if goal is None else 1e-4
        for number in range(rounds):
            value = self._linear.solve()
            if value is None:
                break
            self.rounds += 1
            duals = self._duals()
            self._prices_of_kinds = [max(0.0, price) for price in duals.sigma]
            use = duals if best is None else _between(best[1], duals)
            # A third of the kinds in a round; all of them at first and now and then.
            whole = number < _WHOLE_AT_FIRST or not (number + 1) % _WHOLE_EVERY
            some = (
                None if whole else {k.number for k in self._kinds if (k.number + number) % 3 == 0}
            )
            bound, found = self._lagrange(use, some)
            if some is None and (best is None or bound < best[0]):
                best = (bound, use)
            added = self._take(found, duals)
            if not added and (some is not None or use is not duals):
                bound, found = self._lagrange(duals, None)
                if best is None or bound < best[0]:
                    best = (bound, duals)
                added = self._take(found, duals)
            now = best[0] / _S if best else float("inf")
            if not added or abs(now - value) <= tolerance * max(1.0, abs(value)):
                break
            if stop_at is not None and goal is not None and now < stop_at + 1 - 1e-7:
                break
        if best is None:
            return None
        if goal is not None:
            self._solved[goal] = self._profit(best[1])
        return best[0] // _S

    def cuts(self, goal: Goal) -> list[Cut]:
        """For an objective, what no pattern of one GPU passes.

        The prices at which a bound was found say what each way is worth; as rules on each GPU they
        tell a solver of single places what the program of patterns knows.
        """
        found: list[Cut] = []
        profit = self._solved.get(goal)
        if profit is None:
            return found
        gpus: dict[int, list[int]] = defaultdict(list)
        for gpu, kind in self._of_gpu.items():
            gpus[kind.number].append(gpu)
        for kind in self._kinds:
            mine = profit[kind.items]
            coarse = mine * _COARSE // max(1, int(mine.max(initial=0)))
            most, _ = knapsack(kind, coarse)
            terms = {
                self.items[n]: value
                for n, value in zip(kind.items.tolist(), coarse.tolist(), strict=True)
                if value > 0
            }
            if terms:
                found.append((terms, gpus[kind.number], most))
        return found

    def _profit(self, duals: _Duals) -> Numbers:
        """What a part of each item is worth at these prices."""
        total = self._value * _S
        for goal, price in duals.eta.items():
            total = total + self._held[goal][1] * price
        own = total - duals.mu[self._service]
        return -((-own) // self._size)

    def _duals(self) -> _Duals:
        linear = self._linear
        mu = np.array([linear.dual(row) for row in self._rows]) * _S
        return _Duals(
            mu=np.maximum(0, np.rint(mu)).astype(np.int64),
            eta={g: max(0, round(-linear.dual(row) * _S)) for g, (row, _, _) in self._held.items()},
            nu=[max(0, round(linear.dual(row) * _S)) for row, _ in self._sides],
            sigma=[linear.dual(kind.row) for kind in self._kinds],
        )

    def _lagrange(
        self, duals: _Duals, some: set[int] | None
    ) -> tuple[int, list[tuple[Kind, dict[int, int]]]]:
        """The bound times _S, and the best pattern of each kind of GPU."""
        total = self._value * _S
        for goal, price in duals.eta.items():
            total = total + self._held[goal][1] * price
        own = total - duals.mu[self._service]
        part = -((-own) // self._size)
        bound = sum(m * r for m, r in zip(duals.mu.tolist(), self._most.tolist(), strict=True))
        bound += sum(price * n for price, (_, n) in zip(duals.nu, self._sides, strict=True))
        bound -= sum(price * self._held[goal][2] for goal, price in duals.eta.items())
        for n, way in enumerate(self.items):
            if not way.size:
                bound += self.problem.possible[way.service] * max(0, int(own[n]))
        found = []
        for kind in self._kinds:
            if some is not None and kind.number not in some:
                continue
            profit = part[kind.items]
            if kind.side:
                cut = _array(
                    duals.nu[kind.side[i]] if i in kind.side else 0 for i in kind.service.tolist()
                )
                profit = profit - cut // kind.size
            value, pattern = knapsack(kind, profit)
            bound += kind.count * value
            found.append((kind, pattern))
        return bound, found

    def _take(self, found: list[tuple[Kind, dict[int, int]]], duals: _Duals) -> bool:
        """Adds patterns that are worth more than their GPU's price."""
        added = False
        for kind, pattern in found:
            value = 0.0
            for item, n in pattern.items():
                i = int(self._service[item])
                worth = int(self._value[item]) * _S - int(duals.mu[i])
                worth += sum(int(self._held[g][1][item]) * e for g, e in duals.eta.items())
                if i in kind.side:
                    worth -= duals.nu[kind.side[i]]
                value += n * worth / int(self._size[item])
            if value > (duals.sigma[kind.number] + 1e-7) * _S:
                added |= self._add(kind, pattern)
        return added

    # What the optimum says

    def targets(self) -> dict[Way, int]:
        """How many replicas of each way it would place, in 1,024ths."""
        self._linear.solve()
        found: dict[int, float] = defaultdict(float)
        for _, told, column in self._columns:
            value = self._linear.value(column)
            if value > _NOTHING:
                for item, n in told:
                    found[item] += value * n / int(self._size[item])
        return {self.items[item]: round(value * SCALE) for item, value in sorted(found.items())}

    def prices(self) -> list[int]:
        """The price of a MiB on each family, in whole numbers and within the middle half of all."""
        total: dict[int, float] = defaultdict(float)
        count: Counter[int] = Counter()
        for gpu, kind in self._of_gpu.items():
            total[gpu] = self._prices_of_kinds[kind.number] / max(1, self.problem.budget[gpu])
            count[gpu] += 1
        raw = []
        for family in self.problem.families:
            gpus = [gpu for _, place in family.places for gpu in place]
            mean = sum(total[gpu] for gpu in gpus) / len(gpus) if gpus else 0.0
            raw.append(max(1, round(mean * SCALE)))
        some = sorted(price for price in raw if price > 1) or [1]
        low, high = some[len(some) // 4], some[3 * len(some) // 4]
        return [min(max(price, low), high) for price in raw]


def _array(values: object) -> Numbers:
    return np.array(list(values), dtype=np.int64)  # type: ignore[call-overload]


def _between(first: _Duals, second: _Duals) -> _Duals:
    """Half-way: the duals of one optimum swing, their middle converges."""
    return _Duals(
        mu=(first.mu + second.mu) // 2,
        eta={goal: (first.eta.get(goal, 0) + e) // 2 for goal, e in second.eta.items()},
        nu=[(a + b) // 2 for a, b in zip(first.nu, second.nu, strict=True)],
        sigma=second.sigma,
    )
