"""Reads a model's shape from its config.json."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.engines.vllm.rope import position_limit, rope_of
from compiler.engines.vllm.sections import Header, first_whole, whole
from compiler.engines.vllm.shape import Attention, Experts, Mla, Recurrent, Shape
from compiler.engines.vllm.vision import vision_of
from compiler.ir.facts import HeaderValue

# Decoders whose MLP has one matrix up and one down instead of a gated pair.
_UNGATED = frozenset(
    {"apertus", "arcee", "bloom", "falcon", "gpt2", "gpt_bigcode", "gpt_neox", "gptj", "mpt"}
    | {"nemotron", "nemotron_h", "opt", "phi", "starcoder2"}
)
# Encoders with a gated MLP; all of them have rotary positions (models/bert_with_rope.py).
_GATED_ENCODERS = frozenset({"modernbert", "new", "nomic_bert"})
_BIASED = frozenset({"gpt2", "gpt_oss", "opt", "phi", "starcoder2"})
_QK_NORMED = ("gemma3", "gemma4", "olmo2", "olmo3", "qwen3")
_FOUR_NORMS = ("gemma2", "gemma3", "gemma4")
# Parts of architecture names of models that attend in both directions and keep no KV.
_ENCODER_NAMES = ("Bert", "Roberta", "NewModel", "NewForSequence", "GteModel", "GteNewModel")
_MODALITIES = ("vision_config", "audio_config", "visual")
# Keys of models whose layers are of several kinds: Jamba, Mamba and Falcon-H1, ModernBERT, Kimi
# Linear (transformers 5.23 and the models' own code).
_MIXED_LAYERS = frozenset(
    {
        "attn_layer_period",
        "global_attn_every_n_layers",
        "linear_attn_config",
        "mamba_d_state",
        "ssm_cfg",
        "ssm_state_size",
    }
)
# No published model comes near; a damaged or hostile config can say anything.
_MAX_LAYERS = 4096
_WINDOW_BY_DEFAULT = frozenset({"mistral", "phi3", "starcoder2"})


class ShapeError(ValueError):
    """config.json does not say what the law needs; the message names the keys."""


def shape_of(header: Header) -> Shape:
    """The shape that a config.json describes. Raises ShapeError when sizes are missing."""
    shape = _read(header)
    missing = ", ".join(_missing(shape))
    if missing:
        raise ShapeError(f"config.json does not say the {missing}")
    return shape


def _missing(shape: Shape) -> Iterator[str]:
    """Sizes without which the model cannot exist: damaged files have them as zero or less."""
    if min(shape.inner, shape.positions, shape.rope.positions, shape.window + 1) < 1:
        yield "width, positions or window of its layers"
    attends = "full" in shape.attention or "sliding" in shape.attention
    if attends and shape.mla is None and min(shape.heads, shape.kv_heads, shape.head_dim) < 1:
        yield "number and size of its attention heads"
    if "sliding" in shape.attention and shape.window < 1:
        yield "size of its sliding window"
    for part, name in (
        (shape.mla, "sizes of its latent attention"),
        (shape.recurrent, "sizes of its recurrent layers"),
        (shape.experts, "width of its experts"),
        (shape.vision, "sizes of its vision tower"),
    ):
        if part is not None and part.least < 1:
            yield name


def _read(header: Header) -> Shape:
    text = _text_section(header)
    _require(text, "hidden_size", "num_hidden_layers", "vocab_size")
    hidden, layers = whole(text, "hidden_size"), whole(text, "num_hidden_layers")
    heads = whole(text, "num_attention_heads")
    head_dim = whole(text, "head_dim") or (hidden // heads if heads else 0)
    family = str(header.get("model_type") or "")
    model_type = str(text.get("model_type") or family)
    architecture = _architecture(header)
    encoder = _is_encoder(architecture, model_type)
    mla, attention = _mla(text, model_type), _attention(text, model_type, layers)
    positions = first_whole(text, ("max_position_embeddings", "n_positions")) or 4096
    quantization = text.get("quantization_config") or text.get("compression_config")
    return Shape(
        architecture=architecture,
        model_type=model_type,
        hidden=hidden,
        layers=layers,
        inner=first_whole(text, ("intermediate_size", "n_inner")) or 4 * hidden,
        heads=heads,
        kv_heads=_kv_heads(text, heads),
        head_dim=head_dim,
        vocabulary=whole(text, "vocab_size"),
        positions=positions,
        position_limit=position_limit(text, model_type),
        tied=bool(text.get("tie_word_embeddings", _tied_by_default(model_type))),
        dtype=_dtype(text, header),
        # float32 checkpoints are cast to 16 bit by --dtype auto (config/model.py, 0.8 to 0.33).
        dtype_bytes=2,
        encoder=encoder,
        gated=model_type in _GATED_ENCODERS if encoder else model_type not in _UNGATED,
        qkv_bias=model_type.startswith("qwen2")
        or bool(text.get("attention_bias", model_type in _BIASED)),
        out_bias=model_type in _BIASED,
        qk_norm=model_type.startswith(_QK_NORMED) or bool(text.get("use_qk_norm")),
        sinks=model_type == "gpt_oss",
        query_gate=bool(text.get("attn_output_gate", model_type == "qwen3_next")),
        norms=4 if model_type.startswith(_FOUR_NORMS) or model_type == "glm4" else 2,
        attention=attention,
        window=whole(text, "sliding_window"),
        global_heads=whole(text, "num_global_key_value_heads"),
        global_dim=whole(text, "global_head_dim"),
        kv_shared_layers=whole(text, "num_kv_shared_layers"),
        type_vocabulary=whole(text, "type_vocab_size") if encoder else 0,
        learnt_positions=_learnt_positions(text, model_type, encoder=encoder),
        mla=mla,
        recurrent=_recurrent(text, attention),
        experts=_experts(text, model_type, layers),
        vision=vision_of(header, hidden),
        rope=rope_of(text, family, head_dim=head_dim, positions=positions, mla=mla),
        quantization=quantization if isinstance(quantization, dict) else None,
        draft_layers=first_whole(text, ("num_nextn_predict_layers", "mtp_num_hidden_layers")),
        cross_attention=bool(text.get("is_encoder_decoder") or header.get("is_encoder_decoder")),
        multimodal=any(isinstance(header.get(key), dict) for key in _MODALITIES),
    )


def names_recurrent_layers(header: Header) -> bool:
    """Whether any section speaks of layers that are not attention."""
    return not _MIXED_LAYERS.isdisjoint(header) or any(
        names_recurrent_layers(section) for section in header.values() if isinstance(section, dict)
    )


def _require(text: Header, *keys: str) -> None:
    missing = ", ".join(f"`{key}`" for key in keys if whole(text, key) <= 0)
    if missing:
        raise ShapeError(f"config.json does not say {missing}")
    if whole(text, "num_hidden_layers") > _MAX_LAYERS:
        raise ShapeError(f"config.json says more than {_MAX_LAYERS:,} layers")


def _text_section(header: Header) -> dict[str, HeaderValue]:
    """The language model's own section, with what only the outer config says filled in."""
    for key in ("text_config", "llm_config", "language_config", "thinker_config"):
        section = header.get(key)
        if isinstance(section, dict):
            nested = section.get("text_config")
            found = dict(nested if isinstance(nested, dict) else section)
            break
    else:
        return dict(header)
    for key in (
        "quantization_config",
        "compression_config",
        "torch_dtype",
        "dtype",
        "tie_word_embeddings",
    ):
        if found.get(key) is None and header.get(key) is not None:
            found[key] = header[key]
    if header.get("model_type") in {"llava", "llava_next"} and "hidden_size" not in found:
        # transformers fills these in for LLaVA checkpoints that name only their base model.
        defaults: dict[str, HeaderValue] = {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 32064,
            "max_position_embeddings": 32768,
        }
        found = {**defaults, **found}
    return found


