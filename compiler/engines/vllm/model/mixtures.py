"""Mixtures of experts: how many there are, how wide, and in which layers, from config.json."""

from __future__ import annotations

from compiler.engines.vllm.model.recurrent import named_layers
from compiler.engines.vllm.model.sections import Header, first_whole, whole
from compiler.engines.vllm.model.shape import Experts

_EXPERT_COUNTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
_EXPERT_WIDTHS = (
    "moe_intermediate_size",
    "expert_intermediate_size",
    "expert_ffn_hidden_size",
    "intermediate_size",
)
_SHARED_COUNTS = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
_SHARED_WIDTHS = (
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "share_expert_dim",
)
_ACTIVE_COUNTS = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "moe_top_k",
    "top_k_experts",
    "moe_k",
    "moe_topk",
)


def experts_of(text: Header, model_type: str, layers: int) -> Experts | None:
    """The experts that a config.json describes; None without any."""
    count = first_whole(text, _EXPERT_COUNTS)
    if count <= 1:
        return None
    width = first_whole(text, _EXPERT_WIDTHS)
    shared = first_whole(text, _SHARED_WIDTHS)
    if not shared:
        shared = first_whole(text, _SHARED_COUNTS) * width
    if model_type == "granitemoehybrid":
        shared = whole(text, "shared_intermediate_size")
    active = first_whole(text, _ACTIVE_COUNTS) or 1
    found = _expert_layers(text, layers)
    if not found:
        return None
    if model_type.startswith("llama4"):
        shared = width
    return Experts(
        count=count,
        active=active,
        width=width,
        shared_width=shared,
        hidden=whole(text, "routed_expert_hidden_size"),
        hidden_norm=text.get("latent_moe_use_norm") is True,
        beside_dense=model_type.startswith("gemma4"),
        picture_width=whole(text, "picture_expert_width"),
        shared_gate=bool(shared) and model_type.startswith("qwen"),
        router_bias=text.get("topk_method") == "noaux_tc"
        or text.get("scoring_func") in {"sigmoid", "sqrtsoftplus"}
        or model_type in {"gpt_oss", "kimi_linear"},
        layers=found,
    )


def _expert_layers(text: Header, layers: int) -> frozenset[int]:
    listed = named_layers(text)
    if text.get("model_type") == "nemotron_h" and listed:
        # A layer of experts is a layer of its own.
        return frozenset(index for index, kind in enumerate(listed) if kind in {"E", "moe"})
    frequency = text.get("moe_layer_freq")
    if isinstance(frequency, list):
        return frozenset(index for index, on in enumerate(frequency) if on)
    numbered = text.get("moe_layers")
    if isinstance(named := text.get("moe_layers_enum"), str):
        # Step 3 writes them with commas.
        return frozenset(int(index) for index in named.split(",") if index.strip().isdecimal())
    if isinstance(numbered, list) and numbered:
        return frozenset(index for index in numbered if isinstance(index, int))
    dense = text.get("mlp_only_layers")
    skipped = (
        {index for index in dense if isinstance(index, int)} if isinstance(dense, list) else set()
    )
    period = whole(text, "expert_layer_period")
    if period:
        # Jamba counts from an offset.
        offset = whole(text, "expert_layer_offset")
        return frozenset(range(offset % period, layers, period))
    if "moe_layer_start_index" in text:
        # Ernie 4.5 (models/ernie45_moe.py); an end of -1 or none is the last layer.
        end = whole(text, "moe_layer_end_index")
        last = end if 0 < end < layers else layers - 1
        step = whole(text, "moe_layer_interval") or 1
        start = whole(text, "moe_layer_start_index")
        return frozenset(index for index in range(start, last + 1) if (index + 1) % step == 0)
    step = whole(text, "decoder_sparse_step") or whole(text, "interleave_moe_layer_step") or 1
    first = first_whole(text, ("first_k_dense_replace", "num_dense_layers"))
    return frozenset(
        index for index in range(first, layers) if index not in skipped and (index + 1) % step == 0
    )
