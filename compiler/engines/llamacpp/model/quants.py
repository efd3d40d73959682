"""ggml's tensor types: how many bytes their rows take in a file and in a buffer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from compiler.ir.units import round_up

# Elements and bytes of one block (ggml/src/ggml.c `type_traits`, llama.cpp of 2026-10-01).
BLOCKS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "f32": (1, 4),
        "f16": (1, 2),
        "bf16": (1, 2),
        "f64": (1, 8),
        "i8": (1, 1),
        "i16": (1, 2),
        "i32": (1, 4),
        "i64": (1, 8),
        "q4_0": (32, 18),
        "q4_1": (32, 20),
        "q5_0": (32, 22),
        "q5_1": (32, 24),
        "q8_0": (32, 34),
        "q8_1": (32, 36),
        "q2_K": (256, 84),
        "q3_K": (256, 110),
        "q4_K": (256, 144),
        "q5_K": (256, 176),
        "q6_K": (256, 210),
        "q8_K": (256, 292),
        "iq1_s": (256, 50),
        "iq1_m": (256, 56),
        "iq2_xxs": (256, 66),
        "iq2_xs": (256, 74),
        "iq2_s": (256, 82),
        "iq3_xxs": (256, 98),
        "iq3_s": (256, 110),
        "iq4_xs": (256, 136),
        "iq4_nl": (32, 18),
        "tq1_0": (256, 54),
        "tq2_0": (256, 66),
        "mxfp4": (32, 17),
        "nvfp4": (64, 36),
    }
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
