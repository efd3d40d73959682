"""Bands of what is assumed: learnt from what families that nobody had looked at really did."""

from __future__ import annotations

from dataclasses import replace

from compiler.engines.llamacpp.launch.options import Options, ubatch_tokens
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.cache import CacheBytes, state_bytes
from compiler.engines.llamacpp.placed.layers import Layout

# As plain attention, DeepSeek V4 Flash kept 11.6 times what it does, and Qwen 3.8 Flash Next 3.3
# times; an indexer's keys added a quarter to latent rows (b11312).
_CACHE_LOW_SHARE = 12
_CACHE_HIGH_PERCENT = 50
# Scores of an indexer in f32, of all cells for each token of a batch: Qwen 3.8 Flash Next holds
# three of them at once.
_SCORES = 3
_F32 = 4  # bytes

Bytes = tuple[int, ...]


def weights_band(shape: Shape, weights: Bytes) -> tuple[Bytes, Bytes]:
    """The least and the most that weights take on each device.

    What stands outside the layers of an unknown family may lie on the host, on a GPU, or on both.
    """
    if shape.knowledge.weights:
        return weights, weights
    outer = sum(weight.size_bytes for weight in shape.weights if weight.block is None)
    return (
        tuple(max(0, size - outer) for size in weights),
        tuple(size + outer if size else 0 for size in weights),
    )


def cache_band(
    shape: Shape, options: Options, layout: Layout, cache: CacheBytes
) -> tuple[Bytes, Bytes]:
    """The least and the most that KV and states take on each device."""
    sizes = tuple(cache.total(device) for device in range(layout.host + 1))
    if shape.knowledge.cache:
        return sizes, sizes
    # Some families give each slot a cache of its own, even where the slots share a pool.
    slots = options.slots if options.unified else 1
    high = []
    for device, size in enumerate(sizes):
        homes = layout.layers if options.kv_on_gpu else (layout.host,) * len(layout.layers)
        states = homes.count(device) * state_bytes(shape, options, on_gpu=device != layout.host)
        high.append((size + size * _CACHE_HIGH_PERCENT // 100) * slots + states)
    return tuple(size // _CACHE_LOW_SHARE for size in sizes), tuple(high)


def scores_bytes(shape: Shape, options: Options) -> int:
    """What an indexer may take beyond the buffer of the nearest known family, at most."""
    if shape.exact or not shape.indexer.size:
        return 0
    return _SCORES * _F32 * options.cells_per_stream * ubatch_tokens(options, causal=shape.causal)


def rollback_bytes(shape: Shape, options: Options) -> int:
    """What states to return to may take of a compute buffer, where they are not rebuilt."""
    if shape.family.delta_net:
        return 0
    return options.rollbacks * state_bytes(shape, replace(options, rollbacks=0), on_gpu=True)
