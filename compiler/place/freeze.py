"""Frozen services: their replicas are taken over from the previous plan, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.ir.inventory import Inventory
from compiler.ir.placement import FreezeBroken
from compiler.ir.plan import Plan, Replica
from compiler.ir.pool import gpu_bytes, ram_bytes
from compiler.ir.rules import are_apart
from compiler.ir.spec import Spec
from compiler.ir.units import budget_mib, demand_mib, show_mib
from compiler.place.alone import alone


def frozen_replicas(
    inventory: Inventory, spec: Spec, previous: Plan | None
) -> tuple[tuple[Replica, ...], tuple[FreezeBroken, ...]]:
    """Replicas to take over as they are, and those whose place is gone."""
    if previous is None:
        return (), ()
    replicas = tuple(r for r in previous.replicas if r.service in spec.policy.freeze)
    broken = [
        FreezeBroken(replica=replica.name, why=why)
        for replica in replicas
        if (why := _broken(inventory, replica))
    ]
    return replicas, tuple(broken or _clashes(inventory, spec, replicas))


def _clashes(
    inventory: Inventory, spec: Spec, replicas: tuple[Replica, ...]
) -> Iterator[FreezeBroken]:
    """Frozen replicas that can no longer stand beside each other."""
    services = {service.name: service for service in spec.services}
    for host in inventory.hosts:
        here = [replica for replica in replicas if replica.host == host.name]
        for gpu in host.gpus:
            taken = [(r, gpu_bytes(r, host).get(gpu.index, 0)) for r in here]
            on_gpu = [(replica, size) for replica, size in taken if size]
            if sum(demand_mib(size) for _, size in on_gpu) > budget_mib(gpu.budget_bytes):
                why = f"the shares frozen on `{host.name}/{gpu.index}` exceed its budget"
                yield FreezeBroken(replica=on_gpu[0][0].name, why=why)
            for position, (first, _) in enumerate(on_gpu):
                if len(on_gpu) > 1 and alone(
                    services[first.service], first.engine, first.engine_version
                ):
                    other = next(replica.name for replica, _ in on_gpu if replica is not first)
                    why = f"it is to have its GPUs to itself, but `{other}` is frozen beside it"
                    yield FreezeBroken(replica=first.name, why=why)
                for second, _ in on_gpu[position + 1 :]:
                    if are_apart(services[first.service], services[second.service]):
                        why = f"`{second.name}`, from which it is to be apart, is frozen beside it"
                        yield FreezeBroken(replica=first.name, why=why)
        in_ram = sum(demand_mib(ram_bytes(replica, host)) for replica in here)
        if in_ram > budget_mib(host.ram_budget_bytes):
            why = f"the RAM frozen on `{host.name}` exceeds its budget"
            yield FreezeBroken(replica=here[0].name, why=why)


def _broken(inventory: Inventory, replica: Replica) -> str | None:
    host = next((host for host in inventory.hosts if host.name == replica.host), None)
    if host is None:
        return f"host `{replica.host}` is no longer in the inventory"
    for share in replica.shares:
        gpu = next((gpu for gpu in host.gpus if gpu.index == share.gpu), None)
        if gpu is None:
            return f"`{host.name}/{share.gpu}` is no longer in the inventory"
        if gpu.state == "broken":
            return f"`{host.name}/{share.gpu}` is broken"
        if gpu.kind.name != share.kind or (gpu.uuid or share.uuid) != share.uuid:
            return f"`{host.name}/{share.gpu}` is now another GPU (`{gpu.kind.name}`)"
        if share.share_bytes > gpu.budget_bytes:
            return (
                f"its share of {show_mib(share.share_bytes)} is larger than the budget of "
                f"`{host.name}/{share.gpu}`, {budget_mib(gpu.budget_bytes):,} MiB"
            )
    if not host.ports[0] <= replica.port <= host.ports[1]:
        return f"its port {replica.port} is outside of `ports` of `{host.name}`"
    return None
