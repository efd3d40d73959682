"""Memory of libraries and processes: NCCL and kernels, the CUDA context, RAM."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.engines.vllm.options import Options
from compiler.engines.vllm.shape import Shape
from compiler.ir.inventory import GpuKind
from compiler.ir.units import GIB, MIB

# All from the logs in the truth data: `non_torch` of the profiling line, and free against total at
# start. Steps, because NCCL sets its channels up by the number of ranks.
_KERNELS_BYTES = 133 * MIB
_NVLINK_BYTES = {2: 563 * MIB, 4: 922 * MIB, 8: 1229 * MIB}
_PCIE_BYTES = 256 * MIB
_LINEAR_ATTENTION_BYTES = 358 * MIB
_OLD_CONTEXT_BYTES = 461 * MIB
_CONTEXT_BYTES = {7: 307 * MIB, 8: 430 * MIB, 9: 543 * MIB, 10: 614 * MIB, 12: 512 * MIB}
_CONTEXT_OTHER_BYTES = 461 * MIB
# NCCL's channels, outside the budget once the first snapshot is taken after its start.
_NCCL_BYTES = {2: 461 * MIB, 8: 717 * MIB}

# RSS of the processes of `vllm serve` 0.32, measured on the CPU build: 2.9 GB for three of them.
# A CUDA process maps more libraries; the band is half of the figure to either side.
_API_SERVER_BYTES = 1 * GIB
_ENGINE_CORE_BYTES = 3 * GIB // 2
_WORKER_BYTES = 2 * GIB
# distributed/device_communicators/shm_broadcast.py: ten chunks of 24 MiB for the message queue.
_SHARED_MEMORY_BYTES = 240 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Memory of libraries on one GPU."""

    charged_bytes: int
    """Non-torch memory inside vLLM's budget."""
    context_bytes: int
    """CUDA context and what else lies outside the budget."""


def runtime_of(shape: Shape, options: Options, kind: GpuKind, *, linked: bool) -> Runtime:
    """Library memory of one GPU."""
    ranks, rules = options.tensor_parallel, options.rules
    charged_bytes = _KERNELS_BYTES
    context_bytes = _CONTEXT_BYTES.get(kind.compute[0], _CONTEXT_OTHER_BYTES)
    if ranks > 1:
        nvlink = linked or kind.link == "nvlink"
        # From 0.20 on FlashInfer's all-reduce takes its workspace over PCIe too.
        large = nvlink or rules.graphs_in_budget
        charged_bytes = _by_ranks(_NVLINK_BYTES, ranks) if large else _PCIE_BYTES
        channels_bytes = _by_ranks(_NCCL_BYTES, ranks)
        if rules.snapshot_after_nccl:
            context_bytes += channels_bytes
        elif nvlink:
            charged_bytes += channels_bytes
    if shape.recurrent:
        charged_bytes += _LINEAR_ATTENTION_BYTES
    if rules.charges_whole_device:
        charged_bytes += _OLD_CONTEXT_BYTES
        context_bytes = max(0, context_bytes - _OLD_CONTEXT_BYTES)
    return Runtime(charged_bytes=charged_bytes, context_bytes=context_bytes)


def process_bytes(options: Options, gpus: int) -> int:
    """RAM of the API servers, the engine core and, with several GPUs, one worker for each."""
    servers_bytes = options.api_servers * _API_SERVER_BYTES
    if gpus <= 1:
        # The worker lives in the engine core.
        return servers_bytes + _WORKER_BYTES
    return servers_bytes + _ENGINE_CORE_BYTES + gpus * _WORKER_BYTES + _SHARED_MEMORY_BYTES


def _by_ranks(table: dict[int, int], ranks: int) -> int:
    return next(
        (size for limit, size in sorted(table.items()) if ranks <= limit), max(table.values())
    )
