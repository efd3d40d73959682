"""Tensor lists of well-known architectures, in Hugging Face's and in GGUF's names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Named = tuple[str, str, list[int]]
"""Name, type and shape of one tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """The shape of a dense decoder with gated feed-forward layers."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    head_size: int = 128
    tied: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False

    def linears(self) -> dict[str, tuple[int, int]]:
        """The matrices of one layer as (out, in)."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return {
            "self_attn.q_proj": (queries, self.hidden),
            "self_attn.k_proj": (keys, self.hidden),
            "self_attn.v_proj": (keys, self.hidden),
            "self_attn.o_proj": (self.hidden, queries),
            "mlp.gate_proj": (self.feed_forward, self.hidden),
            "mlp.up_proj": (self.feed_forward, self.hidden),
            "mlp.down_proj": (self.hidden, self.feed_forward),
        }


def hf_decoder(shape: Decoder, weights: str = "bf16", prefix: str = "model.") -> Iterator[Named]:
    """Tensors of a Hugging Face decoder; `weights` is bf16, fp16, awq or fp8 (one scale a row)."""
    dtype = "F16" if weights in {"fp16", "awq"} else "BF16"
    yield f"{prefix}embed_tokens.weight", dtype, [shape.vocabulary, shape.hidden]
    for layer in range(shape.layers):
        base = f"{prefix}layers.{layer}."
        yield f"{base}input_layernorm.weight", dtype, [shape.hidden]
        for name, (rows, columns) in shape.linears().items():
            yield from _linear(base + name, rows, columns, weights, dtype)
            if shape.qkv_bias and name[10:] in {"q_proj", "k_proj", "v_proj"}:
                yield f"{base}{name}.bias", dtype, [rows]
        if shape.qk_norm:
            yield f"{base}self_attn.q_norm.weight", dtype, [shape.head_size]
            yield f"{base}self_attn.k_norm.weight", dtype, [shape.head_size]
        yield f"{base}post_attention_layernorm.weight", dtype, [shape.hidden]
    yield f"{prefix}norm.weight", dtype, [shape.hidden]
    if not shape.tied:
        yield "lm_head.weight", dtype, [shape.vocabulary, shape.hidden]


