"""Weights of a model that drafts tokens for another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compiler.engines.vllm.launch.options import Draft, Options
from compiler.engines.vllm.memory.allocator import allocated_bytes
from compiler.engines.vllm.memory.headers import weights_from_tensors
from compiler.engines.vllm.memory.weights import (
    layer_sizes,
    position_bytes,
    vocabulary_rows,
    weights_from_shape,
)
from compiler.engines.vllm.model.quantization import scheme_of
from compiler.engines.vllm.model.sections import Header, whole
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.facts import ModelFacts
from compiler.ir.inventory import GpuKind

# EAGLE-3 reads the states of this many layers of the target unless it says another number.
_STATES_READ = 3


_MEDUSA_HEADS = 5


def draft_weights(target: Shape, options: Options, kind: GpuKind | None) -> int:
    """Bytes of the draft model on one GPU; 0 on pipeline stages without it."""
    draft = options.drafts_here
    if draft is None:
        return 0
    own = replace(
        options,
        tensor_parallel=draft.tensor_parallel,
        pipeline_parallel=1,
        stage=0,
        draft=None,
        draft_layers=0,
        lora=None,
        quantization=None,
    )
    shape = draft.shape
    if shape is None:
        return _summed(_medusa_sizes(draft.facts.header, target, own), own)
    facts = _without_shared(draft, target)
    if facts.tensors:
        found = weights_from_tensors(facts, shape, own, kind)
        if found is not None:
            return found
    if draft.method == "draft_model":
        return weights_from_shape(shape, own, kind)
    return _summed(_eagle_sizes(draft, shape, target, own, kind), own)


def _without_shared(draft: Draft, target: Shape) -> ModelFacts:
    """EAGLE takes the target's embedding where it is as wide, and EAGLE-1 its output as well.

    v1/spec_decode/llm_base_proposer.py `_maybe_share_embeddings`, `_maybe_share_lm_head`.
    """
    shape = draft.shape
    if draft.method not in {"eagle", "eagle3"} or shape is None or shape.hidden != target.hidden:
        return draft.facts
    shared = ("embed_tokens.weight", "lm_head.weight")[: 2 if draft.method == "eagle" else 1]
    kept = [group for group in draft.facts.tensors if not group.name.endswith(shared)]
    return draft.facts.model_copy(update={"tensors": kept})


def _eagle_sizes(
    draft: Draft, shape: Shape, target: Shape, options: Options, kind: GpuKind | None
) -> Iterator[int]:
    """Layers on the target's hidden states (models/llama_eagle.py, llama_eagle3.py)."""
    number, scheme = shape.dtype_bytes, scheme_of(shape.quantization, None)
    for layer in range(shape.layers):
        yield from layer_sizes(shape, options, scheme, layer, kind)
    yield shape.hidden * number
    yield position_bytes(shape, options)
    if draft.method == "eagle":
        yield 2 * shape.hidden * shape.hidden * number
        return
    yield _STATES_READ * target.hidden * shape.hidden * number
    # The first layer's attention reads the embedding beside the hidden state.
    rows = (shape.heads + 2 * shape.kv_heads) * shape.head_dim // options.tensor_parallel
    yield rows * shape.hidden * number
    vocabulary = whole(draft.facts.header, "draft_vocab_size") or shape.vocabulary
    yield vocabulary_rows(replace(shape, vocabulary=vocabulary), options) * shape.hidden * number


def _medusa_sizes(header: Header, target: Shape, options: Options) -> Iterator[int]:
    """Residual blocks, replicated, and an output a head (models/medusa.py)."""
    hidden = whole(header, "hidden_size") or target.hidden
    number, blocks = target.dtype_bytes, max(1, whole(header, "num_hidden_layers"))
    vocabulary = whole(header, "vocab_size") or target.vocabulary
    rows = vocabulary_rows(replace(target, vocabulary=vocabulary), options)
    for _ in range(whole(header, "num_heads") or _MEDUSA_HEADS):
        for _ in range(blocks):
            yield hidden * hidden * number
        yield rows * hidden * number


def _summed(sizes: Iterator[int], options: Options) -> int:
    return allocated_bytes(sizes, options.rules)
