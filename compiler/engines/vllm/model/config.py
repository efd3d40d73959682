"""Reads a model's shape from its config.json."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.engines.vllm.model.audio import audio_of
from compiler.engines.vllm.model.mixtures import experts_of
from compiler.engines.vllm.model.quantization_faults import quantization_fault
from compiler.engines.vllm.model.recurrent import PURE_MAMBA, listed_kinds, recurrent_of
from compiler.engines.vllm.model.rope import position_limit, rope_of
from compiler.engines.vllm.model.sections import Header, first_whole, number, section, whole
from compiler.engines.vllm.model.shape import Attention, Compressed, Mla, Shape
from compiler.engines.vllm.model.vision import vision_of
from compiler.ir.facts import HeaderValue
from compiler.ir.units import round_up

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
_FOUR_NORMED = frozenset({"afmoe", "glm4", "glm4v_text", "glm_ocr_text"})
# Parts of architecture names of models that attend in both directions and keep no KV.
_ENCODER_NAMES = ("Bert", "Roberta", "NewModel", "NewForSequence", "GteModel", "GteNewModel")
_MODALITIES = ("vision_config", "audio_config", "visual")
# No published model comes near; a damaged or hostile config can say anything.
_MAX_LAYERS = 4096
_WINDOW_BY_DEFAULT = frozenset({"mistral", "phi3", "starcoder2"})


class ShapeError(ValueError):
    """config.json does not say what the law needs; the message names the keys."""


def shape_of(header: Header) -> Shape:
    """The shape that a config.json describes. Raises ShapeError when sizes are missing."""
    shape = _read(header)
    fault = quantization_fault(shape.quantization)
    if fault:
        raise ShapeError(f"config.json says in `quantization_config` {fault}")
    missing = ", ".join(_missing(shape))
    if missing:
        raise ShapeError(f"config.json does not say the {missing}")
    return shape


def _missing(shape: Shape) -> Iterator[str]:
    """Sizes without which the model cannot exist: damaged files have them as zero or less."""
    if min(shape.inner + 1, shape.positions, shape.rope.positions, shape.window + 1) < 1:
        yield "width, positions or window of its layers"
    attends = not {"full", "sliding", "both"}.isdisjoint(shape.attention)
    if attends and shape.mla is None and min(shape.heads, shape.kv_heads, shape.head_dim) < 1:
        yield "number and size of its attention heads"
    if "sliding" in shape.attention and shape.window < 1:
        yield "size of its sliding window"
    for part, name in (
        (shape.mla, "sizes of its latent attention"),
        (shape.compressed, "sizes of its compressed attention"),
        (shape.recurrent, "sizes of its recurrent layers"),
        (shape.experts, "width of its experts"),
        (shape.vision, "sizes of its vision tower"),
    ):
        if part is not None and part.least < 1:
            yield name


def _named(header: Header) -> dict[str, HeaderValue]:
    """The header without a `model_type` that is no text, in it or in its sections."""
    return {
        key: _named(value) if isinstance(value, dict) else value
        for key, value in header.items()
        if key != "model_type" or isinstance(value, str)
    }


def _read(header: Header) -> Shape:
    header = _named(header)
    text = canonical(_text_section(header))
    _require(text, "hidden_size", "num_hidden_layers", "vocab_size")
    hidden, layers = whole(text, "hidden_size"), whole(text, "num_hidden_layers")
    heads = whole(text, "num_attention_heads")
    head_dim = _head_dim(text, hidden, heads)
    family = str(header.get("model_type") or "")
    model_type = str(text.get("model_type") or family)
    architecture = _architecture(header)
    encoder = _is_encoder(architecture, model_type)
    gemma_4 = model_type.startswith("gemma4")
    mla, attention = _mla(text, layers), _attention(text, model_type, layers)
    positions = whole(text, "max_position_embeddings") or 4096
    quantization = text.get("quantization_config") or text.get("compression_config")
    if model_type in COMPRESSED_TYPES and isinstance(quantization, dict):
        # models/deepseek_v4/quant_config.py: experts are in MXFP4 unless config.json says other.
        quantization = {"expert_dtype": text.get("expert_dtype") or "fp4", **quantization}
    return Shape(
        architecture=architecture,
        model_type=model_type,
        hidden=hidden,
        layers=layers,
        inner=_inner(text, model_type, hidden),
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
        query_gate=bool(text.get("attn_output_gate", model_type in {"afmoe", "qwen3_next"})),
        norms=_norms(model_type),
        query_rank=whole(text, "share_q_dim"),
        attention=attention,
        window=whole(text, "sliding_window"),
        global_heads=whole(text, "num_global_key_value_heads"),
        global_dim=whole(text, "global_head_dim"),
        kv_shared_layers=whole(text, "num_kv_shared_layers"),
        type_vocabulary=whole(text, "type_vocab_size") if encoder else 0,
        learnt_positions=_learnt_positions(text, model_type, encoder=encoder),
        mla=mla,
        compressed=compressed_of(text, layers),
        block_keys=whole(section(text, "sparse_attention_config"), "sparse_index_dim"),
        block_key_heads=whole(section(text, "sparse_attention_config"), "sparse_num_index_heads"),
        block_layers=_block_layers(text, layers),
        recurrent=recurrent_of(text, model_type, hidden, attention),
        experts=experts_of(text, model_type, layers),
        residual_gates=bool(whole(text, "attn_res_block_size")),
        vision=vision_of(header, hidden),
        audio=audio_of(header),
        per_layer_width=whole(text, "hidden_size_per_layer_input") if gemma_4 else 0,
        per_layer_vocabulary=whole(text, "vocab_size_per_layer_input") or whole(text, "vocab_size"),
        doubled_inner=gemma_4 and text.get("use_double_wide_mlp") is True,
        second_embedding=family == "phi3_v",
        rope=rope_of(text, family, head_dim=head_dim, positions=positions, mla=mla),
        quantization=quantization if isinstance(quantization, dict) else None,
        shared_blocks=whole(text, "num_mem_blocks") if model_type == "zamba2" else 0,
        adapter_rank=whole(text, "adapter_rank"),
        draft_layers=first_whole(text, ("num_nextn_predict_layers", "mtp_num_hidden_layers")),
        cross_attention=bool(text.get("is_encoder_decoder") or header.get("is_encoder_decoder")),
        multimodal=any(isinstance(header.get(key), dict) for key in _MODALITIES),
    )


# Other names of the same sizes (the attribute maps of transformers' configurations, 5.23).
_NAMES: dict[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "d_model", "dim", "n_embed"),
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size", "hidden_dim"),
    "max_position_embeddings": ("n_positions", "n_ctx", "max_seq_len"),
    "num_attention_heads": ("n_head", "n_heads"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "vocab_size": ("padded_vocab_size", "n_vocab"),
}


def canonical(text: Header) -> dict[str, HeaderValue]:
    """The section with sizes under their usual names as well; DBRX keeps some further inside."""
    found = {**section(text, "ffn_config"), **text}
    if text.get("model_type") == "ernie4_5_moe_vl":
        found |= _of_words(text)
    for name, others in _NAMES.items():
        if not whole(found, name) and (value := first_whole(found, others)):
            found[name] = value
    listed = found.get("layers_block_type")
    if isinstance(listed, list) and not whole(found, "num_hidden_layers"):
        # Nemotron-H as Transformers 5 writes it.
        found["num_hidden_layers"] = len(listed)
    return found


def _of_words(text: Header) -> dict[str, HeaderValue]:
    """Ernie 4.5 VL lists what experts of words and of pictures have: the first of each list."""
    lists = {key: value for key, value in text.items() if key.startswith("moe_")}
    first = {key: value[0] for key, value in lists.items() if isinstance(value, list) and value}
    widths = text.get("moe_intermediate_size")
    seeing = widths[1] if isinstance(widths, list) and len(widths) > 1 else 0
    return {**first, "picture_expert_width": seeing}


def _require(text: Header, *keys: str) -> None:
    missing = ", ".join(f"`{key}`" for key in keys if whole(text, key) <= 0)
    if missing:
        raise ShapeError(f"config.json does not say {missing}")
    if whole(text, "num_hidden_layers") > _MAX_LAYERS:
        raise ShapeError(f"config.json says more than {_MAX_LAYERS:,} layers")


# Where the speculators format keeps the layers of a draft model.
_DRAFTS = ("transformer_layer_config",)


def _text_section(header: Header) -> dict[str, HeaderValue]:
    """The language model's own section, with what only the outer config says filled in."""
    for key in ("text_config", "llm_config", "language_config", "thinker_config", *_DRAFTS):
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


