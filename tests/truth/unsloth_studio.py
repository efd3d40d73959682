"""What Unsloth Studio's published formula says of a model on one GPU, to stand beside ours.

As its pull requests describe it (unslothai/unsloth 4757 for the cache, 6312 for the rest, 2026):
the file's size; a cache by the kind of attention, with cells and windows as llama.cpp has them; a
compute buffer of a ubatch of logits for each slot and four activations, and what grows with the
context: the mask, half as large again, or what a quantized cache is read into. Its reserve of a
twentieth of the GPU is left out here.
"""

from __future__ import annotations

from compiler.engines.llamacpp.launch.options import NO_MOVES, Options
from compiler.engines.llamacpp.model import quants
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.cache import sliding_cells

# With more slots at once it was not compared with anything.
_MOST_SLOTS = 8
_F32 = 4
_HALF = 2


def speaks_of(shape: Shape, options: Options) -> bool:
    """Whether the formula is meant for this: one GPU that holds all, and few slots."""
    whole = options.gpu_layers > shape.layers_in_file and options.kv_on_gpu
    plain = options.moves == NO_MOVES and not shape.encoder and options.slots <= _MOST_SLOTS
    return options.gpus == 1 and whole and plain


def total_bytes(shape: Shape, options: Options) -> int:
    """Weights, cache and compute buffer on the GPU."""
    weights = sum(weight.size_bytes for weight in shape.weights)
    return weights + _cache(shape, options) + _compute(shape, options)


def _cache(shape: Shape, options: Options) -> int:
    cells = options.cells_per_stream * options.streams
    windowed = sliding_cells(shape, options) * options.streams if shape.window else cells
    total = 0
    for layer in shape.layers:
        if layer.recurrent:
            state = shape.state.conv_elements + shape.state.state_elements
            total += state * _F32 * options.slots
        if not layer.attention:
            continue
        here = windowed if layer.sliding else cells
        total += quants.row_bytes(options.cache_type_k, layer.k_width) * here
        if not shape.latent.rank:
            total += quants.row_bytes(options.cache_type_v, layer.v_width) * here
    return total


def _compute(shape: Shape, options: Options) -> int:
    ubatch = options.ubatch
    flat = shape.vocabulary * ubatch * _F32 * options.slots + 4 * shape.width * ubatch * _F32
    if quants.is_quantized(options.cache_type_k):
        return flat + 9 * shape.width * options.all_cells // 4
    return flat + 3 * ubatch * _HALF * options.all_cells // 2
