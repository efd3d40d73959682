"""The cache of DeepSeek V4: a window of latent rows, compressed rows of all that came, and states.

llama-kv-cache-dsv4.cpp of 2026-10-01. A slot has caches of its own even where it shares a pool.
"""

from __future__ import annotations

from collections.abc import Iterator

from compiler.engines.llamacpp.launch.options import CELL_PADDING, Options, batch_sizes
from compiler.engines.llamacpp.model import quants
from compiler.engines.llamacpp.model.shape import Shape
from compiler.ir.units import round_up

# Tokens that become one row: with an indexer that chooses among them, and without.
INDEXED_RATIO = 4
_PLAIN_RATIO = 128
_F32 = 4  # bytes


def layer_cache(shape: Shape, options: Options, *, on_gpu: bool) -> tuple[tuple[int, int], ...]:
    """KV and state bytes of each layer, were it on a GPU or on the host."""
    found = []
    for layer in shape.layers:
        kv = sum(
            quants.padded_row_bytes(
                quants.row_bytes(options.cache_type_k, width) * cells * options.slots,
                options.cache_type_k,
                width,
                on_gpu=on_gpu,
            )
            for width, cells in _rows(shape, options, layer.head_k, layer.compress)
        )
        align = quants.CUDA_ALIGNMENT if on_gpu else quants.CPU_ALIGNMENT
        # The compressor keeps keys and scores of what is not compressed yet.
        state = sum(
            2 * round_up(width * rows * options.slots * _F32, align)
            for width, rows in _states(shape, layer.head_k, layer.compress)
        )
        found.append((kv, state))
    return tuple(found)


def _rows(shape: Shape, options: Options, head: int, ratio: int) -> Iterator[tuple[int, int]]:
    """Width and cells of each cache of a layer, for one slot."""
    context = options.cells_per_stream
    if options.sliding_full:
        yield head, context
    else:
        ubatch = batch_sizes(options, causal=shape.causal)[1]
        yield head, round_up(min(context, shape.window + ubatch), CELL_PADDING)
    if ratio:
        compressed = round_up(max(1, -(-context // ratio)), CELL_PADDING)
        yield head, compressed
        if ratio == INDEXED_RATIO:
            yield shape.indexer.size, compressed


def _states(shape: Shape, head: int, ratio: int) -> Iterator[tuple[int, int]]:
    """Width and rows of the states of a layer's compressors."""
    if ratio == INDEXED_RATIO:
        yield 2 * head, 2 * ratio
        yield 2 * shape.indexer.size, 2 * ratio
    elif ratio == _PLAIN_RATIO:
        yield head, ratio
