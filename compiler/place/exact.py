"""Exact answers: all that stands on a few hosts, and what is missing, placed anew by CP-SAT.

Over all hosts that is the whole of a small fleet, and what is proven is proven. Two programs:
coverage, rungs and calm over the least levels alone, then room and GPUs over all levels with what
came before held. Room never needs a level for coverage, so that what the first proves holds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import gcd

from compiler.place.problem import Place, Way
from compiler.place.score import Goal, Kind, goals_of
from compiler.place.solver import Program, improve
from compiler.place.state import State

# Several objectives become one weighted sum while it stays below this.
_LARGEST_SUM = 1 << 50

FIRST: tuple[Kind, ...] = ("required", "coverage", "rungs")
CALM: tuple[Kind, ...] = ("disturbed", "moved")

Cut = tuple[dict[Way, int], list[int], int]
"""What each way is worth on a GPU, the GPUs that it is about, and the most that one can hold."""

Entry = tuple[Way, int]
"""A way on a place of its family."""
_Key = tuple[int, int, int, int, tuple[int, ...], int]


def _key(way: Way, place: int) -> _Key:
    return way.service, way.family, place, way.variant, way.mib, way.loss


@dataclass(slots=True)
class Sum:
    """An objective as terms to be minimised, and how many replicas it counts."""

    goal: Goal
    terms: dict[int, int]
    most: int


class Model:
    """Replicas `wanted` of each service on the free memory of a state, on some hosts."""

    def __init__(
        self,
        state: State,
        hosts: Iterable[int],
        wanted: Counter[int],
        ways: Callable[[int], Iterable[Way]],
    ) -> None:
        self.state, self.problem, self.wanted = state, state.problem, wanted
        self.inside = set(hosts)
        self.program = Program()
        self.columns: list[Entry] = []
        self._at: dict[_Key, int] = {}
        self._of: dict[int, list[int]] = defaultdict(list)
        self._derived: list[Callable[[list[int]], list[int]]] = []
        """How the variables after the columns follow from them."""
        self._calm: dict[Kind, dict[int, int]] = {kind: {} for kind in CALM}
        for i in sorted(wanted):
            for way in ways(i):
                self._add_way(way, wanted[i])
        self._add_rules()
        self._add_calm()

    def _add_way(self, way: Way, count: int) -> None:
        family = self.problem.families[way.family]
        places: Iterable[int] = range(len(family.places)) if way.only is None else (way.only,)
        one = bool(self.problem.services[way.service].placement.spread)
        for n in places:
            host, gpus = family.places[n]
            if host not in self.inside or _key(way, n) in self._at or not self.state.fits(way, n):
                continue
            most = 1 if one else count
            for gpu, mib in zip(gpus, way.mib, strict=True):
                most = min(most, self.state.free[gpu] // mib) if mib else most
            x = self.program.variable(most)
            self._at[_key(way, n)] = x
            self.columns.append((way, n))
            self._of[way.service].append(x)

    def _add_rules(self) -> None:
        p, state, add = self.problem, self.state, self.program.at_most
        by_gpu: dict[int, dict[int, int]] = defaultdict(dict)
        by_host: dict[int, dict[int, int]] = defaultdict(dict)
        on_gpu: dict[int, dict[int, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
        for x, (way, n) in enumerate(self.columns):
            host, gpus = p.families[way.family].places[n]
            by_host[host][x] = way.ram
            for gpu, mib in zip(gpus, way.mib, strict=True):
                by_gpu[gpu][x] = mib
                on_gpu[way.service][gpu][x] = 1
        for gpu, terms in by_gpu.items():
            add("", terms, state.free[gpu])
        upper = self.program.upper
        for host, terms in by_host.items():
            if sum(mib * upper[x] for x, mib in terms.items()) > state.ram[host]:
                add("", terms, state.ram[host])
            if sum(upper[x] for x in terms) > state.ports[host]:
                add("", dict.fromkeys(terms, 1), state.ports[host])
        for i, columns in self._of.items():
            add("", dict.fromkeys(columns, 1), self.wanted[i])
            self._add_spread(i, on_gpu[i], by_host)
        for i in list(self._of):
            for j in p.apart[i]:
                if j > i and j in self._of:
                    for gpu in sorted(on_gpu[i].keys() & on_gpu[j].keys()):
                        self._add_apart(i, j, on_gpu[i][gpu], on_gpu[j][gpu])

    def _add_spread(
        self, i: int, on_gpu: dict[int, dict[int, int]], by_host: dict[int, dict[int, int]]
    ) -> None:
        spread = self.problem.services[i].placement.spread
        if spread == "gpu":
            for terms in on_gpu.values():
                self.program.at_most("", terms, 1)
        for terms in by_host.values() if spread else ():
            here = [
                x
                for x in terms
                if self.columns[x][0].service == i
                and (spread == "host" or not self.columns[x][0].size)
            ]
            if len(here) > 1:
                self.program.at_most("", dict.fromkeys(here, 1), 1)

    def _add_apart(self, i: int, j: int, first: dict[int, int], second: dict[int, int]) -> None:
        either = self.program.variable(1)
        self.program.at_most("", {**first, either: -self.wanted[i]}, 0)
        self.program.at_most("", {**second, either: self.wanted[j]}, self.wanted[j])
        self._derived.append(lambda values: [int(any(values[x] for x in first))])

    def _add_calm(self) -> None:
        """Counts replicas that do not go on as they run, and those that move."""
        state, add = self.state, self.program.at_most
        groups: dict[Kind, dict[object, list[int]]] = {k: defaultdict(list) for k in CALM}
        for x, (way, n) in enumerate(self.columns):
            place = self.problem.families[way.family].places[n]
            groups["moved"][way.service, place].append(x)
            groups["disturbed"][way.service, place, way.variant, way.mib].append(x)
        for i, columns in self._of.items():
            was, out = state.was[i], len(state.of[i])
            if not was:
                continue
            for kind in CALM:
                self._calm[kind] |= dict.fromkeys(columns, 1)
            more = self.problem.possible[i] - was
            if more > 0:
                # Replicas that are new: all above those that ran.
                new, beyond = self.program.variable(more), self.program.variable(1)
                add("", {new: 1, beyond: -more}, 0)
                add("", {**dict.fromkeys(columns, -1), new: 1, beyond: was}, out)
                self._derived.append(_new(tuple(columns), was, out))
                for kind in CALM:
                    self._calm[kind][new] = -1
        for kind, left in zip(CALM, state.left_running(), strict=True):
            for key, xs in groups[kind].items():
                most = left.get(key, 0)
                if most > 0:
                    stays = self.program.variable(most)
                    add("", {**dict.fromkeys(xs, -1), stays: 1}, 0)
                    self._derived.append(_stays(tuple(xs), most))
                    self._calm[kind][stays] = -1
        most_moves = self.problem.policy.max_moves
        if most_moves is not None:
            add("max_moves", dict(self._calm["moved"]), most_moves - state.fixed_moves(self._of))

    def add_cuts(self, cuts: Iterable[Cut]) -> None:
        """Rules that every plan keeps, of what stands on each of some GPUs."""
        on: dict[int, list[tuple[int, Way]]] = defaultdict(list)
        for x, (way, n) in enumerate(self.columns):
            for gpu in self.problem.families[way.family].places[n][1]:
                on[gpu].append((x, way))
        for worths, gpus, most in cuts:
            for gpu in gpus:
                terms = {x: worths[way] for x, way in on[gpu] if way in worths}
                if len(terms) > 1:
                    self.program.at_most("", terms, most)

    def hold_places(self, services: Iterable[int], entries: Iterable[Entry]) -> None:
        """No more replicas of these services on any place than stand there: none moves."""
        families = self.problem.families
        stand = Counter((way.service, families[way.family].places[n]) for way, n in entries)
        at: dict[tuple[int, Place], list[int]] = defaultdict(list)
        for i in services:
            for x in self._of.get(i, ()):
                way, n = self.columns[x]
                at[i, families[way.family].places[n]].append(x)
        for key, columns in at.items():
            self.program.at_most("", dict.fromkeys(columns, 1), stand[key])

    # Objectives

    def sums(self) -> list[Sum]:
        """Every objective in its order."""
        p, of = self.problem, Counter[int]()
        for i, n in self.wanted.items():
            of[p.services[i].priority] += n
        total = self.wanted.total()
        found = []
        for goal in goals_of(p):
            kind, priority = goal
            if kind in CALM:
                found.append(Sum(goal, self._calm[kind], total))
                continue
            terms = {}
            for x, (way, _) in enumerate(self.columns):
                service = p.services[way.service]
                if priority is None or service.priority == priority:
                    value = _worth(kind, way, optional=service.optional)
                    if value:
                        terms[x] = value
            found.append(Sum(goal, terms, total if priority is None else of[priority]))
        return found

    def names(self) -> Sum:
        """Of optional services of one priority the first by name come first."""
        p = self.problem
        terms = {
            x: way.service + 1
            for x, (way, _) in enumerate(self.columns)
            if p.services[way.service].optional
        }
        return Sum(("gpus", None), terms, self.wanted.total())

    def hold_sum(self, each: Sum, values: list[int]) -> None:
        """Keeps what one objective has at the values."""
        if each.terms:
            self.program.at_most("", each.terms, value_of(each, values))

    def hold(self, kinds: Iterable[Kind], values: list[int]) -> None:
        """Keeps what these objectives have at the values."""
        for each in self.sums():
            if each.goal[0] in kinds:
                self.hold_sum(each, values)

    def solve(
        self, kinds: Iterable[Kind], values: list[int], limit: float, *, names: bool = False
    ) -> tuple[list[int], bool, float]:
        """Values at least as good, whether that is proven, and the work that it took."""
        wanted = set(kinds)
        sums = [each for each in self.sums() if each.goal[0] in wanted and each.terms]
        if names:
            sums += [each for each in (self.names(),) if each.terms]
        return improve(self.program, merged(sums), values, limit)

    def values(self, entries: Iterable[Entry]) -> list[int]:
        """These replicas as values of all variables."""
        values = [0] * len(self.columns)
        for way, n in entries:
            at = self._at.get(_key(way, n))
            if at is not None:
                values[at] += 1
        derived = self._derived
        # The variables that follow from columns were made in this order.
        for each in derived:
            values += each(values)
        return values

    def knows(self, way: Way, n: int) -> bool:
        """Whether there is a column for this way on this place."""
        return _key(way, n) in self._at

    def chosen(self, values: list[int]) -> list[Entry]:
        """The replicas that the values stand for."""
        return [entry for x, entry in enumerate(self.columns) for _ in range(values[x])]


def _new(columns: tuple[int, ...], was: int, out: int) -> Callable[[list[int]], list[int]]:
    def derive(values: list[int]) -> list[int]:
        count = out + sum(values[x] for x in columns)
        return [max(0, count - was), int(count > was)]

    return derive


def _stays(columns: tuple[int, ...], most: int) -> Callable[[list[int]], list[int]]:
    return lambda values: [min(most, sum(values[x] for x in columns))]


def _worth(kind: Kind, way: Way, *, optional: bool) -> int:
    match kind:
        case "required":
            return 0 if optional else -1
        case "coverage":
            return -1
        case "rungs":
            return way.loss
        case "room":
            return way.points
        case _:
            return way.span


def merged(sums: list[Sum]) -> list[dict[int, int]]:
    """Objectives multiplied together, each above all that those after it can reach."""
    found: list[dict[int, int]] = []
    now: dict[int, int] = {}
    size = 1
    for each in sums:
        unit = gcd(*each.terms.values())
        reach = each.most * (max(map(abs, each.terms.values())) // unit) + 1
        if size * reach > _LARGEST_SUM and now:
            found.append(now)
            now, size = {}, 1
        now = {x: weight * reach for x, weight in now.items()}
        for x, weight in each.terms.items():
            now[x] = now.get(x, 0) + weight // unit
        size *= reach
    return [*found, now] if now else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What CP-SAT may do on some hosts. `movable`: services that may move and change rung; None for
    all. `own_rung`: whether others may move too, on the rung that they have.
    """

    hosts: tuple[int, ...]
    limit: float
    movable: AbstractSet[int] | None = None
    own_rung: bool = False
    first: bool = True
    """Whether coverage and rungs are looked at; otherwise they are held."""
    room: bool = True