def _architecture(header: Header) -> str:
    match header.get("architectures"):
        case [str(first), *_]:
            return first
    return ""


def _is_encoder(architecture: str, model_type: str) -> bool:
    if any(name in architecture for name in _ENCODER_NAMES):
        return True
    return model_type in {
        "bert",
        "roberta",
        "xlm-roberta",
        "modernbert",
        "nomic_bert",
        "new",
        "distilbert",
    }


def _kv_heads(text: Header, heads: int) -> int:
    """Falcon's multi-query attention has one; without a number every head has its own."""
    if text.get("multi_query") and not text.get("new_decoder_architecture"):
        return 1
    return whole(text, "num_key_value_heads") or whole(text, "num_kv_heads") or heads


def _tied_by_default(model_type: str) -> bool:
    """Whether transformers ties the output to the embedding when the file is silent."""
    return model_type.startswith(("gemma", "cohere", "gpt2", "bloom", "starcoder2", "opt"))


def _dtype(text: Header, header: Header) -> str:
    for section in (text, header):
        for key in ("torch_dtype", "dtype"):
            value = section.get(key)
            if isinstance(value, str) and value:
                return value.removeprefix("torch.")
    return "bfloat16"


def _mla(text: Header, model_type: str) -> Mla | None:
    if not whole(text, "kv_lora_rank") or model_type == "kimi_linear":
        return None
    return Mla(
        query_rank=whole(text, "q_lora_rank"),
        kv_rank=whole(text, "kv_lora_rank"),
        nope_dim=whole(text, "qk_nope_head_dim"),
        rope_dim=whole(text, "qk_rope_head_dim"),
        value_dim=whole(text, "v_head_dim"),
        index_heads=whole(text, "index_n_heads") if whole(text, "index_topk") else 0,
        index_dim=whole(text, "index_head_dim") if whole(text, "index_topk") else 0,
    )


_EXPERT_COUNTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
_ACTIVE_COUNTS = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "moe_top_k",
    "moe_k",
)


