"""Why a service stands where it stands, what a better rung costs, and what would use idle GPUs.

Every price and every change is found by placing the whole fleet anew with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from compiler.assemble.growth import kv_sizes
from compiler.diagnostics import CompileError
from compiler.drain import place_draining
from compiler.explain.trials import Case
from compiler.ir.placement import PlacementError, Placements
from compiler.ir.plan import Plan, Replica
from compiler.ir.rules import runs_engine
from compiler.ir.spec import PlacementRules, Service
from compiler.ir.whyhere import Idle, IdleCode, IdleUse, Reasons, RungPrice
from compiler.place.placing import How
from compiler.place.reasons import reasons

# How many fleets are placed for one answer: fewer the larger the fleet is, as each takes longer.
_WORK, _MOST_TRIALS, _LEAST_TRIALS = 600, 12, 1

# Room of so many thousandths more is worth a word.
_WORTH = 250

_FULL = 1000

_DEGREES = (2, 4, 8)

_MOST_USES = 2


class _SpentError(Exception):
    """The fleets that one answer may place are placed."""


@dataclass(slots=True)
class _Trials:
    """Placing the fleet with changes, as often as one answer may."""

    case: Case
    left: int

    def place(self, case: Case) -> Placements | None:
        """The placements of a changed case, None when there are none."""
        if self.left <= 0:
            raise _SpentError
        self.left -= 1
        try:
            return place_draining(
                case.inventory, case.spec, case.demands, case.previous, How(effort="low")
            )
        except (PlacementError, CompileError):
            return None


def reasons_of(case: Case, placements: Placements, plan: Plan, name: str) -> Reasons:
    """All that is told of the places of one service."""
    replicas = [replica for replica in plan.replicas if replica.service == name]
    service = case.spec.service(name)
    here = reasons(
        case.inventory, case.spec, case.demands, case.previous, placements, replicas
    )  # fmt: skip
    rungs: list[RungPrice] = []
    uses: list[IdleUse] = []
    n_replicas = sum(each.replicas for each in case.spec.services)
    least = max(_LEAST_TRIALS, _WORK // max(1, n_replicas))
    trials = _Trials(case, min(_MOST_TRIALS, least))
    now = _Standing.of(case, placements)
    idle = _idle_gpus(case, plan, replicas)
    frozen = name in case.spec.policy.freeze
    try:
        if not frozen:
            for variant in _passed(service, replicas):
                rungs.append(_price(trials, now, service, variant))  # noqa: PERF401
            if idle:
                for use in _uses(trials, now, service, replicas):
                    uses.append(use)  # noqa: PERF402  What was found is told when work ends.
    except (_SpentError, KeyboardInterrupt):
        # Whoever interrupts has waited long enough for more; what was proven is told.
        pass
    uses.sort(key=lambda use: -use.room_permille)
    return Reasons(
        service=name,
        concurrency=max(replica.concurrency for replica in replicas),
        here=here,
        rungs=rungs,
        idle=Idle(gpus=idle, room_permille=now.poorest.get(name, _FULL), uses=uses[:_MOST_USES])
        if idle
        else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What counts of a placement when it is compared with another."""

    placed: Counter[str]
    lowest: dict[str, int]
    """The lowest variant that a service runs on, by its position."""
    poorest: dict[str, int]
    """Thousandths of the room wanted that the poorest replica of a service has."""
    moved: int

    @staticmethod
    def of(case: Case, placements: Placements) -> _Standing:
        placed = Counter(each.service for each in placements.chosen)
        placed += Counter(replica.service for replica in placements.frozen)
        lowest: dict[str, int] = {}
        poorest: dict[str, int] = {}
        sizes = kv_sizes(case.inventory, placements)
        for each, size in zip(placements.chosen, sizes, strict=True):
            lowest[each.service] = max(lowest.get(each.service, 0), each.variant)
            growth = each.demand.growth
            if growth is not None and growth.max_kv_bytes and size is not None:
                room = min(_FULL, size * _FULL // growth.max_kv_bytes)
                poorest[each.service] = min(poorest.get(each.service, _FULL), room)
        return _Standing(placed=placed, lowest=lowest, poorest=poorest, moved=placements.moved)


# A better rung


def _passed(service: Service, replicas: Iterable[Replica]) -> list[int]:
    """Better variants that fit an empty fleet, the best first."""
    names = {
        each.variant
        for replica in replicas
        for each in replica.passed_over
        if each.why == "crowded"
    }  # fmt: skip
    return [n for n, variant in enumerate(service.variants) if variant.name in names]


def _price(trials: _Trials, now: _Standing, service: Service, variant: int) -> RungPrice:
    """What a variant would cost all others."""
    case = trials.case
    only = replace(service, variants=service.variants[: variant + 1], optional=False)
    services = tuple(only if s.name == service.name else s for s in case.spec.services)
    options = tuple(o for o in case.demands.options[service.name] if o.variant <= variant)
    demands = replace(case.demands, options={**case.demands.options, service.name: options})
    found = trials.place(replace(case, spec=replace(case.spec, services=services), demands=demands))
    name = service.variants[variant].name
    if found is None:
        return RungPrice(
            variant=name, fits=False, left_out={}, lower={}, moves=0, less_room=[], fewer=0
        )
    then = _Standing.of(case, found)
    others = [each for each in case.spec.services if each.name != service.name]
    return RungPrice(
        variant=name,
        fits=True,
        left_out={
            each.name: now.placed[each.name] - then.placed[each.name]
            for each in others
            if then.placed[each.name] < now.placed[each.name]
        },
        lower={
            each.name: each.variants[then.lowest[each.name]].name
            for each in others
            if each.name in then.lowest and then.lowest[each.name] > now.lowest.get(each.name, 0)
        },
        moves=max(0, then.moved - now.moved),
        less_room=[
            each.name
            for each in others
            if 2 * then.poorest.get(each.name, 0) < now.poorest.get(each.name, 0)
            and then.placed[each.name]
        ],
        fewer=max(0, now.placed[service.name] - then.placed[service.name]),
    )


# Idle GPUs


def _idle_gpus(case: Case, plan: Plan, replicas: list[Replica]) -> list[str]:
    """GPUs without anybody, where a cache of the service is short of the room that it wants."""
    short = [
        replica
        for replica in replicas
        if max((share.breakdown.kv.bytes for share in replica.shares), default=0)
        < replica.kv_wanted_bytes
    ]
    if not short:
        return []
    engine = short[0].engine
    ready = {
        (host.name, gpu.index)
        for host in case.inventory.hosts
        if host.state == "ready" and runs_engine(host, engine)
        for gpu in host.gpus
        if gpu.state == "ready"
    }
    return [
        f"{gpu.host}/{gpu.gpu}"
        for gpu in plan.gpus
        if not gpu.granted_bytes and (gpu.host, gpu.gpu) in ready
    ]


def _uses(
    trials: _Trials, now: _Standing, service: Service, replicas: list[Replica]
) -> Iterator[IdleUse]:
    """Changes with which the poorest replica has more room and nobody loses for it."""
    for code, value, changed in _changes(trials.case, service, replicas):
        found = trials.place(changed)
        if found is None:
            continue
        then = _Standing.of(changed, found)
        if _is_better(trials.case, now, then, service.name):
            yield IdleUse(code=code, value=value, room_permille=then.poorest[service.name])


def _is_better(case: Case, now: _Standing, then: _Standing, name: str) -> bool:
    gained = then.poorest.get(name, 0) - now.poorest.get(name, 0)
    if gained < _WORTH and not (gained > 0 and then.poorest[name] == _FULL):
        return False
    for service in case.spec.services:
        other = service.name
        if then.placed[other] < now.placed[other]:
            return False
        if then.lowest.get(other, 0) > now.lowest.get(other, 0):
            return False
        kept = min(now.poorest.get(other, 0), _FULL // 2)
        if other != name and then.poorest.get(other, _FULL) < kept:
            return False
    return True


def _changes(
    case: Case, service: Service, replicas: list[Replica]
) -> Iterator[tuple[IdleCode, str, Case]]:
    """Changes to try, those first that move nothing else."""
    rules = service.placement
    most = max(
        (len(host.gpus) for host in case.inventory.hosts if host.state == "ready"), default=0
    )
    fewest = min((len(replica.shares) for replica in replicas), default=0)
    for degree in _DEGREES if any(each.cut_by_ranks for each in replicas) else ():
        if fewest < degree <= most and rules.tensor_parallel != (degree,):
            changed = replace(rules, tensor_parallel=(degree,))
            yield "tensor_parallel", str(degree), _with_rules(case, service, changed)
    loosened: dict[str, PlacementRules] = {
        "hosts": replace(rules, host_labels={}),
        "kinds": replace(rules, kinds=()),
        "min_compute": replace(rules, min_compute=None),
        "pin": replace(rules, pin=None),
    }
    for name, changed in loosened.items():
        if changed != rules:
            yield "rule", name, _with_rules(case, service, changed)
    if case.previous is not None and not case.spec.policy.consolidate:
        policy = replace(case.spec.policy, consolidate=True)
        yield "consolidate", "true", replace(case, spec=replace(case.spec, policy=policy))


def _with_rules(case: Case, service: Service, rules: PlacementRules) -> Case:
    return case.with_service(replace(service, placement=rules))
