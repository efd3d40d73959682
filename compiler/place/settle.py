"""What an expert does where the objectives leave a choice.

figures.py says what is looked at, and in which order. No objective changes: replicas are moved and
exchanged one by one while that improves these figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from compiler.place.figures import Figures, Judge, minus, plus
from compiler.place.problem import Place, Problem, Way
from compiler.place.score import score_of
from compiler.place.state import State

# Passes over all replicas; each begins anew with what the last one freed.
_PASSES = 6

# In larger families not every place is looked at, but the emptiest and the fullest.
_PLACES = 48

# Places that are tried in all: what comes later is a matter of taste.
_TRIES = 20_000

# With more replicas than this they are not exchanged pair by pair.
_PAIRS = 60


class Settle:
    """Improves a state by the rules above; what goes on as it runs is left alone."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.problem: Problem = state.problem
        self.judge = Judge(self.problem)
        self._tries = _TRIES
        self._like: dict[tuple[int, int, int, int], list[Way]] = defaultdict(list)
        for ways in self.problem.ways:
            for way in ways:
                self._like[way.service, way.variant, way.loss, way.span].append(way)

    def run(self) -> None:
        """Passes until nothing improves."""
        for _ in range(_PASSES):
            changed = False
            for key in self._movable():
                changed |= self._relocate(key)
            changed |= self._exchange_gpus()
            movable = self._movable()
            if len(movable) <= _PAIRS:
                for n, first in enumerate(movable):
                    for second in movable[n + 1 :]:
                        changed |= self._exchange(first, second)
            if not changed:
                return

    def _movable(self) -> list[int]:
        """Replicas that do not go on as they run: the most important and largest first."""
        state, services = self.state, self.problem.services
        keys = [key for key in state.placed if not (state.was and state.goes_on(key))]
        return sorted(
            keys,
            key=lambda key: (
                -services[state.placed[key].way.service].priority,
                -state.placed[key].way.total,
                state.placed[key].way.service,
                key,
            ),
        )

    def _figures(self, hosts: Iterable[int]) -> Figures:
        found = [self.judge.of_host(self.state, host) for host in sorted(hosts)]
        return found[0] if len(found) == 1 else plus(*found)

    # Moves

    def _relocate(self, key: int) -> bool:
        """Moves one replica to the place that improves the figures most."""
        state, judge = self.state, self.judge
        standing = state.placed[key]
        way, here = standing.way, state.place_of(standing)
        calm = (state.disturbed, state.moved)
        best: tuple[Figures, Way, int] | None = None
        with_it = judge.of_host(state, here[0])
        state.take(key)
        without = {here[0]: judge.of_host(state, here[0])}
        for other, n in self._places_like(way):
            there = self.problem.families[other.family].places[n]
            if there == here or self._tries <= 0 or not state.fits(other, n):
                continue
            self._tries -= 1
            if there[0] not in without:
                without[there[0]] = judge.of_host(state, there[0])
            state.put(other, n, key)
            after = minus(judge.of_host(state, there[0]), without[there[0]])
            worse = (state.disturbed, state.moved) > calm
            state.take(key)
            gain = minus(after, minus(with_it, without[here[0]]))
            if not worse and gain < (0,) * len(gain) and (best is None or gain < best[0]):
                best = (gain, other, n)
        if best is None:
            state.put(way, standing.place, key)
            return False
        state.put(best[1], best[2], key)
        return True

    def _places_like(self, way: Way) -> Iterable[tuple[Way, int]]:
        """Where a replica could run as well: the same rung, GPUs and points."""
        for other in self._like[way.service, way.variant, way.loss, way.span]:
            if other.points > way.points:
                continue
            family = self.problem.families[other.family]
            if len(family.places) <= _PLACES:
                for n in range(len(family.places)):
                    yield other, n
                continue
            for emptiest in (True, False):
                found = self.state.best(other, emptiest=emptiest)
                if found is not None:
                    yield other, found[1]
            yield from self._elsewhere(other)

    def _elsewhere(self, way: Way) -> Iterable[tuple[Way, int]]:
        """Of a large family the first places on hosts where the service is not yet."""
        found = 0
        mine = self.state.on_host[way.service]
        for n, (host, _) in enumerate(self.problem.families[way.family].places):
            if not mine[host] and self.state.fits(way, n):
                yield way, n
                found += 1
                if found == _PLACES // 4:
                    return

    def _exchange(self, first: int, second: int) -> bool:
        """Lets two replicas change places, when both can run as well on the other's."""
        state = self.state
        if first not in state.placed or second not in state.placed:
            return False
        a, b = state.placed[first], state.placed[second]
        if a.way.service == b.way.service:
            return False
        here, there = state.place_of(a), state.place_of(b)
        if here == there:
            return False
        ways = (self._way_at(a.way, there), self._way_at(b.way, here))
        if ways[0] is None or ways[1] is None:
            return False
        hosts = {here[0], there[0]}
        calm = (state.disturbed, state.moved)
        before = self._figures(hosts)
        state.take(first)
        state.take(second)
        done: list[int] = []
        for key, (way, n) in ((first, ways[0]), (second, ways[1])):
            if not state.fits(way, n):
                break
            state.put(way, n, key)
            done.append(key)
        both = done == [first, second]
        if both and self._figures(hosts) < before and (state.disturbed, state.moved) <= calm:
            return True
        for key in done:
            state.take(key)
        state.put(a.way, a.place, first)
        state.put(b.way, b.place, second)
        return False

    def _exchange_gpus(self) -> bool:
        """Lets all that stands on one GPU change places with all that stands on another."""
        p, state = self.problem, self.state
        on: dict[int, list[int]] = defaultdict(list)
        wide: set[int] = set()
        for key in sorted(state.placed):
            gpus = state.place_of(state.placed[key])[1]
            for gpu in gpus:
                on[gpu].append(key)
            if len(gpus) > 1 or (state.was and state.goes_on(key)):
                wide.update(gpus)
        if len(p.gpu_host) > _PAIRS:
            return False
        changed = False
        for a in range(len(p.gpu_host)):
            for b in range(a + 1, len(p.gpu_host)):
                differ = p.budget[a] != p.budget[b] and not {a, b} & wide
                if differ and self._exchange_loads(a, b, on[a], on[b]):
                    on[a], on[b] = on[b], on[a]
                    changed = True
        return changed

    def _exchange_loads(self, a: int, b: int, on_a: list[int], on_b: list[int]) -> bool:
        p, state = self.problem, self.state
        there = {a: (p.gpu_host[b], (b,)), b: (p.gpu_host[a], (a,))}
        new: list[tuple[int, Way, int]] = []
        for key, gpu in [(key, a) for key in on_a] + [(key, b) for key in on_b]:
            at = self._way_at(state.placed[key].way, there[gpu])
            if at is None:
                return False
            new.append((key, *at))
        hosts = {p.gpu_host[a], p.gpu_host[b]}
        before, calm = self._figures(hosts), (state.disturbed, state.moved)
        old = [(key, state.take(key)) for key, _, _ in new]
        done: list[int] = []
        for key, way, n in new:
            if not state.fits(way, n):
                break
            state.put(way, n, key)
            done.append(key)
        better = len(done) == len(new) and self._figures(hosts) < before
        if better and (state.disturbed, state.moved) <= calm:
            return True
        for key in done:
            state.take(key)
        for key, standing in old:
            state.put(standing.way, standing.place, key)
        return False

    def _way_at(self, way: Way, place: Place) -> tuple[Way, int] | None:
        """How a replica could run as well on exactly this place."""
        families = dict(self.problem.place_at.get(place, ()))
        for other in self._like[way.service, way.variant, way.loss, way.span]:
            if other.family in families and other.points == way.points:
                return other, families[other.family]
        return None


def settle(state: State) -> None:
    """Improves a plan where the objectives leave a choice; none of them changes for the worse."""
    before = score_of(state)
    Settle(state).run()
    if score_of(state) > before:
        raise AssertionError(before)
