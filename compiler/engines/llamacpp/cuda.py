"""What ggml-cuda can do and how it asks for memory: attention kernels and their buffers."""

from __future__ import annotations

from compiler.engines.llamacpp.quants import CUDA_ALIGNMENT
from compiler.engines.llamacpp.shape import Shape
from compiler.engines.llamacpp.tensor import Tensor
from compiler.ir.units import round_up

# Head sizes whose K and V must be equal (ggml-cuda/fattn.cu `ggml_cuda_get_best_fattn_kernel`).
_EQUAL_HEADS = frozenset({40, 64, 72, 80, 96, 112, 128, 256})
# K head size to V head size and the number of query heads a KV head that must divide.
_UNEQUAL_HEADS = {192: (128, 8), 320: (256, 32), 512: (512, 1), 576: (512, 1)}
_CELLS_STEP = 256
_COMMON_TYPES = frozenset({"f16", "f32", "q8_0", "q4_0"})


def attention_kernel(head_k: int, head_v: int, heads_per_kv: int, cells: int) -> bool:
    """Whether ggml-cuda has a flash attention kernel (ggml-cuda/fattn.cu, 2026-10-01)."""
    if head_k in _EQUAL_HEADS:
        return head_k == head_v
    if head_k not in _UNEQUAL_HEADS:
        return False
    value, step = _UNEQUAL_HEADS[head_k]
    grouped = heads_per_kv > 1 and cells % _CELLS_STEP == 0
    return head_v == value and grouped and heads_per_kv % step == 0


def attention_types(type_k: str, type_v: str) -> bool:
    """Whether an ordinary CUDA build has kernels for these cache types.

    The other pairs exist in builds with GGML_CUDA_FA_ALL_QUANTS only (ggml-cuda/fattn.cu).
    """
    return type_k == type_v and type_k in _COMMON_TYPES


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
    """Whether ggml-cuda takes an attention node."""
    query, key, value = node.src[:3]
    return attention_kernel(key.ne[0], value.ne[0], query.ne[2] // max(1, key.ne[2]), key.ne[1])


def attention_bytes(node: Tensor) -> int:
    """Bytes of an attention node's result, with the f16 copies of a quantized cache behind it.

    ggml-cuda.cu `ggml_backend_cuda_buffer_type_get_alloc_size` of 2026-10-01.
    """
    key, value = node.src[1], node.src[2]
    size = node.data_bytes()
    if key.dtype != "f16":
        size = round_up(size, CUDA_ALIGNMENT) + key.elements * 2
    same = value.view_of is not None and value.view_of is key.view_of
    if value.dtype != "f16" and not same:
        size = round_up(size, CUDA_ALIGNMENT) + value.elements * 2
    return size