@dataclass(slots=True)
class Proof:
    """Whether the objectives of the first program, and all of them, are proven on these hosts."""

    first: bool = False
    room: bool = False
    work: float = 0.0
    goals: dict[Goal, int] = field(default_factory=dict)


def place_anew(state: State, where: Neighbourhood) -> Proof:
    """Places what stands on these hosts and what is missing; the state is never worse for it."""
    p = state.problem
    inside = set(where.hosts)
    keys = sorted(set().union(*(state.here[h] for h in where.hosts))) if where.hosts else []
    entries = [(s.way, s.place) for s in (state.take(key) for key in keys)]
    wanted = Counter(way.service for way, _ in entries)
    for i in range(len(p.services)):
        more = p.possible[i] - len(state.of[i]) - wanted[i]
        if more > 0 and not inside.isdisjoint(p.hosts_of[i]):
            wanted[i] += more
    wanted = +wanted
    held: tuple[Kind, ...] = FIRST if p.policy.consolidate else FIRST + CALM
    later: tuple[Kind, ...] = ("room", *CALM, "gpus") if p.policy.consolidate else ("room", "gpus")
    proof = Proof()
    model = Model(state, where.hosts, wanted, _ways(state, where, entries, levels=False))
    held_back = [
        i
        for i in wanted
        if where.movable is not None and i not in where.movable and not where.own_rung
    ]
    model.hold_places(held_back, entries)
    base = [entry if model.knows(*entry) else (entry[0].ladder[0], entry[1]) for entry in entries]
    best = model.values(base)
    start = list(best)
    if where.first:
        best, proof.first, proof.work = model.solve(held, best, where.limit, names=not where.room)
    found = model.chosen(best)
    if where.room:
        reached = _reached(model, held, best)
        kept = reached == _reached(model, held, start)
        full = Model(state, where.hosts, wanted, _ways(state, where, entries, levels=True))
        full.hold_places(held_back, entries)
        full.hold(held, full.values(found))
        known = kept and all(full.knows(*entry) for entry in entries)
        best = full.values(entries if known else found)
        best, proof.room, work = full.solve(later, best, where.limit, names=True)
        proof.work += work
        found = full.chosen(best)
    for way, n in found:
        state.put(way, n)
    return proof