def _experts(text: Header, model_type: str, layers: int) -> Experts | None:
    count = first_whole(text, _EXPERT_COUNTS)
    if count <= 1:
        return None
    width = whole(text, "moe_intermediate_size") or whole(text, "intermediate_size")
    shared = whole(text, "shared_expert_intermediate_size")
    if not shared:
        shared = first_whole(text, ("n_shared_experts", "num_shared_experts")) * width
    active = first_whole(text, _ACTIVE_COUNTS) or 1
    if model_type.startswith("llama4"):
        shared = width
    return Experts(
        count=count,
        active=active,
        width=width,
        shared_width=shared,
        shared_gate=bool(shared) and model_type.startswith("qwen"),
        router_bias=text.get("topk_method") == "noaux_tc"
        or text.get("scoring_func") == "sigmoid"
        or model_type == "gpt_oss",
        layers=_expert_layers(text, layers),
    )


def _expert_layers(text: Header, layers: int) -> frozenset[int]:
    frequency = text.get("moe_layer_freq")
    if isinstance(frequency, list):
        return frozenset(index for index, on in enumerate(frequency) if on)
    listed = text.get("moe_layers")
    if isinstance(listed, list) and listed:
        return frozenset(index for index in listed if isinstance(index, int))
    dense = text.get("mlp_only_layers")
    skipped = (
        {index for index in dense if isinstance(index, int)} if isinstance(dense, list) else set()
    )
    step = whole(text, "decoder_sparse_step") or whole(text, "interleave_moe_layer_step") or 1
    first = whole(text, "first_k_dense_replace")
    return frozenset(
        index for index in range(first, layers) if index not in skipped and (index + 1) % step == 0
    )


_KINDS: dict[str, Attention] = {
    "full_attention": "full",
    "attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "full",
    "linear_attention": "linear",
    "mamba": "mamba",
    "conv": "mamba",
}
# Nemotron-H writes its layers as letters: Mamba, attention, MLP.
_LETTERS: dict[str, Attention] = {"M": "mamba", "*": "full", "-": "none", "E": "none"}


def _attention(text: Header, model_type: str, layers: int) -> tuple[Attention, ...]:
    """The kind of each layer: listed, or by the pattern that the model's code hard-wires."""
    listed = text.get("layer_types") or text.get("layers_block_type")
    if isinstance(listed, list):
        return tuple(_KINDS.get(str(kind), "full") for kind in listed)[:layers]
    pattern = text.get("hybrid_override_pattern")
    if isinstance(pattern, str):
        return tuple(_LETTERS.get(letter, "none") for letter in pattern)[:layers]
    interval = whole(text, "full_attention_interval")
    if interval:
        return _every(layers, interval, "linear")
    window = whole(text, "sliding_window")
    if model_type in {"gemma3_text", "gemma3"} and window:
        return _every(layers, whole(text, "sliding_window_pattern") or 6, "sliding")
    if (model_type == "gemma2" and window) or model_type == "gpt_oss":
        return _every(layers, 2, "sliding")
    if model_type == "cohere2" and window:
        return _every(layers, whole(text, "sliding_window_pattern") or 4, "sliding")
    if window and model_type in _WINDOW_BY_DEFAULT and text.get("use_sliding_window", True):
        return _every(layers, layers + 1, "sliding")
    return _every(layers, 1, "full")


def _every(layers: int, step: int, rest: Attention) -> tuple[Attention, ...]:
    full: Attention = "full"
    return tuple(full if (index + 1) % step == 0 else rest for index in range(layers))


def _recurrent(text: Header, attention: tuple[Attention, ...]) -> Recurrent | None:
    state_bytes = 4 if text.get("mamba_ssm_dtype") == "float32" else 2
    if "linear" in attention:
        return Recurrent(
            key_heads=whole(text, "linear_num_key_heads"),
            value_heads=whole(text, "linear_num_value_heads"),
            key_dim=whole(text, "linear_key_head_dim"),
            value_dim=whole(text, "linear_value_head_dim"),
            kernel=whole(text, "linear_conv_kernel_dim") or 4,
            state_bytes=state_bytes,
        )
    if "mamba" in attention:
        return Recurrent(
            key_heads=whole(text, "mamba_n_groups") or whole(text, "n_groups") or 1,
            value_heads=whole(text, "mamba_n_heads") or whole(text, "mamba_num_heads"),
            key_dim=whole(text, "mamba_d_state") or whole(text, "ssm_state_size"),
            value_dim=whole(text, "mamba_d_head") or whole(text, "mamba_head_dim"),
            kernel=whole(text, "mamba_d_conv") or whole(text, "conv_kernel") or 4,
            state_bytes=state_bytes,
            mamba=True,
        )
    return None


def _learnt_positions(text: Header, model_type: str, *, encoder: bool) -> int:
    """Rows of a learnt position table; models with rotary positions have none."""
    rows = first_whole(text, ("max_position_embeddings", "n_positions"))
    if encoder:
        kind = text.get("position_embedding_type")
        rotary = model_type in _GATED_ENCODERS or kind in ("rope", "rotary")
        return 0 if rotary else rows
    # OPT keeps two rows for padding in front of its table (models/opt.py).
    return {"opt": rows + 2, "gpt2": rows, "gpt_bigcode": rows, "gpt_neo": rows}.get(model_type, 0)
