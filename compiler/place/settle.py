"""What an expert does where the objectives leave a choice.

figures.py says what is looked at, and in which order. No objective changes: replicas are moved and
exchanged one by one while that improves these figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from compiler.place.figures import Figures, Ledger, plus
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

# With more replicas than this, those that could stand no better are passed over.
_MANY = 100


class Settle:
    """Improves a state by the rules above; what goes on as it runs is left alone."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.problem: Problem = state.problem
        self.ledger = Ledger(state)
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
                # In a large fleet, who has all to wish for need not stand first by name as well.
                if len(self.state.placed) <= _MANY or not self._is_content(key):
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

    # Moves

    def _relocate(self, key: int) -> bool:
        """Moves one replica to the place that improves the figures most."""
        state, ledger = self.state, self.ledger
        calm = (state.disturbed, state.moved)
        standing = ledger.take(key)
        way, here = standing.way, state.place_of(standing)
        best: tuple[Figures, Way, int] = (ledger.cost(way, standing.place), way, standing.place)
        for other, n in self._places_like(way):
            there = self.problem.families[other.family].places[n]
            if there == here or self._tries <= 0 or not state.fits(other, n):
                continue
            self._tries -= 1
            cost = ledger.cost(other, n)
            if cost < best[0] and self._is_calm(other, n, key, calm):
                best = (cost, other, n)
        ledger.put(best[1], best[2], key)
        return best[1] is not way or best[2] != standing.place

    def _is_calm(self, way: Way, place: int, key: int, calm: tuple[int, int]) -> bool:
        """Whether a replica that is nowhere disturbs nothing more when it stands there."""
        state = self.state
        if not state.was[way.service]:
            return True
        state.put(way, place, key)
        now = (state.disturbed, state.moved)
        state.take(key)
        return now <= calm

    def _places_like(self, way: Way) -> Iterable[tuple[Way, int]]:
        """Where a replica could run as well: the same rung, GPUs and points."""
        levels: dict[int, Way] = {}
        for other in self._like[way.service, way.variant, way.loss, way.span]:
            known = levels.get(other.family)
            if other.points <= way.points and (known is None or other.points > known.points):
                levels[other.family] = other
        for other in levels.values():
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
        """Of a large family the first idle places on hosts where the service is not yet."""
        found = 0
        state, p = self.state, self.problem
        mine = state.on_host[way.service]
        for n, (host, gpus) in enumerate(p.families[way.family].places):
            if mine[host] or not self.ledger.is_idle(gpus):
                continue
            if state.fits(way, n):
                yield way, n
                found += 1
                if found == _PLACES // 8:
                    return

    def _is_content(self, key: int) -> bool:
        """Whether a replica is alone on its GPUs and its host, these the smallest it could have."""
        state = self.state
        standing = state.placed[key]
        way = standing.way
        host, gpus = state.place_of(standing)
        alike = self._like[way.service, way.variant, way.loss, way.span]
        return (
            state.on_host[way.service][host] == 1
            and way.bulk == min(other.bulk for other in alike)
            and all(p == key for gpu in gpus for p in self._on(host, gpu))
        )

    def _on(self, host: int, gpu: int) -> Iterable[int]:
        state = self.state
        return (key for key in state.here[host] if gpu in state.place_of(state.placed[key])[1])

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
        return self._try([(first, *ways[0]), (second, *ways[1])])

    def _try(self, new: list[tuple[int, Way, int]]) -> bool:
        """Stands replicas elsewhere, all together; kept if that fits and improves the figures."""
        state, ledger = self.state, self.ledger
        calm = (state.disturbed, state.moved)
        old = [(key, ledger.take(key)) for key, _, _ in new]
        after = self._put_all(new)
        better = after is not None and (state.disturbed, state.moved) <= calm
        if after is not None:
            for key, _, _ in new:
                ledger.take(key)
        before = self._put_all([(key, was.way, was.place) for key, was in old])
        if not better or after is None or before is None or after >= before:
            return False
        for key, _, _ in new:
            ledger.take(key)
        self._put_all(new)
        return True

    def _put_all(self, new: list[tuple[int, Way, int]]) -> Figures | None:
        """What all of them cost; None, and none of them there, when they do not fit together."""
        cost: Figures = (0,) * len(self.ledger.order)
        for done, (key, way, n) in enumerate(new):
            if not self.state.fits(way, n):
                for there, _, _ in new[:done]:
                    self.ledger.take(there)
                return None
            cost = plus(cost, self.ledger.cost(way, n))
            self.ledger.put(way, n, key)
        return cost

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
        p = self.problem
        there = {a: (p.gpu_host[b], (b,)), b: (p.gpu_host[a], (a,))}
        new: list[tuple[int, Way, int]] = []
        for key, gpu in [(key, a) for key in on_a] + [(key, b) for key in on_b]:
            at = self._way_at(self.state.placed[key].way, there[gpu])
            if at is None:
                return False
            new.append((key, *at))
        return self._try(new)

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
