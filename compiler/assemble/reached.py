"""What a finished plan reached: memory that was left may have given more room, or more layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from compiler.ir.plan import Objective, Replica
from compiler.ir.spec import Service, Spec


def reached(
    objectives: Iterable[Objective], spec: Spec, replicas: Sequence[Replica]
) -> list[Objective]:
    """The objectives with rungs and room as the plan has them in the end."""
    rungs, room = Counter[int](), Counter[int]()
    services = {service.name: service for service in spec.services}
    frozen = set(spec.policy.freeze)
    for replica in replicas:
        if replica.service not in frozen:
            service = services[replica.service]
            rungs[service.priority] += rungs_given_up(service, replica)
            room[service.priority] += points_of_room(replica)
    found = []
    for each in objectives:
        if each.name in ("rungs", "room") and each.priority is not None:
            value = (rungs if each.name == "rungs" else room)[each.priority]
            bound = min(each.bound, value)
            found.append(each.model_copy(update={"reached": value, "bound": bound}))
        else:
            found.append(each)
    return found


def rungs_given_up(service: Service, replica: Replica) -> int:
    """Thousandths of rungs, a rung on GPUs before any that keeps layers in RAM."""
    position = [variant.name for variant in service.variants].index(replica.variant)
    offload = service.variants[position].offload
    asked_for = offload == "cpu" or isinstance(offload, int)
    in_ram = min(replica.host_permille, 999) if replica.shares else 999
    if asked_for or not in_ram:
        return 1000 * position
    return 1000 * (len(service.variants) + position) + in_ram


def points_of_room(replica: Replica) -> int:
    """3 with less than a quarter of the room wanted, 1 with less than half."""
    held = max((share.breakdown.kv.bytes for share in replica.shares), default=0)
    if 4 * held < replica.kv_wanted_bytes:
        return 3
    return int(2 * held < replica.kv_wanted_bytes)
