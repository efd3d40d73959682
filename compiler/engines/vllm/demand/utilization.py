"""Between shares, KV sizes and --gpu-memory-utilization: what passes vLLM's start-up checks."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.engines.vllm.memory.band import learnt_bands
from compiler.engines.vllm.memory.law import Estimate
from compiler.ir.demand import Demand, Endpoint
from compiler.ir.inventory import GpuKind

# Four decimals: a step is 8 MiB on an 80 GiB card.
_STEPS = 10_000


def requested_bytes(total_bytes: int, steps: int) -> int:
    """What vLLM asks for: `ceil(total x utilization)` (v1/worker/gpu_worker.py `request_memory`).

    One byte more, because it multiplies floating point numbers.
    """
    return -(-total_bytes * steps // _STEPS) + 1


def highest_steps(total_bytes: int, free_bytes: int) -> int:
    """The largest utilization, in ten-thousandths, whose request is free at start."""
    return max(0, min(_STEPS, (free_bytes - 1) * _STEPS // total_bytes))


def least_steps(estimate: Estimate, total_bytes: int, tokens: int) -> int:
    """The smallest utilization, in ten-thousandths, at which this many KV tokens fit."""
    needed_bytes = estimate.charged_bytes + estimate.kv_bytes(tokens)
    return -(-needed_bytes * _STEPS // total_bytes)


def share_steps(
    estimates: Sequence[Estimate], kinds: Sequence[GpuKind], shares_bytes: Sequence[int]
) -> int:
    """The largest utilization that every share allows while all other shares are in full use.

    vLLM refuses to start unless `free >= ceil(total x utilization)`, where `free` is read after
    its own CUDA context is up. When the others use their shares whole, free is at least this share
    less the context. Versions without --kv-cache-memory-bytes fill the utilization with KV and,
    until 0.20, capture their CUDA graphs on top of it, so that those come off too.
    """
    steps = min(
        highest_steps(kind.cuda_total_bytes, share_bytes - _outside_bytes(estimate))
        for estimate, kind, share_bytes in zip(estimates, kinds, shares_bytes, strict=True)
    )
    return max(1, steps)


def _outside_bytes(estimate: Estimate) -> int:
    """What of a share does not count against the utilization."""
    outside_bytes = high_context_bytes(estimate)
    rules = estimate.options.rules
    if not (rules.kv_bytes_flag or rules.graphs_in_budget):
        outside_bytes += high_graphs_bytes(estimate)
    return outside_bytes


def utilization_of(demand: Demand, estimates: Sequence[Estimate], endpoint: Endpoint) -> str:
    """The share of each GPU's CUDA total as a flag's value: asked for, or as the shares allow."""
    if demand.utilization_permille is not None:
        return show_permille(demand.utilization_permille)
    if not demand.site.kinds:
        return ""
    return show_steps(share_steps(estimates, demand.site.kinds, endpoint.shares_bytes))


def show_steps(steps: int) -> str:
    """The utilization as a flag's value."""
    return f"{steps // _STEPS}.{steps % _STEPS:04d}"


def show_permille(permille: int) -> str:
    """A utilization that was asked for, as a flag's value."""
    whole, thousandths = divmod(permille, 1000)
    return f"{whole}.{thousandths:03d}".rstrip("0").rstrip(".")


def high_context_bytes(estimate: Estimate) -> int:
    """The high side of what lies outside vLLM's budget: its CUDA context."""
    return learnt_bands()["context"].around(estimate.runtime.context_bytes, "").high_bytes


def high_graphs_bytes(estimate: Estimate) -> int:
    """The high side of the CUDA graph pool."""
    return learnt_bands()["graphs"].around(estimate.graphs.larger_bytes, "").high_bytes
