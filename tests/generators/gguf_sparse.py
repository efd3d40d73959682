# ruff: noqa: PLR0913 - a shape is a row of numbers
"""Mixtures of experts: DeepSeek, gpt-oss, GLM 4.5, and Qwen 3.5 with its delta nets."""

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
    absorbed: bool = True,
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
        if not absorbed:
            model.header |= {
                "attention.head_count_kv": heads,
                "attention.key_length": nope + rope,
                "attention.value_length": value,
            }
            del model.header["attention.key_length_mla"]
            del model.header["attention.value_length_mla"]
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
            )
            if absorbed:
                model.block(
                    index,
                    ("attn_k_b.weight", (nope, rank, heads)),
                    ("attn_v_b.weight", (rank, value, heads)),
                )
            else:
                model.block(index, ("attn_kv_b.weight", (rank, heads * (nope + value))))
            model.block(index, ("attn_output.weight", (heads * value, width)))
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


def llama4(other: str | None) -> Draft:
    layers, width, heads, kv, head, vocabulary, expert, experts = (
        48,
        5120,
        40,
        8,
        128,
        202048,
        8192,
        16,
    )
    model = base(
        "llama4", other or "q4_K", layers, width, 16384, heads, kv, vocabulary, 10485760, head,
        expert_count=experts, expert_used_count=1, expert_feed_forward_length=expert,
        interleave_moe_layer_step=1,
    )  # fmt: skip
    add_head(model, width, vocabulary, tied=False)
    for index in range(layers):
        add_attention(model, index, width, heads * head, kv * head)
        add_experts(model, index, width, expert, experts, shared=expert)
    return model
