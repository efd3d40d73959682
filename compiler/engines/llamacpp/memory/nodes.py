"""Graphs larger than llama.cpp's own limit, with which it aborts at start."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from functools import lru_cache

from compiler.engines.llamacpp.flags.builds import Era
from compiler.engines.llamacpp.graphs.builder import GraphError
from compiler.engines.llamacpp.graphs.job import job_for, stack_for
from compiler.engines.llamacpp.launch.options import NO_MOVES, Options, ubatch_tokens
from compiler.engines.llamacpp.memory.compute import graph_size
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.layers import lay_out

_NODES_OF_AN_ADAPTER = 6  # llama-adapter.h `get_n_nodes`, a pair of matrices.
# Sizes of a hash set: primes after powers of two (ggml.c `ggml_hash_size`).
_PRIMES = (
    *(521, 1031, 2053, 4099, 8209, 16411, 32771, 65537, 131101),
    *(262147, 524309, 1048583, 2097169, 4194319, 8388617),
)


def largest_graph(shape: Shape, tokens: int) -> int:
    """Tensors that the scheduler finds room for: its hash set is of the next such prime."""
    tensors = len(shape.weights)
    if shape.family.larger_graph:
        nodes = max(160 * tokens, 64 * tensors)
    elif shape.family.large_graph:
        nodes = max(40 * tokens, 32 * tensors)
    else:
        adapters = sum(len(weight.adapters) for weight in shape.weights)
        nodes = max(1024, 8 * tensors) + _NODES_OF_AN_ADAPTER * adapters
    return _PRIMES[min(bisect_left(_PRIMES, nodes), len(_PRIMES) - 1)]


def graph_tensors(shape: Shape, options: Options, era: Era) -> int:
    """Tensors of the graph of a whole ubatch: nodes, inputs, weights; 0 where it is not known."""
    if not shape.exact:
        return 0
    # Neither places nor lengths change their number.
    alike = replace(
        options,
        cells=1024 * options.slots,
        gpu_layers=0,
        gpus=0,
        main_gpu=0,
        capabilities=(),
        tensor_split=(),
        moves=NO_MOVES,
        draft=None,
        projector=None,
    )
    return _tensors(shape, alike, era)


def too_large(shape: Shape, options: Options, era: Era) -> bool:
    """Whether llama.cpp would abort while it reserves its buffers (ggml-impl.h, hash set full)."""
    tokens = ubatch_tokens(options, causal=shape.causal)
    return graph_tensors(shape, options, era) > largest_graph(shape, tokens)


@lru_cache(maxsize=512)
def _tensors(shape: Shape, options: Options, era: Era) -> int:
    layout = lay_out(shape, options)
    stack = stack_for(shape, options, layout, abridge=False)
    try:
        return graph_size(job_for(shape, options, layout, era, options.slots, stack))
    except (GraphError, IndexError, ZeroDivisionError):
        return 0
