"""A plan beside a previous one: all that can goes on as it runs, and what is new goes in.

Calm: only services that are new, changed, or have lost a replica's place may move or change their
rung. Others give room away where they stand, and move, on the rung that they have, only where a
required service would be left out. With `policy.consolidate` all may move.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.place.exact import Neighbourhood, place_anew
from compiler.place.fresh import Best, Budget, Fresh
from compiler.place.problem import Problem, Runs, Way
from compiler.place.score import Weights, score_of
from compiler.place.search import Search
from compiler.place.state import State

# GPUs of a neighbourhood that CP-SAT places anew: at first, and when that was not enough.
_NEAR, _FAR = 16, 32

# Neighbourhoods for one compile, and how many in one round.
_ROUNDS, _AIMS = 12, 3

# Rounds where nothing that is required is missing.
_FEW_ROUNDS = 4


@dataclass(slots=True)
class Kept:
    """The state of what goes on as it runs, and the services that are touched."""

    state: State
    touched: set[int]


def keep(problem: Problem, left_out: frozenset[str]) -> Kept:
    """Everything that may go on as it runs. `left_out`: services short in the previous plan too."""
    state = State(problem)
    evicted: set[int] = set()
    changed: list[Runs] = []
    weights = Weights(problem)
    order = sorted(
        range(len(problem.running)), key=lambda n: (weights.order[problem.running[n].service], n)
    )
    for n in order:
        runs = problem.running[n]
        i = runs.service
        if len(state.of[i]) >= problem.possible[i]:
            continue
        if runs.changed:
            changed.append(runs)
        elif runs.way is None or runs.way.only is None or not state.fits(runs.way, runs.way.only):
            evicted.add(i)
            changed.append(runs)
        else:
            state.put(runs.way, runs.way.only)
    ran = {runs.service for runs in problem.running}
    touched = evicted | {runs.service for runs in changed}
    touched |= {
        i
        for i, service in enumerate(problem.services)
        if service.name not in left_out and (i not in ran or len(state.of[i]) < problem.possible[i])
    }
    for runs in changed:
        _stay(state, runs)
    return Kept(state, touched)


def _stay(state: State, runs: Runs) -> None:
    """What is changed stays on its GPUs where its best rung there allows it."""
    p, i = state.problem, runs.service
    if runs.place is None or len(state.of[i]) >= p.possible[i]:
        return
    best_loss = min((way.loss for way in p.least[i]), default=0)
    families = dict(p.place_at.get(runs.place, ()))
    for way in sorted(p.least[i], key=lambda way: way.loss):
        n = families.get(way.family)
        if way.loss == best_loss and n is not None and state.fits(way, n):
            state.put(way, n)
            return


def insert(state: State, weights: Weights) -> None:
    """Places what is missing, the most important and largest first, at its least level.

    Each on the best rung that finds room, then on the fewest GPUs, then where it fits tightest.
    """
    p = state.problem
    order = sorted(
        (i for i in range(len(p.services)) if len(state.of[i]) < p.possible[i]),
        key=lambda i: (weights.order[i], -max((w.total for w in p.least[i]), default=0), i),
    )
    most = p.policy.max_moves
    for i in order:
        rows = sorted(enumerate(p.least[i]), key=lambda row: (row[1].loss, row[1].span, row[0]))
        while len(state.of[i]) < p.possible[i]:
            found = _tightest(state, [way for _, way in rows])
            if found is None:
                break
            key = state.put(*found)
            if most is not None and state.moved > most:
                state.take(key)
                break


def _tightest(state: State, ways: list[Way]) -> tuple[Way, int] | None:
    best: tuple[tuple[int, int, int], Way, int] | None = None
    for way in ways:
        if best is not None and (way.loss, way.span) > best[0][:2]:
            break
        found = state.best(way, emptiest=bool(way.points))
        if found is not None:
            rank = (way.loss, way.span, -found[0] if way.points else found[0])
            if best is None or rank < best[0]:
                best = (rank, way, found[1])
    return None if best is None else (best[1], best[2])


class Replan:
    """One run of the pass beside a previous plan."""

    def __init__(self, fresh: Fresh, budget: Budget, left_out: frozenset[str]) -> None:
        self.fresh, self.budget = fresh, budget
        self.problem: Problem = fresh.problem
        self.weights = fresh.weights
        kept = keep(self.problem, left_out)
        self.state, self.touched = kept.state, kept.touched
        self.best: Best = fresh.best
        self._best_loss = [
            min((way.loss for way in ways), default=0) for ways in self.problem.least
        ]

    def run(self) -> Best:
        """The best plan that the calm rule allows."""
        insert(self.state, self.weights)
        self.best.state, self.best.score = self.state, score_of(self.state)
        self.best.bounds = list(self.fresh.ideal)
        self.best.tell("beside what runs")
        if self.problem.policy.consolidate:
            self._consolidate()
        elif self.touched:
            inserted = self.state.copy()
            self._settle_touched()
            if not self._is_worth_it(inserted):
                self.state = inserted
                self._raise_touched()
        self.best.state, self.best.score = self.state, score_of(self.state)
        return self.best

    def _everywhere(self, *, own_rung: bool, movable: set[int] | None) -> None:
        hosts = tuple(range(len(self.problem.host_names)))
        place_anew(
            self.state,
            Neighbourhood(
                hosts=hosts, limit=self.budget.solver, movable=movable, own_rung=own_rung
            ),
        )

    def _consolidate(self) -> None:
        """All may move: exact where it is small, else a search that counts what is disturbed."""
        if self.fresh.is_small:
            hosts = tuple(range(len(self.problem.host_names)))
            where = Neighbourhood(hosts=hosts, limit=self.budget.solver)
            proof = place_anew(self.state, where)
            if proof.first and proof.room:
                self.best.bounds = list(score_of(self.state))
            return
        prices = self.fresh.flat
        search = Search(self.state, self.weights, prices, levels=True)
        search.run(self.budget.questions // 2)
        self._neighbourhoods(None)

    def _settle_touched(self) -> None:
        self._find_given_up()
        if self.fresh.is_small:
            self._everywhere(own_rung=False, movable=self.touched)
            self._find_given_up()
            if self._short(required=True):
                self._everywhere(own_rung=True, movable=self.touched)
                self._find_given_up()
        else:
            self._neighbourhoods(self.touched)
        search = Search(self.state, self.weights, self.fresh.flat, levels=True)
        search.movable = self.touched
        search.run(min(self.budget.questions // 8, 2000 * len(self.touched)))
        self._raise_touched()

    def _raise_touched(self) -> None:
        keys = sorted(
            key for i in self.touched for key in self.state.of[i] if not self.state.goes_on(key)
        )
        for _ in self.state.raise_all(keys):
            pass

    def _is_worth_it(self, inserted: State) -> bool:
        """Whether what was disturbed beyond what had to be placed anew brought more replicas.

        A better rung for a service that lost one replica is no reason to move its others, and what
        is less important, or as important, none to give up what runs.
        """
        lost = [
            self.problem.services[i].priority
            for i, was in self.state.was.items()
            if len(self.state.of[i]) < min(was, len(inserted.of[i]))
        ]
        n = 1 + sum(1 for p in self.problem.priorities if not lost or p > max(lost))
        better = score_of(self.state)[:n] < score_of(inserted)[:n]
        if better or lost:
            return better
        calm = (self.state.disturbed, self.state.moved)
        return calm <= (inserted.disturbed, inserted.moved)

    def _find_given_up(self) -> None:
        """Services that gave up replicas for something more important are touched as well."""
        for i, was in self.state.was.items():
            if len(self.state.of[i]) < min(was, self.problem.possible[i]):
                self.touched.add(i)

    def _short(self, *, required: bool) -> list[int]:
        p = self.problem
        return [
            i
            for i in sorted(self.touched)
            if len(self.state.of[i]) < p.possible[i] and not (required and p.services[i].optional)
        ]

    def _neighbourhoods(self, movable: set[int] | None) -> None:
        """Rounds of exact neighbourhoods round what is missing or on a low rung."""
        size, others = _NEAR, False
        for number in range(_ROUNDS):
            if number == _FEW_ROUNDS and movable is not None and not self._short(required=True):
                return
            self._find_given_up()
            targets = self._targets(others=others, all_=movable is None)
            if not targets:
                return
            before = score_of(self.state)
            for _, _, i, key in targets[:_AIMS]:
                if key is not None and key not in self.state.placed:
                    continue
                where = Neighbourhood(
                    hosts=self._hosts_near(i, key, size),
                    limit=self.budget.solver / 2,
                    movable=movable,
                    own_rung=others and key is None,
                    room=False,
                )
                place_anew(self.state, where)
                self.best.tell("neighbourhoods")
            if score_of(self.state) < before:
                continue
            size *= 2
            if size > _FAR:
                if others or movable is None or not self._short(required=True):
                    return
                size, others = _NEAR, True

    def _targets(
        self, *, others: bool, all_: bool
    ) -> list[tuple[tuple[bool, int], int, int, int | None]]:
        """What is missing and what is on a low rung, the most important first."""
        order = self.weights.order
        found: list[tuple[tuple[bool, int], int, int, int | None]] = [
            (order[i], 0, i, None) for i in self._short(required=others)
        ]
        services = range(len(self.problem.services)) if all_ else sorted(self.touched)
        for i in services:
            found += [
                (order[i], 1, i, key)
                for key in sorted(self.state.of[i])
                if self.state.placed[key].way.loss > self._best_loss[i]
            ]
        return sorted(found, key=lambda each: each[:3])

    def _hosts_near(self, i: int, key: int | None, size: int) -> tuple[int, ...]:
        """The host of a replica, and those where the service could stand and most can be given."""
        p, state = self.problem, self.state
        hosts: list[int] = []
        gpus = 0
        reach = p.hosts_of[i]
        if key is not None:
            hosts.append(state.place_of(state.placed[key])[0])
            gpus = len(p.host_gpus[hosts[0]])
        priority = p.services[i].priority
        for h in sorted(reach, key=lambda h: (-self._could_give(h, priority), h)):
            if h not in hosts and gpus + len(p.host_gpus[h]) <= max(size, len(p.host_gpus[h])):
                hosts.append(h)
                gpus += len(p.host_gpus[h])
            if gpus >= size:
                break
        return tuple(hosts)

    def _could_give(self, host: int, priority: int) -> int:
        """MiB of a host that are free, above least levels, or under what is less important."""
        found = self.state.host_free[host]
        for key in self.state.here[host]:
            way = self.state.placed[key].way
            service = self.problem.services[way.service]
            less = service.priority < priority and service.optional
            found += way.total if less else way.total - way.ladder[0].total
        return found
