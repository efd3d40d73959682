# ruff: noqa: PLR0913, PLR0917 - a shape is a row of numbers
"""A GGUF model in the making: header and tensors, and the layers that many models share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from compiler.engines.llamacpp.model.quants import BLOCKS
from compiler.ir.facts import HeaderValue

ALIGNMENT = 32

# ggml.h `ggml_type`.
TYPE_IDS = {
    "f32": 0, "f16": 1, "q4_0": 2, "q5_0": 6, "q8_0": 8, "q2_K": 10, "q3_K": 11, "q4_K": 12,
    "q5_K": 13, "q6_K": 14, "iq4_xs": 23, "bf16": 30, "mxfp4": 39,
}  # fmt: skip

# Small tensors that llama-quantize leaves alone.
KEPT = (
    "norm", "ffn_gate_inp", "ssm_conv1d", "shortconv.conv", "ssm_a", "ssm_d", "position_embd",
    "token_types", "sinks", "altup", "rope_freqs",
)  # fmt: skip


@dataclass
class Draft:
    """A model in the making: header values and tensors in file order."""

    arch: str
    quant: str
    header: dict[str, HeaderValue] = field(default_factory=dict)
    tensors: list[tuple[str, tuple[int, ...], str]] = field(default_factory=list)

    def add(self, name: str, *ne: int, dtype: str | None = None) -> None:
        self.tensors.append((name, ne, dtype or pick_type(self.quant, name, ne)))

    def block(self, index: int, *rows: tuple[str, tuple[int, ...]]) -> None:
        for suffix, ne in rows:
            self.add(f"blk.{index}.{suffix}", *ne)


def pick_type(quant: str, name: str, ne: tuple[int, ...]) -> str:
    """A type close to what llama-quantize gives: f32 for small tensors, one step up for some."""
    if len(ne) == 1 or any(part in name for part in KEPT) or name.endswith(".bias"):
        return "f32"
    if quant in ("f16", "bf16", "f32"):
        return quant
    if quant == "mxfp4":
        return "mxfp4" if "_exps" in name else "q8_0"
    output = name.startswith("output.")
    chosen = quant
    better = "attn_v." in name or "ffn_down" in name
    if quant == "q4_K_moe":
        chosen = "q5_K" if "ffn_down_exps" in name else "q6_K" if output else "q4_K"
    elif (quant == "q4_K" and better) or (quant in ("q2_K", "q3_K", "q4_K", "q5_K") and output):
        chosen = "q6_K"
    for candidate in (chosen, "q8_0", "f16"):
        if ne[0] % BLOCKS[candidate][0] == 0:
            return candidate
    raise AssertionError(name)


def size_of(dtype: str, ne: tuple[int, ...]) -> int:
    """Bytes of one tensor."""
    elements = 1
    for size in ne:
        elements *= size
    per_block, block_bytes = BLOCKS[dtype]
    return elements // per_block * block_bytes


def base(
    arch: str,
    quant: str,
    layers: int,
    width: int,
    forward: int,
    heads: int,
    heads_kv: int | list[HeaderValue],
    vocabulary: int,
    context: int,
    head: int | None = None,
    **more: HeaderValue,
) -> Draft:
    """The header that every decoder and encoder has."""
    header: dict[str, HeaderValue] = {
        "block_count": layers,
        "context_length": context,
        "embedding_length": width,
        "feed_forward_length": forward,
        "attention.head_count": heads,
        "attention.head_count_kv": heads_kv,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "vocab_size": vocabulary,
        "rope.freq_base": 1e4,
    }
    if head:
        header |= {
            "attention.key_length": head,
            "attention.value_length": head,
            "rope.dimension_count": head,
        }
    header |= {key.replace("__", "."): value for key, value in more.items()}
    return Draft(arch, quant, header)


def add_attention(
    model: Draft,
    index: int,
    width: int,
    query: int,
    kv: int,
    *,
    bias: bool = False,
    norm: int = 0,
    output_bias: bool = False,
) -> None:
    model.block(index, ("attn_norm.weight", (width,)))
    for name, size in (("attn_q", query), ("attn_k", kv), ("attn_v", kv)):
        model.block(index, (f"{name}.weight", (width, size)))
        if bias:
            model.block(index, (f"{name}.bias", (size,)))
    if norm:
        model.block(index, ("attn_q_norm.weight", (norm,)), ("attn_k_norm.weight", (norm,)))
    model.block(index, ("attn_output.weight", (query, width)))
    if output_bias:
        model.block(index, ("attn_output.bias", (width,)))


def add_forward(model: Draft, index: int, width: int, size: int, *, norm: bool = True) -> None:
    if norm:
        model.block(index, ("ffn_norm.weight", (width,)))
    model.block(
        index,
        ("ffn_gate.weight", (width, size)),
        ("ffn_up.weight", (width, size)),
        ("ffn_down.weight", (size, width)),
    )


def add_experts(
    model: Draft,
    index: int,
    width: int,
    size: int,
    count: int,
    *,
    shared: int = 0,
    norm: bool = True,
    bias: bool = False,
    shared_gate: bool = False,
) -> None:
    if norm:
        model.block(index, ("ffn_norm.weight", (width,)))
    model.block(index, ("ffn_gate_inp.weight", (width, count)))
    if bias:
        model.block(index, ("exp_probs_b.bias", (count,)))
    model.block(
        index,
        ("ffn_gate_exps.weight", (width, size, count)),
        ("ffn_up_exps.weight", (width, size, count)),
        ("ffn_down_exps.weight", (size, width, count)),
    )
    if shared_gate:
        model.block(index, ("ffn_gate_inp_shexp.weight", (width,)))
    if shared:
        model.block(
            index,
            ("ffn_gate_shexp.weight", (width, shared)),
            ("ffn_up_shexp.weight", (width, shared)),
            ("ffn_down_shexp.weight", (shared, width)),
        )


def add_head(model: Draft, width: int, vocabulary: int, *, tied: bool) -> None:
    model.add("token_embd.weight", width, vocabulary)
    model.add("output_norm.weight", width)
    if not tied:
        model.add("output.weight", width, vocabulary)


Shape = Callable[[str | None], Draft]
