"""One memory for GPU and RAM: what a replica takes of it, and the sites that its host makes."""

from __future__ import annotations

from compiler.ir.demand import Site
from compiler.ir.inventory import Gpu, Host
from compiler.ir.plan import Replica


def site_of(host: Host, gpus: tuple[Gpu, ...]) -> Site:
    """The site that these GPUs of a host make; none of them is its CPU."""
    islands = {gpu.island for gpu in gpus}
    return Site(
        kinds=tuple(gpu.kind for gpu in gpus),
        budgets_bytes=tuple(gpu.budget_bytes for gpu in gpus),
        linked=len(islands) == 1 and all(gpu.kind.link == "nvlink" for gpu in gpus),
        unified=host.pool is not None,
    )


def gpu_bytes(replica: Replica, host: Host) -> dict[int, int]:
    """Bytes of each GPU's memory by its index; of a pool also what the replica takes of RAM."""
    if host.pool is None:
        return {share.gpu: share.share_bytes for share in replica.shares}
    own = sum(share.share_bytes for share in replica.shares)
    return {host.pool.index: own + replica.ram_bytes}


def ram_bytes(replica: Replica, host: Host) -> int:
    """Bytes of RAM that has a budget of its own: none of a pool's."""
    return replica.ram_bytes if host.pool is None else 0


def held_bytes(replica: Replica, *, unified: bool) -> dict[int | None, int]:
    """Bytes of each GPU by its index, and of RAM by None, which is the pool of a unified host."""
    held: dict[int | None, int] = {None: replica.ram_bytes}
    for share in replica.shares:
        device = None if unified else share.gpu
        held[device] = held.get(device, 0) + share.share_bytes
    return held