def _linear(name: str, rows: int, columns: int, weights: str, dtype: str) -> Iterator[Named]:
    """One matrix. AWQ (gemm, 4 bits, groups of 128) packs eight outputs into an int32."""
    if weights == "awq":
        yield f"{name}.qweight", "I32", [columns, rows // 8]
        yield f"{name}.qzeros", "I32", [columns // 128, rows // 8]
        yield f"{name}.scales", "F16", [columns // 128, rows]
    elif weights == "fp8":
        yield f"{name}.weight", "F8_E4M3", [rows, columns]
        yield f"{name}.weight_scale", "BF16", [rows, 1]
    else:
        yield f"{name}.weight", dtype, [rows, columns]


def hf_gpt_oss(layers: int, experts: int) -> Iterator[Named]:
    """gpt-oss: experts in MXFP4, 32 weights in 16 bytes of blocks and one byte of scale."""
    hidden, vocabulary, queries, keys, groups = 2880, 201088, 64 * 64, 8 * 64, 2880 // 32
    yield "model.embed_tokens.weight", "BF16", [vocabulary, hidden]
    for layer in range(layers):
        base = f"model.layers.{layer}."
        yield f"{base}input_layernorm.weight", "BF16", [hidden]
        for name, rows in (("q", queries), ("k", keys), ("v", keys)):
            yield f"{base}self_attn.{name}_proj.weight", "BF16", [rows, hidden]
            yield f"{base}self_attn.{name}_proj.bias", "BF16", [rows]
        yield f"{base}self_attn.o_proj.weight", "BF16", [hidden, queries]
        yield f"{base}self_attn.o_proj.bias", "BF16", [hidden]
        yield f"{base}self_attn.sinks", "BF16", [64]
        yield f"{base}post_attention_layernorm.weight", "BF16", [hidden]
        yield f"{base}mlp.router.weight", "BF16", [experts, hidden]
        yield f"{base}mlp.router.bias", "BF16", [experts]
        for name, rows in (("gate_up", 2 * hidden), ("down", hidden)):
            yield f"{base}mlp.experts.{name}_proj_blocks", "U8", [experts, rows, groups, 16]
            yield f"{base}mlp.experts.{name}_proj_scales", "U8", [experts, rows, groups]
            yield f"{base}mlp.experts.{name}_proj_bias", "BF16", [experts, rows]
    yield "model.norm.weight", "BF16", [hidden]
    yield "lm_head.weight", "BF16", [vocabulary, hidden]


def hf_xlm_roberta(*, classifier: bool, dtype: str = "F32") -> Iterator[Named]:
    """XLM-RoBERTa large with 8192 positions, as BAAI publishes it."""
    prefix, hidden, inner = ("roberta." if classifier else ""), 1024, 4096
    rows = {"word": 250002, "position": 8194, "token_type": 1}
    for name, count in rows.items():
        yield f"{prefix}embeddings.{name}_embeddings.weight", dtype, [count, hidden]
    yield from _both(f"{prefix}embeddings.LayerNorm", dtype, [hidden])
    for layer in range(24):
        base = f"{prefix}encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            yield from _both(f"{base}attention.self.{name}", dtype, [hidden, hidden])
        yield from _both(f"{base}attention.output.dense", dtype, [hidden, hidden])
        yield from _both(f"{base}attention.output.LayerNorm", dtype, [hidden])
        yield from _both(f"{base}intermediate.dense", dtype, [inner, hidden])
        yield from _both(f"{base}output.dense", dtype, [hidden, inner])
        yield from _both(f"{base}output.LayerNorm", dtype, [hidden])
    if classifier:
        yield from _both("classifier.dense", dtype, [hidden, hidden])
        yield from _both("classifier.out_proj", dtype, [1, hidden])
    else:
        yield from _both("pooler.dense", dtype, [hidden, hidden])


def _both(name: str, dtype: str, shape: list[int]) -> Iterator[Named]:
    yield f"{name}.weight", dtype, shape
    yield f"{name}.bias", dtype, shape[:1]


_GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_decoder(shape: Decoder, *, rope_factors: bool = False) -> dict[str, list[int]]:
    """Tensors of a GGUF decoder, innermost dimension first."""
    found = {
        "token_embd.weight": [shape.hidden, shape.vocabulary],
        "output_norm.weight": [shape.hidden],
    }
    if not shape.tied:
        found["output.weight"] = [shape.hidden, shape.vocabulary]
    if rope_factors:
        found["rope_freqs.weight"] = [shape.head_size // 2]
    for layer in range(shape.layers):
        base = f"blk.{layer}."
        found[f"{base}attn_norm.weight"] = [shape.hidden]
        found[f"{base}ffn_norm.weight"] = [shape.hidden]
        for name, (rows, columns) in shape.linears().items():
            found[f"{base}{_GGUF_NAMES[name]}.weight"] = [columns, rows]
            if shape.qkv_bias and name[10:] in {"q_proj", "k_proj", "v_proj"}:
                found[f"{base}{_GGUF_NAMES[name]}.bias"] = [rows]
        if shape.qk_norm:
            found[f"{base}attn_q_norm.weight"] = [shape.head_size]
            found[f"{base}attn_k_norm.weight"] = [shape.head_size]
    return found


def gguf_gpt_oss(layers: int, experts: int) -> dict[str, list[int]]:
    """gpt-oss: every second layer slides, experts merged into one tensor a kind."""
    hidden, vocabulary, queries, keys = 2880, 201088, 64 * 64, 8 * 64
    found = {
        "token_embd.weight": [hidden, vocabulary],
        "output_norm.weight": [hidden],
        "output.weight": [hidden, vocabulary],
    }
    for layer in range(layers):
        base = f"blk.{layer}."
        for norm in ("attn_norm", "post_attention_norm"):
            found[f"{base}{norm}.weight"] = [hidden]
        for name, rows in (("attn_q", queries), ("attn_k", keys), ("attn_v", keys)):
            found[f"{base}{name}.weight"] = [hidden, rows]
            found[f"{base}{name}.bias"] = [rows]
        found[f"{base}attn_output.weight"] = [queries, hidden]
        found[f"{base}attn_output.bias"] = [hidden]
        found[f"{base}attn_sinks.weight"] = [64]
        found[f"{base}ffn_gate_inp.weight"] = [hidden, experts]
        found[f"{base}ffn_gate_inp.bias"] = [experts]
        for name in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
            found[f"{base}{name}.weight"] = [hidden, hidden, experts]
            found[f"{base}{name}.bias"] = [hidden, experts]
    return found


def gguf_bert(
    *, layers: int, hidden: int, inner: int, vocabulary: int, positions: int, head: bool
) -> dict[str, list[int]]:
    """BERT and XLM-RoBERTa; `head` is a ranking head with one score."""
    found = {
        "token_embd.weight": [hidden, vocabulary],
        "token_types.weight": [hidden],
        "position_embd.weight": [hidden, positions],
        **_gguf_both("token_embd_norm", [hidden]),
    }
    if head:
        found |= _gguf_both("cls", [hidden, hidden])
        found |= {"cls.output.weight": [hidden], "cls.output.bias": [1]}
    for layer in range(layers):
        base = f"blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            found |= _gguf_both(base + name, [hidden, hidden])
        found |= _gguf_both(f"{base}attn_output_norm", [hidden])
        found |= _gguf_both(f"{base}ffn_up", [hidden, inner])
        found |= _gguf_both(f"{base}ffn_down", [inner, hidden])
        found |= _gguf_both(f"{base}layer_output_norm", [hidden])
    return found


def gguf_nomic(*, layers: int, hidden: int, inner: int, vocabulary: int) -> dict[str, list[int]]:
    """nomic-embed-text: rotary positions, one fused attention matrix, no biases."""
    found = {
        "token_embd.weight": [hidden, vocabulary],
        "token_types.weight": [hidden, 2],
        **_gguf_both("token_embd_norm", [hidden]),
    }
    for layer in range(layers):
        base = f"blk.{layer}."
        found[f"{base}attn_qkv.weight"] = [hidden, 3 * hidden]
        found[f"{base}attn_output.weight"] = [hidden, hidden]
        found |= _gguf_both(f"{base}attn_output_norm", [hidden])
        for name, shape in (
            ("up", [hidden, inner]),
            ("gate", [hidden, inner]),
            ("down", [inner, hidden]),
        ):
            found[f"{base}ffn_{name}.weight"] = shape
        found |= _gguf_both(f"{base}layer_output_norm", [hidden])
    return found


def _gguf_both(name: str, shape: list[int]) -> dict[str, list[int]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[-1:]}
