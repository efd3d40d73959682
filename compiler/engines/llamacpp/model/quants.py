"""ggml's tensor types: how many bytes their rows take in a file and in a buffer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from compiler.ir.ggml_types import TYPES
from compiler.ir.units import round_up

# Elements and bytes of one block.
BLOCKS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {name: (elements, size) for name, elements, size in TYPES.values()}
)

# What --cache-type-k and --cache-type-v take (common/arg.cpp `kv_cache_types`).
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")

# A type that llama.cpp gains after this table: the largest block there is bounds its padding.
_UNKNOWN = (256, 292)

# ggml-cuda pads the last row of a quantized matrix to this many elements
# (ggml-cuda.cu `ggml_backend_cuda_buffer_type_get_alloc_size`, MATRIX_ROW_PADDING).
CUDA_ROW_PADDING = 512
CUDA_ALIGNMENT = 128  # ggml-cuda.cu `ggml_backend_cuda_buffer_type_get_alignment`
CPU_ALIGNMENT = 32  # ggml-backend.cpp, TENSOR_ALIGNMENT


def block(dtype: str) -> tuple[int, int]:
    """Elements and bytes of one block of a type."""
    return BLOCKS.get(dtype, _UNKNOWN)


def is_quantized(dtype: str) -> bool:
    """Whether a type packs several elements in a block."""
    return block(dtype)[0] > 1


def row_bytes(dtype: str, elements: int) -> int:
    """Bytes of one row (ggml.c `ggml_row_size`)."""
    per_block, block_bytes = block(dtype)
    return elements // per_block * block_bytes


def cuda_padding_bytes(dtype: str, row_elements: int) -> int:
    """Bytes that a CUDA buffer adds behind a tensor of such rows."""
    rest = row_elements % CUDA_ROW_PADDING
    if not rest or not is_quantized(dtype):
        return 0
    return row_bytes(dtype, CUDA_ROW_PADDING - rest)


def padded_row_bytes(size: int, dtype: str, width: int, *, on_gpu: bool) -> int:
    """What a cache of `size` bytes of rows takes in a buffer (ggml-cuda.cu `get_alloc_size`)."""
    if not on_gpu:
        return round_up(size, CPU_ALIGNMENT)
    return round_up(size + cuda_padding_bytes(dtype, width), CUDA_ALIGNMENT)
