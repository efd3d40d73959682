"""Why the services do not fit together: which lack memory where, or which rules clash."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from compiler.ir.demand import Demands, Option
from compiler.ir.inventory import Inventory
from compiler.ir.placement import (
    Alone,
    Conflict,
    Crowded,
    FitsNowhere,
    OutOfPorts,
    Placement,
    RulesClash,
    Shortage,
    Tenant,
)
from compiler.ir.plan import Plan, Replica
from compiler.ir.pool import gpu_bytes, ram_bytes
from compiler.ir.spec import Service, Spec
from compiler.ir.units import budget_mib, demand_mib
from compiler.place.alone import alone
from compiler.place.fleet import Fleet, Place, Relaxation, build, rank
from compiler.place.freeze import frozen_replicas
from compiler.place.solver import Infeasible, Program, Solution, UndecidedError, solve

_RULES: tuple[tuple[str, Relaxation], ...] = (
    ("max_moves", Relaxation(max_moves=True)),
    ("spread", Relaxation(spread=True)),
    ("apart_from", Relaxation(apart=True)),
)


def conflicts_of(
    inventory: Inventory,
    spec: Spec,
    demands: Demands,
    frozen: tuple[Replica, ...],
    previous: Plan | None,
    core: tuple[str, ...],
) -> tuple[Conflict, ...]:
    """Every conflict of a fleet that cannot be placed."""
    relaxed = partial(build, inventory, spec, demands, frozen, previous)
    needed = tuple(service.name for service in spec.services if not service.optional)
    return (
        _clash(inventory, core, relaxed)
        or _crowded(needed, demands, relaxed)
        or (RulesClash(rules=core, without=()),)
    )


def crowded_in(
    inventory: Inventory,
    spec: Spec,
    demands: Demands,
    frozen: tuple[Replica, ...],
    previous: Plan | None,
    chosen: tuple[Placement, ...],
) -> tuple[Conflict, ...]:
    """What the best placement that was found leaves out, for fleets too large for more."""
    fleet = Fleet(inventory, spec, frozen, previous, Relaxation())
    needed = tuple(service.name for service in spec.services if not service.optional)
    return _left_by(fleet, needed, demands, chosen)


def why_left_out(
    inventory: Inventory,
    spec: Spec,
    demands: Demands,
    previous: Plan | None,
    service: str,
) -> tuple[Conflict, ...]:
    """What keeps an optional service out, while all that comes before it stays placed.

    `spec` is as `insisting_on` makes it. Empty when nothing was found that keeps it out.
    """
    if not demands.options[service]:
        return (
            FitsNowhere(
                service=service,
                too_large=demands.too_large[service],
                refused=demands.refused[service],
            ),
        )
    frozen, _ = frozen_replicas(inventory, spec, previous)
    # Optional again, so that in the closest placement it is the one that is left out.
    services = tuple(
        replace(each, optional=True) if each.name == service else each for each in spec.services
    )
    ranked = replace(spec, services=services)
    insisted = partial(build, inventory, spec, demands, frozen, previous)
    stepping_aside = partial(build, inventory, ranked, demands, frozen, previous)
    try:
        answer = solve(_plain(insisted(Relaxation())))
        if isinstance(answer, Solution):
            return ()
        return (
            _clash(inventory, answer.core, insisted)
            or _crowded((service,), demands, stepping_aside)
            or (RulesClash(rules=answer.core, without=()),)
        )
    except UndecidedError:
        return ()


def insisting_on(spec: Spec, service: str, placed: Mapping[str, int]) -> Spec:
    """The spec with an optional service needed, beside as many replicas as are placed before it."""
    asked = spec.service(service)

    def needed(each: Service) -> Service:
        if each.name == service:
            return replace(each, optional=False)
        n_placed = placed.get(each.name, 0)
        if each.optional and n_placed and rank(each) <= rank(asked):
            return replace(each, optional=False, replicas=n_placed)
        return each

    return replace(spec, services=tuple(map(needed, spec.services)))


def _clash(
    inventory: Inventory, core: tuple[str, ...], relaxed: Callable[[Relaxation], Fleet]
) -> tuple[Conflict, ...]:
    """What other than memory is in the way: ports, or a rule without which everything fits."""
    hosts = {name.removeprefix("ports ") for name in core if name.startswith("ports ")}
    if hosts:
        return tuple(
            OutOfPorts(host=host.name, ports=host.ports)
            for host in inventory.hosts
            if host.name in hosts
        )
    without = tuple(
        rule
        for rule, relaxation in _RULES
        if any(name.startswith(rule) for name in core)
        and not isinstance(solve(_plain(relaxed(relaxation))), Infeasible)
    )
    if not without:
        return ()
    moves = None
    if "max_moves" in without:
        moves = _fewest_moves(relaxed(Relaxation(max_moves=True)))
    return (RulesClash(rules=core, without=without, moves=moves),)


def _fewest_moves(fleet: Fleet) -> int | None:
    program = _plain(fleet)
    program.minimise("moves", fleet.moves)
    answer = solve(program)
    return answer.reached[0] if isinstance(answer, Solution) else None


def _plain(fleet: Fleet) -> Program:
    """The rules alone: whether they can hold needs no objective."""
    return Program(upper=fleet.program.upper, rules=fleet.program.rules)


def _crowded(
    wanted: tuple[str, ...], demands: Demands, relaxed: Callable[[Relaxation], Fleet]
) -> tuple[Conflict, ...]:
    """Those of these services that the closest placement leaves out, and the memory they lack.

    Of all places the one where least is missing is told, with those who hold memory there and come
    before the service: whoever comes after it would step aside.
    """
    fleet = relaxed(Relaxation(coverage=True))
    best = solve(fleet.program)
    if isinstance(best, Infeasible):
        return ()
    return _left_by(fleet, wanted, demands, fleet.chosen(best.values))


def _left_by(
    fleet: Fleet, wanted: tuple[str, ...], demands: Demands, chosen: tuple[Placement, ...]
) -> tuple[Conflict, ...]:
    """Those of these services that a placement leaves out, and the memory they lack."""
    found = []
    for service in fleet.services:
        placed = sum(1 for placement in chosen if placement.service == service.name)
        if service.name not in wanted or placed >= service.replicas:
            continue
        earlier: dict[str, list[Placement]] = defaultdict(list)
        for placement in _standing_before(fleet, service, chosen):
            earlier[placement.host].append(placement)
        places = [
            (_shortages(fleet, option, place, tuple(earlier[place[0]])), option)
            for option in demands.options[service.name]
            for place in option.places()
        ]
        # A place without any shortage is barred by a rule.
        short = [each for each in places if each[0]]
        if not short:
            continue
        shortages, option = min(short, key=lambda each: _missing(each[0]))
        found.append(
            Crowded(
                service=service.name,
                wanted=service.replicas,
                placed=placed,
                variant=service.variants[option.variant].name,
                shortages=shortages,
            )
        )
    return tuple(found)


def _standing_before(
    fleet: Fleet, service: Service, chosen: tuple[Placement, ...]
) -> tuple[Placement, ...]:
    """The placements that do not have to make room for a service, its own among them."""
    ranks = {each.name: rank(each) for each in fleet.services}
    return tuple(placement for placement in chosen if ranks[placement.service] <= rank(service))


def _missing(shortages: tuple[Shortage, ...]) -> int:
    return sum(shortage.need_mib - shortage.free_mib for shortage in shortages)


def _shortages(
    fleet: Fleet, option: Option, place: Place, chosen: tuple[Placement, ...]
) -> tuple[Shortage, ...]:
    name, gpus = place
    host = fleet.inventory.host(name)
    demand = option.demands[-1]
    found = []
    draws_on = gpus or ((0,) if demand.site.unified else ())
    for index, size in zip(draws_on, demand.taken_bytes, strict=True):
        tenants = _tenants(fleet, name, index, chosen)
        budget = budget_mib(host.gpus[index].budget_bytes)
        short = _shortage(f"{host.name}/{index}", size, budget, tenants)
        whole = _alone(fleet, option, (name, index), chosen) if tenants else None
        found.append(replace(short, free_mib=0, alone=whole) if whole else short)
    tenants = _tenants(fleet, name, None, chosen)
    budget = budget_mib(host.ram_budget_bytes)
    found.append(_shortage(host.name, demand.ram_high_bytes, budget, tenants))
    return tuple(shortage for shortage in found if shortage.need_mib > shortage.free_mib)


def _alone(
    fleet: Fleet, option: Option, gpu: tuple[str, int], chosen: tuple[Placement, ...]
) -> Alone | None:
    """Who cannot share a GPU: one that stands there, or the one that would come."""
    host, index = gpu
    kinds = [(option.service, option.demands[-1].request)]
    kinds += [
        (placement.service, placement.demand.request)
        for placement in chosen
        if placement.host == host and index in placement.gpus
    ]
    held = [(service, request.engine, request.version) for service, request in kinds]
    held += [
        (replica.service, replica.engine, replica.engine_version)
        for replica in fleet.frozen
        if replica.host == host and any(share.gpu == index for share in replica.shares)
    ]
    found = (alone(fleet.spec.service(name), engine, version) for name, engine, version in held)
    return next(filter(None, found), None)


def _shortage(device: str, need: int, budget_mib_: int, tenants: tuple[Tenant, ...]) -> Shortage:
    taken = sum(tenant.share_mib for tenant in tenants)
    return Shortage(
        device=device,
        need_mib=demand_mib(need),
        free_mib=budget_mib_ - taken,
        budget_mib=budget_mib_,
        tenants=tenants,
    )


def _tenants(
    fleet: Fleet, host: str, gpu: int | None, chosen: tuple[Placement, ...]
) -> tuple[Tenant, ...]:
    """Who holds memory of a GPU, or of the host's RAM when gpu is None; largest first."""
    held = Counter[str]()
    for placement in chosen:
        if placement.host == host and gpu is None:
            held[placement.service] += demand_mib(placement.demand.ram_high_bytes)
        elif placement.host == host and gpu in placement.draws_on:
            size = placement.demand.taken_bytes[placement.draws_on.index(gpu)]
            held[placement.service] += demand_mib(size)
    for replica in fleet.frozen:
        if replica.host == host:
            its = fleet.inventory.host(host)
            in_ram = ram_bytes(replica, its)
            size = in_ram if gpu is None else gpu_bytes(replica, its).get(gpu, 0)
            held[replica.service] += demand_mib(size)
    priority = {service.name: service.priority for service in fleet.spec.services}
    return tuple(
        Tenant(service=name, priority=priority.get(name, 0), share_mib=mib)
        for name, mib in sorted(held.items(), key=lambda item: (-item[1], item[0]))
    )