def value_of(each: Sum, values: list[int]) -> int:
    """What an objective has at these values."""
    return sum(weight * values[x] for x, weight in each.terms.items())


def _reached(model: Model, kinds: tuple[Kind, ...], values: list[int]) -> list[int]:
    return [value_of(each, values) for each in model.sums() if each.goal[0] in kinds]


def _ways(
    state: State, where: Neighbourhood, entries: list[Entry], *, levels: bool
) -> Callable[[int], list[Way]]:
    """What each service may choose from: what runs there, and what it may move to."""
    p = state.problem
    runs: dict[int, list[Way]] = defaultdict(list)
    rungs: dict[int, set[int]] = defaultdict(set)
    for each in p.running:
        if each.way is not None:
            runs[each.service].append(each.way)
            rungs[each.service].add(each.way.variant)
    stand: dict[int, list[Entry]] = defaultdict(list)
    for way, n in entries:
        stand[way.service].append((way, n))

    def found(i: int) -> list[Way]:
        general = p.ways[i] if levels else p.least[i]
        ways: list[Way] = []
        if where.movable is None or i in where.movable:
            ways += general
        elif where.own_rung:
            ways += [way for way in general if way.variant in rungs[i]]
        ways += runs[i]
        for way, n in stand[i]:
            # Where it stands, with less room if need be.
            ladder = way.ladder if levels else way.ladder[:1]
            ways += [_at(each, n) for each in ladder]
            if way.ladder[0] is not way and levels:
                ways.append(_at(way, n))
        return ways

    return found


def _at(way: Way, place: int) -> Way:
    if way.only == place:
        return way
    return Way(
        service=way.service, variant=way.variant, family=way.family, demand=way.demand,
        mib=way.mib, ram=way.ram, loss=way.loss, points=way.points, kv_bytes=way.kv_bytes,
        span=way.span, bulk=way.bulk, ladder=way.ladder, only=place,
    )  # fmt: skip
