"""config.json to header values and limits: sections, defaults of older files, no noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from compiler.ir.facts import HeaderValue
from compiler.resolve.hfdefaults import DEFAULTS

Config = Mapping[str, Any]

# Where multimodal configurations keep the language model, the first that is there counts
# (transformers PretrainedConfig.get_text_config; vllm/transformers_utils/config.py, 0.33).
_TEXT_SECTIONS = ("text_config", "llm_config", "language_config", "decoder")
# Round a whole multimodal model: what thinks beside what talks, what retrieval is made of.
_WRAPPERS = ("thinker_config", "vlm_config")

_LAYERS = (
    *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"),
    *("decoder_num_hidden_layers", "layers"),
)
# One kind of block a layer, as a list or a letter each (Nemotron-H, which says no number).
_LISTED_LAYERS = ("layers_block_type", "hybrid_override_pattern")
_VOCABULARY = ("vocab_size", "padded_vocab_size", "n_vocab")
# vllm/config/model.py _get_and_verify_max_len (0.33): the smallest of what is there.
_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# Their factor is already in max_position_embeddings (same place).
_ROPE_WITHOUT_FACTOR = ("su", "longrope", "llama3", "default", "mrope", "proportional")
# The largest published is 64.
_MAX_ROPE_FACTOR = 65_536
# Position 0 is not padding_idx + 1 here: that many rows of the table are never used
# (transformers modeling_roberta.py create_position_ids_from_input_ids).
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "data2vec-text")

_NOISE = {
    "_attn_implementation_autoset",
    "_name_or_path",
    "_commit_hash",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "gradient_checkpointing",
    "id2label",
    "initializer_factor",
    "initializer_range",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "prefix",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
}
_NOISE_ENDINGS = ("_token_id", "_token_ids", "_token_index", "_dropout", "_pdrop", "dropout_prob")
_MAX_LIST = 1024
_MAX_STRING = 200
_MAX_DEPTH = 8


def text_section(config: Config) -> Config:
    """The part of a configuration that describes the language model; the whole where it is flat."""
    wrapped = (config.get(name) for name in _WRAPPERS)
    inner = next((found for found in wrapped if isinstance(found, Mapping)), config)
    for name in _TEXT_SECTIONS:
        section = inner.get(name)
        if isinstance(section, Mapping):
            return section
    return inner


def with_defaults(config: Config, levels: int = 2) -> dict[str, Any]:
    """The configuration with what its architecture takes for granted written out.

    Older files and multimodal sections leave out what transformers fills in; a value that is there,
    null included, stays.
    """
    filled = {**DEFAULTS.get(str(config.get("model_type")), {}), **config}
    listed = next((config[key] for key in _LISTED_LAYERS if config.get(key)), None)
    if first_integer(filled, _LAYERS) is None and isinstance(listed, list | str):
        filled["num_hidden_layers"] = len(listed)
    for name, section in filled.items():
        known = name in _TEXT_SECTIONS or name in _WRAPPERS
        if levels and known and isinstance(section, Mapping):
            filled[name] = with_defaults(section, levels - 1)
    return filled


def header_values(config: Config) -> dict[str, HeaderValue]:
    """config.json without what no memory law reads; labels become `num_labels`."""
    labels = config.get("id2label")
    kept = _clean_object(config, 0)
    if isinstance(labels, Mapping):
        kept["num_labels"] = len(labels)
    return dict(sorted(kept.items()))


def architecture(config: Config) -> str | None:
    """The first of the architectures."""
    names = config.get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str):
        return names[0]
    return None


def layers(config: Config) -> int | None:
    """Decoder layers of the language model; encoder layers where there is no decoder."""
    return first_integer(text_section(config), _LAYERS)


def vocabulary(config: Config) -> int:
    """Rows of the embedding; 0 when the file does not tell."""
    return max(0, first_integer(text_section(config), _VOCABULARY) or 0)


def position_limit(config: Config) -> int:
    """The longest context that vLLM derives from config.json; 0 when there is no limit in it."""
    text = text_section(config)
    found = [value for key in _POSITIONS if (value := first_integer(text, (key,)))]
    if not found:
        return 0
    limit = min(found)
    if text.get("model_type") in _OFFSET_POSITIONS:
        padding = text.get("pad_token_id")
        limit -= (padding if isinstance(padding, int) else 1) + 1
    return max(0, _scaled(limit, text))


def first_integer(section: Config, keys: tuple[str, ...]) -> int | None:
    """The first of the keys that holds a whole number."""
    for key in keys:
        value = section.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _scaled(limit: int, text: Config) -> int:
    """Stretched rotary positions: the factor times the original limit (vLLM, as `_POSITIONS`)."""
    rope = text.get("rope_scaling") or text.get("rope_parameters")
    if not isinstance(rope, Mapping) or str(text.get("model_type")).startswith("gemma3"):
        return limit
    # Since transformers 5 one for each kind of layer, where kinds have their own.
    by_kind = all(str(key).endswith("_attention") for key in rope)
    factor: float = 1
    for section in rope.values() if by_kind else (rope,):
        if not isinstance(section, Mapping):
            continue
        kind = section.get("rope_type", section.get("type", "default"))
        found = section.get("factor", 1)
        if kind in _ROPE_WITHOUT_FACTOR or not isinstance(found, int | float):
            continue
        if not 0 < found <= _MAX_ROPE_FACTOR:  # Not a number is neither.
            continue
        factor = found
        original = section.get("original_max_position_embeddings")
        if kind == "yarn" and isinstance(original, int):
            limit = original
    return math.floor(limit * factor)


def _clean_object(section: Config, depth: int) -> dict[str, HeaderValue]:
    kept: dict[str, HeaderValue] = {}
    for key in sorted(section, key=str):
        value = section[key]
        if key in _NOISE or key.endswith(_NOISE_ENDINGS):
            continue
        if value in (None, {}, []) or len(key) > _MAX_STRING:
            continue
        clean = _clean(value, depth + 1)
        if clean is not None:
            kept[key] = clean
    return kept


def _clean(value: object, depth: int) -> HeaderValue:
    """The value if it is small enough for a lock, else None."""
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return dict(_clean_object(value, depth))
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value] if len(value) <= _MAX_LIST else None
    if isinstance(value, str):
        return value if len(value) <= _MAX_STRING else None
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float) else None
