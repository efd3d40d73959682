"""CUDA graphs: which sizes are captured and what their memory pool takes."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.engines.vllm.launch.options import Options, uses_runner_v2
from compiler.engines.vllm.memory.mxfp4 import mxfp4_backend
from compiler.engines.vllm.memory.stages import stage_layers
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.inventory import GpuKind
from compiler.ir.units import KIB, MIB

_SMALL_SIZES = (1, 2, 4)
_LIMIT = 512
# Data centre Blackwell, compute capability 10.x, from 0.28 on.
_BLACKWELL = 10
_LIMIT_BLACKWELL = 1024
# Constants of the pool, fitted on the logs in the truth data (tables/vllm_band.py prints
# the fit and its band): MiB at the graph count of a default launch, 51 piecewise and 35 full.
_BASE_MIB = 307
_LAYER_MIB_MILLI = 6144
_EXPERTS_MIB = 154
_REFERENCE_GRAPHS = 86
_ACTUAL_PERCENT = 60
# Runner V1: least squares of the relative error over 42 measured pools, 38 of them of 0.19 on H100
# with 102 graphs each; half are off by less than 12 %. A graph of its own, and its layers.
_V1_BASE_BYTES = 3100 * KIB
_V1_LAYER_BYTES = 165 * KIB
_V1_EXPERT_LAYER_BYTES = 30 * KIB
_V1_LATENT_LAYER_BYTES = 290 * KIB
# The same for layers that pick rows or blocks by keys: DeepSeek-V4 (one log, 0.25).
_V1_COMPRESSED_LAYER_BYTES = 510 * KIB
# What the pool has beside its graphs with gated delta nets, be there 9 of them or 102: four logs of
# Qwen3.5 and 3.6 on 0.18 to 0.28.
_V1_DELTA_BYTES = 480 * MIB
# triton_kernels route and sort in kernels of their own: two logs of gpt-oss-20b on H100 (0.19). A
# log of gpt-oss-120b on 0.25 has none of it.
_V1_TRITON_LAYER_BYTES = 400 * KIB
# NCCL keeps the arguments of each captured all-reduce: two logs over PCIe, Qwen2.5-72B on four L40S
# (0.19) and Qwen3-8B-AWQ on two GPUs without peer access (0.17). Custom all-reduce keeps none.
_NCCL_CALL_BYTES = 108 * KIB
_CUSTOM_ALL_REDUCE_PCIE = 2
# Before 0.10, and for experts before 0.11, each size of each layer kept its own outputs.
_OLD_GRAPH_BYTES = 768 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphs:
    """Memory of CUDA graphs on one GPU."""

    sizes: int
    charged_bytes: int
    """What is taken off the budget before the KV cache is sized."""
    actual_bytes: int
    """What the pool holds in the end."""

    @property
    def larger_bytes(self) -> int:
        """What must be free for them: both are estimates of one pool."""
        return max(self.charged_bytes, self.actual_bytes)


NO_GRAPHS = Graphs(sizes=0, charged_bytes=0, actual_bytes=0)


def graphs_of(shape: Shape, options: Options, kind: GpuKind, *, linked: bool) -> Graphs:
    """The graph pool of one GPU (v1/worker/gpu_model_runner.py `capture_model`)."""
    if options.cudagraph == "none":
        return NO_GRAPHS
    rules, sizes = options.rules, capture_sizes(options, kind)
    layers = len(stage_layers(shape, options)) + _draft_layers(options)
    if rules.graph_pool_by_layer or (shape.experts and rules.expert_graphs_by_layer):
        pool_bytes = layers * len(sizes) * _OLD_GRAPH_BYTES
        return Graphs(sizes=len(sizes), charged_bytes=0, actual_bytes=pool_bytes)
    graphs = _graph_count(options, sizes)
    if not uses_runner_v2(shape, options):
        pool_bytes = layers * graphs * _expert_graph(shape, options, kind)
        pool_bytes += _runner_v1_pool(shape, options, layers, graphs, linked=linked)
        charged_bytes = pool_bytes if rules.graphs_in_budget else 0
        return Graphs(sizes=len(sizes), charged_bytes=charged_bytes, actual_bytes=pool_bytes)
    full_mib = (
        _BASE_MIB + layers * _LAYER_MIB_MILLI // 1000 + (_EXPERTS_MIB if shape.experts else 0)
    )
    # Graphs share one pool, so that it grows slower than their number. Rounded to whole MiB, the
    # power is the same on every machine.
    pool_bytes = round(full_mib * (graphs / _REFERENCE_GRAPHS) ** 0.7) * MIB
    return Graphs(
        sizes=len(sizes),
        charged_bytes=pool_bytes if rules.v2_charges_graphs else 0,
        actual_bytes=pool_bytes * _ACTUAL_PERCENT // 100,
    )


def _runner_v1_pool(
    shape: Shape, options: Options, layers: int, graphs: int, *, linked: bool
) -> int:
    """The pool of runner V1: a part of each graph, and a part of each layer of each graph."""
    graph_bytes = _V1_BASE_BYTES + layers * _V1_LAYER_BYTES
    if shape.mla or shape.block_layers:
        graph_bytes += layers * _V1_LATENT_LAYER_BYTES
    if shape.compressed:
        graph_bytes += layers * _V1_COMPRESSED_LAYER_BYTES
    delta_bytes = 0
    if shape.recurrent and shape.recurrent.kind == "gdn":
        delta_bytes = _V1_DELTA_BYTES
    captures_nccl = not linked and options.tensor_parallel > _CUSTOM_ALL_REDUCE_PCIE
    if captures_nccl and not options.rules.graphs_in_budget:
        # distributed/device_communicators/custom_all_reduce.py: not for more than two PCIe GPUs;
        # a log of 0.27 on four shows none of it.
        graph_bytes += 2 * layers * _NCCL_CALL_BYTES
    return graphs * graph_bytes + delta_bytes


def _expert_graph(shape: Shape, options: Options, kind: GpuKind) -> int:
    """What the experts of a layer add to one graph."""
    if not shape.experts:
        return 0
    if shape.model_type == "gpt_oss" and mxfp4_backend(options, kind) == "triton_doubled":
        return _V1_EXPERT_LAYER_BYTES + _V1_TRITON_LAYER_BYTES
    return _V1_EXPERT_LAYER_BYTES


def capture_sizes(options: Options, kind: GpuKind) -> tuple[int, ...]:
    """Batch sizes that get a graph (config/vllm.py `_set_cudagraph_sizes`)."""
    if options.capture_sizes:
        return tuple(size for size in options.capture_sizes if size <= options.batched_tokens)
    limit = options.capture_limit
    if limit is None:
        ceiling = (
            _LIMIT_BLACKWELL
            if kind.compute[0] == _BLACKWELL and options.rules.huge_gpus
            else _LIMIT
        )
        drafted = options.draft_tokens if options.rules.graphs_for_drafts else 0
        limit = min(options.sequences * (1 + drafted) * 2, ceiling)
    limit = min(limit, options.batched_tokens)
    small = tuple(size for size in _SMALL_SIZES if size <= limit)
    middle = tuple(range(8, min(limit + 1, 256), 8))
    return small + middle + tuple(range(256, limit + 1, options.rules.graph_step))


def _draft_layers(options: Options) -> int:
    draft = options.drafts_here
    return draft.shape.layers if draft is not None and draft.shape is not None else 0


def _graph_count(options: Options, sizes: tuple[int, ...]) -> int:
    """Piecewise graphs for every size and full ones for those that pure decode can have.

    Both are counted from 0.10 on: the fit has no older log without full graphs in it.
    """
    # Pooling models run piecewise only (config/vllm.py, 0.11 to 0.33).
    full = 0 if options.pooling else sum(1 for size in sizes if size <= options.sequences)
    match options.cudagraph:
        case "piecewise":
            return len(sizes)
        case "full_decode":
            return full
        case _:
            return len(sizes) + full
