"""Models with recurrent layers, shared caches or stacked streams."""

from __future__ import annotations

from compiler.ir.facts import HeaderValue
from tests.generators.gguf_draft import (
    Draft,
    add_attention,
    add_experts,
    add_forward,
    add_head,
    base,
)


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


def _mamba2_rows(model: Draft, index: int, width: int, inner: int, state: int, heads: int) -> None:
    channels = inner + 2 * state
    model.block(
        index,
        ("ssm_in.weight", (width, 2 * inner + 2 * state + heads)),
        ("ssm_conv1d.weight", (4, channels)),
        ("ssm_conv1d.bias", (channels,)),
        ("ssm_dt.bias", (heads,)),
        ("ssm_a", (1, heads)),
        ("ssm_d", (1, heads)),
        ("ssm_norm.weight", (inner, 1)),
        ("ssm_out.weight", (inner, width)),
    )


def _hybrid(
    arch: str, quant: str | None, layers: int, kv: list[HeaderValue], **more: HeaderValue
) -> Draft:
    width, forward, heads, head, vocabulary = 2048, 6144, 16, 128, 65536
    model = base(
        arch,
        quant or "q4_K",
        layers,
        width,
        forward,
        heads,
        kv,
        vocabulary,
        131072,
        head,
        ssm__conv_kernel=4,
        ssm__inner_size=4096,
        ssm__state_size=128,
        ssm__time_step_rank=64,
        ssm__group_count=1,
        **more,
    )
    add_head(model, width, vocabulary, tied=False)
    return model


def nemotron_h(other: str | None) -> Draft:
    # A layer is attention, state or feed-forward: every fourth, and in turn.
    kinds = [("mamba", "forward", "mamba", "attention")[index % 4] for index in range(32)]
    kv: list[HeaderValue] = [8 if kind == "attention" else 0 for kind in kinds]
    model = _hybrid("nemotron_h", other, len(kinds), kv)
    model.header["feed_forward_length"] = [6144 if kind == "forward" else 0 for kind in kinds]
    for index, kind in enumerate(kinds):
        if kind == "attention":
            add_attention(model, index, 2048, 2048, 1024)
            continue
        model.block(index, ("attn_norm.weight", (2048,)))
        if kind == "mamba":
            _mamba2_rows(model, index, 2048, 4096, 128, 64)
        else:
            model.block(index, ("ffn_up.weight", (2048, 6144)), ("ffn_down.weight", (6144, 2048)))
    return model


def falcon_h1(other: str | None) -> Draft:
    model = _hybrid("falcon-h1", other, 24, [4] * 24)
    for index in range(24):
        add_attention(model, index, 2048, 2048, 512)
        _mamba2_rows(model, index, 2048, 4096, 128, 64)
        add_forward(model, index, 2048, 6144)
    return model


def granite_hybrid(other: str | None) -> Draft:
    kv: list[HeaderValue] = [8 if index % 10 == 5 else 0 for index in range(40)]
    model = _hybrid(
        "granitehybrid", other, 40, kv, embedding_scale=12.0, logit_scale=8.0,
        expert_count=64, expert_used_count=6, expert_feed_forward_length=512,
    )  # fmt: skip
    for index, heads in enumerate(kv):
        if heads:
            add_attention(model, index, 2048, 2048, 1024)
        else:
            model.block(index, ("attn_norm.weight", (2048,)))
            _mamba2_rows(model, index, 2048, 4096, 128, 64)
        add_experts(model, index, 2048, 512, 64, shared=1024)
    return model


