"""A GGUF model for people, as llama.cpp reads it."""

from __future__ import annotations

from compiler.engines.llamacpp.model.header import FactsError
from compiler.engines.llamacpp.model.layer_kinds import Layer
from compiler.engines.llamacpp.model.shape import Shape, read_shape
from compiler.ir.facts import ModelFacts
from compiler.ir.profile import (
    CACHE_TYPES,
    Attention,
    CacheType,
    LayerKind,
    ModelProfile,
    State,
    TokenCache,
    layer_runs,
    row_bytes,
    weight_types,
)

_STATE_BYTES = 4  # Recurrent states are f32 (llama-memory-recurrent.cpp).


def profile_of(facts: ModelFacts) -> ModelProfile:
    """What the header says; only the weights where it contradicts itself or is no GGUF's."""
    weights = weight_types(facts)
    if facts.role != "model":
        return ModelProfile(engine="llama.cpp", weights=weights)
    try:
        shape = read_shape(facts)
    except FactsError:
        return ModelProfile(engine="llama.cpp", weights=weights)
    return ModelProfile(
        engine="llama.cpp",
        layers=layer_runs(_kind(shape, layer, index) for index, layer in enumerate(shape.layers)),
        draft_layers=shape.layers_in_file - len(shape.layers),
        width=shape.width,
        experts=shape.experts.count,
        experts_used=max(layer.experts_used for layer in shape.layers),
        token_cache=[] if shape.encoder else _token_cache(shape),
        state_bytes=_state_bytes(shape),
        weights=weights,
    )


def _kind(shape: Shape, layer: Layer, index: int) -> LayerKind:
    state: State = _state(shape) if layer.recurrent else "none"
    if not layer.attention:
        return LayerKind(attention="none", state=state)
    attention: Attention = "sliding" if layer.sliding else "full"
    return LayerKind(
        attention="latent" if shape.latent.rank else attention,
        state=state,
        window=shape.window if layer.sliding else 0,
        heads=layer.heads,
        kv_heads=layer.heads_kv,
        head_size=layer.head_k,
        reads_other=layer.cache_of != index and not shape.encoder,
    )


def _state(shape: Shape) -> State:
    if shape.state.short_conv:
        return "convolution"
    linear = shape.family.delta_net or shape.arch == "kimi-linear"
    return "linear" if linear else "recurrent"


def _token_cache(shape: Shape) -> list[TokenCache]:
    """Cache rows of one token (llama-kv-cache.cpp, with flash attention)."""
    own = [
        layer
        for index, layer in enumerate(shape.layers)
        if layer.attention and layer.cache_of == index
    ]
    if not own:
        return []
    return [
        TokenCache(
            cache_type=cache_type,
            growing_bytes=_bytes(shape, own, cache_type, sliding=False),
            sliding_bytes=_bytes(shape, own, cache_type, sliding=True),
        )
        for cache_type in CACHE_TYPES
    ]


def _bytes(shape: Shape, layers: list[Layer], cache_type: CacheType, *, sliding: bool) -> int:
    return sum(
        row_bytes(cache_type, elements)
        for layer in layers
        if layer.sliding == sliding
        for elements in _rows(shape, layer)
    )


def _rows(shape: Shape, layer: Layer) -> list[int]:
    """K, V unless latent rows stand for both, and the key of a sparse indexer."""
    value = [] if shape.latent.absorbed else [layer.v_width]
    return [layer.k_width, *value, layer.indexer]


def _state_bytes(shape: Shape) -> int:
    elements = shape.state.conv_elements + shape.state.state_elements
    return elements * _STATE_BYTES * sum(layer.recurrent for layer in shape.layers)
