"""A model for people: its layers, heads, cache and weights, as an engine reads them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Literal

from compiler.ir.engine_name import EngineName
from compiler.ir.facts import ModelFacts, Record

Attention = Literal["full", "sliding", "latent", "none"]
State = Literal["none", "linear", "recurrent", "convolution"]
CacheType = Literal["f16", "q8_0", "fp8"]

CACHE_TYPES: tuple[CacheType, ...] = ("f16", "q8_0", "fp8")

# Elements and bytes of one block of a cache row. q8_0: 32 numbers of one byte and a 16-bit scale
# (ggml/src/ggml-common.h block_q8_0). fp8: one byte a number, one scale a layer (vLLM 0.33).
_BLOCKS: dict[CacheType, tuple[int, int]] = {"f16": (1, 2), "q8_0": (32, 34), "fp8": (1, 1)}


class LayerKind(Record):
    """What one layer attends with."""

    attention: Attention
    state: State = "none"
    """The recurrent part, instead of attention or beside it."""
    window: int = 0
    """How many tokens a sliding layer looks back on; 0 elsewhere."""
    heads: int = 0
    kv_heads: int = 0
    head_size: int = 0
    """Elements of one cached K head; of the one latent row with latent attention."""
    reads_other: bool = False
    """It reads the KV cache of another layer and has none of its own."""


class LayerRun(LayerKind):
    """Neighbouring layers of one kind."""

    layers: int


class TokenCache(Record):
    """Bytes of KV cache that one token takes in all layers together, at one cache type."""

    cache_type: CacheType
    growing_bytes: int
    """In layers that keep every token."""
    sliding_bytes: int
    """In layers that keep only the tokens of their window."""


class WeightType(Record):
    """All weights of one type."""

    dtype: str
    tensors: int
    bytes: int


class ModelProfile(Record):
    """A model for people; None stands for what the files do not tell."""

    engine: EngineName
    """Whose reading of the files this is."""
    layers: list[LayerRun] | None = None
    """The layers that run, from first to last."""
    draft_layers: int | None = None
    """Layers in the file for multi-token prediction, beside those that run."""
    width: int | None = None
    experts: int | None = None
    """Routed experts of a layer; 0 for a dense model."""
    experts_used: int | None = None
    """Experts that each token passes through."""
    token_cache: list[TokenCache] | None = None
    """One entry a cache type; empty when the model keeps no KV cache."""
    state_bytes: int | None = None
    """Recurrent state of one request, however long it is; 0 without one."""
    weights: list[WeightType] | None = None
    """Largest first."""


def layer_runs(layers: Iterable[LayerKind]) -> list[LayerRun]:
    """The layers with neighbours of one kind counted together."""
    return [LayerRun(layers=len(list(run)), **kind.model_dump()) for kind, run in groupby(layers)]


def row_bytes(cache_type: CacheType, elements: int) -> int:
    """Bytes of one cache row; the last block counts whole."""
    per_block, block_bytes = _BLOCKS[cache_type]
    return -(-elements // per_block) * block_bytes


def weight_types(facts: ModelFacts) -> list[WeightType] | None:
    """The weights by type, largest first; None where no tensors are known."""
    counts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    try:
        for group in facts.tensors:
            count = group.count()
            counts[group.dtype] = counts.get(group.dtype, 0) + count
            sizes[group.dtype] = sizes.get(group.dtype, 0) + count * group.bytes
    except ValueError:  # A lock that was edited by hand can hold ranges that are none.
        return None
    found = [WeightType(dtype=name, tensors=counts[name], bytes=sizes[name]) for name in counts]
    return sorted(found, key=lambda weight: (-weight.bytes, weight.dtype)) or None
