"""Rotary positions: the size of their cache and the longest context they allow."""

from __future__ import annotations

from compiler.engines.vllm.model.sections import Header, number, whole
from compiler.engines.vllm.model.shape import Mla, Rope

_YARN = frozenset({"yarn", "deepseek_yarn"})
_STRETCHED = frozenset({"linear", "dynamic", "ntk"})
# From 0.21 on dynamic scaling has the cache of the trained length (dynamic_ntk_scaling_rope.py).
_DYNAMIC = "dynamic"
# Scalings whose max_position_embeddings already is the longest context.
_UNSTRETCHED = frozenset({"", "default", "llama3", "longrope", "mrope", "su"})
_LONG = frozenset({"longrope", "su"})
_MROPE_FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")
# Families that say to 0.32 that positions never exceed the tokens (`mrope_positions_factor` of
# models/qwen3_vl.py).
_TOKEN_POSITIONS = ("qwen3_vl", "qwen3_5")
# Families whose sliding layers rotate by a base of their own.
_TWO_CACHES = ("gemma3", "gemma4", "modernbert")
# Model classes without rotary positions (model_executor/models/, 0.10 to 0.33).
_UNROTATED = frozenset({"falcon_mamba", "jamba", "mamba", "mamba2", "nemotron_h"})
_LENGTH_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
    "max_target_positions",
)


def rope_of(text: Header, family: str, *, head_dim: int, positions: int, mla: Mla | None) -> Rope:
    """The cache of cosines and sines; `family` is the outer model type.

    model_executor/layers/rotary_embedding/ (`_compute_cos_sin_cache`), vLLM 0.8 to 0.33.
    """
    scaling = _scaling(text)
    kind, factor = _kind(scaling), number(scaling, "factor", 1)
    rows = token_rows = positions
    if kind in _YARN:
        rows = int((whole(scaling, "original_max_position_embeddings") or positions) * factor)
    elif kind in _STRETCHED:
        rows = int(positions * factor)
    elif kind in _LONG:
        # The short and the long scaling stand one behind the other.
        original = whole(scaling, "original_max_position_embeddings")
        rows += original or whole(text, "original_max_position_embeddings")
    if family == "ernie4_5_moe_vl":
        # Each layer makes a cache of its own (models/ernie45_vl_moe.py).
        rows = positions * 4 * whole(text, "num_hidden_layers")
    elif "mrope_section" in scaling or family.startswith(_MROPE_FAMILIES):
        # MRotaryEmbedding quadruples its cache, stretched by YaRN or not (mrope.py).
        token_rows = rows if kind in _YARN else positions
        rows = token_rows * 4
    local = str(text.get("model_type") or "").startswith(_TWO_CACHES)
    compressed = text.get("model_type") == "deepseek_v4"
    wide = whole(text, "global_head_dim")
    return Rope(
        positions=rows,
        dim=_rotated_dim(text, wide or head_dim),
        local_dim=head_dim if wide else 0,
        # DeepSeek's own scaling keeps 32 bits (deepseek_scaling_rope.py).
        number_bytes=4 if compressed or (mla and not mla.expanded and kind in _YARN) else 2,
        local_positions=positions if local or compressed else 0,
        trained_positions=positions if kind == _DYNAMIC else 0,
        token_positions=token_rows if family.startswith(_TOKEN_POSITIONS) else 0,
    )


def position_limit(text: Header, model_type: str) -> int:
    """Longest context that vLLM derives (config/model.py, `_get_and_verify_max_len`)."""
    limits = [length for key in _LENGTH_KEYS if (length := whole(text, key)) > 0]
    if not limits:
        return 0
    limit = min(limits)
    if model_type in {"roberta", "xlm-roberta", "camembert"}:
        # Positions start behind the padding token, so two of 514 or 8194 are not usable.
        return limit - (whole(text, "pad_token_id") or 1) - 1
    scaling = _scaling(text)
    kind, factor = _kind(scaling), number(scaling, "factor", 1)
    if kind in _UNSTRETCHED:
        return limit
    if kind in _YARN:
        limit = whole(scaling, "original_max_position_embeddings") or limit
    return int(limit * factor)


def _scaling(text: Header) -> Header:
    """The scaling section by its old or new name; of several, that of full attention."""
    older = text.get("rope_scaling")
    if isinstance(older, dict):
        return older
    return _parameters(text)


def _parameters(text: Header) -> Header:
    found = text.get("rope_parameters")
    if not isinstance(found, dict):
        return {}
    if found and all(isinstance(value, dict) for value in found.values()):
        chosen = found.get("full_attention") or next(iter(found.values()))
        return chosen if isinstance(chosen, dict) else {}
    return found


def _kind(scaling: Header) -> str:
    return str(scaling.get("rope_type") or scaling.get("type") or "")


def _rotated_dim(text: Header, head_dim: int) -> int:
    """Numbers of a head that are rotated; hybrids may leave positions to their recurrent layers."""
    kind = text.get("position_embedding_type")
    off = kind == "nope" or text.get("mla_use_nope") is True or text.get("use_mem_rope") is False
    if off or str(text.get("model_type")) in _UNROTATED:
        return 0
    if _kind(_scaling(text)) == "proportional":
        # Heads keep their size, and the rest of a row is not rotated.
        return head_dim
    if own := whole(text, "qk_rope_head_dim"):
        return int(own * _rotated_part(text))
    return int(head_dim * _rotated_part(text))


def _rotated_part(text: Header) -> float:
    """The part of a head that is rotated."""
    inner = number(_parameters(text), "partial_rotary_factor", 0)
    return number(text, "partial_rotary_factor", 0) or inner or number(text, "rotary_pct", 1)
