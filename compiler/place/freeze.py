"""Frozen services: their replicas are taken over from the previous plan, or it is said why not."""

from __future__ import annotations

from compiler.ir.inventory import Inventory
from compiler.ir.placement import FreezeBroken
from compiler.ir.plan import Plan, Replica
from compiler.ir.spec import Spec


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
    return replicas, tuple(broken)


def _broken(inventory: Inventory, replica: Replica) -> str | None:
    host = next((host for host in inventory.hosts if host.name == replica.host), None)
    if host is None:
        return f"host `{replica.host}` is no longer in the inventory"
    for share in replica.shares:
        gpu = next((gpu for gpu in host.gpus if gpu.index == share.gpu), None)
        if gpu is None:
            return f"`{host.name}/{share.gpu}` is no longer in the inventory"
        if gpu.kind.name != share.kind or (gpu.uuid or share.uuid) != share.uuid:
            return f"`{host.name}/{share.gpu}` is now another GPU (`{gpu.kind.name}`)"
        if share.share_bytes > gpu.budget_bytes:
            return f"its share is larger than the budget of `{host.name}/{share.gpu}`"
    return None
