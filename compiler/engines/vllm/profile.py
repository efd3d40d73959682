"""A model for people, as vLLM reads its config.json."""

from __future__ import annotations

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.kv import layout_of
from compiler.engines.vllm.memory.states import recurrent_state_bytes
from compiler.engines.vllm.memory.weights import kv_heads_and_dim
from compiler.engines.vllm.model.config import shape_of
from compiler.engines.vllm.model.gguf import config_of
from compiler.engines.vllm.model.recurrent import names_recurrent_layers
from compiler.engines.vllm.model.sections import Header, whole
from compiler.engines.vllm.model.shape import Attention as OwnAttention
from compiler.engines.vllm.model.shape import Mla, Shape
from compiler.engines.vllm.versions import NEWEST
from compiler.ir.facts import ModelFacts
from compiler.ir.profile import (
    CACHE_TYPES,
    CacheType,
    LayerKind,
    ModelProfile,
    State,
    TokenCache,
    WeightType,
    layer_runs,
    row_bytes,
    weight_types,
)

# Beyond any model: shapes go through the layers one by one, and a lock can be edited by hand.
_MAX_LAYERS = 4096
# One request on one GPU without drafts: state sizes depend on nothing else of a launch.
_ALONE = Options(version=NEWEST, context=1, sequences=1, batched_tokens=1)


def profile_of(facts: ModelFacts) -> ModelProfile:
    """What config.json says; only the weights where it says too little."""
    weights = weight_types(facts)
    header = config_of(facts) if facts.format == "gguf" else facts.header
    try:
        if _most_layers(header) <= _MAX_LAYERS:
            return _profile(shape_of(header), weights, mixed=names_recurrent_layers(header))
    except (ArithmeticError, TypeError, ValueError):
        # Too little is a ShapeError; a lock that was edited by hand can hold anything else.
        pass
    return ModelProfile(engine="vllm", weights=weights)


def _profile(shape: Shape, weights: list[WeightType] | None, *, mixed: bool) -> ModelProfile:
    experts = shape.experts
    if shape.compressed or (mixed and set(shape.attention) == {"full"}):
        # The shape does not tell these layers apart, and all of one kind would be wrong; rows of
        # several kinds that are compressed have no figure a token.
        return ModelProfile(
            engine="vllm",
            width=shape.hidden,
            experts=experts.count if experts else 0,
            experts_used=experts.active if experts else 0,
            token_cache=[] if shape.encoder else None,
            state_bytes=0 if shape.encoder else None,
            weights=weights,
        )
    return ModelProfile(
        engine="vllm",
        layers=layer_runs(_kind(shape, own, index) for index, own in enumerate(_attention(shape))),
        draft_layers=shape.draft_layers,
        width=shape.hidden,
        experts=experts.count if experts else 0,
        experts_used=experts.active if experts else 0,
        token_cache=_token_cache(shape),
        state_bytes=_state_bytes(shape),
        weights=weights,
    )


def _most_layers(header: Header) -> int:
    """The largest number of layers that any section names."""
    sections = [value for value in header.values() if isinstance(value, dict)]
    own = whole(header, "num_hidden_layers")
    return max([own, *(_most_layers(section) for section in sections)])


def _attention(shape: Shape) -> tuple[OwnAttention, ...]:
    """One kind a layer, also where config.json lists too few."""
    full: OwnAttention = "full"
    missing = max(0, shape.layers - len(shape.attention))
    return shape.attention[: shape.layers] + (full,) * missing


def _kind(shape: Shape, own: OwnAttention, index: int) -> LayerKind:
    if own in {"linear", "mamba", "none"}:
        return LayerKind(attention="none", state=_state(shape, own))
    reads_other = shape.layers - index <= shape.kv_shared_layers
    if shape.mla and not shape.mla.expanded:
        return LayerKind(
            attention="latent", heads=shape.heads, kv_heads=1, head_size=_latent_row(shape.mla)
        )
    kv_heads, head_size = kv_heads_and_dim(shape, 1, is_full=own != "sliding")
    return LayerKind(
        attention="sliding" if own == "sliding" else "full",
        state=_state(shape, own),
        window=shape.window if own == "sliding" else 0,
        heads=shape.heads,
        kv_heads=kv_heads,
        head_size=head_size,
        reads_other=reads_other,
    )


def _state(shape: Shape, own: OwnAttention) -> State:
    match own:
        case "linear":
            return "linear"
        case "mamba" | "both":
            convolves = shape.recurrent is not None and shape.recurrent.kind == "conv"
            return "convolution" if convolves else "recurrent"
        case _:
            return "none"


def _token_cache(shape: Shape) -> list[TokenCache]:
    """What one token takes on one GPU (v1/kv_cache_interface.py, page_size_bytes)."""
    kinds = _attention(shape)
    own = kinds[: max(0, shape.layers - shape.kv_shared_layers)]
    full, sliding = own.count("full") + own.count("both"), own.count("sliding")
    if shape.encoder or not full + sliding:
        return []
    return [
        TokenCache(
            cache_type=cache_type,
            growing_bytes=full * _layer_bytes(shape, cache_type, is_full=True),
            sliding_bytes=sliding * _layer_bytes(shape, cache_type, is_full=False),
        )
        for cache_type in CACHE_TYPES
    ]


def _layer_bytes(shape: Shape, cache_type: CacheType, *, is_full: bool) -> int:
    if shape.mla and not shape.mla.expanded:
        return row_bytes(cache_type, _latent_row(shape.mla)) + _index_bytes(shape, shape.mla)
    kv_heads, head_size = kv_heads_and_dim(shape, 1, is_full=is_full)
    return 2 * row_bytes(cache_type, kv_heads * head_size)


def _index_bytes(shape: Shape, mla: Mla) -> int:
    """The sparse indexer's key of one token in one layer: the same at every cache type."""
    layout = layout_of(shape, _ALONE)
    token_bytes = layout.block_bytes // layout.block_size // shape.layers
    return token_bytes - row_bytes("f16", _latent_row(mla))


def _latent_row(mla: Mla) -> int:
    return mla.kv_rank + mla.rope_dim


def _state_bytes(shape: Shape) -> int | None:
    layers = shape.count("linear") + shape.count("mamba") + shape.count("both")
    if not layers:
        return 0
    if shape.recurrent is None or shape.recurrent.least < 1:
        return None
    return layers * recurrent_state_bytes(shape.recurrent, _ALONE)
