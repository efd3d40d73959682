"""The spares of a plan: where all goes that a lost host takes with it, and what finds no room."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from compiler.ir.inventory import GpuKey
from compiler.ir.placement import NoSpare, Placement, Placements, Spare, Tenant
from compiler.ir.plan import Plan
from compiler.place.exact import FIRST, Entry, Model
from compiler.place.problem import Place, Problem, Way
from compiler.place.state import State

# Deterministic work of CP-SAT for the spares of one loss.
_LIMIT = 1.0


@dataclass(slots=True)
class Spared:
    """The spares of a plan, and which replicas find none."""

    entries: dict[int, list[Entry]] = field(default_factory=dict)
    """By the host that is lost."""
    short: dict[int, Counter[int]] = field(default_factory=dict)
    """How many replicas of a service find no room, by the host that is lost."""


def spares_of(state: State, previous: Plan | None) -> Spared:
    """For each host where what it would lose finds room, beside all others as they stand."""
    p = state.problem
    surviving = {i for i, service in enumerate(p.services) if service.survives}
    before = _before(p, previous)
    found = Spared()
    drained = [n for n, host in enumerate(p.inventory.hosts) if host.state != "ready"]
    for lost in range(len(p.host_names)):
        wanted = Counter(
            state.placed[key].way.service
            for key in state.here[lost]
            if state.placed[key].way.service in surviving
        )
        if not wanted:
            continue
        with _Lost(state, [lost, *drained], lost):
            entries = _kept(state, wanted, before.get(lost, ())) or _found(state, wanted, lost)
        found.entries[lost] = entries
        missing = wanted - Counter(way.service for way, _ in entries)
        if missing:
            found.short[lost] = missing
    return found


def _before(p: Problem, previous: Plan | None) -> dict[int, list[Entry]]:
    """The spares of the previous plan that are still ways of this fleet."""
    found: dict[int, list[Entry]] = defaultdict(list)
    for each in previous.spares if previous else ():
        i = p.index.get(each.service)
        host = p.host_number.get(each.host)
        if i is None or host is None or each.lost not in p.host_number:
            continue
        indices = [share.gpu for share in each.shares]
        if any(index >= len(p.host_gpus[host]) for index in indices):
            continue
        place = (host, tuple(p.host_gpus[host][index] for index in indices))
        at = dict(p.place_at.get(place, ()))
        mib = tuple(share.mib for share in each.shares)
        for way in p.least[i]:
            name = p.services[i].variants[way.variant].name
            same = (way.mib, way.ram, name) == (mib, each.ram_mib, each.variant)
            if way.family in at and same:
                found[p.host_number[each.lost]].append((way, at[way.family]))
                break
    return found


class _Lost:
    """A state without all that stands on a lost host, in which nothing can come to some hosts."""

    def __init__(self, state: State, barred: Iterable[int], lost: int) -> None:
        self.state, self.barred, self.lost = state, list(barred), lost
        self.keys: dict[int, Entry] = {}
        self.ports: dict[int, int] = {}

    def __enter__(self) -> None:
        for key in sorted(self.state.here[self.lost]):
            standing = self.state.take(key)
            self.keys[key] = (standing.way, standing.place)
        for host in self.barred:
            self.ports[host] = self.state.ports[host]
            self.state.ports[host] = 0

    def __exit__(self, *_: object) -> None:
        for host, ports in self.ports.items():
            self.state.ports[host] = ports
        for key, (way, n) in self.keys.items():
            self.state.put(way, n, key)


def _kept(state: State, wanted: Counter[int], before: Iterable[Entry]) -> list[Entry]:
    """The spares of the previous plan, if they are those that are wanted and still find room."""
    entries = list(before)
    if Counter(way.service for way, _ in entries) != wanted:
        return []
    keys = []
    for way, n in entries:
        if not state.fits(way, n):
            break
        keys.append(state.put(way, n))
    held = len(keys) == len(entries)
    for key in keys:
        state.take(key)
    return entries if held else []


def _found(state: State, wanted: Counter[int], lost: int) -> list[Entry]:
    """Room for as many as can be of what is lost: one after another, and if need be exactly."""
    p = state.problem
    best: list[Entry] = []
    for smallest in (False, True):
        keys, entries = [], []
        order = sorted(wanted, key=lambda i: (-max(w.total for w in p.least[i]), i))
        for i in order:
            for _ in range(wanted[i]):
                at = _tightest(state, p.least[i], smallest=smallest)
                if at is None:
                    break
                keys.append(state.put(*at))
                entries.append(at)
        for key in keys:
            state.take(key)
        if len(entries) > len(best):
            best = entries
        if len(best) == wanted.total():
            return best
    hosts = [host for host in range(len(p.host_names)) if host != lost]
    model = Model(state, hosts, wanted, lambda i: p.least[i])
    values, _, _ = model.solve(FIRST[:2], model.values(best), _LIMIT)
    found = model.chosen(values)
    return found if len(found) > len(best) else best


def _tightest(state: State, ways: Iterable[Way], *, smallest: bool) -> Entry | None:
    """The best rung that finds room, or the smallest way, each where it fits tightest."""
    found: tuple[tuple[int, int, int], Way, int] | None = None
    for number, way in enumerate(ways):
        at = state.best(way)
        if at is None:
            continue
        first = way.total if smallest else way.loss
        rank = (first, at[0] * max(1, way.size), number)
        if found is None or rank < found[0]:
            found = (rank, way, at[1])
    return None if found is None else (found[1], found[2])


def state_of(problem: Problem, placements: Placements) -> State:
    """The state in which every chosen replica stands."""
    state = State(problem)
    for each in placements.chosen:
        state.put(*_standing(problem, each))
    return state


def _standing(problem: Problem, each: Placement) -> Entry:
    i = problem.index[each.service]
    host = problem.host_number[each.host]
    place: Place = (host, tuple(problem.host_gpus[host][index] for index in each.draws_on))
    at = dict(problem.place_at[place])
    runs = [r.way for r in problem.running if r.service == i and r.way is not None]
    for way in (*runs, *problem.ways[i]):
        here = way.family in at and way.only in (None, at.get(way.family))
        same = way.variant == each.variant and way.kv_bytes == each.kv_bytes
        if here and same and way.demand == each.demand:
            return way, at[way.family]
    raise KeyError(each.service)


def spare_of(p: Problem, lost: int, way: Way, n: int) -> Spare:
    """A spare by the names of its places."""
    host, gpus = p.families[way.family].places[n]
    return Spare(
        lost=p.host_names[lost],
        service=p.services[way.service].name,
        variant=way.variant,
        host=p.host_names[host],
        gpus=tuple(p.gpu_index[gpu] for gpu in gpus),
        mib=way.mib,
        ram_mib=way.ram,
        tensor_parallel=way.demand.split.tensor_parallel,
    )


# Memory that is kept


def keep_free(state: State, spared: Spared, kept: Counter[GpuKey]) -> None:
    """Keeps the memory of all spares, and for what found none that of the place least taken."""
    p = state.problem
    for lost, entries in spared.entries.items():
        use: Counter[int] = Counter()
        for way, n in entries:
            gpus = p.families[way.family].places[n][1]
            use.update(dict(zip(gpus, way.mib, strict=True)))
        for i, missing in spared.short.get(lost, Counter[int]()).items():
            for _ in range(missing):
                spot = _least_taken(state, i, lost, use)
                if spot is not None:
                    use.update(dict(zip(spot[1], spot[0].mib, strict=True)))
        for gpu, mib in use.items():
            key = (p.host_names[p.gpu_host[gpu]], p.gpu_index[gpu])
            kept[key] = max(kept[key], mib)


def _least_taken(
    state: State, i: int, lost: int, use: Counter[int]
) -> tuple[Way, tuple[int, ...], int] | None:  # fmt: skip
    """Where a replica would push least away, on any host but the lost one and its own."""
    p = state.problem
    best: tuple[tuple[int, int, Place], Way] | None = None
    apart = p.services[i].placement.spread == "host"
    for way in p.least[i]:
        for place in p.families[way.family].places:
            host, gpus = place
            if host == lost or p.inventory.hosts[host].state != "ready":
                continue
            if (apart and state.on_host[i][host]) or any(
                use[gpu] + mib > p.free[gpu] for gpu, mib in zip(gpus, way.mib, strict=True)
            ):
                continue
            away = sum(
                max(0, use[gpu] + mib - state.free[gpu])
                for gpu, mib in zip(gpus, way.mib, strict=True)
            )
            rank = (away, way.total, place)
            if best is None or rank < best[0]:
                best = (rank, way)
    return None if best is None else (best[1], best[0][2][1], best[0][0])


# Why not


def conflicts_of_spares(state: State, spared: Spared) -> Iterator[NoSpare]:
    """For each lost host what finds no room, and the place that comes closest."""
    p = state.problem
    for lost, short in sorted(spared.short.items()):
        use: Counter[int] = Counter()
        for way, n in spared.entries[lost]:
            use.update(dict(zip(p.families[way.family].places[n][1], way.mib, strict=True)))
        for i, missing in sorted(short.items()):
            found = _least_taken(state, i, lost, use)
            service = p.services[i]
            if found is None:
                yield NoSpare(lost=p.host_names[lost], service=service.name, replicas=missing)
                continue
            way, gpus, away = found
            host = p.gpu_host[gpus[0]] if gpus else None
            yield NoSpare(
                lost=p.host_names[lost],
                service=service.name,
                replicas=missing,
                host=p.host_names[host] if host is not None else None,
                gpus=tuple(p.gpu_index[gpu] for gpu in gpus),
                variant=service.variants[way.variant].name,
                need_mib=way.mib,
                missing_mib=away,
                tenants=tuple(_tenants(state, gpus)),
            )


def _tenants(state: State, gpus: tuple[int, ...]) -> Iterator[Tenant]:
    p = state.problem
    held: Counter[int] = Counter()
    for key in state.here[p.gpu_host[gpus[0]]] if gpus else ():
        standing = state.placed[key]
        on = zip(state.place_of(standing)[1], standing.way.mib, strict=True)
        held[standing.way.service] += sum(mib for gpu, mib in on if gpu in gpus)
    for i, mib in sorted((+held).items(), key=lambda item: (-item[1], item[0])):
        service = p.services[i]
        yield Tenant(service=service.name, priority=service.priority, share_mib=mib)
