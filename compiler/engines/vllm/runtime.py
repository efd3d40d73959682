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
    nvlink = linked or kind.link == "nvlink"
    channels_bytes = sum(_by_ranks(_NCCL_BYTES, size) for size in _communicators(shape, options))
    if ranks > 1:
        # From 0.20 on FlashInfer's all-reduce takes its workspace over PCIe too.
        large = nvlink or rules.graphs_in_budget
        charged_bytes = _by_ranks(_NVLINK_BYTES, ranks) if large else _PCIE_BYTES
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


def _communicators(shape: Shape, options: Options) -> list[int]:
    """Ranks of each NCCL communicator that moves data (distributed/parallel_state.py).

    Tensor parallel ranks, pipeline stages, and the data parallel ranks of a mixture of experts;
    other data parallel ranks have nothing to say to each other. Channels of other communicators
    than the tensor parallel one were not measured and are taken to be as large.
    """
    sizes = [options.tensor_parallel, options.pipeline_parallel]
    if shape.experts:
        sizes.append(options.data_parallel)
    return [size for size in sizes if size > 1]


def process_bytes(options: Options, gpus: int) -> int:
    """RAM of the API servers and, for each data parallel rank, its engine core and workers.

    A worker alone lives in the engine core. Data parallel ranks have a coordinator, which is as
    large as an API server (v1/engine/coordinator.py).
    """
    servers_bytes = options.api_servers * _API_SERVER_BYTES
    if options.data_parallel > 1:
        servers_bytes += _API_SERVER_BYTES
    workers = gpus // options.data_parallel
    if workers <= 1:
        return servers_bytes + options.data_parallel * _WORKER_BYTES
    engine_bytes = _ENGINE_CORE_BYTES + workers * _WORKER_BYTES + _SHARED_MEMORY_BYTES
    return servers_bytes + options.data_parallel * engine_bytes


def _by_ranks(table: dict[int, int], ranks: int) -> int:
    return next(
        (size for limit, size in sorted(table.items()) if ranks <= limit), max(table.values())
    )