def _norms(model_type: str) -> int:
    """Norms of the hidden size in a decoder layer."""
    if model_type.startswith(_FOUR_NORMS) or model_type in _FOUR_NORMED:
        return 4
    return 1 if model_type == "cohere2" else 2


def _head_dim(text: Header, hidden: int, heads: int) -> int:
    """The size of a head, where it is not the hidden size over the heads."""
    named = first_whole(text, ("head_dim", "attention_head_dim", "kv_channels"))
    named = named or whole(text, "hidden_size_per_head")
    return named or (hidden // heads if heads else 0)


# Mixtures whose dense layers have a width of their own name it first: MiniMax-M3, Llama 4.
_INNER = (
    *("dense_intermediate_size", "intermediate_size_mlp"),
    *("intermediate_size", "shared_intermediate_size"),
)


def _inner(text: Header, model_type: str, hidden: int) -> int:
    """The width of the MLP; 0 for models without one."""
    if model_type in PURE_MAMBA:
        return 0
    own = first_whole(text, _INNER)
    if model_type == "lfm2":
        return _lfm2_inner(text, own or 4 * hidden)
    if model_type == "granitemoehybrid":
        return whole(text, "shared_intermediate_size") or own
    return own or 4 * hidden


def _lfm2_inner(text: Header, own: int) -> int:
    """Two thirds of the width that is named, in whole steps (models/lfm2.py `Lfm2MLP`)."""
    own = first_whole(text, ("block_ff_dim",)) or own
    if text.get("block_auto_adjust_ff_dim", True) is False:
        return own
    width = int(number(text, "block_ffn_dim_multiplier", 1) * int(2 * own / 3))
    return round_up(width, whole(text, "block_multiple_of") or 256)


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


_KV_HEADS = (
    "num_key_value_heads",
    "num_kv_heads",
    "multi_query_group_num",
    "num_attention_groups",
)


def _kv_heads(text: Header, heads: int) -> int:
    """Falcon's multi-query attention has one; without a number every head has its own."""
    if text.get("multi_query") and not text.get("new_decoder_architecture"):
        return 1
    attends = section(text, "attn_config")
    own = first_whole(text, _KV_HEADS)
    return own or whole(attends, "kv_n_heads") or heads


def _tied_by_default(model_type: str) -> bool:
    """Whether transformers ties the output to the embedding when the file is silent."""
    return model_type.startswith(("gemma", "cohere", "gpt2", "bloom", "starcoder2", "opt", "lfm2"))


def _dtype(text: Header, header: Header) -> str:
    for part in (text, header):
        for key in ("torch_dtype", "dtype"):
            value = part.get(key)
            if isinstance(value, str) and value:
                return value.removeprefix("torch.")
    return "bfloat16"


# Types whose latent vectors are projected up to whole heads before they are cached: all that
# `is_deepseek_mla` of transformers_utils/model_arch_config_convertor.py does not list (0.32, 0.33).
_EXPANDED = frozenset({"minicpm3", "mistral4", "sarvam_mla"})


def _mla(text: Header, layers: int) -> Mla | None:
    if not whole(text, "kv_lora_rank"):
        return None
    return Mla(
        expanded=str(text.get("model_type")) in _EXPANDED,
        query_rank=whole(text, "q_lora_rank"),
        kv_rank=whole(text, "kv_lora_rank"),
        nope_dim=whole(text, "qk_nope_head_dim"),
        rope_dim=whole(text, "qk_rope_head_dim"),
        value_dim=whole(text, "v_head_dim"),
        gated=text.get("mla_use_output_gate") is True,
        index_topk=whole(text, "index_topk"),
        index_heads=whole(text, "index_n_heads") if whole(text, "index_topk") else 0,
        index_dim=whole(text, "index_head_dim") if whole(text, "index_topk") else 0,
        index_rotates=not text.get("indexer_rope_interleave"),
        borrowing=_borrowing(text, layers),
    )


def _borrowing(text: Header, layers: int) -> frozenset[int]:
    """Layers without an indexer of their own (models/deepseek_v2.py, 0.22 to 0.33)."""
    pattern = text.get("index_topk_pattern")
    if isinstance(pattern, str | list):
        return frozenset(at for at, letter in enumerate(pattern[:layers]) if letter == "S")
    every = whole(text, "index_topk_freq") or 1
    offset = whole(text, "index_skip_topk_offset") or 2
    return frozenset(at for at in range(layers) if max(at - offset + 1, 0) % every)


COMPRESSED_TYPES = frozenset({"deepseek_v4"})
"""Model types with compressed attention as `compressed.py` knows it."""


def compressed_of(text: Header, layers: int) -> Compressed | None:
    """DeepSeek-V4's attention (models/deepseek_v4/attention.py, 0.25 to 0.33)."""
    if text.get("model_type") not in COMPRESSED_TYPES:
        return None
    return Compressed(
        ratios=_ratios(text, layers),
        window=whole(text, "sliding_window"),
        head_dim=whole(text, "head_dim"),
        query_rank=whole(text, "q_lora_rank"),
        output_rank=whole(text, "o_lora_rank"),
        output_groups=whole(text, "o_groups"),
        index_heads=whole(text, "index_n_heads"),
        index_dim=whole(text, "index_head_dim"),
        streams=whole(text, "hc_mult"),
        hash_layers=whole(text, "num_hash_layers"),
    )


def _block_layers(text: Header, layers: int) -> frozenset[int]:
    """MiniMax-M3's layers that pick blocks: those that `sparse_attention_freq` marks, or all."""
    found = section(text, "sparse_attention_config")
    if not found or found.get("use_sparse_attention") is False:
        return frozenset()
    marked = found.get("sparse_attention_freq")
    if not isinstance(marked, list):
        return frozenset(range(layers))
    return frozenset(index for index, on in enumerate(marked[:layers]) if on)


def _ratios(text: Header, layers: int) -> tuple[int, ...]:
    """Listed for each layer, or by the kinds of layers; 0 there means that only a window is kept.

    Layers that are not listed are an error of the config, which has then too few ratios.
    """
    listed = text.get("compress_ratios")
    if not isinstance(listed, list):
        rates, kinds = section(text, "compress_rates"), text.get("layer_types")
        names = kinds if isinstance(kinds, list) else []
        listed = [whole(rates, str(kind)) for kind in names]
    found = tuple(max(1, ratio) for ratio in listed if isinstance(ratio, int))
    return found[:layers] if len(found) >= layers else (0,)


def _attention(text: Header, model_type: str, layers: int) -> tuple[Attention, ...]:
    """The kind of each layer: listed, or by the pattern that the model's code hard-wires."""
    listed = listed_kinds(text, model_type, layers)
    if listed is not None:
        return listed
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


def _learnt_positions(text: Header, model_type: str, *, encoder: bool) -> int:
    """Rows of a learnt position table; models with rotary positions have none."""
    rows = whole(text, "max_position_embeddings")
    if encoder:
        kind = text.get("position_embedding_type")
        rotary = model_type in _GATED_ENCODERS or kind in ("rope", "rotary")
        return 0 if rotary else rows
    # OPT keeps two rows for padding in front of its table (models/opt.py).
    return {"opt": rows + 2, "gpt2": rows, "gpt_bigcode": rows, "gpt_neo": rows}.get(model_type, 0)
