"""Formulas of other estimators of vLLM memory, as their sources document them."""

from __future__ import annotations

from dataclasses import replace

from compiler.engines.vllm.memory.kv import layout_of
from compiler.engines.vllm.memory.law import Estimate
from compiler.engines.vllm.memory.weights import rope_bytes
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import NEWEST
from compiler.ir.units import GIB, MIB

# aiconfigurator, sdk/backends: bytes of activation a token and hidden number, by ranks.
_DENSE_FACTORS = {1: 11.0, 2: 6.5, 4: 5.0, 8: 5.0}
_EXPERT_FACTORS = {1: 22.0, 2: 13.0, 4: 10.0, 8: 10.0}
_LEAST_ACTIVATION_BYTES = 70 * MIB
_FIXED_BYTES = 7 * GIB // 2


def file_bytes(shape: Shape, estimate: Estimate) -> int:
    """Bytes of the checkpoint for one rank: what peers that read headers see.

    They have neither rotary caches nor the allocator's rounding.
    """
    return max(0, estimate.weights_bytes - rope_bytes(shape, estimate.options))


def gpustack(shape: Shape, estimate: Estimate) -> int:
    """GPUStack: weights x 1.2 and 2 GiB (512 MiB for models that do not generate)."""
    overhead_bytes = GIB // 2 if estimate.options.pooling else 2 * GIB
    return file_bytes(shape, estimate) * 12 // 10 + overhead_bytes


def hf_mem(shape: Shape, estimate: Estimate) -> int:
    """hf-mem: weights and the KV of one full-length request, every layer as full attention."""
    options = replace(estimate.options, version=NEWEST, hybrid_kv=False)
    layout = layout_of(shape, options)
    token_bytes = layout.block_bytes // layout.block_size if layout.exists else 0
    return file_bytes(shape, estimate) + token_bytes * options.context


def aiconfigurator(shape: Shape, estimate: Estimate) -> int:
    """aiconfigurator: weights, KV, activation by tokens and width, and a fixed 3.5 GiB."""
    options = estimate.options
    factors = _EXPERT_FACTORS if shape.experts else _DENSE_FACTORS
    factor = factors.get(options.tensor_parallel, 5.0)
    width = shape.heads * shape.head_dim
    activation_bytes = int(2 * options.batched_tokens * width * factor)
    activation_bytes = max(activation_bytes, _LEAST_ACTIVATION_BYTES)
    return hf_mem(shape, estimate) + activation_bytes + _FIXED_BYTES


def llm_d_planner(shape: Shape, estimate: Estimate) -> int:
    """llm-d-planner: weights, KV, a constant of activation by kind of model, and of NCCL."""
    kind = "mixture" if shape.experts else "multimodal" if shape.multimodal else "dense"
    library_bytes = 614 * MIB if estimate.options.tensor_parallel > 1 else 154 * MIB
    return hf_mem(shape, estimate) + _PLANNER_MIB[kind] * MIB + library_bytes


def ridgepoint(shape: Shape, estimate: Estimate) -> int:
    """ridgepoint: weights, KV, and what an A100 held beside them, by the width of the model.

    Activation is shared by the ranks, libraries and graphs are not.
    """
    ranks = estimate.options.tensor_parallel
    width_bytes = GIB * shape.hidden // 4096
    library_bytes = 717 * MIB if shape.experts else 287 * MIB
    return hf_mem(shape, estimate) + width_bytes // ranks + library_bytes + width_bytes * 55 // 100


def vramscout(shape: Shape, estimate: Estimate) -> int:
    """vramscout: weights, KV, five hidden states a token, logits, and 3 % for the framework.

    Without the twentieth of the GPU that it keeps in reserve.
    """
    scratch_bytes = estimate.options.context * shape.hidden * 2 * 5
    framework_bytes = max(3 * GIB // 4, file_bytes(shape, estimate) * 3 // 100)
    return hf_mem(shape, estimate) + scratch_bytes + framework_bytes + shape.vocabulary * 4


# 5.5, 8 and 2.5 GiB.
_PLANNER_MIB = {"dense": 5632, "mixture": 8192, "multimodal": 2560}
PEERS = {
    "GPUStack": gpustack,
    "hf-mem": hf_mem,
    "aiconfigurator": aiconfigurator,
    "llm-d-planner": llm_d_planner,
    "ridgepoint": ridgepoint,
    "vramscout": vramscout,
}
