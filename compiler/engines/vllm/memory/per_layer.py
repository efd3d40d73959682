"""Embeddings that each layer reads for itself (Gemma 4 E2B and E4B, models/gemma4.py 0.32)."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.units import round_up

# model_executor/layers/vocab_parallel_embedding.py: DEFAULT_VOCAB_PADDING_SIZE.
_VOCABULARY_STEP = 64


def per_layer_tables(shape: Shape, options: Options) -> Iterator[int]:
    """Bytes of the table of all layers and of the projection beside it, both cut by ranks."""
    width, ranks = shape.layers * shape.per_layer_width, options.tensor_parallel
    if not width:
        return
    rows = round_up(round_up(shape.per_layer_vocabulary, _VOCABULARY_STEP), ranks) // ranks
    yield rows * width * shape.dtype_bytes
    yield width // ranks * shape.hidden * shape.dtype_bytes
    yield shape.per_layer_width * shape.dtype_bytes


def per_layer_sizes(shape: Shape) -> Iterator[int]:
    """Bytes of what one layer has for its input: a gate, a projection back and a norm."""
    if shape.per_layer_width:
        yield from [shape.per_layer_width * shape.hidden * shape.dtype_bytes] * 2
        yield shape.hidden * shape.dtype_bytes
