# ruff: noqa: PLR0913, PLR0917 - a shape is a row of numbers
"""Dense decoders: Llama, Qwen, Gemma, Phi, Command R, GLM."""

from __future__ import annotations

from tests.generators.gguf_draft import (
    Draft,
    Shape,
    add_attention,
    add_experts,
    add_forward,
    add_head,
    base,
)


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
        model = base(arch, other or "q4_K", layers, width, forward, heads, kv, vocabulary, context)
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
