"""Recounts the objectives of a plan from its replicas, without the code of the passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from compiler.ir.plan import Objective, Plan, Replica
from compiler.ir.spec import Service, Spec

_QUARTER, _HALF = 4, 2


def objective_faults(spec: Spec, plan: Plan, previous: Plan | None) -> Iterator[str]:
    """Every objective that is missing, counted wrongly or bounded by what cannot be."""
    frozen = {r.service for r in previous.replicas} & set(spec.policy.freeze) if previous else set()
    services = {s.name: s for s in spec.services if s.name not in frozen}
    here: dict[int, list[tuple[Service, Replica]]] = defaultdict(list)
    for replica in plan.replicas:
        if replica.service in services:
            service = services[replica.service]
            here[service.priority].append((service, replica))
    wanted: dict[int, int] = defaultdict(int)
    for service in services.values():
        wanted[service.priority] += service.replicas
    priorities = sorted(wanted, reverse=True)
    names = [(kind, p) for kind in ("coverage", "rungs", "room") for p in priorities]
    if [(each.name, each.priority) for each in plan.objectives] != [*names, ("gpus", None)]:
        yield "the objectives are not those of the spec"
        return
    for each in plan.objectives:
        yield from _objective(each, here, wanted)
    proven = all(each.reached == each.bound for each in plan.objectives)
    if (plan.optimality == "optimal") != proven:
        yield "the plan says wrongly whether it is proven optimal"


def _objective(
    told: Objective, here: dict[int, list[tuple[Service, Replica]]], wanted: dict[int, int]
) -> Iterator[str]:
    of = "" if told.priority is None else f" at priority {told.priority}"
    what = f"{told.name}{of}"
    if told.priority is None:
        # The islands of a split are not in the plan: it adds one at most.
        replicas = [replica for each in here.values() for _, replica in each]
        least = sum(2 * len(replica.shares) for replica in replicas)
        splits = sum(1 for replica in replicas if len(replica.shares) > 1)
        if not least <= told.reached <= least + splits:
            yield f"the plan counts {told.reached} for {what}, and its replicas make {least}"
    else:
        counted = sum(_worth(told, service, replica) for service, replica in here[told.priority])
        if told.reached != counted:
            yield f"the plan counts {told.reached} for {what}, and its replicas make {counted}"
    if told.name == "coverage":
        most = wanted[told.priority or 0]
        possible = told.reached <= told.bound <= most
    else:
        possible = 0 <= told.bound <= told.reached
    if not possible:
        yield f"the plan bounds {what} by {told.bound}, which cannot be"


def _worth(told: Objective, service: Service, replica: Replica) -> int:
    if told.name == "coverage":
        return 1
    if told.name == "room":
        held = max((share.breakdown.kv.bytes for share in replica.shares), default=0)
        low = held * _QUARTER < replica.kv_wanted_bytes
        return 3 if low else int(held * _HALF < replica.kv_wanted_bytes)
    names = [variant.name for variant in service.variants]
    if replica.variant not in names:
        return 0
    position = names.index(replica.variant)
    asked_for = service.variants[position].offload
    in_ram = min(replica.host_permille, 999) if replica.shares else 999
    if asked_for == "cpu" or isinstance(asked_for, int) or not in_ram:
        return 1000 * position
    return 1000 * (len(names) + position) + in_ram
