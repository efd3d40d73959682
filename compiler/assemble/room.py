"""What the placements leave free on each GPU."""

from __future__ import annotations

from compiler.ir.inventory import GpuKey, Inventory
from compiler.ir.placement import Placements, spare_mib
from compiler.ir.pool import gpu_bytes
from compiler.ir.units import MIB, budget_mib


def left_bytes(inventory: Inventory, placements: Placements) -> dict[GpuKey, int]:
    """Bytes of each GPU's budget that no replica is granted yet.

    Budgets count in whole MiB, as people are shown them: a share never looks larger than its
    budget.
    """
    left = {
        (host.name, gpu.index): budget_mib(gpu.budget_bytes) * MIB
        for host in inventory.hosts
        for gpu in host.gpus
    }
    for key, mib in spare_mib(placements.spares).items():
        left[key] -= mib * MIB
    for placement in placements.chosen:
        demand = placement.demand
        reserved = demand.kv_bytes if placement.kv_bytes is None else placement.kv_bytes
        for gpu, size in zip(placement.draws_on, demand.high_bytes_with(reserved), strict=True):
            left[placement.host, gpu] -= size
    for replica in placements.frozen:
        for gpu, size in gpu_bytes(replica, inventory.host(replica.host)).items():
            left[replica.host, gpu] -= size
    return left
