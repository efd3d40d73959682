"""What ggml-cuda can do and how it asks for memory: attention kernels and their buffers."""

from __future__ import annotations

from functools import lru_cache

from compiler.engines.llamacpp.flags.builds import STUDIED_BUILD
from compiler.engines.llamacpp.ggml.tensor import Tensor
from compiler.engines.llamacpp.model.quants import CUDA_ALIGNMENT
from compiler.engines.llamacpp.model.shape import Shape
from compiler.ir.units import round_up

# Head sizes whose K and V must be equal (ggml-cuda/fattn.cu `ggml_cuda_get_best_fattn_kernel`).
_EQUAL_HEADS = frozenset({40, 64, 72, 80, 96, 112, 128, 256})
# K head size to V head size and the number of query heads a KV head that must divide.
_UNEQUAL_HEADS = {192: (128, 8), 320: (256, 32), 512: (512, 1), 576: (512, 1)}
_CELLS_STEP = 256
KERNEL_TYPES = frozenset({"f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"})
"""Cache types with a kernel at all; one that does not know the type reads an f16 copy."""
# What the kernel for few tokens reads as it is, in an ordinary build.
_VECTOR_TYPES = frozenset({"f16", "bf16", "q4_0", "q8_0"})
_VECTOR_HEADS = (64, 128, 256)
MOST_VECTOR_TOKENS = 2
"""Tokens of a sequence up to which ggml-cuda may run another attention kernel."""
_VOLTA, _TURING, _ADA = 70, 75, 89
_VOLTA_COLUMNS = (8, 4, 2, 1)
_WIDE_RATIO, _WIDE_CELLS = 4, 8192
# Head sizes of K that came late: the first build whose source was read that has them, after the
# last one that has not (b5415 or b5590, where another function was asked, and b6845 and b8390).
_HEADS_SINCE = {576: 5415, 40: 6845, 72: 7324, 192: 9842, 320: 9842, 512: 9842}
# K and V of one type for which every build has kernels; f32 and bf16 came between two sources.
_EQUAL_TYPES = {"f16": 0, "q4_0": 0, "q8_0": 0, "f32": 6845, "bf16": 9842}
# PR 28079, September 2026: what has no kernel of its own is converted to f16; b10809 refuses it.
_ANY_PAIR = 11146
# Until then only heads of 128 had kernels that read a quantized cache (ggml-cuda.cu of b6122,
# `ggml_backend_cuda_device_supports_op`; fattn.cu of b6301 asks for the types alone).
_QUANTS_OF_ANY_HEAD = 6301
_QUANTIZED_HEAD = 128


def attention_kernel(head_k: int, head_v: int, heads_per_kv: int, cells: int) -> bool:
    """Whether ggml-cuda has a flash attention kernel (ggml-cuda/fattn.cu, 2026-10-01)."""
    if head_k in _EQUAL_HEADS:
        return head_k == head_v
    if head_k not in _UNEQUAL_HEADS:
        return False
    value, step = _UNEQUAL_HEADS[head_k]
    grouped = heads_per_kv > 1 and cells % _CELLS_STEP == 0
    return head_v == value and grouped and heads_per_kv % step == 0


def attention_types(type_k: str, type_v: str, build: int = STUDIED_BUILD) -> bool:
    """Whether a CUDA build has flash attention for these cache types.

    Builds before b11146 have the other pairs only if they were compiled with
    GGML_CUDA_FA_ALL_QUANTS (ggml-cuda/fattn.cu `ggml_cuda_get_best_fattn_kernel` of b6301, b6845,
    b9842, b10809 and b11146); a user who compiled so says `flash_attn: on`.
    """
    if build >= _ANY_PAIR:
        return {type_k, type_v} <= KERNEL_TYPES
    return type_k == type_v and build >= _EQUAL_TYPES.get(type_k, _ANY_PAIR)


def attention_runs(shape: Shape, type_k: str, type_v: str, build: int) -> bool:
    """Whether flash attention of a model runs on a CUDA GPU under a build, cache included."""
    heads = {layer.head_k for layer in shape.layers if layer.attention}
    if build < _QUANTS_OF_ANY_HEAD and type_k != "f16" and heads != {_QUANTIZED_HEAD}:
        return False
    known = all(build >= _HEADS_SINCE.get(head, 0) for head in heads)
    return known and attention_types(type_k, type_v, build) and attention_supported(shape)


@lru_cache(maxsize=512)
def attention_supported(shape: Shape) -> bool:
    """Whether flash attention runs on a CUDA GPU for every attention layer of a model."""
    return all(
        attention_kernel(
            layer.head_k,
            layer.head_v,
            layer.heads // max(1, layer.heads_kv),
            _CELLS_STEP,
        )
        for layer in shape.layers
        if layer.attention
    )


def runs_attention(node: Tensor) -> bool:
    """Whether ggml-cuda takes an attention node (ggml-cuda/fattn.cu)."""
    query, key, value = node.src[:3]
    if key.dtype not in KERNEL_TYPES or value.dtype not in KERNEL_TYPES:
        return False
    return attention_kernel(key.ne[0], value.ne[0], query.ne[2] // max(1, key.ne[2]), key.ne[1])


def attention_bytes(node: Tensor, capability: int) -> int:
    """Bytes of an attention node's result, with the f16 copies of a quantized cache behind it.

    ggml-cuda/fattn.cu `ggml_cuda_flash_attn_ext_get_alloc_size` of 2026-10-01.
    """
    key, value = node.src[1], node.src[2]
    size = node.data_bytes()
    if key.dtype == value.dtype and key.dtype in _VECTOR_TYPES and _vector(node, capability):
        return size
    if key.dtype != "f16":
        size = round_up(size, CUDA_ALIGNMENT) + key.elements * 2
    same = value.view_of is not None and value.view_of is key.view_of
    if value.dtype != "f16" and not same:
        size = round_up(size, CUDA_ALIGNMENT) + value.elements * 2
    return size


def _vector(node: Tensor, capability: int) -> bool:
    """Whether the kernel for few tokens runs, which reads a cache of its types as it is.

    ggml-cuda/fattn.cu `ggml_cuda_get_best_fattn_kernel` of 2026-10-01.
    """
    query, key, value = node.src[:3]
    head, tokens, ratio = query.ne[0], query.ne[1], query.ne[2] // max(1, key.ne[2])
    if tokens > MOST_VECTOR_TOKENS or head not in _VECTOR_HEADS or key.ne[1] % _CELLS_STEP:
        return False
    packed = key.quantized or value.quantized
    grouped = ratio > 1
    if _VOLTA <= capability < _TURING:
        columns = next(count for count in _VOLTA_COLUMNS if ratio % count == 0)
        return tokens * columns <= MOST_VECTOR_TOKENS
    if capability < _TURING:
        return packed or (tokens == 1 and not grouped)
    if packed:
        return tokens == 1 or capability >= _ADA
    if tokens != 1:
        return False
    wide = ratio > _WIDE_RATIO and (head == max(_VECTOR_HEADS) or key.ne[1] >= _WIDE_CELLS)
    return not grouped or (capability >= _ADA and query.ne[3] == 1 and not wide)
