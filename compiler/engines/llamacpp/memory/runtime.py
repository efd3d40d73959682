"""What a llama-server process takes on a GPU outside ggml's buffers: CUDA context, cuBLAS, pool."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from compiler.engines.llamacpp.launch.options import Options, ubatch_tokens
from compiler.engines.llamacpp.model import quants
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.layers import Layout
from compiler.engines.llamacpp.placed.weights import loads
from compiler.ir.demand import Part
from compiler.ir.inventory import GpuKind
from compiler.ir.units import MIB

# A CUDA primary context grows with the multiprocessors: RTX 4060 Ti (34) 107 MiB, RTX 5090 (170)
# 506 MiB, RTX PRO 6000 (188) 555 MiB; 2.9 MiB each and 8 MiB meet all three within 5 MiB.
_CONTEXT_BYTES = 8 * MIB
_CONTEXT_BYTES_PER_MULTIPROCESSOR = 29 * MIB // 10
# Kernels loaded on first use and cuBLAS: A40 (84) 297 MiB in all with a small model, RTX 4090
# (128) 451 to 456 MiB, an 8 GB laptop GPU (24) 153 MiB.
_LIBRARIES_BYTES = 50 * MIB
# cuBLAS takes a workspace of 32 MiB from Hopper on, 4 MiB before (ggml-cuda/common.cuh).
_HOPPER_WORKSPACE_BYTES = 28 * MIB
_WORKSPACE_BYTES = 4 * MIB
# Before Turing quantized products go through cuBLAS on dequantized weights: P100 (56) 371 to
# 373 MiB over ubatches of 1024 to 8192.
_DEQUANTIZED_BYTES = 150 * MIB
# RTX PRO 6000 (188): 703 MiB with a 700 B model. A B200 has 612 MiB of context alone.
_HIGH_BYTES = 70 * MIB
_HIGH_BYTES_HOPPER = 170 * MIB
_LOW_BYTES = 30 * MIB
# The most multiprocessors on sale (GB202); for a kind that does not say.
_UNKNOWN_MULTIPROCESSORS = 192

_TURING = (7, 5)
_HOPPER = (9, 0)


class Rows(NamedTuple):
    """What decides the scratch memory of products on one GPU."""

    tokens: int
    quantized: int
    """Elements of the longest row of a quantized matrix."""
    plain: int
    """Rows and columns of the largest other matrix."""


def context_bytes(kind: GpuKind) -> int:
    """A bare CUDA primary context, which every process takes on every GPU that it sees."""
    return _CONTEXT_BYTES + _multiprocessors(kind) * _CONTEXT_BYTES_PER_MULTIPROCESSOR


def runtime_part(kind: GpuKind, shape: Shape, options: Options, layout: Layout, gpu: int) -> Part:
    """CUDA context, libraries and pool on one GPU, with the band of the measured data."""
    return part_for(kind, rows_of(shape, options, layout, gpu))


@lru_cache(maxsize=4096)
def part_for(kind: GpuKind, rows: Rows) -> Part:
    """The same for matrices of this size."""
    context = context_bytes(kind)
    pool = _pool_bytes(kind, rows)
    libraries = _LIBRARIES_BYTES
    high = _HIGH_BYTES
    if kind.compute >= _HOPPER:
        libraries += _HOPPER_WORKSPACE_BYTES
        high = _HIGH_BYTES_HOPPER
    if kind.compute < _TURING:
        libraries += _DEQUANTIZED_BYTES
    size = context + libraries + pool
    known = f"{kind.multiprocessors}" if kind.multiprocessors else "an unknown number of"
    low = size - _LOW_BYTES - pool
    if not kind.multiprocessors:
        low = _CONTEXT_BYTES + _LIBRARIES_BYTES
    return Part(
        bytes=size,
        low_bytes=low,
        high_bytes=size + high,
        why=(
            f"CUDA context of {known} multiprocessors {context // MIB:,} MiB, "
            f"libraries {libraries // MIB:,} MiB, pool {pool // MIB:,} MiB; fitted to measurements"
        ),
    )


@lru_cache(maxsize=256)
def bare_context(kind: GpuKind) -> Part:
    """A GPU that the process may see and does not use: at most a context."""
    return Part(
        bytes=0,
        low_bytes=0,
        high_bytes=context_bytes(kind),
        why="not used; a process that sees the GPU may still open a CUDA context on it",
    )


def second_backend(kind: GpuKind, rows: Rows) -> Part:
    """Pool and cuBLAS workspace of a further context of the process, on a GPU that it uses."""
    workspace = _WORKSPACE_BYTES + (_HOPPER_WORKSPACE_BYTES if kind.compute >= _HOPPER else 0)
    size = workspace + _pool_bytes(kind, rows)
    return Part(bytes=size, low_bytes=0, high_bytes=size)


def _multiprocessors(kind: GpuKind) -> int:
    return kind.multiprocessors or _UNKNOWN_MULTIPROCESSORS


def rows_of(shape: Shape, options: Options, layout: Layout, gpu: int) -> Rows:
    """The largest matrices of a model's layers on one GPU."""
    layers = loads(shape, options.moves).layers
    own = [layers[index] for index in layout.on(gpu)]
    return Rows(
        tokens=ubatch_tokens(options, causal=shape.causal),
        quantized=max((layer.quantized_row for layer in own), default=0),
        plain=max((layer.plain_sides for layer in own), default=0),
    )


def _pool_bytes(kind: GpuKind, rows: Rows) -> int:
    """The pool's largest request (ggml-cuda.cu `ggml_cuda_op_mul_mat`, mmq.cu).

    Quantized weights: activations as q8_1 blocks. Others: both sides of the product as f16.
    """
    per_block, block_bytes = quants.block("q8_1")
    # Before Turing the fitted constant holds what quantized products take.
    quantized = rows.quantized * rows.tokens * block_bytes // per_block
    return max(quantized if kind.compute >= _TURING else 0, rows.tokens * rows.plain * 2)
