"""Which layers of a model are recurrent, and their sizes, from its config.json."""

from __future__ import annotations

from collections.abc import Callable

from compiler.engines.vllm.model.sections import Header, first_whole, number, section, whole
from compiler.engines.vllm.model.shape import Attention, Recurrent, RecurrentKind

_KINDS: dict[str, Attention] = {
    "full_attention": "full",
    "attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "full",
    "indexed_attention": "full",
    "deepseek_sparse_attention": "full",
    "linear_attention": "linear",
    "mamba": "mamba",
    "conv": "mamba",
    # Zamba2: a Mamba-2 layer behind a shared attention block.
    "hybrid": "both",
    "mlp": "none",
    "moe": "none",
}
# Nemotron-H writes its layers as letters: Mamba, attention, MLP.
_LETTERS: dict[str, Attention] = {"M": "mamba", "*": "full", "-": "none", "E": "none"}
LAYER_KINDS = frozenset({*_KINDS, *_LETTERS})
"""What layers may be called in `layer_types` and in the patterns of Nemotron-H."""
PURE_MAMBA = frozenset({"falcon_mamba", "mamba", "mamba2"})
"""Models that are Mamba from end to end, without MLPs."""
_MAMBA = frozenset({"falcon_mamba", "jamba", "mamba"})
_LIGHTNING = frozenset({"minimax", "minimax_m1", "minimax_text_01"})
_KIMI_DELTA = frozenset({"bailing_hybrid", "kimi_linear"})
_CONVOLUTIONS = ("lfm2", "lfm3")
# Sizes that state space models alone have. Transformers 5 writes their layers as linear attention
# too (configuration_utils.py `_LEGACY_LAYER_TYPE_REMAP`).
_STATE_SPACE_KEYS = frozenset({"mamba_d_state", "ssm_cfg", "ssm_state_size", "state_size"})
# Keys that any such model has, for those whose layers are not known here.
_MIXED_LAYERS = frozenset(
    {
        "attn_layer_period",
        "global_attn_every_n_layers",
        "layer_group_size",
        "linear_attn_config",
        "mamba_d_state",
        "ssm_cfg",
        "ssm_state_size",
    }
)


def listed_kinds(text: Header, model_type: str, layers: int) -> tuple[Attention, ...] | None:
    """The kind of each layer, where config.json lists them or a hybrid's code counts them."""
    listed = named_layers(text)
    if isinstance(text.get("layer_types") or text.get("layers_block_type"), list):
        linear: Attention = "linear" if _STATE_SPACE_KEYS.isdisjoint(text) else "mamba"
        kinds = {**_KINDS, "linear_attention": linear}
        return tuple(kinds.get(kind, "full") for kind in listed)[:layers]
    if listed:
        return tuple(_LETTERS.get(letter, "none") for letter in listed)[:layers]
    return _counted_kinds(text, model_type, layers)


def named_layers(text: Header) -> tuple[str, ...]:
    """What config.json calls each layer: a word, or a letter of Nemotron-H's pattern."""
    listed = text.get("layer_types") or text.get("layers_block_type")
    if isinstance(listed, list):
        return tuple(str(kind) for kind in listed)
    pattern = text.get("hybrid_override_pattern")
    return tuple(pattern) if isinstance(pattern, str) else ()


def _counted_kinds(text: Header, model_type: str, layers: int) -> tuple[Attention, ...] | None:
    """Patterns that the models' code hard-wires (transformers 5.23 and vLLM's model classes)."""
    rest: Attention = "mamba"
    if model_type in PURE_MAMBA:
        return (rest,) * layers
    if model_type == "falcon_h1":
        both: Attention = "both"
        return (both,) * layers
    attends: Callable[[int], bool]
    if model_type == "jamba":
        period, offset = whole(text, "attn_layer_period") or 8, whole(text, "attn_layer_offset")
        offset = offset if "attn_layer_offset" in text else 4
        attends = _every(period, offset)
    elif model_type == "plamo2":
        step = whole(text, "mamba_step") or 2
        attends = _plamo(step, layers)
    elif model_type in {"bamba", "lfm2", "lfm2_moe"}:
        attends = _within(text.get("attn_layer_indices") or text.get("full_attn_idxs"))
    elif model_type == "kimi_linear":
        # Layers are numbered from one there.
        inside = _within(section(text, "linear_attn_config").get("kda_layers"))
        attends, rest = (lambda layer: not inside(layer + 1)), "linear"
    elif model_type == "bailing_hybrid":
        period = whole(text, "layer_group_size") or 6
        attends, rest = _every(period, period - 1), "linear"
    elif model_type in _LIGHTNING and isinstance(text.get("attn_type_list"), list):
        kinds = text["attn_type_list"]
        chosen = [at for at, kind in enumerate(kinds if isinstance(kinds, list) else []) if kind]
        attends, rest = _within(list(chosen)), "linear"
    else:
        return None
    full: Attention = "full"
    return tuple(full if attends(layer) else rest for layer in range(layers))


def _every(period: int, offset: int) -> Callable[[int], bool]:
    return lambda layer: layer % period == offset


def _within(listed: object) -> Callable[[int], bool]:
    chosen = {item for item in listed if isinstance(item, int)} if isinstance(listed, list) else ()
    return lambda layer: layer in chosen


def _plamo(step: int, layers: int) -> Callable[[int], bool]:
    """Every second layer attends; of few layers only the last (models/plamo2.py)."""
    if layers <= step // 2:
        return lambda layer: layer == layers - 1
    return lambda layer: layer % step == step // 2


