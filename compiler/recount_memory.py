"""Recounts budgets and ledgers of GPUs and RAM, apart or one memory, without the passes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from compiler.ir.inventory import Gpu, Host, Inventory
from compiler.ir.plan import Plan, Replica


def budget_faults(plan: Plan, hosts: dict[str, Host]) -> Iterator[str]:
    """No GPU and no RAM grants more than its budget; a memory that is both has one."""
    held: dict[tuple[str, int], int] = defaultdict(int)
    ram: dict[str, int] = defaultdict(int)
    for replica in plan.replicas:
        ram[replica.host] += replica.ram_bytes
        if replica.ram_breakdown.high_bytes > replica.ram_bytes:
            yield f"`{replica.name}` is granted less RAM than it takes"
        for share in replica.shares:
            held[replica.host, share.gpu] += share.share_bytes
            if share.breakdown.high_bytes > share.share_bytes:
                yield f"`{replica.name}` is granted less than it takes on GPU {share.gpu}"
    # A GPU without memory of its own takes the RAM of its host: one pool, counted once.
    pools = {name for name, host in hosts.items() if any(g.kind.unified for g in host.gpus)}
    for name in sorted(pools):
        yield from _pool(hosts[name], [r for r in plan.replicas if r.host == name])
    for (name, index), granted in sorted(held.items()):
        if name in pools:
            continue
        gpu = hosts[name].gpus[index]
        budget = min(_bounds(hosts[name], gpu).values())
        if granted > budget:
            yield f"`{name}/{index}` grants {granted:,} bytes of a budget of {budget:,}"
    for name, granted in sorted(ram.items()):
        if name in pools:
            continue
        budget = max(0, hosts[name].ram_bytes - hosts[name].ram_reserved_bytes)
        if granted > budget:
            yield f"`{name}` grants {granted:,} bytes of RAM of a budget of {budget:,}"


def _pool(host: Host, replicas: list[Replica]) -> Iterator[str]:
    """What GPU and RAM grant together of the one memory of a host."""
    if len(host.gpus) != 1:
        yield f"`{host.name}` has one memory for GPU and RAM and {len(host.gpus)} GPUs"
        return
    budget = min(_bounds(host, host.gpus[0]).values())
    granted = sum(
        replica.ram_bytes + sum(share.share_bytes for share in replica.shares)
        for replica in replicas
    )
    if granted > budget:
        yield f"`{host.name}` grants {granted:,} bytes of one memory with a budget of {budget:,}"


def _bounds(host: Host, gpu: Gpu) -> dict[str, int]:
    """Counted anew: two bounds on the same memory, and what the driver keeps for itself.

    Of one memory with the RAM there is no more than the system sees, and both reserves count.
    """
    memory, kept, total = gpu.kind.memory_bytes, gpu.reserved_bytes, gpu.kind.cuda_total_bytes
    if gpu.kind.unified:
        memory, total = min(memory, host.ram_bytes), min(total, host.ram_bytes)
        kept += host.ram_reserved_bytes
    return {
        "reserved": memory - kept,
        "utilization": memory * gpu.utilization_permille // 1000,
        "cuda_total": total,
    }


def gpu_ledger_faults(plan: Plan, inventory: Inventory) -> Iterator[str]:
    """What the plan says of each GPU is what the inventory says, and the sum of its shares."""
    unified = {host.name for host in inventory.hosts if any(g.kind.unified for g in host.gpus)}
    held: dict[tuple[str, int], int] = defaultdict(int)
    for replica in plan.replicas:
        for share in replica.shares:
            held[replica.host, share.gpu] += share.share_bytes
        if replica.host in unified:
            held[replica.host, 0] += replica.ram_bytes
    gpus = [(host, gpu) for host in inventory.hosts for gpu in host.gpus]
    if [(ledger.host, ledger.gpu) for ledger in plan.gpus] != [(h.name, g.index) for h, g in gpus]:
        yield "the GPU ledger does not list the GPUs of the inventory"
        return
    for ledger, (host, gpu) in zip(plan.gpus, gpus, strict=True):
        place = f"`{host.name}/{gpu.index}`"
        if ledger.granted_bytes != held[host.name, gpu.index]:
            yield f"the ledger of {place} does not add up to its replicas' shares"
        bounds = _bounds(host, gpu)
        least = min(bounds.values())
        if ledger.budget_bytes != least or bounds[ledger.binding] != least:
            yield f"the ledger of {place} shows another budget than {least:,} bytes"
        both = host.ram_reserved_bytes if gpu.kind.unified else 0
        said = (ledger.uuid, ledger.kind, ledger.memory_bytes, ledger.reserved_bytes, ledger.state)
        known = (
            gpu.uuid,
            gpu.kind.name,
            gpu.kind.memory_bytes,
            gpu.reserved_bytes + both,
            gpu.state,
        )
        if ledger.unified != gpu.kind.unified:
            yield f"the ledger of {place} does not say whose memory the GPU has"
        if said != known or ledger.utilization_permille != gpu.utilization_permille:
            yield f"the ledger of {place} shows another GPU than the inventory"


def host_ledger_faults(plan: Plan, inventory: Inventory) -> Iterator[str]:
    """What the plan says of the RAM of each host adds up."""
    granted = Counter[str]()
    unified = {host.name: host.gpus[0] for host in inventory.hosts
               if any(gpu.kind.unified for gpu in host.gpus)}  # fmt: skip
    for replica in plan.replicas:
        granted[replica.host] += replica.ram_bytes
        if replica.host in unified:
            granted[replica.host] += sum(share.share_bytes for share in replica.shares)
    expected = [
        (
            host.name,
            host.target,
            max(0, min(_bounds(host, unified[host.name]).values()))
            if host.name in unified
            else max(0, host.ram_bytes - host.ram_reserved_bytes),
            granted[host.name],
            host.name in unified,
        )
        for host in inventory.hosts
    ]
    found = [
        (
            ledger.host, ledger.target, ledger.ram_budget_bytes, ledger.ram_granted_bytes,
            ledger.unified,
        )
        for ledger in plan.hosts
    ]  # fmt: skip
    if expected != found:
        yield "the RAM ledger does not add up to the hosts and their replicas"
