"""Mistral's own layout (params.json, consolidated.safetensors) in the words of config.json.

As vLLM translates it: vllm/transformers_utils/configs/mistral.py adapt_config_dict, and
vllm/model_executor/models/llama.py and mistral_large_3.py for the tensors (0.33).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from compiler.ir.facts import Tensor

PARAMS = "params.json"

_KEYS = {
    "dim": "hidden_size",
    "hidden_dim": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "n_layers": "num_hidden_layers",
    "norm_eps": "rms_norm_eps",
    "tied_embeddings": "tie_word_embeddings",
}
_MIXTRAL_KEYS = {"num_experts": "num_local_experts", "num_experts_per_tok": "num_experts_per_tok"}
# Experts with shared ones beside them: Mistral Large 3, which is built like DeepSeek V3.
_LARGE_KEYS = {
    "expert_hidden_dim": "moe_intermediate_size",
    "first_k_dense_replace": "first_k_dense_replace",
    "num_experts": "n_routed_experts",
    "num_experts_per_tok": "num_experts_per_tok",
    "num_shared_experts": "n_shared_experts",
}
# Beyond any model; longer lists would only take memory before the number is refused.
_MAX_LAYERS = 4096
_DEFAULTS = {"model_type": "transformer", "max_position_embeddings": 128_000}

_PIECES = {
    "attention": "self_attn",
    "attention_norm": "input_layernorm",
    "feed_forward": "mlp",
    "ffn_norm": "post_attention_layernorm",
    "layers": "model.layers",
    "norm": "model.norm",
    "output": "lm_head",
    "qscale_act": "input_scale",
    "qscale_weight": "weight_scale",
    "tok_embeddings": "model.embed_tokens",
    "wk": "k_proj",
    "wkv_a_with_mqa": "kv_a_proj_with_mqa",
    "wkv_b": "kv_b_proj",
    "wo": "o_proj",
    "wq": "q_proj",
    "wq_a": "q_a_proj",
    "wq_b": "q_b_proj",
    "wv": "v_proj",
    "w1": "gate_proj",
    "w2": "down_proj",
    "w3": "up_proj",
}
_LANGUAGE_MODEL = re.compile(r"(layers|norm|output|tok_embeddings)\.")


def config_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json that vLLM makes of a params.json."""
    config = {**_DEFAULTS, **{_KEYS.get(key, key): value for key, value in params.items()}}
    experts = _section(config, "moe")
    shared = isinstance(experts.get("num_shared_experts"), int) and experts["num_shared_experts"]
    names = _LARGE_KEYS if shared else _MIXTRAL_KEYS
    config |= {names[key]: value for key, value in experts.items() if key in names}
    _spread_window(config)
    quantization = _section(config, "quantization")
    if quantization.get("qformat_weight") == "fp8_e4m3":
        config["quantization_config"] = {"quant_method": "fp8"}
    elif quantization:
        config["quantization_config"] = dict(quantization)
    yarn = _section(config, "yarn")
    if yarn:
        config["rope_parameters"] = {**yarn, "rope_type": "yarn"}
    if shared:
        config["model_type"] = "deepseek_v3"
    config["architectures"] = [_architecture(experts=bool(experts), shared=bool(shared))]
    vision = _section(_section(config, "multimodal"), "vision_encoder_args")
    vision = vision or _section(config, "vision_encoder")
    for key in ("moe", "quantization", "yarn", "multimodal", "vision_encoder"):
        config.pop(key, None)
    if not vision:
        return config
    return {
        "architectures": ["PixtralForConditionalGeneration"],
        "model_type": "pixtral",
        "text_config": config,
        "vision_config": dict(vision),
        **{key: config[key] for key in ("quantization_config",) if key in config},
    }


def rename_tensors(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of the language model by their Hugging Face names; others as they are."""
    return [tensor.model_copy(update={"name": _renamed(tensor.name)}) for tensor in tensors]


def _architecture(*, experts: bool, shared: bool) -> str:
    if shared:
        return "MistralLarge3ForCausalLM"
    return "MixtralForCausalLM" if experts else "MistralForCausalLM"


def _spread_window(config: dict[str, Any]) -> None:
    """A window for all layers, or a list of windows that repeats over the layers."""
    window, layers = config.get("sliding_window"), config.get("num_hidden_layers")
    if not window or not isinstance(layers, int) or not 0 < layers <= _MAX_LAYERS:
        return
    pattern = window if isinstance(window, list) else [window]
    kinds = ["full_attention" if one is None else "sliding_attention" for one in pattern]
    config["layer_types"] = (kinds * layers)[:layers]
    config["sliding_window"] = next(filter(None, pattern), None)


def _section(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = config.get(key)
    return found if isinstance(found, Mapping) else {}


def _renamed(name: str) -> str:
    if not _LANGUAGE_MODEL.match(name):
        return name
    return ".".join(_PIECES.get(piece, piece) for piece in name.split("."))
