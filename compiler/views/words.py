"""Words for the figures of a plan that more than one view shows."""

from __future__ import annotations

from typing import assert_never

from compiler.ir.plan import GpuLedger, Plan, Replica
from compiler.ir.units import budget_mib, show_mib
from compiler.views.terminal import counted


def show_budget(size_bytes: int) -> str:
    """MiB of a budget or of what is left of one, rounded down: `12,345 MiB`."""
    return f"{budget_mib(size_bytes):,} MiB"


def bound_words(gpu: GpuLedger) -> str:
    """Which bound gives the budget of a GPU, with its figures."""
    memory = show_budget(gpu.memory_bytes)
    match gpu.binding:
        case "reserved":
            return f"memory - reserved ({memory} - {show_mib(gpu.reserved_bytes)})"
        case "utilization":
            return f"memory x utilization ({memory} x {_share(gpu.utilization_permille)})"
        case "cuda_total":
            return f"CUDA total (of {memory})"
        case _:
            assert_never(gpu.binding)


def split_words(replica: Replica) -> str:
    """How a replica is cut: `tp 2`, `tp 2 on 4 GPUs`, or how many layers the GPUs hold."""
    if not replica.shares:
        return "CPU only"
    if replica.gpu_layers is None:
        # More GPUs are pipeline stages or data parallel engines: the command line tells which.
        n_gpus = len(replica.shares)
        more = f" on {n_gpus} GPUs" if n_gpus > replica.tensor_parallel else ""
        return f"tp {replica.tensor_parallel}{more}"
    text = f"{replica.layers - replica.host_layers} of {replica.layers} layers"
    return text + (f", experts of {replica.host_experts} in RAM" if replica.host_experts else "")


def has_cache(replica: Replica) -> bool:
    """Whether any memory is a KV cache: an encoder has requests in flight and keeps nothing."""
    held = (*(share.breakdown for share in replica.shares), replica.ram_breakdown)
    return bool(replica.kv_tokens) and any(breakdown.kv.bytes for breakdown in held)


def kv_words(replica: Replica) -> str:
    """How many full-length requests the KV cache holds, rounded down to a tenth."""
    if not has_cache(replica):
        return "no KV cache"
    whole, tenths = divmod(replica.kv_requests_permille // 100, 10)
    return f"KV room: {whole:,}.{tenths} of {replica.concurrency:,} full-length requests"


def fleet_words(plan: Plan) -> str:
    """The size of a plan and how sure the solver is of it, in a sentence."""
    n_services = len({replica.service for replica in plan.replicas})
    proof = "proven optimal" if plan.optimality == "optimal" else "not proven optimal"
    return (
        f"{counted(len(plan.replicas), 'replica')} of {counted(n_services, 'service')} on "
        f"{counted(len(plan.hosts), 'host')} with {counted(len(plan.gpus), 'GPU')}; {proof}."
    )


def _share(permille: int) -> str:
    whole, thousandths = divmod(permille, 1000)
    return f"{whole}.{thousandths:03}".rstrip("0").rstrip(".")
