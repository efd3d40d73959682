# ruff: noqa: PLR0913, PLR0917 - a shape is a row of numbers
"""GGUF models of real shapes without their weights: as facts, or as a sparse file.

`facts("qwen3-8b")` gives what the resolver would read; `write("qwen3-8b", path)` a file with a
full header and a hole where the weights would be.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from compiler.engines.llamacpp.quants import BLOCKS
from compiler.ir.facts import HeaderValue, ModelFacts, Task, TensorGroup
from compiler.ir.units import round_up

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


@lru_cache(maxsize=256)
def facts(name: str, quant: str | None = None) -> ModelFacts:
    """The facts of a named shape, in another quantization if asked."""
    return facts_of(draft(name, quant))


def draft(name: str, quant: str | None = None) -> Draft:
    """The draft of a named shape."""
    return SHAPES[name](quant)


POOLINGS = ("none", "mean", "cls", "last", "rank")


def facts_of(model: Draft) -> ModelFacts:
    """What the resolver would read of a model."""
    pooling = model.header.get("pooling_type")
    task: Task = "generate"
    if isinstance(pooling, int):
        task = "rerank" if POOLINGS[pooling] == "rank" else "embed"
    vocabulary = model.header["vocab_size"]
    context = model.header["context_length"]
    layers = model.header["block_count"]
    assert isinstance(vocabulary, int)
    assert isinstance(context, int)
    assert isinstance(layers, int)
    return ModelFacts(
        format="gguf",
        architecture=model.arch,
        task=task,
        pooling=POOLINGS[pooling] if isinstance(pooling, int) else None,
        parameters=sum(size_of("i8", ne) for _, ne, _ in model.tensors),
        layers=layers,
        vocabulary=vocabulary,
        position_limit=context,
        quantization=model.quant,
        header=dict(model.header),
        tensors=groups_of(model.tensors),
        sequential=True,
        alignment=ALIGNMENT,
    )


def groups_of(tensors: list[tuple[str, tuple[int, ...], str]]) -> list[TensorGroup]:
    """Tensors that differ in their block only, as one group each."""
    blocks: dict[tuple[str, tuple[int, ...], str], list[int]] = {}
    for name, ne, dtype in tensors:
        stem, _, rest = name.partition(".")
        number, _, suffix = rest.partition(".")
        if stem == "blk":
            blocks.setdefault((f"blk.*.{suffix}", ne, dtype), []).append(int(number))
        else:
            blocks[name, ne, dtype] = []
    return [
        TensorGroup(
            name=name,
            index=[ranges_of(numbers)] if numbers else [],
            dtype=dtype,
            shape=list(ne),
            bytes=size_of(dtype, ne),
        )
        for (name, ne, dtype), numbers in blocks.items()
    ]


def ranges_of(numbers: list[int]) -> str:
    """`0-3,7` for 0, 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] + 1 == number:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def write(name: str, path: Path, quant: str | None = None) -> int:
    """Write a sparse GGUF file of a named shape; gives its apparent size in bytes."""
    model = draft(name, quant)
    header: dict[str, HeaderValue] = {
        "general.architecture": model.arch,
        "general.name": name,
        "tokenizer.ggml.model": "none",
    }
    header |= {f"{model.arch}.{key}": value for key, value in model.header.items()}
    out = b"GGUF" + struct.pack("<IQQ", 3, len(model.tensors), len(header))
    out += b"".join(_text(key) + _value(value) for key, value in header.items())
    offset = 0
    for tensor, ne, dtype in model.tensors:
        out += _text(tensor) + struct.pack(f"<I{len(ne)}Q", len(ne), *ne)
        out += struct.pack("<IQ", TYPE_IDS[dtype], offset)
        offset += round_up(size_of(dtype, ne), ALIGNMENT)
    out += b"\0" * (-len(out) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(out)
        file.truncate(len(out) + offset)
    return len(out) + offset


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _value(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case [bool(), *_]:
            return struct.pack(f"<IIQ{len(value)}?", 9, 7, len(value), *value)
        case [int(), *_]:
            return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
        case _:
            raise TypeError(value)


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


def llama(
    layers: int,
    width: int,
    forward: int,
    heads: int,
    kv: int,
    vocabulary: int,
    context: int,
    *,
    head: int = 0,
    quant: str = "q4_K",
    tied: bool = False,
    experts: int = 0,
    used: int = 0,
    freqs: bool = False,
    arch: str = "llama",
) -> Shape:
    size = head or width // heads

    def make(other: str | None) -> Draft:
        model = base(
            arch, other or quant, layers, width, forward, heads, kv, vocabulary, context, size
        )
        if experts:
            model.header |= {"expert_count": experts, "expert_used_count": used}
        add_head(model, width, vocabulary, tied=tied)
        if freqs:
            model.add("rope_freqs.weight", size // 2)
        for index in range(layers):
            add_attention(model, index, width, heads * size, kv * size)
            if experts:
                add_experts(model, index, width, forward, experts)
            else:
                add_forward(model, index, width, forward)
        return model

    return make


def qwen2(
    layers: int,
    width: int,
    forward: int,
    heads: int,
    kv: int,
    vocabulary: int,
    context: int,
    *,
    tied: bool = False,
    arch: str = "qwen2",
) -> Shape:
    def make(other: str | None) -> Draft:
        model = base(
            arch, other or "q4_K", layers, width, forward, heads, kv, vocabulary, context
        )
        size = width // heads
        add_head(model, width, vocabulary, tied=tied)
        for index in range(layers):
            add_attention(model, index, width, heads * size, kv * size, bias=True)
            add_forward(model, index, width, forward)
        return model

    return make


def qwen3(
    layers: int,
    width: int,
    forward: int,
    heads: int,
    kv: int,
    *,
    tied: bool = False,
    experts: int = 0,
    used: int = 0,
    expert: int = 0,
    pooling: int | None = None,
    context: int = 40960,
    quant: str = "q4_K",
    scores: bool = False,
) -> Shape:
    def make(other: str | None) -> Draft:
        arch = "qwen3moe" if experts else "qwen3"
        model = base(arch, other or quant, layers, width, forward, heads, kv, 151936, context, 128)
        add_head(model, width, 151936, tied=tied)
        if pooling is not None:
            model.header["pooling_type"] = pooling
        if scores:
            model.add("cls.output.weight", width, 2)
        if experts:
            model.header |= {
                "expert_count": experts,
                "expert_used_count": used,
                "expert_feed_forward_length": expert,
            }
        for index in range(layers):
            add_attention(model, index, width, heads * 128, kv * 128, norm=128)
            if experts:
                add_experts(model, index, width, expert, experts)
            else:
                add_forward(model, index, width, forward)
        return model

    return make


def gemma(
    version: int,
    layers: int,
    width: int,
    forward: int,
    heads: int,
    kv: int,
    vocabulary: int,
    context: int,
    head: int,
    window: int,
) -> Shape:
    def make(other: str | None) -> Draft:
        model = base(
            f"gemma{version}",
            other or "q4_K",
            layers,
            width,
            forward,
            heads,
            kv,
            vocabulary,
            context,
            head,
            attention__sliding_window=window,
        )
        if version == 2:
            model.header |= {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
        add_head(model, width, vocabulary, tied=True)
        for index in range(layers):
            norm = head if version == 3 else 0
            add_attention(model, index, width, heads * head, kv * head, norm=norm)
            model.block(index, ("post_attention_norm.weight", (width,)))
            add_forward(model, index, width, forward)
            model.block(index, ("post_ffw_norm.weight", (width,)))
        return model

    return make


def phi3(
    layers: int, width: int, forward: int, heads: int, kv: int, vocabulary: int, context: int
) -> Shape:
    def make(other: str | None) -> Draft:
        size = width // heads
        model = base(
            "phi3",
            other or "q4_K",
            layers,
            width,
            forward,
            heads,
            kv,
            vocabulary,
            context,
            rope__dimension_count=size,
        )
        add_head(model, width, vocabulary, tied=False)
        for index in range(layers):
            model.block(
                index,
                ("attn_norm.weight", (width,)),
                ("attn_qkv.weight", (width, (heads + 2 * kv) * size)),
                ("attn_output.weight", (width, width)),
                ("ffn_norm.weight", (width,)),
                ("ffn_up.weight", (width, 2 * forward)),
                ("ffn_down.weight", (forward, width)),
            )
        return model

    return make


def deepseek2(
    layers: int,
    width: int,
    forward: int,
    heads: int,
    vocabulary: int,
    *,
    query_rank: int,
    experts: int,
    used: int,
    expert: int,
    shared: int,
    leading: int,
    quant: str = "q4_K",
    grouped: bool = False,
) -> Shape:
    rank, nope, rope, value = 512, 128, 64, 128

    def make(other: str | None) -> Draft:
        model = base(
            "deepseek2",
            other or quant,
            layers,
            width,
            forward,
            heads,
            1,
            vocabulary,
            163840,
            attention__key_length=rank + rope,
            attention__value_length=rank,
            attention__key_length_mla=nope + rope,
            attention__value_length_mla=value,
            attention__kv_lora_rank=rank,
            rope__dimension_count=rope,
            expert_count=experts,
            expert_used_count=used,
            expert_feed_forward_length=expert,
            expert_shared_count=shared,
            leading_dense_block_count=leading,
            expert_weights_scale=2.5,
            expert_weights_norm=grouped,
            expert_gating_func=2 if grouped else 1,
        )
        if query_rank:
            model.header["attention.q_lora_rank"] = query_rank
        if grouped:
            model.header |= {"expert_group_count": 8, "expert_group_used_count": 4}
        add_head(model, width, vocabulary, tied=False)
        for index in range(layers):
            model.block(index, ("attn_norm.weight", (width,)))
            if query_rank:
                model.block(
                    index,
                    ("attn_q_a_norm.weight", (query_rank,)),
                    ("attn_q_a.weight", (width, query_rank)),
                    ("attn_q_b.weight", (query_rank, heads * (nope + rope))),
                )
            else:
                model.block(index, ("attn_q.weight", (width, heads * (nope + rope))))
            model.block(
                index,
                ("attn_kv_a_norm.weight", (rank,)),
                ("attn_kv_a_mqa.weight", (width, rank + rope)),
                ("attn_k_b.weight", (nope, rank, heads)),
                ("attn_v_b.weight", (rank, value, heads)),
                ("attn_output.weight", (heads * value, width)),
            )
            if index < leading:
                add_forward(model, index, width, forward)
            else:
                add_experts(
                    model, index, width, expert, experts, shared=shared * expert, bias=grouped
                )
        return model

    return make


def gpt_oss(layers: int, experts: int) -> Shape:
    width, heads, kv, head, vocabulary, size = 2880, 64, 8, 64, 201088, 2880

    def make(other: str | None) -> Draft:
        model = base(
            "gpt-oss",
            other or "mxfp4",
            layers,
            width,
            size,
            heads,
            kv,
            vocabulary,
            131072,
            head,
            expert_count=experts,
            expert_used_count=4,
            expert_feed_forward_length=size,
            attention__sliding_window=128,
        )
        add_head(model, width, vocabulary, tied=False)
        for index in range(layers):
            add_attention(model, index, width, heads * head, kv * head, bias=True, output_bias=True)
            model.block(
                index, ("post_attention_norm.weight", (width,)), ("attn_sinks.weight", (heads,))
            )
            add_experts(model, index, width, size, experts, norm=False)
            model.block(index, ("ffn_gate_inp.bias", (experts,)))
            for name, rows in (("gate", size), ("up", size), ("down", width)):
                model.block(index, (f"ffn_{name}_exps.bias", (rows, experts)))
        return model

    return make


def bert(
    layers: int,
    width: int,
    forward: int,
    heads: int,
    vocabulary: int,
    context: int,
    pooling: int,
    *,
    types: int = 1,
    scores: bool = False,
) -> Shape:
    def make(other: str | None) -> Draft:
        model = base(
            "bert",
            other or "f16",
            layers,
            width,
            forward,
            heads,
            heads,
            vocabulary,
            context,
            attention__causal=False,
            pooling_type=pooling,
        )
        model.add("token_embd.weight", width, vocabulary)
        model.add("token_types.weight", width, types)
        model.add("position_embd.weight", width, context)
        model.add("token_embd_norm.weight", width)
        model.add("token_embd_norm.bias", width)
        if scores:
            model.add("cls.weight", width, width)
            model.add("cls.bias", width)
            model.add("cls.output.weight", width, 1)
            model.add("cls.output.bias", 1)
        for index in range(layers):
            for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
                model.block(index, (f"{name}.weight", (width, width)), (f"{name}.bias", (width,)))
            model.block(
                index,
                ("attn_output_norm.weight", (width,)),
                ("attn_output_norm.bias", (width,)),
                ("ffn_up.weight", (width, forward)),
                ("ffn_up.bias", (forward,)),
                ("ffn_down.weight", (forward, width)),
                ("ffn_down.bias", (width,)),
                ("layer_output_norm.weight", (width,)),
                ("layer_output_norm.bias", (width,)),
            )
        return model

    return make


def nomic(
    layers: int, width: int, forward: int, heads: int, vocabulary: int, context: int
) -> Shape:
    def make(other: str | None) -> Draft:
        model = base(
            "nomic-bert",
            other or "f16",
            layers,
            width,
            forward,
            heads,
            heads,
            vocabulary,
            context,
            attention__causal=False,
            pooling_type=1,
        )
        model.add("token_embd.weight", width, vocabulary)
        model.add("token_types.weight", width, 2)
        model.add("token_embd_norm.weight", width)
        model.add("token_embd_norm.bias", width)
        for index in range(layers):
            model.block(
                index,
                ("attn_qkv.weight", (width, 3 * width)),
                ("attn_output.weight", (width, width)),
                ("attn_output_norm.weight", (width,)),
                ("attn_output_norm.bias", (width,)),
                ("ffn_up.weight", (width, forward)),
                ("ffn_gate.weight", (width, forward)),
                ("ffn_down.weight", (forward, width)),
                ("layer_output_norm.weight", (width,)),
                ("layer_output_norm.bias", (width,)),
            )
        return model

    return make


def command_r(other: str | None) -> Draft:
    layers, width, forward, heads, vocabulary = 40, 8192, 22528, 64, 256000
    model = base(
        "command-r",
        other or "q4_K",
        layers,
        width,
        forward,
        heads,
        heads,
        vocabulary,
        131072,
        logit_scale=0.0625,
    )
    add_head(model, width, vocabulary, tied=True)
    for index in range(layers):
        add_attention(model, index, width, width, width)
        add_forward(model, index, width, forward, norm=False)
    return model


def glm4(other: str | None) -> Draft:
    layers, width, forward, heads, kv, vocabulary, head = 61, 6144, 23040, 48, 2, 151552, 128
    model = base(
        "glm4",
        other or "q4_K",
        layers,
        width,
        forward,
        heads,
        kv,
        vocabulary,
        32768,
        head,
        rope__dimension_count=head // 2,
    )
    add_head(model, width, vocabulary, tied=False)
    for index in range(layers):
        add_attention(model, index, width, heads * head, kv * head)
        model.block(
            index,
            ("post_attention_norm.weight", (width,)),
            ("ffn_norm.weight", (width,)),
            ("ffn_up.weight", (width, 2 * forward)),
            ("ffn_down.weight", (forward, width)),
            ("post_ffw_norm.weight", (width,)),
        )
    return model


def glm4moe(other: str | None) -> Draft:
    layers, hidden, width, forward, heads, kv, head = 46, 1, 4096, 10944, 96, 8, 128
    model = base(
        "glm4moe",
        other or "q4_K",
        layers + hidden,
        width,
        forward,
        heads,
        kv,
        151552,
        131072,
        head,
        expert_count=128,
        expert_used_count=8,
        expert_feed_forward_length=1408,
        expert_shared_count=1,
        leading_dense_block_count=1,
        expert_gating_func=2,
        expert_weights_norm=True,
        expert_weights_scale=1.0,
        nextn_predict_layers=hidden,
        rope__dimension_count=head // 2,
    )
    add_head(model, width, 151552, tied=False)
    for index in range(layers + hidden):
        add_attention(model, index, width, heads * head, kv * head, bias=True)
        model.block(index, ("post_attention_norm.weight", (width,)))
        if index < 1:
            add_forward(model, index, width, forward, norm=False)
        else:
            add_experts(model, index, width, 1408, 128, shared=1408, norm=False, bias=True)
        if index >= layers:
            model.block(
                index,
                ("nextn.eh_proj.weight", (2 * width, width)),
                ("nextn.enorm.weight", (width,)),
                ("nextn.hnorm.weight", (width,)),
                ("nextn.shared_head_norm.weight", (width,)),
            )
    return model


def qwen35(
    layers: int,
    width: int,
    heads: int,
    kv: int,
    *,
    vocabulary: int = 248320,
    experts: int = 0,
    used: int = 0,
    expert: int = 0,
    key_heads: int = 16,
    value_heads: int = 32,
    forward: int = 0,
    quant: str = "q4_K",
    next_generation: bool = False,
) -> Shape:
    head, state = 256, 128
    arch = "qwen3next" if next_generation else "qwen35moe" if experts else "qwen35"
    inner = value_heads * state

    def make(other: str | None) -> Draft:
        model = base(
            arch,
            other or quant,
            layers,
            width,
            forward or expert,
            heads,
            kv,
            vocabulary,
            262144,
            head,
            ssm__conv_kernel=4,
            ssm__inner_size=inner,
            ssm__state_size=state,
            ssm__time_step_rank=value_heads,
            ssm__group_count=key_heads,
            full_attention_interval=4,
            rope__dimension_count=64,
        )
        if not next_generation:
            model.header["rope.dimension_sections"] = [11, 11, 10, 0]
        if experts:
            model.header |= {
                "expert_count": experts,
                "expert_used_count": used,
                "expert_feed_forward_length": expert,
                "expert_shared_feed_forward_length": expert,
            }
        add_head(model, width, vocabulary, tied=False)
        channels = 2 * key_heads * state + inner
        for index in range(layers):
            model.block(
                index, ("attn_norm.weight", (width,)), ("post_attention_norm.weight", (width,))
            )
            if (index + 1) % 4 == 0:
                model.block(
                    index,
                    ("attn_q.weight", (width, 2 * heads * head)),
                    ("attn_k.weight", (width, kv * head)),
                    ("attn_v.weight", (width, kv * head)),
                    ("attn_output.weight", (heads * head, width)),
                    ("attn_q_norm.weight", (head,)),
                    ("attn_k_norm.weight", (head,)),
                )
            else:
                model.block(
                    index,
                    ("attn_qkv.weight", (width, channels)),
                    ("attn_gate.weight", (width, inner)),
                    ("ssm_conv1d.weight", (4, channels)),
                    ("ssm_dt.bias", (value_heads,)),
                    ("ssm_a", (value_heads,)),
                )
                if next_generation:
                    model.block(index, ("ssm_ba.weight", (width, 2 * value_heads)))
                else:
                    model.block(
                        index,
                        ("ssm_beta.weight", (width, value_heads)),
                        ("ssm_alpha.weight", (width, value_heads)),
                    )
                model.block(
                    index, ("ssm_norm.weight", (state,)), ("ssm_out.weight", (inner, width))
                )
            if experts:
                add_experts(
                    model,
                    index,
                    width,
                    expert,
                    experts,
                    shared=expert,
                    norm=False,
                    shared_gate=True,
                )
            else:
                add_forward(model, index, width, forward, norm=False)
        return model

    return make


def lfm2(other: str | None) -> Draft:
    layers, width, forward, heads, kv, vocabulary, taps = 16, 2048, 8192, 32, 8, 65536, 3
    attention = (2, 5, 8, 10, 12, 14)
    size = width // heads
    listed: list[HeaderValue] = [kv if index in attention else 0 for index in range(layers)]
    model = base(
        "lfm2",
        other or "q4_K",
        layers,
        width,
        forward,
        heads,
        listed,
        vocabulary,
        128000,
        shortconv__l_cache=taps,
    )
    model.add("token_embd.weight", width, vocabulary)
    model.add("token_embd_norm.weight", width)
    for index in range(layers):
        if index in attention:
            add_attention(model, index, width, width, kv * size, norm=size)
        else:
            model.block(
                index,
                ("attn_norm.weight", (width,)),
                ("shortconv.conv.weight", (taps, width)),
                ("shortconv.in_proj.weight", (width, 3 * width)),
                ("shortconv.out_proj.weight", (width, width)),
            )
        add_forward(model, index, width, forward)
    return model


def mamba2(other: str | None) -> Draft:
    layers, width, vocabulary, inner, state, heads, groups = 64, 2560, 50288, 5120, 128, 80, 1
    model = base(
        "mamba2",
        other or "q4_K",
        layers,
        width,
        0,
        0,
        0,
        vocabulary,
        1048576,
        ssm__conv_kernel=4,
        ssm__inner_size=inner,
        ssm__state_size=state,
        ssm__time_step_rank=heads,
        ssm__group_count=groups,
    )
    add_head(model, width, vocabulary, tied=False)
    channels = inner + 2 * groups * state
    for index in range(layers):
        model.block(
            index,
            ("attn_norm.weight", (width,)),
            ("ssm_in.weight", (width, 2 * inner + 2 * groups * state + heads)),
            ("ssm_conv1d.weight", (4, channels)),
            ("ssm_conv1d.bias", (channels,)),
            ("ssm_dt.bias", (heads,)),
            ("ssm_a", (1, heads)),
            ("ssm_d", (1, heads)),
            ("ssm_norm.weight", (inner // groups, groups)),
            ("ssm_out.weight", (inner, width)),
        )
    return model


SHAPES: dict[str, Shape] = {
    "llama31-8b": llama(32, 4096, 14336, 32, 8, 128256, 131072, freqs=True),
    "llama31-70b": llama(80, 8192, 28672, 64, 8, 128256, 131072, freqs=True),
    "llama32-1b": llama(16, 2048, 8192, 32, 8, 128256, 131072, tied=True, freqs=True),
    "llama32-3b": llama(28, 3072, 8192, 24, 8, 128256, 131072, head=128, tied=True, freqs=True),
    "llama3-8b": llama(32, 4096, 14336, 32, 8, 128256, 8192),
    "smollm2-135m": llama(30, 576, 1536, 9, 3, 49152, 8192, tied=True, quant="q8_0"),
    "mistral-small-24b": llama(40, 5120, 32768, 32, 8, 131072, 32768, head=128),
    "mixtral-8x7b": llama(32, 4096, 14336, 32, 8, 32000, 32768, experts=8, used=2),
    "phi3-mini": phi3(32, 3072, 8192, 32, 32, 32064, 4096),
    "phi4-14b": phi3(40, 5120, 17920, 40, 10, 100352, 16384),
    "qwen25-0.5b": qwen2(24, 896, 4864, 14, 2, 151936, 32768, tied=True),
    "qwen25-1.5b": qwen2(28, 1536, 8960, 12, 2, 151936, 32768, tied=True),
    "qwen25-3b": qwen2(36, 2048, 11008, 16, 2, 151936, 32768, tied=True),
    "qwen25-vl-3b": qwen2(36, 2048, 11008, 16, 2, 151936, 32768, tied=True, arch="qwen2vl"),
    "qwen25-7b": qwen2(28, 3584, 18944, 28, 4, 152064, 32768),
    "qwen3-0.6b-embed": qwen3(
        28, 1024, 3072, 16, 8, tied=True, pooling=3, context=32768, quant="f16"
    ),
    "qwen3-4b-rerank": qwen3(
        36, 2560, 9728, 32, 8, tied=True, pooling=4, quant="q8_0", scores=True
    ),
    "qwen3-1.7b": qwen3(28, 2048, 6144, 16, 8, tied=True),
    "qwen3-4b": qwen3(36, 2560, 9728, 32, 8, tied=True),
    "qwen3-8b": qwen3(36, 4096, 12288, 32, 8),
    "qwen3-32b": qwen3(64, 5120, 25600, 64, 8),
    "qwen3-30b-a3b": qwen3(48, 2048, 6144, 32, 4, experts=128, used=8, expert=768),
    "qwen3-235b": qwen3(94, 4096, 12288, 64, 4, experts=128, used=8, expert=1536),
    "gemma2-2b": gemma(2, 26, 2304, 9216, 8, 4, 256000, 8192, 256, 4096),
    "gemma2-9b": gemma(2, 42, 3584, 14336, 16, 8, 256000, 8192, 256, 4096),
    "gemma3-1b": gemma(3, 26, 1152, 6912, 4, 1, 262144, 32768, 256, 512),
    "gemma3-4b": gemma(3, 34, 2560, 10240, 8, 4, 262208, 131072, 256, 1024),
    "gemma3-27b": gemma(3, 62, 5376, 21504, 32, 16, 262208, 131072, 128, 1024),
    "deepseek-v2-lite": deepseek2(
        27, 2048, 10944, 16, 102400, query_rank=0, experts=64, used=6, expert=1408, shared=2,
        leading=1,
    ),
    "deepseek-v3": deepseek2(
        61, 7168, 18432, 128, 129280, query_rank=1536, experts=256, used=8, expert=2048, shared=1,
        leading=3, quant="q2_K", grouped=True,
    ),
    "gpt-oss-20b": gpt_oss(24, 32),
    "gpt-oss-120b": gpt_oss(36, 128),
    "bge-small": bert(12, 384, 1536, 12, 30522, 512, 2, types=2),
    "bge-m3": bert(24, 1024, 4096, 16, 250002, 8192, 2),
    "bge-reranker-v2-m3": bert(24, 1024, 4096, 16, 250002, 8192, 4, scores=True),
    "nomic-embed": nomic(12, 768, 3072, 12, 30522, 2048),
    "command-r-35b": command_r,
    "glm4-32b": glm4,
    "glm45-air": glm4moe,
    "qwen3-next-80b": qwen35(
        48, 2048, 16, 2, vocabulary=151936, experts=512, used=10, expert=512, next_generation=True
    ),
    "qwen35-4b": qwen35(32, 2560, 16, 4, forward=9216),
    "qwen35-9b": qwen35(32, 4096, 16, 4, forward=12288, quant="q8_0"),
    "qwen35-27b": qwen35(64, 5120, 24, 4, value_heads=48, forward=17408),
    "qwen35-35b-a3b": qwen35(40, 2048, 16, 2, experts=256, used=8, expert=512),
    "qwen35-122b": qwen35(
        48, 3072, 32, 2, experts=256, used=8, expert=1024, value_heads=64, quant="q4_K_moe"
    ),
    "lfm2-1.2b": lfm2,
    "mamba2-2.7b": mamba2,
}  # fmt: skip
