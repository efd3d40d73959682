"""Ruin and recreate: a few hosts are emptied, filled again with what is missing, and kept if no
worse. Effort is counted in questions to the state, so that the same fleet ends at the same plan.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from compiler.place.construct import SMALLEST, Prices, Taste, cheapest, construct, table_of
from compiler.place.dice import Dice
from compiler.place.problem import Problem, Way
from compiler.place.score import Weights
from compiler.place.state import State

# How many of the missing a step takes up: with all of them most of the work would be in vain.
_TAKEN_UP = 8

# Of eight steps so many aim at a low rung while something is missing, else twice as many.
_SOMETIMES = 3

# Gains after which the lists of what is missing or poor are made anew.
_STALE = 12

# The most important of what is missing, from which half of the steps choose.
_FIRST = 6

# How much prices count against rungs in a step.
_FACTORS = (16, 24, 48, 1 << 12)

_PUT, _TAKEN, _CHANGED = "put", "taken", "changed"


@dataclass(slots=True)
class _Aim:
    """What a step is for: a missing service, a replica that could run better, or nothing."""

    missing: int | None = None
    first: int | None = None
    hosts: list[int] = field(default_factory=list)
    reach: list[int] = field(default_factory=list)


class Search:
    """One search from a state, which it improves in place.

    `levels`: whether room is bought as well; otherwise all is placed at its least level.
    `movable`: the only services whose replicas it may take from their places; None for all.
    """

    def __init__(
        self,
        state: State,
        weights: Weights,
        prices: Prices,
        seed: int = 1,
        *,
        levels: bool = False,
    ) -> None:
        self.state, self.weights, self.prices, self.levels = state, weights, prices, levels
        self.problem: Problem = state.problem
        self.dice = Dice(seed)
        self.since: int | None = None
        self.movable: AbstractSet[int] | None = None
        self.max_moves = self.problem.policy.max_moves
        self._tables: dict[tuple[int, int], list[tuple[int, int, Way]]] = {}
        self._reach: dict[tuple[int, int, int], list[int]] = {}
        self._best_loss = [
            min((way.loss for way in ways), default=0) for ways in self.problem.least
        ]
        self._all_hosts = list(range(len(self.problem.host_names)))
        self._missing: list[int] = []
        self._lossy: list[int] = []
        self._poor: list[int] = []
        self._stale = 99
        self._log: list[tuple[str, int, Way, int]] = []
        self._steps = 0

    def run(self, questions: int, stop: Callable[[], bool] | None = None) -> None:
        """Spends so many questions, or stops as soon as `stop` says so."""
        end = self.state.questions + questions
        self._stale = 99
        if not self._all_hosts or (stop is not None and stop()):
            return
        while self.state.questions < end:
            if self._stale > _STALE or (self._stale and self._steps % 64 == 0):
                # The lists may be old, but are never wrong: each entry is looked at again.
                self._look()
            gain = self._step()
            self._steps += 1
            self.state.questions += 1
            if stop is not None and gain and stop():
                return

    def missing(self) -> list[int]:
        """Services that lack replicas, the most important first."""
        short = [
            i
            for i in range(len(self.problem.services))
            if len(self.state.of[i]) < self.problem.possible[i]
            and self.weights.counts(i, self.since)
            and (self.movable is None or i in self.movable)
        ]
        return sorted(short, key=lambda i: self.weights.order[i])

    def is_full(self) -> bool:
        """Whether no service lacks a replica."""
        return not self.missing()

    def _look(self) -> None:
        self._missing = self.missing()
        self._stale = 0
        self._lossy, self._poor = [], []
        if self.weights.coverage_alone:
            return
        lossy, poor = [], []
        for key, standing in self.state.placed.items():
            way = standing.way
            priority = self.problem.services[way.service].priority
            if way.loss > self._best_loss[way.service]:
                lossy.append((-priority, -way.loss, key))
            if self.levels and way.points:
                poor.append((-priority, -way.points, key))
        self._lossy = [key for *_, key in sorted(lossy)]
        self._poor = [key for *_, key in sorted(poor)]

    # One step

    def _step(self) -> int:
        state, weights = self.state, self.weights
        self._log = []
        aim = self._aim()
        hosts = self._hosts_for(aim)
        moved = state.moved
        before = -state.disturbed * weights.disturbed - state.moved * weights.moved
        after = 0
        squeeze = self.levels and self.dice.below(4) == 0
        pool: list[int] = []
        for key in sorted(set().union(*(state.here[h] for h in hosts))):
            way = state.placed[key].way
            i = way.service
            before += weights.of(way)
            held = self.movable is not None and i not in self.movable
            if held or (squeeze and (i != aim.first or i in pool)):
                if squeeze and not held and way.ladder[0] is not way:
                    self._change(key, way.ladder[0])
                after += weights.of(state.placed[key].way)
            else:
                self._take(key)
                pool.append(i)
        self._take_up(aim, hosts, pool)
        for i, factor in self._order(aim, pool):
            inserted = self._insert(i, factor)
            if inserted is not None:
                after += weights.of(state.placed[inserted].way)
        if after >= before - 3 * weights.floor:
            after += self._upgrade()
            if self.levels and after >= before - weights.floor:
                after += self._raise(hosts)
        after -= state.disturbed * weights.disturbed + state.moved * weights.moved
        too_many = self.max_moves is not None and state.moved > max(self.max_moves, moved)
        if after < before or too_many:
            self._undo()
            return 0
        if after > before:
            self._stale += 1
        return after - before

    def _aim(self) -> _Aim:
        dice = self.dice
        mode = dice.below(8)
        if self._poor and dice.below(8) < 2 * _SOMETIMES:
            aim = self._aim_at(self._poor, by_points=True)
            if aim is not None:
                return aim
        elif self._lossy and mode < (_SOMETIMES if self._missing else 2 * _SOMETIMES):
            aim = self._aim_at(self._lossy, by_points=False)
            if aim is not None:
                return aim
        missing = self._missing
        if missing and mode:
            most = min(len(missing), _FIRST) if dice.below(2) else len(missing)
            i = missing[dice.below(most)]
            return _Aim(missing=i, reach=self.problem.hosts_of[i])
        return _Aim(reach=self._all_hosts)

    def _aim_at(self, keys: list[int], *, by_points: bool) -> _Aim | None:
        at = self.dice.below(len(keys))
        if self.dice.below(2):
            at = self.dice.below(at + 1)
        standing = self.state.placed.get(keys[at])
        if standing is None:
            return None
        way = standing.way
        if self.movable is not None and way.service not in self.movable:
            return None
        if not (way.points if by_points else way.loss > self._best_loss[way.service]):
            return None
        host = self.state.place_of(standing)[0]
        reach = self.better_hosts(way.service, way.loss, way.points if by_points else 0)
        return _Aim(first=way.service, hosts=[host], reach=reach)

    def better_hosts(self, i: int, loss: int, points: int = 0) -> list[int]:
        """Hosts where a service could run on a better rung, or on this one with fewer points."""
        key = (i, loss, points)
        if key not in self._reach:
            found = {
                host
                for way in self.problem.ways[i]
                if way.loss < loss or (way.loss == loss and way.points < points)
                for host in self.problem.families[way.family].hosts
            }
            self._reach[key] = sorted(found) or self.problem.hosts_of[i]
        return self._reach[key]

    def _hosts_for(self, aim: _Aim) -> list[int]:
        """One to five hosts: those of the aim, of its reach by free memory with noise, and any."""
        dice, state = self.dice, self.state
        hosts, reach = aim.hosts, aim.reach or self._all_hosts
        k = 1 + dice.below(4)
        drawn = []
        for _ in range(min(3 * k, len(reach))):
            h = reach[dice.below(len(reach))]
            drawn.append((-(state.host_free[h] * (64 + dice.below(64)) >> 6), h))
        for _, h in sorted(drawn):
            if h not in hosts:
                hosts.append(h)
            if len(hosts) >= (k + 1) // 2 + (aim.first is not None):
                break
        n = len(self._all_hosts)
        for _ in range(k - len(hosts)):
            a, b = dice.below(n), dice.below(n)
            h = a if state.host_free[a] >= state.host_free[b] else b
            if h not in hosts:
                hosts.append(h)
        return hosts

    def _take_up(self, aim: _Aim, hosts: list[int], pool: list[int]) -> None:
        """Adds missing services: the one aimed at, two of the most important, some others."""
        missing, dice = self._missing, self.dice
        if len(missing) > _TAKEN_UP:
            some = {missing[dice.below(min(len(missing), 12))] for _ in range(2)}
            some |= {missing[dice.below(len(missing))] for _ in range(_TAKEN_UP - 3)}
            if aim.missing is not None:
                some.add(aim.missing)
            missing = sorted(some)
        inside = set(hosts)
        for i in missing:
            if not inside.isdisjoint(self.problem.hosts_of[i]):
                short = self.problem.possible[i] - len(self.state.of[i]) - pool.count(i)
                pool += [i] * min(2, short)

    def _order(self, aim: _Aim, pool: list[int]) -> list[tuple[int, int]]:
        """In which order the pool is placed, and with which factor each service chooses.

        Either one factor for all, or services from a drawn priority up take what is best and those
        below what is smallest: that is how a rung is traded against one of lower priority.
        """
        dice, problem, weights = self.dice, self.problem, self.weights
        above = below = _FACTORS[dice.below(4)]
        draw = dice.below(2 * len(problem.priorities))
        cut = problem.priorities[draw] if draw < len(problem.priorities) else None
        if cut is not None:
            above, below = (0, 4)[dice.below(2)], 1 << 12
        if weights.coverage_alone:
            above = below = (1 << 10, 1 << 12, 1 << 14)[dice.below(3)]
        by_priority = cut is not None or dice.below(3) == 0
        first: int | None = None
        if aim.first is not None and dice.below(4):
            above = below = _FACTORS[dice.below(4)]
            first = aim.first
        found = []
        for i in pool:
            priority = problem.services[i].priority
            factor = above if cut is None or priority >= cut else below
            factor = 0 if i == first else factor
            table = self._table(i, factor)
            if table:
                way = table[0][2]
                noise = 48 + dice.below(32)
                rank = weights.order[i] if by_priority else (False, 0)
                size = -way.size if dice.below(8) else 0
                found.append((i != first, rank, size, -way.total * noise, i, factor))
        return [(i, factor) for *_, i, factor in sorted(found)]

    def _table(self, i: int, factor: int) -> list[tuple[int, int, Way]]:
        key = (i, factor)
        if key not in self._tables:
            taste = Taste(factor=factor, levels=self.levels)
            self._tables[key] = table_of(self.weights, self.prices, i, taste)
        return self._tables[key]

    def _insert(self, i: int, factor: int) -> int | None:
        found = cheapest(self.state, self._table(i, factor), self.prices, {})
        return None if found is None else self._put(*found)

    def _upgrade(self) -> int:
        """Better rungs for what was just placed, where they fit; what is gained by it."""
        state, weights, gain = self.state, self.weights, 0
        for kind, key, _, _ in list(self._log):
            standing = state.placed.get(key)
            if kind != _PUT or standing is None:
                continue
            way = standing.way
            if way.loss == self._best_loss[way.service]:
                continue
            self._take(key)
            best: tuple[int, int, Way, int] | None = None
            for cost, _, other in self._table(way.service, 0):
                if other.loss >= way.loss or (best is not None and cost > best[0]):
                    break
                found = state.best(other)
                if found is not None:
                    waste = found[0] * other.size
                    if best is None or waste < best[1]:
                        best = (cost, waste, other, found[1])
            if best is None:
                self._put(way, standing.place, key)
            else:
                self._put(best[2], best[3], key)
                gain += weights.of(best[2]) - weights.of(way)
        return gain

    def _raise(self, hosts: list[int]) -> int:
        """More room in place on these hosts; what is gained by it."""
        gain = 0
        keys = sorted(set().union(*(self.state.here[h] for h in hosts)))
        if self.movable is not None:
            keys = [key for key in keys if self.state.placed[key].way.service in self.movable]
        for key, was in self.state.raise_all(keys):
            self._log.append((_CHANGED, key, was, 0))
            gain += self.weights.of(self.state.placed[key].way) - self.weights.of(was)
        return gain

    # The log of a step, so that it can be taken back

    def _put(self, way: Way, place: int, key: int | None = None) -> int:
        key = self.state.put(way, place, key)
        self._log.append((_PUT, key, way, place))
        return key

    def _take(self, key: int) -> None:
        standing = self.state.take(key)
        self._log.append((_TAKEN, key, standing.way, standing.place))

    def _change(self, key: int, way: Way) -> None:
        self._log.append((_CHANGED, key, self.state.placed[key].way, 0))
        self.state.change(key, way)

    def _undo(self) -> None:
        for kind, key, way, place in reversed(self._log):
            if kind == _PUT:
                self.state.take(key)
            elif kind == _TAKEN:
                self.state.put(way, place, key)
            else:
                self.state.change(key, way)


def cover(problem: Problem, prices: Prices, questions: int, seed: int) -> State:
    """As many as possible, the most important first: priorities below are not there yet.

    Where those below stand, what is free for those above could not be seen.
    """
    state, weights = State(problem), Weights(problem, coverage_alone=True)
    for priority in problem.priorities:
        construct(problem, weights, prices, Taste(factor=SMALLEST, since=priority), state)
        search = Search(state, weights, prices, seed)
        search.since = priority
        search.run(questions, stop=search.is_full)
    return state
