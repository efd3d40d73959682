"""Memory of libraries and processes: NCCL and kernels, the CUDA context, RAM."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.inventory import GpuKind
from compiler.ir.units import GIB, MIB

# All from the logs in the truth data: `non_torch` of the profiling line, and free against total at
# start. Steps, because NCCL sets its channels up by the number of ranks.
_KERNELS_BYTES = 133 * MIB
_NVLINK_BYTES = {2: 563 * MIB, 4: 922 * MIB, 8: 1229 * MIB}
_PCIE_BYTES = 256 * MIB
_HOPPER = 9
# From 0.18 on, from a sweep of 60 launches of 0.19 on H100 and one model on 0.15 to 0.18.
_HOPPER_KERNELS_BYTES = 256 * MIB
# FlashInfer's workspace of all-reduce and norm in one kernel, with all other library memory: the
# same sweep (distributed/device_communicators/flashinfer_all_reduce.py, 0.17 to 0.33). Blackwell
# and eight ranks were not measured and are taken to need what Hopper and four do.
_FUSED_BYTES = {2: 2130 * MIB, 4: 2222 * MIB}
_LINEAR_ATTENTION_BYTES = 358 * MIB
# Triton's tuning of the gated delta net, which 0.18 and 0.19 run before the KV cache is sized
# (models/qwen3_next.py `_warmup_prefill_kernels`). An RTX 5090 does not get back what it took (two
# reports: 3.42 GiB less KV with it than without, and a log of 3.81 GiB of non-torch memory); an
# L40S keeps nothing (a log of 0.18, 2.05 GiB beside the weights in all), and Hopper takes
# FlashInfer's kernels, which are not tuned. What other GPUs keep was not measured.
_DELTA_TUNING_BYTES = 3482 * MIB
_KEEPS_TUNING = 12
_FREES_TUNING = frozenset({(8, 9), (9, 0)})
_OLD_CONTEXT_BYTES = 461 * MIB
_CONTEXT_BYTES = {7: 307 * MIB, 8: 430 * MIB, 9: 543 * MIB, 10: 614 * MIB, 12: 512 * MIB}
_CONTEXT_OTHER_BYTES = 461 * MIB
# NCCL's channels, outside the budget once the first snapshot is taken after its start.
_NCCL_BYTES = {2: 461 * MIB, 8: 717 * MIB}
# The same over NVLink from Hopper and 0.11 on, where NCCL also sets NVLS up: the first and each
# further communicator (free memory at the start of 14 launches of 0.19 on H100, 2 and 4 ranks).
_NVLINK_FIRST_BYTES = 1040 * MIB
_NVLINK_NEXT_BYTES = 492 * MIB

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
    possible_bytes: int = 0
    """More that may lie inside the budget, on GPUs that were not measured."""


def runtime_of(shape: Shape, options: Options, kind: GpuKind, *, linked: bool) -> Runtime:
    """Library memory of one GPU."""
    ranks, rules = options.tensor_parallel, options.rules
    charged_bytes = _KERNELS_BYTES
    if rules.more_hopper_kernels and kind.compute[0] == _HOPPER:
        charged_bytes = _HOPPER_KERNELS_BYTES
    context_bytes = _CONTEXT_BYTES.get(kind.compute[0], _CONTEXT_OTHER_BYTES)
    nvlink = linked or kind.link == "nvlink"
    sizes = _communicators(shape, options)
    channels_bytes = sum(_by_ranks(_NCCL_BYTES, size) for size in sizes)
    multicasts = nvlink and kind.compute[0] >= _HOPPER
    if sizes and multicasts and rules.snapshot_after_nccl:
        # Models with experts have a group of all ranks that share them, --enable-expert-parallel
        # or not (distributed/parallel_state.py `initialize_model_parallel`).
        further = len(sizes) - 1 + (shape.experts is not None)
        channels_bytes = _NVLINK_FIRST_BYTES + further * _NVLINK_NEXT_BYTES
    if ranks > 1:
        # From 0.20 on FlashInfer's all-reduce takes its workspace over PCIe too.
        large = nvlink or rules.graphs_in_budget
        charged_bytes = _by_ranks(_NVLINK_BYTES, ranks) if large else _PCIE_BYTES
        if nvlink and fuses_all_reduce(options, kind):
            charged_bytes = _by_ranks(_FUSED_BYTES, ranks)
    if rules.snapshot_after_nccl:
        context_bytes += channels_bytes
    elif nvlink:
        charged_bytes += channels_bytes
    if shape.recurrent:
        charged_bytes += _LINEAR_ATTENTION_BYTES
    possible_bytes = 0
    if tunes_delta(shape, options, kind):
        if kind.compute[0] == _KEEPS_TUNING:
            charged_bytes += _DELTA_TUNING_BYTES
        else:
            possible_bytes = _DELTA_TUNING_BYTES
    if rules.charges_whole_device:
        charged_bytes += _OLD_CONTEXT_BYTES
        context_bytes = max(0, context_bytes - _OLD_CONTEXT_BYTES)
    return Runtime(
        charged_bytes=charged_bytes, context_bytes=context_bytes, possible_bytes=possible_bytes
    )


def tunes_delta(shape: Shape, options: Options, kind: GpuKind) -> bool:
    """Whether tuned Triton kernels keep memory, or may."""
    delta = shape.recurrent is not None and shape.recurrent.kind == "gdn"
    return delta and options.rules.keeps_delta_tuning and kind.compute not in _FREES_TUNING


def fuses_all_reduce(options: Options, kind: GpuKind) -> bool:
    """Whether all-reduce and norm are one kernel (config/vllm.py `enable_allreduce_rms_fusion`)."""
    rules = options.rules
    if not rules.fuses_all_reduce or not options.compiles or kind.compute[0] not in {9, 10}:
        return False
    ranks = rules.fuses_all_reduce_of_ranks or options.data_parallel == 1
    stages = rules.fuses_all_reduce_of_stages or options.pipeline_parallel == 1
    return ranks and stages and options.tensor_parallel in {2, 4, 8}


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
