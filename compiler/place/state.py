"""A fleet with replicas on it: what is free, who stands where, and best fit in O(log n)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from compiler.place.problem import Place, Problem, Way

# Entries of the sorted lists are MiB and the number of a place in one integer.
_SHIFT = 24
_MASK = (1 << _SHIFT) - 1


@dataclass(slots=True, eq=False)
class Standing:
    """A replica on a place of a family."""

    way: Way
    place: int


class State:
    """Replicas on their places. Every change can be taken back by its opposite.

    `free` is the memory that no replica has; families keep their places sorted by the least free
    GPU of each, so that the fullest place that still holds a replica is found by bisection.
    """

    def __init__(self, problem: Problem) -> None:
        p = self.problem = problem
        self.free = list(p.free)
        self.ram = list(p.ram)
        self.ports = list(p.ports)
        self.placed: dict[int, Standing] = {}
        self.of: list[set[int]] = [set() for _ in p.services]
        self.here: list[set[int]] = [set() for _ in p.host_names]
        self.host_free = [sum(p.free[gpu] for gpu in gpus) for gpus in p.host_gpus]
        self.questions = 0
        self._next = 0
        self.spread = [service.placement.spread for service in p.services]
        self.on_host: list[Counter[int]] = [Counter() for _ in p.services]
        self.on_gpu: list[Counter[int]] = [Counter() for _ in p.services]
        self._member: list[list[tuple[int, int]]] = [[] for _ in self.free]
        self._on_cpu: list[list[tuple[int, int]]] = [[] for _ in p.host_names]
        self._least: list[list[int]] = []
        self._sorted: list[list[int]] = []
        for family in p.families:
            for n, (host, gpus) in enumerate(family.places):
                for gpu in gpus:
                    self._member[gpu].append((family.number, n))
                if not gpus:
                    self._on_cpu[host].append((family.number, n))
            least = [self._room(place) for place in family.places]
            self._least.append(least)
            self._sorted.append(sorted((mib << _SHIFT) | n for n, mib in enumerate(least)))
        self._follow_previous()

    def _follow_previous(self) -> None:
        """Counts, for each service, replicas that ran: by place, and as they ran."""
        self.was: Counter[int] = Counter()
        self._place: Counter[object] = Counter()
        self._same: Counter[object] = Counter()
        for runs in self.problem.running:
            self.was[runs.service] += 1
            if runs.place is not None:
                self._place[runs.service, runs.place] += 1
                if runs.way is not None:
                    self._same[runs.service, runs.place, runs.way.variant, runs.way.mib] += 1
        self._stands: Counter[object] = Counter()
        self._runs: Counter[object] = Counter()
        self._kept: Counter[int] = Counter()
        self._calm: Counter[int] = Counter()
        self.disturbed = self.moved = 0
        """Replicas that ran and do not go on as they ran, and those that leave their place."""

    def place_of(self, standing: Standing) -> Place:
        """The host and the GPUs of a replica."""
        return self.problem.families[standing.way.family].places[standing.place]

    def goes_on(self, key: int) -> bool:
        """Whether a replica is one that runs, and goes on as it does."""
        standing = self.placed[key]
        way = standing.way
        return (way.service, self.place_of(standing), way.variant, way.mib) in self._same

    def left_running(self) -> tuple[dict[object, int], dict[object, int]]:
        """Replicas that ran and are not there now: as they ran, and by place."""
        same = {key: n - self._runs[key] for key, n in self._same.items()}
        place = {key: n - self._stands[key] for key, n in self._place.items()}
        return same, place

    def fixed_moves(self, inside: Collection[int]) -> int:
        """Moves of what stands now, for services whose other replicas are still to be placed."""
        found = 0
        for i, was in self.was.items():
            n = len(self.of[i])
            found += (n if i in inside else max(0, min(n, was))) - self._kept[i]
        return found

    def _room(self, place: Place) -> int:
        host, gpus = place
        return max(0, min(self.free[gpu] for gpu in gpus) if gpus else self.ram[host])

    def _account(self, way: Way, place: Place, n: int, step: int) -> None:
        """Counts one replica of a service that had n more (step 1) or fewer (step -1)."""
        i, was = way.service, self.was[way.service]
        if not was:
            return
        both = (
            (self._place, self._stands, self._kept, (i, place)),
            (self._same, self._runs, self._calm, (i, place, way.variant, way.mib)),
        )
        changes = []
        for old, now, kept, key in both:
            before = max(0, min(n, was) - kept[i])
            if key in old:
                now[key] += step
                if step > 0 and now[key] <= old[key]:
                    kept[i] += 1
                elif step < 0 and now[key] < old[key]:
                    kept[i] -= 1
            changes.append(max(0, min(n + step, was) - kept[i]) - before)
        self.moved += changes[0]
        self.disturbed += changes[1]

    def allowed(self, way: Way, place: Place) -> bool:
        """Whether rules, RAM and ports let the replica stand there; its GPUs are not looked at."""
        host, gpus = place
        if self.ram[host] < way.ram or self.ports[host] <= 0:
            return False
        i = way.service
        spread = self.spread[i]
        if spread is not None:
            by_host = spread == "host" or not gpus
            if by_host and self.on_host[i][host]:
                return False
            if not by_host and any(self.on_gpu[i][gpu] for gpu in gpus):
                return False
        for j in self.problem.apart[i]:
            if any(self.on_gpu[j][gpu] for gpu in gpus):
                return False
        barred = self.problem.barred[i]
        return not (barred and any(gpu in barred for gpu in gpus))

    def fits(self, way: Way, place: int) -> bool:
        """Whether the replica can stand on this place now."""
        spot = self.problem.families[way.family].places[place]
        free = self.free
        for gpu, mib in zip(spot[1], way.mib, strict=True):
            if free[gpu] < mib:
                return False
        return self.allowed(way, spot)

    def best(self, way: Way, *, emptiest: bool = False) -> tuple[int, int] | None:
        """The fullest (or emptiest) place that holds the replica: MiB left, and its number."""
        self.questions += 1
        if way.only is not None:
            left = self._least[way.family][way.only] - way.least_mib
            return (left, way.only) if self.fits(way, way.only) else None
        order = self._sorted[way.family]
        first = bisect_left(order, way.least_mib << _SHIFT)
        places = self.problem.families[way.family].places
        steps = range(len(order) - 1, first - 1, -1) if emptiest else range(first, len(order))
        for at in steps:
            n = order[at] & _MASK
            if way.uniform:
                if self.allowed(way, places[n]):
                    return (order[at] >> _SHIFT) - way.least_mib, n
            elif self.fits(way, n):
                return (order[at] >> _SHIFT) - way.least_mib, n
        return None

    def put(self, way: Way, place: int, key: int | None = None) -> int:
        """Stands a replica there; the number by which it is known."""
        if key is None:
            key = self._next
            self._next += 1
        spot = self.problem.families[way.family].places[place]
        self._account(way, spot, len(self.of[way.service]), 1)
        self.placed[key] = Standing(way, place)
        self.of[way.service].add(key)
        self.here[spot[0]].add(key)
        self._load(way, spot, 1)
        return key

    def take(self, key: int) -> Standing:
        """Takes a replica away."""
        standing = self.placed.pop(key)
        way, spot = standing.way, self.place_of(standing)
        self._account(way, spot, len(self.of[way.service]), -1)
        self.of[way.service].discard(key)
        self.here[spot[0]].discard(key)
        self._load(way, spot, -1)
        return standing

    def change(self, key: int, way: Way) -> None:
        """Another level of the same replica where it stands."""
        standing = self.placed[key]
        old, spot = standing.way, self.place_of(standing)
        n = len(self.of[way.service])
        self._account(old, spot, n, -1)
        self._account(way, spot, n - 1, 1)
        self.placed[key] = Standing(way, standing.place)
        for gpu, before, after in zip(spot[1], old.mib, way.mib, strict=True):
            self.free[gpu] += before - after
        self.host_free[spot[0]] += old.total - way.total
        self._refresh(spot)

    def _load(self, way: Way, spot: Place, sign: int) -> None:
        host, gpus = spot
        i = way.service
        self.ports[host] -= sign
        self.on_host[i][host] += sign
        mine = self.on_gpu[i]
        for gpu, mib in zip(gpus, way.mib, strict=True):
            self.free[gpu] -= sign * mib
            mine[gpu] += sign
        self.host_free[host] -= sign * way.total
        if way.ram:
            self.ram[host] -= sign * way.ram
            for family, n in self._on_cpu[host]:
                self._resort(family, n, self.ram[host])
        if gpus:
            self._refresh(spot)

    def _refresh(self, spot: Place) -> None:
        free = self.free
        if len(spot[1]) == 1:
            touched: Iterable[tuple[int, int]] = self._member[spot[1][0]]
        else:
            touched = {member for gpu in spot[1] for member in self._member[gpu]}
        for family, n in touched:
            gpus = self.problem.families[family].places[n][1]
            mib = free[gpus[0]] if len(gpus) == 1 else min([free[gpu] for gpu in gpus])
            self._resort(family, n, mib)

    def _resort(self, family: int, n: int, mib: int) -> None:
        mib = max(0, mib)
        old = self._least[family][n]
        if mib != old:
            order = self._sorted[family]
            del order[bisect_left(order, (old << _SHIFT) | n)]
            insort(order, (mib << _SHIFT) | n)
            self._least[family][n] = mib

    def higher(self, key: int) -> Way | None:
        """The next level with fewer points, if the replica's GPUs have the memory for it."""
        standing = self.placed[key]
        way = standing.way
        if not way.points:
            return None
        gpus = self.place_of(standing)[1]
        for other in way.ladder:
            if other.points < way.points and other.total > way.total:
                fits = all(
                    self.free[gpu] >= more - mib
                    for gpu, mib, more in zip(gpus, way.mib, other.mib, strict=True)
                )
                return other if fits else None
        return None

    def raise_all(self, keys: Iterable[int]) -> Iterator[tuple[int, Way]]:
        """Raises levels in place, and yields each replica with what it was before.

        The most important first, then the step that takes most points away, then the cheapest.
        """
        heap: list[tuple[int, int, int, int]] = []

        def step(key: int) -> tuple[int, int, int, int] | None:
            up = self.higher(key)
            if up is None:
                return None
            way = self.placed[key].way
            service = self.problem.services[way.service]
            return -service.priority, up.points - way.points, up.total - way.total, key

        heap = [each for key in keys if (each := step(key)) is not None]
        heapify(heap)
        while heap:
            entry = heappop(heap)
            key = entry[-1]
            # The memory may be gone by now.
            if step(key) != entry:
                continue
            up = self.higher(key)
            if up is None:
                continue
            before = self.placed[key].way
            self.change(key, up)
            yield key, before
            again = step(key)
            if again is not None:
                heappush(heap, again)

    def copy(self, *, least: bool = False) -> State:
        """The same replicas in a state of their own; `least`: all at their least level."""
        other = State(self.problem)
        for key in sorted(self.placed):
            standing = self.placed[key]
            way = standing.way.ladder[0] if least else standing.way
            other.put(way, standing.place, key)
        other._next = self._next
        return other