def jamba(other: str | None) -> Draft:
    kv: list[HeaderValue] = [8 if index % 8 == 4 else 0 for index in range(32)]
    model = _hybrid("jamba", other, 32, kv, expert_count=16, expert_used_count=2)
    model.header |= {"ssm.state_size": 16, "ssm.time_step_rank": 160, "ssm.group_count": 0}
    for index, heads in enumerate(kv):
        if heads:
            add_attention(model, index, 2048, 2048, 1024)
        else:
            model.block(
                index,
                ("attn_norm.weight", (2048,)),
                ("ssm_in.weight", (2048, 8192)),
                ("ssm_conv1d.weight", (4, 4096)),
                ("ssm_conv1d.bias", (4096,)),
                ("ssm_x.weight", (4096, 192)),
                ("ssm_dt_norm.weight", (160,)),
                ("ssm_b_norm.weight", (16,)),
                ("ssm_c_norm.weight", (16,)),
                ("ssm_dt.weight", (160, 4096)),
                ("ssm_dt.bias", (4096,)),
                ("ssm_a", (16, 4096)),
                ("ssm_d", (4096,)),
                ("ssm_out.weight", (4096, 2048)),
            )
        if index % 2:
            add_experts(model, index, 2048, 6144, 16)
        else:
            add_forward(model, index, 2048, 6144)
    return model


def _per_layer(model: Draft, index: int, width: int) -> None:
    model.block(
        index,
        ("inp_gate.weight", (width, 256)),
        ("proj.weight", (256, width)),
        ("post_norm.weight", (width,)),
    )


def gemma4(other: str | None) -> Draft:
    layers, width, forward, heads, kv, vocabulary = 42, 2560, 10240, 8, 2, 262144
    sliding: list[HeaderValue] = [index % 6 != 5 for index in range(layers)]
    model = base(
        "gemma4", other or "q4_K", layers, width, forward, heads, kv, vocabulary, 131072, 512,
        attention__key_length_swa=256, attention__value_length_swa=256,
        attention__sliding_window=512, attention__sliding_window_pattern=sliding,
        attention__shared_kv_layers=18, embedding_length_per_layer_input=256,
        final_logit_softcapping=30.0,
    )  # fmt: skip
    add_head(model, width, vocabulary, tied=True)
    model.add("per_layer_token_embd.weight", 256 * layers, vocabulary)
    model.add("per_layer_model_proj.weight", width, 256 * layers)
    model.add("per_layer_proj_norm.weight", 256)
    for index in range(layers):
        head = 256 if sliding[index] else 512
        add_attention(model, index, width, heads * head, kv * head, norm=head)
        model.block(index, ("post_attention_norm.weight", (width,)))
        add_forward(model, index, width, forward)
        model.block(index, ("post_ffw_norm.weight", (width,)), ("layer_output_scale.weight", (1,)))
        _per_layer(model, index, width)
    return model


def gemma3n(other: str | None) -> Draft:
    layers, width, forward, heads, kv, head, vocabulary = 35, 2048, 16384, 8, 2, 256, 262144
    sliding: list[HeaderValue] = [index % 5 != 4 for index in range(layers)]
    model = base(
        "gemma3n", other or "q4_K", layers, width, forward, heads, kv, vocabulary, 32768, head,
        attention__sliding_window=512, attention__sliding_window_pattern=sliding,
        attention__shared_kv_layers=15, final_logit_softcapping=30.0,
    )  # fmt: skip
    add_head(model, width, vocabulary, tied=True)
    model.add("altup_proj.weight", width, width, 3)
    model.add("altup_unembd_proj.weight", width, width, 3)
    model.add("per_layer_token_embd.weight", 256 * layers, vocabulary)
    model.add("per_layer_model_proj.weight", width, 256 * layers)
    model.add("per_layer_proj_norm.weight", 256)
    for index in range(layers):
        add_attention(model, index, width, heads * head, kv * head, norm=head)
        model.block(index, ("post_attention_norm.weight", (width,)))
        add_forward(model, index, width, forward)
        model.block(
            index,
            ("post_ffw_norm.weight", (width,)),
            ("altup_correct_coef.weight", (4, 4)),
            ("altup_correct_scale.weight", (width,)),
            ("altup_predict_coef.weight", (4, 16)),
            ("altup_router.weight", (width, 4)),
            ("altup_router_norm.weight", (width,)),
            ("laurel_l.weight", (width, 64)),
            ("laurel_r.weight", (64, width)),
            ("laurel_post_norm.weight", (width,)),
        )
        _per_layer(model, index, width)
    return model
