"""The steps of a service's ladder: how much of a rung each gives up, and which are looked at."""

from __future__ import annotations

from compiler.ir.demand import Demand
from compiler.ir.spec import Service

# A ladder of partial offloads is thinned to this many steps a place; once places are chosen, the
# assembly gives each replica the layers that what is left there still holds.
MAX_LADDER = 12


def thin(ladder: tuple[Demand, ...]) -> tuple[Demand, ...]:
    """All whole offloads, and at most MAX_LADDER partial ones, evenly spaced with both ends."""
    whole = tuple(demand for demand in ladder if not demand.partial)
    partial = tuple(demand for demand in ladder if demand.partial)
    if len(partial) <= MAX_LADDER:
        return ladder
    last = len(partial) - 1
    steps = sorted({position * last // (MAX_LADDER - 1) for position in range(MAX_LADDER)})
    return (*whole, *(partial[step] for step in steps))


def loss_of(service: Service, variant: int, demand: Demand) -> int:
    """Thousandths of a rung that a replica gives up.

    Every rung on GPUs comes before any that keeps layers in RAM: a replica that computes partly on
    the CPU is several times slower than a smaller quantization on the GPU, so offload is what is
    left when no rung fits. It counts as the share of a token's reads that it moves to RAM.
    """
    offload = service.variants[variant].offload
    asked_for = offload == "cpu" or isinstance(offload, int)
    in_ram = min(demand.host_permille, 999) if demand.devices else 999
    if asked_for or not in_ram:
        return 1000 * variant
    return 1000 * (len(service.variants) + variant) + in_ram
