"""What each layer of a launch keeps in the pool: keys and values, a window of them, or a state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.stages import stage_sizes
from compiler.engines.vllm.memory.states import recurrent_state_bytes
from compiler.engines.vllm.memory.weights import kv_heads_and_dim
from compiler.engines.vllm.model.shape import Attention, Mla, Shape

CacheKind = Literal["full", "sliding", "state"]

# One token in DeepSeek's packed fp8 layout (fp8_ds_mla): 512 values, 4 fp32 scales, 64 bf16.
_PACKED_MLA_BYTES = 656
# The sparse indexer keeps an fp8 key and one fp32 scale a token.
_INDEX_SCALE_BYTES = 4
_HEAD_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCache:
    """The cache of one layer on one GPU."""

    kind: CacheKind
    size_bytes: int
    """Bytes of a token; of a request's state."""
    window: int = 0
    stage: int
    """The pipeline stage that holds the layer."""


def layer_caches(shape: Shape, options: Options) -> tuple[LayerCache, ...]:
    """The caches of all layers, of every pipeline stage, with those that draft on the last."""
    if shape.encoder:
        return ()
    stages = [
        stage
        for stage, size in enumerate(stage_sizes(shape.layers, options.pipeline_parallel))
        for _ in range(size)
    ]
    # Layers that share the cache of an earlier one are the last of the model.
    own = max(0, shape.layers - shape.kv_shared_layers)
    last = options.pipeline_parallel - 1
    found = [
        cache
        for kind, stage in zip(_kinds(shape)[:own], stages, strict=False)
        for cache in _of_layer(shape, options, kind, stage)
    ]
    # MiniMax-M3's sparse layers keep a key a token, by which they pick blocks; it is never cut
    # (models/minimax_m3/common/indexer.py, 0.24 to 0.33).
    found += [
        LayerCache(kind="full", size_bytes=shape.block_keys * 2, stage=stages[layer])
        for layer in sorted(shape.block_layers)
        if layer < own
    ]
    found += _indexers(shape, options, stages[:own])
    for _ in range(options.draft_layers):
        found += _of_layer(shape, options, "full", last)
        found += _indexers(shape, options, [last], drafting=True)
    return (*found, *_of_draft(options, last))


def _indexers(
    shape: Shape, options: Options, stages: list[int], *, drafting: bool = False
) -> Iterator[LayerCache]:
    """The keys by which sparse latent attention picks tokens, a cache of their own.

    models/deepseek_v2.py `DeepseekV32IndexerCache`, 0.11 to 0.33; layers that draft have one.
    """
    mla, kinds = shape.mla, _kinds(shape)
    if mla is None or mla.expanded:
        return
    by_layer = options.rules.index_by_layer and not drafting
    for layer, stage in enumerate(stages):
        attends = drafting or kinds[layer] in {"full", "both"}
        if attends and mla.has_indexer(layer, by_layer=by_layer):
            size = mla.index_dim + _INDEX_SCALE_BYTES
            yield LayerCache(kind="full", size_bytes=size, stage=stage)


def _of_draft(options: Options, stage: int) -> Iterator[LayerCache]:
    """A draft model's layers take pages of the same pool (v1/worker/utils.py, 0.10 to 0.33)."""
    draft = options.draft
    if draft is None or draft.shape is None:
        return
    own = replace(options, tensor_parallel=draft.tensor_parallel, draft=None)
    for kind in _kinds(draft.shape):
        yield from _of_layer(draft.shape, own, kind, stage)


def token_bytes(shape: Shape, options: Options, *, is_full: bool) -> int:
    """Bytes of one token in one attention layer."""
    if shape.mla is not None and not shape.mla.expanded:
        return _latent_bytes(shape.mla, options)
    heads, head_dim = kv_heads_and_dim(shape, options.tensor_parallel, is_full=is_full)
    if options.kv_dtype == "nvfp4":
        # Two numbers a byte, and a scale in fp8 for each sixteen (v1/kv_cache_interface.py, 0.33).
        return 2 * heads * (head_dim // 2 + head_dim // 16)
    if options.kv_dtype.endswith("_per_token_head"):
        # A scale in 32 bits behind each head's numbers (v1/attention/backends/triton_attn.py
        # `customize_spec`, 0.33; v1/kv_cache_interface.py, 0.22).
        return 2 * heads * (head_dim + _HEAD_SCALE_BYTES)
    return 2 * heads * head_dim * kv_number_bytes(options)


def kv_number_bytes(options: Options) -> int:
    """Bytes of one number in the cache."""
    return 1 if options.kv_dtype.startswith(("fp8", "int8")) else 2


def _kinds(shape: Shape) -> tuple[Attention, ...]:
    """One kind a layer, also where config.json lists too few."""
    full: Attention = "full"
    return (*shape.attention, *[full] * max(0, shape.layers - len(shape.attention)))


def _of_layer(shape: Shape, options: Options, kind: Attention, stage: int) -> Iterator[LayerCache]:
    if kind in {"linear", "mamba", "both"} and shape.recurrent is not None:
        size = recurrent_state_bytes(shape.recurrent, options)
        yield LayerCache(kind="state", size_bytes=size, stage=stage)
    if kind in {"full", "both"}:
        size = token_bytes(shape, options, is_full=True)
        yield LayerCache(kind="full", size_bytes=size, stage=stage)
    if kind == "sliding":
        size = token_bytes(shape, options, is_full=False)
        # Cohere's windows reach one token further (models/commandr.py, from 0.29 on).
        further = options.rules.closed_windows and shape.model_type.startswith("cohere2")
        window = shape.window + int(further)
        yield LayerCache(kind="sliding", size_bytes=size, window=window, stage=stage)


def _latent_bytes(mla: Mla, options: Options) -> int:
    """One latent vector a token, the same on every rank of a tensor parallel group."""
    size = (mla.kv_rank + mla.rope_dim) * kv_number_bytes(options)
    if options.kv_dtype == "fp8_ds_mla":
        size = _PACKED_MLA_BYTES
    return size
