"""What runs by the previous plan: each replica with its place, and the way in which it goes on."""

from __future__ import annotations

from dataclasses import replace

from compiler.engines.registry import engine_of
from compiler.ir.asked import asked_of
from compiler.ir.demand import Demands, Refusal
from compiler.ir.inventory import Inventory
from compiler.ir.plan import Plan, Replica
from compiler.ir.pool import gpu_bytes
from compiler.ir.spec import Spec
from compiler.ir.units import demand_mib
from compiler.place.levels import Level, levels_of, mib_with, points_of
from compiler.place.problem import Place, Problem, Runs, Way

# No fleet has a million replicas of a service.
_MOST_DIGITS = 6


class Running:
    """Reads the replicas of a previous plan as ways of a problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._asked: dict[int, str] = {}

    def of(self, previous: Plan) -> list[Runs]:
        """Every replica whose service is still wanted, by service and number."""
        found = []
        for replica in sorted(
            previous.replicas, key=lambda r: (r.service, _number(r.name), r.name)
        ):
            i = self.problem.index.get(replica.service)
            if i is not None:
                found.append(self._runs(i, replica, previous))
        return found

    def _runs(self, i: int, replica: Replica, previous: Plan) -> Runs:
        service = self.problem.services[i]
        place = self._place_of(replica)
        variant = next(
            (n for n, each in enumerate(service.variants) if each.name == replica.variant), None
        )
        way, changed = None, True
        if variant is not None:
            asked = self._asked_at(service.name, variant, replica.host)
            changed = asked is not None and replica.asked not in ("", asked)
            if place is not None and asked is not None and not changed:
                way = self._way_as_it_runs(i, variant, place, replica, previous)
        return Runs(service=i, name=replica.name, place=place, way=way, changed=changed)

    def _asked_at(self, service: str, variant: int, host: str) -> str | None:
        """What a replica on this host would be asked for; None when none can stand there."""
        option = next(
            (
                each
                for each in self.problem.demands.options[service]
                if each.variant == variant and host in each.hosts
            ),
            None,
        )
        if option is None:
            return None
        request = option.demands[0].request
        if id(request) not in self._asked:
            self._asked[id(request)] = asked_of(request)
        return self._asked[id(request)]

    def _place_of(self, replica: Replica) -> Place | None:
        """Where it stands, if these very GPUs are still there."""
        host = self.problem.host_number.get(replica.host)
        if host is None:
            return None
        gpus = self.problem.inventory.hosts[host].gpus
        for share in replica.shares:
            if share.gpu >= len(gpus) or gpus[share.gpu].kind.name != share.kind:
                return None
            if gpus[share.gpu].uuid not in (None, share.uuid) and share.uuid is not None:
                return None
        pooled = self.problem.inventory.hosts[host].pool is not None
        return self.problem.place(host, tuple(s.gpu for s in replica.shares), pooled=pooled)

    def _way_as_it_runs(
        self, i: int, variant: int, place: Place, replica: Replica, previous: Plan
    ) -> Way | None:
        taken = gpu_bytes(replica, self.problem.inventory.hosts[place[0]])
        mib = tuple(map(demand_mib, taken.values()))
        if any(need > self.problem.budget[gpu] for need, gpu in zip(mib, place[1], strict=True)):
            return None
        for family, n in self.problem.place_at.get(place, ()):
            for least in self.problem.least[i]:
                if least.family != family or least.variant != variant:
                    continue
                if len(least.demand.devices) != len(replica.shares):
                    # On the CPU of a pool, or on its GPU.
                    continue
                growth = least.demand.growth
                if growth is None:
                    if least.mib == mib or (mib and self.problem.is_alone(i, least.demand)):
                        return _only(least, n)
                    continue
                kv_bytes = max((s.breakdown.kv.bytes for s in replica.shares), default=0)
                own = mib_with(least.demand, kv_bytes)
                fits = all(
                    need <= self.problem.budget[gpu]
                    for need, gpu in zip(own, place[1], strict=True)
                )
                if fits and kv_bytes >= least.demand.kv_bytes:
                    level = Level(
                        kv_bytes=kv_bytes,
                        mib=least.mib if self.problem.is_alone(i, least.demand) else own,
                        points=points_of(kv_bytes, growth.max_kv_bytes),
                    )
                    way = self.problem.way(i, variant, family, least.demand, level, least.ladder)
                    way.only = n
                    return way
            recut = self._recut(i, variant, (family, n), replica, previous)
            if recut is not None:
                return recut
        return None

    def _recut(
        self, i: int, variant: int, at: tuple[int, int], replica: Replica, previous: Plan
    ) -> Way | None:
        """A partial offload that was cut by what was left on its GPUs, or a step thinned out."""
        family, n = at
        left = {(g.host, g.gpu): g.budget_bytes - g.granted_bytes for g in previous.gpus}
        bytes_ = tuple(share.share_bytes for share in replica.shares)
        for least in self.problem.least[i]:
            demand = least.demand
            if least.family != family or least.variant != variant or not replica.gpu_layers:
                continue
            room = tuple(
                left.get((replica.host, share.gpu), 0) + share.share_bytes
                for share in replica.shares
            )
            engine = engine_of(demand.request.engine)
            for budgets in (demand.site.budgets_bytes, room, bytes_):
                site = replace(demand.site, budgets_bytes=budgets)
                answer = engine.demands(demand.request, site)
                for each in () if isinstance(answer, Refusal) else answer:
                    same = tuple(device.high_bytes for device in each.devices) == bytes_
                    if same and each.split.gpu_layers == replica.gpu_layers:
                        level = levels_of(each, self._budgets(self.problem.gpus_at(*at)))[0]
                        ladder: list[Way] = []
                        way = self.problem.way(i, variant, family, each, level, ladder)
                        ladder.append(way)
                        way.only = n
                        return way
            return None
        return None

    def _budgets(self, gpus: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.problem.budget[gpu] for gpu in gpus)


def problem_of(
    inventory: Inventory,
    spec: Spec,
    demands: Demands,
    frozen: tuple[Replica, ...] = (),
    previous: Plan | None = None,
) -> Problem:
    """A fleet to be placed, beside what runs by a previous plan."""
    problem = Problem(inventory, spec, demands, frozen)
    if previous is not None:
        problem.running = Running(problem).of(previous)
    return problem


def _only(way: Way, place: int) -> Way:
    """The same way for one place alone."""
    return Way(
        service=way.service, variant=way.variant, family=way.family, demand=way.demand,
        mib=way.mib, ram=way.ram, loss=way.loss, points=way.points, kv_bytes=way.kv_bytes,
        span=way.span, bulk=way.bulk, ladder=way.ladder, only=place,
    )  # fmt: skip


def _number(name: str) -> int:
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isdecimal() and len(tail) <= _MOST_DIGITS else 0
