"""Why each replica of a service stands where it stands, beside all others as they stand.

Every other place that is open to a replica is compared with its own, objective by objective and
then by what an expert would do: what is worse first is why it does not stand there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from compiler.ir.demand import Demands, Refused, TooLarge
from compiler.ir.inventory import Gpu, GpuKey, Host, Inventory
from compiler.ir.placement import Placement, Placements, spare_mib
from compiler.ir.plan import Plan, Replica
from compiler.ir.rules import hosts_of, runs_engine
from compiler.ir.spec import Service, Spec
from compiler.ir.whyhere import Barred, BarredCode, Elsewhere, Full, HereCode, WhyHere, WorseCode
from compiler.place.figures import Figure, Ledger
from compiler.place.levels import filled
from compiler.place.problem import Place, Problem, Way
from compiler.place.running import problem_of
from compiler.place.state import State

# So many places of a service are looked at; of larger fleets the fullest and emptiest beyond.
_MOST_PLACES = 5000

# Makes of GPUs that are told beside a replica's own.
_MOST_ELSEWHERE = 3

_FIGURES: dict[Figure, WorseCode] = {
    "hosts": "same-host", "cards": "same-gpu", "squeezed": "squeezes", "crowded": "crowds",
    "large": "larger-gpus", "beside": "shares-gpu", "used": "more-in-use", "names": "name",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A place that is open to a replica, and in what it is worse."""

    way: Way
    number: int
    place: Place
    worse: tuple[tuple[WorseCode, int], ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The smaller, the better it is than others."""
        return tuple(amount for _, amount in self.worse)

    @property
    def first(self) -> tuple[WorseCode, int]:
        """In what it differs first from the replica's own place."""
        return next(((code, n) for code, n in self.worse if n), ("name", 0))


def reasons(
    inventory: Inventory,
    spec: Spec,
    demands: Demands,
    previous: Plan | None,
    placements: Placements,
    replicas: Iterable[Replica],
) -> list[WhyHere]:
    """Why each of these replicas, all of one service, stands where it stands."""
    problem = problem_of(inventory, spec, demands, placements.frozen, previous)
    kept = spare_mib(placements.spares)
    problem.keep_free(kept)
    state = State(problem)
    keys: dict[tuple[str, str, tuple[int, ...]], list[tuple[int, bool]]] = defaultdict(list)
    for placement in placements.chosen:
        key = _put(state, placement)
        if key is not None:
            at = (placement.service, placement.host, placement.gpus)
            keys[at].append((key, placement.stays))
    found = []
    frozen = {replica.name for replica in placements.frozen}
    for replica in replicas:
        at = (replica.service, replica.host, tuple(share.gpu for share in replica.shares))
        service = spec.service(replica.service)
        if replica.name in frozen or not keys[at]:
            found.append(_alone(replica, "frozen"))
        else:
            key, stays = keys[at].pop(0)
            found.append(_Why(state, service, replica, key, kept, stays=stays).told())
    return found


def _alone(replica: Replica, code: HereCode) -> WhyHere:
    return WhyHere(
        replica=replica.name, code=code, stays=True, possible=1, open=1,
        room_permille=_room_of(replica), elsewhere=[], barred=[],
    )  # fmt: skip


def _put(state: State, placement: Placement) -> int | None:
    """Stands a replica of the answer on its place again."""
    p = state.problem
    i = p.index.get(placement.service)
    if i is None:
        return None
    host = p.host_number[placement.host]
    place = (host, tuple(p.host_gpus[host][index] for index in placement.draws_on))
    families = dict(p.place_at[place])
    alike = [
        way
        for way in p.ways[i]
        if way.family in families
        and way.variant == placement.variant
        and way.demand.split == placement.demand.split
    ]
    # Caches that grew into what was left give it back: as if all were placed now.
    held = placement.kv_bytes or 0
    below = [way for way in alike if (way.kv_bytes or 0) <= held]
    for way in sorted(below or alike, key=lambda each: -(each.kv_bytes or 0)):
        return state.put(way, families[way.family])
    return None


def _room_of(replica: Replica) -> int | None:
    if not replica.kv_wanted_bytes:
        return None
    held = max((share.breakdown.kv.bytes for share in replica.shares), default=0)
    return min(1000, held * 1000 // replica.kv_wanted_bytes)


class _Why:
    """The look at one replica."""

    def __init__(
        self,
        state: State,
        service: Service,
        replica: Replica,
        key: int,
        kept: Mapping[GpuKey, int],
        *,
        stays: bool,
    ) -> None:
        self.kept = kept
        self.state, self.service, self.replica, self.key = state, service, replica, key
        self.stays = stays
        self.problem: Problem = state.problem
        self.here = state.placed[key]
        self.place = state.place_of(self.here)
        self.ledger = Ledger(state)

    def told(self) -> WhyHere:
        """The reason, the next best places, and what bars the rest."""
        p, i = self.problem, self.here.way.service
        found = {each.place: each for each in self._best_of_each(self._open())}
        possible = {
            place for way in p.least[i] for place in p.families[way.family].places
        } | {self.place}  # fmt: skip
        elsewhere = self._by_make(found.values())
        return WhyHere(
            replica=self.replica.name,
            code=self._code(elsewhere, len(possible)),
            stays=self.stays,
            possible=len(possible),
            open=len(found) + 1,
            room_permille=_room_of(self.replica),
            elsewhere=elsewhere[:_MOST_ELSEWHERE],
            full=self._full(set(found)),
            barred=list(barred(p.inventory, self.service, p.demands)),
        )

    def _code(self, elsewhere: list[Elsewhere], possible: int) -> HereCode:
        if self.service.placement.pin:
            return "pinned"
        if elsewhere:
            return elsewhere[0].code
        if possible == 1:
            return "only-place"
        p, i = self.problem, self.here.way.service
        kinds = {self._kinds(place) for w in p.least[i] for place in p.families[w.family].places}
        fleet = {gpu.kind.name for host in p.inventory.hosts for gpu in host.gpus}
        names = {name for each in kinds for name in each}
        return "only-kind" if len(names) == 1 and len(fleet) > 1 else "only-room"

    def _kinds(self, place: Place) -> tuple[str, ...]:
        host = self.problem.inventory.hosts[place[0]]
        return tuple(host.gpus[self.problem.gpu_index[gpu]].kind.name for gpu in place[1])

    def _by_make(self, found: Iterable[_Open]) -> list[Elsewhere]:
        """The best place of each make of GPUs, and how many like it are open."""
        makes: dict[tuple[str, ...], list[_Open]] = defaultdict(list)
        for each in found:
            makes[self._kinds(each.place)].append(each)
        best = [(min(of, key=lambda each: each.order), len(of)) for of in makes.values()]
        best.sort(key=lambda pair: (pair[0].order, pair[0].place))
        return [self._elsewhere(each, n) for each, n in best]

    def _elsewhere(self, found: _Open, alike: int) -> Elsewhere:
        code, amount = found.first
        return Elsewhere(
            place=self._name(found.place),
            kinds=list(self._kinds(found.place)),
            variant=self.service.variants[found.way.variant].name,
            in_ram=found.way.demand.partial or not found.way.demand.devices,
            code="better" if amount < 0 and code != "name" else code,
            amount=0 if code == "name" else abs(amount),
            room_permille=self._room_at(found),
            alike=alike - 1,
        )

    def _room_at(self, found: _Open) -> int | None:
        """Of the room wanted, what all the memory that is free there would hold."""
        growth = found.way.demand.growth
        if growth is None or not growth.max_kv_bytes:
            return None
        state = self.state
        state.take(self.key)
        free = tuple(state.free[gpu] for gpu in found.place[1])
        state.put(self.here.way, self.here.place, self.key)
        kv_bytes = filled(found.way.ladder[0].demand, free).kv_bytes or 0
        return min(1000, kv_bytes * 1000 // growth.max_kv_bytes)

    def _best_of_each(self, found: Iterable[_Open]) -> Iterator[_Open]:
        """Of each place the best way to run there."""
        best: dict[Place, _Open] = {}
        for each in found:
            now = best.get(each.place)
            if now is None or each.order < now.order:
                best[each.place] = each
        yield from best.values()

    def _full(self, open_to: set[Place]) -> Full | None:
        """Of the places without room the one where least is missing."""
        p, state = self.problem, self.state
        state.take(self.key)
        best: tuple[bool, bool, int, Place] | None = None
        left = _MOST_PLACES
        own = set(self.place[1])
        for way in p.least[self.here.way.service]:
            places = p.families[way.family].places[:left]
            left -= len(places)
            for place in places:
                if place == self.place or place in open_to:
                    continue
                gpus = zip(place[1], way.mib, strict=True)
                missing = sum(max(0, mib - state.free[gpu]) for gpu, mib in gpus)
                # Of places that share no GPU with its own more can be learnt.
                found = (bool(own & set(place[1])), not missing, missing, place)
                best = found if best is None else min(best, found)
        held = self._held(best[3]) if best else {}
        rule = self._rule_at(best[3]) if best and not best[2] else ""
        state.put(self.here.way, self.here.place, self.key)
        if best is None:
            return None
        return Full(
            place=self._name(best[3]), kinds=list(self._kinds(best[3])), missing_mib=best[2],
            held=held, rule=rule, kept_mib=sum(
                self.kept.get((p.host_names[best[3][0]], p.gpu_index[gpu]), 0) for gpu in best[3][1]
            ),
        )  # fmt: skip

    def _rule_at(self, place: Place) -> str:
        """What but memory keeps the replica off a place."""
        state, i = self.state, self.here.way.service
        if state.spread[i] and state.on_host[i][place[0]]:
            return "spread"
        barred = self.problem.barred[i]
        apart = (state.on_gpu[j][gpu] for j in self.problem.apart[i] for gpu in place[1])
        if any(apart) or any(gpu in barred for gpu in place[1]):
            return "apart_from"
        return "ports" if state.ports[place[0]] <= 0 else "ram"

    def _held(self, place: Place) -> dict[str, int]:
        """MiB of these GPUs by service, the most first."""
        p, state = self.problem, self.state
        held: Counter[str] = Counter()
        for key in state.here[place[0]]:
            standing = state.placed[key]
            name = p.services[standing.way.service].name
            gpus = zip(state.place_of(standing)[1], standing.way.mib, strict=True)
            held[name] += sum(mib for gpu, mib in gpus if gpu in place[1])
        return dict(sorted((+held).items(), key=lambda item: (-item[1], item[0])))

    def _name(self, place: Place) -> str:
        p = self.problem
        indices = ",".join(str(p.gpu_index[gpu]) for gpu in place[1])
        return f"{p.host_names[place[0]]}/{indices or 'cpu'}"

    def _open(self) -> Iterator[_Open]:
        """Every other place with room for the replica, on each way to run there."""
        p, i = self.problem, self.here.way.service
        left = _MOST_PLACES
        for least in p.least[i]:
            places = p.families[least.family].places
            if len(places) > left:
                numbers: Iterable[int] = self._ends(least)
            else:
                numbers = range(len(places))
                left -= len(places)
            for n in numbers:
                if places[n] != self.place:
                    found = self._compared(least, n)
                    if found is not None:
                        yield found

    def _ends(self, way: Way) -> list[int]:
        """The fullest and the emptiest place of a large family."""
        self.state.take(self.key)
        found = [self.state.best(way, emptiest=emptiest) for emptiest in (False, True)]
        self.state.put(self.here.way, self.here.place, self.key)
        return sorted({at[1] for at in found if at is not None})

    def _compared(self, least: Way, n: int) -> _Open | None:
        """The place with the most room that it has for the replica, against its own."""
        state, here, ledger = self.state, self.here, self.ledger
        before = self._values(here.way)
        ledger.take(self.key)
        before += self._figures(here.way, here.place)
        levels = [way for way in least.ladder if state.fits(way, n)]
        if not levels:
            ledger.put(here.way, here.place, self.key)
            return None
        way = min(levels, key=lambda each: (each.points, each.total))
        place = self.problem.families[way.family].places[n]
        figures = self._figures(way, n)
        state.put(way, n, self.key)
        after = (*self._values(way), *figures)
        state.take(self.key)
        ledger.put(here.way, here.place, self.key)
        pairs = zip(after, before, strict=True)
        return _Open(
            way=way, number=n, place=place, worse=tuple((c, a - b) for (c, a), (_, b) in pairs)
        )

    def _figures(self, way: Way, place: int) -> tuple[tuple[WorseCode, int], ...]:
        """What an expert looks at, as far as the replica adds to it there."""
        codes = [_FIGURES[figure] for figure in self.ledger.order]
        return tuple(zip(codes, self.ledger.cost(way, place), strict=True))

    def _values(self, way: Way) -> tuple[tuple[WorseCode, int], ...]:
        """The objectives as far as this replica decides them, calm apart for what goes on."""
        moved = 0 if self.stays else self.state.moved
        rung, room = ("rung", way.loss), ("room", way.points)
        calm = ("moves", moved)
        gpus, islands = ("gpus", way.span // 2), ("islands", way.span % 2)
        if self.problem.policy.consolidate:
            return (rung, room, calm, gpus, islands)  # type: ignore[return-value]
        return (rung, calm, room, gpus, islands)  # type: ignore[return-value]


# What bars GPUs


def barred(inventory: Inventory, service: Service, demands: Demands) -> Iterator[Barred]:
    """What keeps a service off hosts and GPU kinds even when they are empty."""
    open_to = {
        (name, inventory.host(name).gpus[index].kind.name)
        for option in demands.options[service.name]
        for name in option.hosts
        for group in option.groups
        for index in group
    }
    on: dict[tuple[BarredCode, int, str], list[str]] = defaultdict(list)
    for host in inventory.hosts:
        why = _host_barred(host, service)
        if why is not None:
            on[why, 0, ""].append(host.name)
            continue
        kinds = dict.fromkeys(gpu.kind.name for gpu in host.gpus)
        for kind in kinds:
            gpus = [gpu for gpu in host.gpus if gpu.kind.name == kind]
            if (host.name, kind) not in open_to:
                key = _kind_barred(inventory, gpus, kind, service, demands)
                if key is not None:
                    on[key].append(kind)
    for (code, missing_bytes, detail), names in on.items():
        yield Barred(
            code=code, on=list(dict.fromkeys(names)), missing_bytes=missing_bytes, detail=detail
        )


def _host_barred(host: Host, service: Service) -> BarredCode | None:
    rules = service.placement
    if not hosts_of(Inventory(hosts=(host,)), rules):
        return "pin" if rules.pin else "hosts"
    if not any(runs_engine(host, variant.engine) for variant in service.variants):
        return "engine"
    return "drained" if host.state == "drained" else None


def _kind_barred(
    inventory: Inventory, gpus: list[Gpu], kind: str, service: Service, demands: Demands
) -> tuple[BarredCode, int, str] | None:
    rules = service.placement
    if rules.kinds and kind not in rules.kinds:
        return "kinds", 0, ""
    if rules.min_compute and gpus[0].kind.compute < rules.min_compute:
        return "min_compute", 0, ""
    if all(gpu.state == "broken" for gpu in gpus):
        return "broken", 0, ""

    def of_kind(each: TooLarge | Refused) -> bool:
        host = inventory.host(each.host)
        return any(host.gpus[index].kind.name == kind for index in each.gpus)

    large = [each for each in demands.too_large[service.name] if of_kind(each)]
    if large:
        best = min(large, key=lambda each: each.total_missing_bytes)
        return "too-large", best.total_missing_bytes, ""
    said = [each.refusal.detail for each in demands.refused[service.name] if of_kind(each)]
    return ("refused", 0, said[0]) if said else None
