"""Recounts what stands on drained hosts and broken GPUs, without the code of the passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compiler.ir.inventory import Host
from compiler.ir.plan import Plan, Replica


def state_faults(plan: Plan, hosts: Mapping[str, Host], previous: Plan | None) -> Iterator[str]:
    """Nothing stands on a broken GPU, and on a drained host only what ran there as it runs now."""
    ran = {
        (each.service, each.variant, _place(each))
        for each in (previous.replicas if previous else ())
    }
    for replica in plan.replicas:
        host = hosts[replica.host]
        for share in replica.shares:
            if host.gpus[share.gpu].state == "broken":
                yield f"`{replica.name}` stands on `{host.name}/{share.gpu}`, which is broken"
        way = (replica.service, replica.variant, _place(replica))
        if host.state == "drained" and way not in ran:
            yield f"`{replica.name}` comes to `{host.name}`, which is drained"


def _place(replica: Replica) -> tuple[str, tuple[int, ...]]:
    return replica.host, tuple(share.gpu for share in replica.shares)