def recurrent_of(
    text: Header, model_type: str, hidden: int, attention: tuple[Attention, ...]
) -> Recurrent | None:
    """The sizes of the recurrent layers; None without any.

    The classes' get_mamba_state_shape_from_config (model_executor/models/, 0.10 to 0.33).
    """
    if "linear" in attention:
        return _linear(text, model_type, hidden)
    if "mamba" not in attention and "both" not in attention:
        return None
    if model_type.startswith(_CONVOLUTIONS):
        inner = whole(text, "conv_dim") if model_type == "lfm2" else 0
        return Recurrent(
            kind="conv",
            key_heads=1,
            value_heads=inner or hidden,
            key_dim=1,
            value_dim=1,
            kernel=whole(text, "conv_L_cache") or 3,
            state_bytes=2,
        )
    return _mamba(text, model_type, hidden) if model_type in _MAMBA else _mamba2(text, hidden)


def names_recurrent_layers(header: Header) -> bool:
    """Whether any part of the file speaks of layers that are not attention."""
    return not _MIXED_LAYERS.isdisjoint(header) or any(
        names_recurrent_layers(part) for part in header.values() if isinstance(part, dict)
    )


def _linear(text: Header, model_type: str, hidden: int) -> Recurrent:
    kimi = section(text, "linear_attn_config")
    delta = bool(kimi) or model_type in _KIMI_DELTA
    if delta or model_type in _LIGHTNING:
        kind: RecurrentKind = "kda" if delta else "lightning"
        # Transformers 5 writes what Kimi has in a section of its own beside the other sizes.
        heads = whole(kimi, "num_heads") or first_whole(
            text, ("linear_num_heads", "num_attention_heads")
        )
        head_dim = whole(kimi, "head_dim") or first_whole(text, ("linear_head_dim", "head_dim"))
        head_dim = head_dim or (hidden // heads if heads else 0)
        return Recurrent(
            kind=kind,
            key_heads=heads,
            value_heads=heads,
            key_dim=head_dim,
            value_dim=head_dim,
            kernel=whole(kimi, "short_conv_kernel_size")
            or first_whole(text, ("linear_conv_kernel_dim", "short_conv_kernel_size"))
            or 4,
            state_bytes=_state_bytes(text, model_type),
            full_gate=kimi.get("use_full_rank_gate") is True,
        )
    return Recurrent(
        key_heads=whole(text, "linear_num_key_heads"),
        value_heads=whole(text, "linear_num_value_heads"),
        key_dim=whole(text, "linear_key_head_dim"),
        value_dim=whole(text, "linear_value_head_dim"),
        kernel=whole(text, "linear_conv_kernel_dim") or 4,
        state_bytes=_state_bytes(text, model_type),
    )


def _mamba(text: Header, model_type: str, hidden: int) -> Recurrent:
    expand = first_whole(text, ("mamba_expand", "expand")) or 2
    rank = first_whole(text, ("mamba_dt_rank", "time_step_rank")) or -(-hidden // 16)
    inner = whole(text, "intermediate_size") if model_type != "jamba" else 0
    return Recurrent(
        kind="mamba",
        key_heads=1,
        value_heads=inner or expand * hidden,
        key_dim=first_whole(text, ("mamba_d_state", "state_size")) or 16,
        value_dim=1,
        kernel=first_whole(text, ("mamba_d_conv", "conv_kernel")) or 4,
        state_bytes=_state_bytes(text, model_type),
        rank=rank,
        norms=model_type == "jamba",
    )


def _mamba2(text: Header, hidden: int) -> Recurrent:
    """Mamba-2 under the names of Bamba, Granite, Falcon-H1, Nemotron-H, Zamba2, Plamo2, Mamba2."""
    model_type = str(text.get("model_type") or "")
    heads = first_whole(text, ("mamba_n_heads", "mamba_num_heads", "n_mamba_heads"))
    dim = first_whole(text, ("mamba_d_head", "mamba_head_dim", "mamba_headdim"))
    if model_type == "mamba2":
        heads, dim = whole(text, "num_heads"), whole(text, "head_dim")
    if model_type == "plamo2":
        dim = whole(text, "hidden_size_per_head")
    if heads and not dim:
        inner = whole(text, "mamba_d_ssm") or int(number(text, "mamba_expand", 2) * hidden)
        dim = inner // heads
    groups = first_whole(text, ("mamba_n_groups", "n_groups", "mamba_ngroups"))
    return Recurrent(
        kind="mamba2",
        # Plamo2 has B and C without groups of heads.
        key_heads=0 if model_type == "plamo2" else groups or 1,
        value_heads=heads,
        key_dim=first_whole(text, ("mamba_d_state", "ssm_state_size", "state_size")),
        value_dim=dim,
        kernel=first_whole(text, ("mamba_d_conv", "conv_kernel")) or 4,
        state_bytes=_state_bytes(text, model_type),
        chunk=first_whole(text, ("mamba_chunk_size", "chunk_size")) or 2048,
    )


def _state_bytes(text: Header, model_type: str) -> int:
    """Bytes of a number of the state, where vLLM heeds config.json (models/config.py)."""
    if model_type == "nemotron_h":
        said = str(text.get("mamba_ssm_cache_dtype") or "")
        return {"": 0, "float32": 4}.get(said, 2)
    return 4 if text.get("mamba_ssm_dtype") == "float32" else 2
