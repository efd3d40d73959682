"""Why the services do not fit together: which lack memory where, or which rules clash."""

from __future__ import annotations

from collections import Counter

from compiler.ir.demand import Demands, Option
from compiler.ir.inventory import Inventory
from compiler.ir.placement import (
    Conflict,
    Crowded,
    OutOfPorts,
    Placement,
    RulesClash,
    Shortage,
    Tenant,
)
from compiler.ir.plan import Plan, Replica
from compiler.ir.spec import Spec
from compiler.ir.units import budget_mib, demand_mib
from compiler.place.fleet import Fleet, Relaxation, build
from compiler.place.solver import Infeasible, Program, Solution, solve

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
    found: list[Conflict] = []
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
        and not isinstance(
            solve(_plain(build(inventory, spec, demands, frozen, previous, relaxation))), Infeasible
        )
    )
    if without:
        found.append(RulesClash(rules=core, without=without))
    fleet = build(inventory, spec, demands, frozen, previous, Relaxation(coverage=True))
    best = solve(fleet.program)
    if isinstance(best, Solution):
        crowded = _crowded(fleet, demands, fleet.chosen(best.values))
        # With one rule less everything finds a place: memory is not what is missing.
        found += [] if without else crowded
    return tuple(found)


def _plain(fleet: Fleet) -> Program:
    """The rules alone: whether they can hold needs no objective."""
    return Program(upper=fleet.program.upper, rules=fleet.program.rules)


def _crowded(fleet: Fleet, demands: Demands, chosen: tuple[Placement, ...]) -> list[Crowded]:
    """The services that the closest placement leaves out, with the place where least is missing."""
    found = []
    for service in fleet.services:
        placed = sum(1 for placement in chosen if placement.service == service.name)
        if service.optional or placed >= service.replicas:
            continue
        places = [
            (_shortages(fleet, option, chosen), option) for option in demands.options[service.name]
        ]
        # A place without any shortage is barred by a rule; the clash says which.
        short = [each for each in places if each[0]] or places
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
    return found


def _missing(shortages: tuple[Shortage, ...]) -> int:
    return sum(shortage.need_mib - shortage.free_mib for shortage in shortages)


def _shortages(fleet: Fleet, option: Option, chosen: tuple[Placement, ...]) -> tuple[Shortage, ...]:
    host = fleet.inventory.host(option.host)
    demand = option.demands[-1]
    found = []
    for index, breakdown in zip(option.gpus, demand.devices, strict=True):
        tenants = _tenants(fleet, option.host, index, chosen)
        budget = budget_mib(host.gpus[index].budget_bytes)
        found.append(_shortage(f"{host.name}/{index}", breakdown.high_bytes, budget, tenants))
    tenants = _tenants(fleet, option.host, None, chosen)
    budget = budget_mib(host.ram_budget_bytes)
    found.append(_shortage(host.name, demand.host.high_bytes, budget, tenants))
    return tuple(shortage for shortage in found if shortage.need_mib > shortage.free_mib)


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
            held[placement.service] += demand_mib(placement.demand.host.high_bytes)
        elif placement.host == host and gpu in placement.gpus:
            breakdown = placement.demand.devices[placement.gpus.index(gpu)]
            held[placement.service] += demand_mib(breakdown.high_bytes)
    for replica in fleet.frozen:
        if replica.host == host and gpu is None:
            held[replica.service] += demand_mib(replica.ram_bytes)
        for share in replica.shares if replica.host == host else ():
            if share.gpu == gpu:
                held[replica.service] += demand_mib(share.share_bytes)
    priority = {service.name: service.priority for service in fleet.spec.services}
    return tuple(
        Tenant(service=name, priority=priority.get(name, 0), share_mib=mib)
        for name, mib in sorted(held.items(), key=lambda item: (-item[1], item[0]))
    )
