"""Families that the two older tables lack: one model of each, of its published dimensions or near.

Like tests/generators/gguf_shapes.py; libllama's sizes are in tests/truth/llamacpp_families.yaml.
"""

from __future__ import annotations

from compiler.ir.facts import HeaderValue
from tests.generators import gguf_plain
from tests.generators.gguf_draft import (
    Draft,
    Shape,
    add_attention,
    add_experts,
    add_forward,
    add_head,
    base,
)


def minimax_m2(other: str | None) -> Draft:
    layers, width, heads, kv, head, vocabulary = 62, 3072, 48, 8, 128, 200064
    model = base(
        "minimax-m2", other or "q4_K", layers, width, 1536, heads, kv, vocabulary, 196608, head,
        expert_count=256, expert_used_count=8, expert_feed_forward_length=1536,
        expert_gating_func=2,
    )  # fmt: skip
    model.header["rope.dimension_count"] = 64
    add_head(model, width, vocabulary, tied=False)
    for index in range(layers):
        add_attention(model, index, width, heads * head, kv * head)
        model.block(
            index,
            ("attn_q_norm.weight", (heads * head,)),
            ("attn_k_norm.weight", (kv * head,)),
        )
        add_experts(model, index, width, 1536, 256, bias=True)
    return model


def minimax_01(other: str | None) -> Draft:
    layers, width, heads, kv, head, vocabulary = 32, 3072, 32, 8, 128, 200064
    model = base(
        "minimax-01", other or "q4_K", layers, width, 4608, heads, kv, vocabulary, 131072, head,
        expert_count=32, expert_used_count=2, residual_scale=3.5565588200778455,
    )  # fmt: skip
    model.header["rope.dimension_count"] = 64
    add_head(model, width, vocabulary, tied=False)
    inner = heads * head
    for index in range(layers):
        if index % 8 == 7:
            add_attention(model, index, width, inner, kv * head)
        else:
            model.block(
                index,
                ("attn_norm.weight", (width,)),
                ("attn_norm_2.weight", (inner,)),
                ("attn_qkv.weight", (width, 3 * inner)),
                ("attn_gate.weight", (width, inner)),
                ("attn_output.weight", (inner, width)),
            )
        add_experts(model, index, width, 4608, 32)
    return model


def kimi_linear(other: str | None) -> Draft:
    """Moonshot's 48B: three delta layers, then latent attention; the first layer is dense."""
    layers, width, heads, vocabulary, rank, rope = 27, 2304, 32, 163840, 512, 64
    attention = {index for index in range(layers) if index % 4 == 3 or index == layers - 1}
    kv: list[HeaderValue] = [int(index in attention) for index in range(layers)]
    model = base(
        "kimi-linear", other or "q4_K", layers, width, 9216, heads, kv, vocabulary, 1048576,
        attention__key_length=rank + rope, attention__value_length=rank,
        attention__key_length_mla=192, attention__value_length_mla=128,
        attention__kv_lora_rank=rank, rope__dimension_count=rope, ssm__conv_kernel=4,
        kda__head_dim=128, expert_count=256, expert_used_count=8,
        expert_feed_forward_length=1024, expert_shared_count=1, leading_dense_block_count=1,
        expert_weights_scale=2.446, expert_gating_func=2,
    )  # fmt: skip
    add_head(model, width, vocabulary, tied=False)
    inner = heads * 128
    for index in range(layers):
        model.block(index, ("attn_norm.weight", (width,)))
        if index in attention:
            model.block(
                index,
                ("attn_q.weight", (width, heads * 192)),
                ("attn_kv_a_mqa.weight", (width, rank + rope)),
                ("attn_kv_a_norm.weight", (rank,)),
                ("attn_k_b.weight", (128, rank, heads)),
                ("attn_v_b.weight", (rank, 128, heads)),
                ("attn_output.weight", (heads * 128, width)),
            )
        else:
            _delta_rows(model, index, width, inner, heads)
        if index:
            add_experts(model, index, width, 1024, 256, shared=1024, bias=True)
        else:
            add_forward(model, index, width, 9216)
    return model


def _delta_rows(model: Draft, index: int, width: int, inner: int, heads: int) -> None:
    for part in ("q", "k", "v"):
        model.add(f"blk.{index}.ssm_conv1d_{part}.weight", 4, 1, inner, dtype="f32")
        model.block(index, (f"attn_{part}.weight", (width, inner)))
    model.block(
        index,
        ("ssm_f_a.weight", (width, 128)),
        ("ssm_f_b.weight", (128, inner)),
        ("ssm_beta.weight", (width, heads)),
        ("ssm_a", (1, heads)),
        ("ssm_dt.bias", (inner,)),
        ("ssm_g_a.weight", (width, 128)),
        ("ssm_g_b.weight", (128, inner)),
        ("ssm_norm.weight", (128,)),
        ("attn_output.weight", (inner, width)),
    )


def gemma4_moe(other: str | None) -> Draft:
    """Gemma 4 26B: a dense layer and experts side by side, and nothing for each layer."""
    layers, width, forward, heads, vocabulary, count, size = 30, 2816, 2112, 16, 262144, 128, 704
    sliding: list[HeaderValue] = [index % 6 != 5 for index in range(layers)]
    kv: list[HeaderValue] = [8 if slides else 2 for slides in sliding]
    model = base(
        "gemma4", other or "q4_K", layers, width, forward, heads, kv, vocabulary, 262144, 512,
        attention__key_length_swa=256, attention__value_length_swa=256,
        attention__sliding_window=1024, attention__sliding_window_pattern=sliding,
        attention__shared_kv_layers=0, embedding_length_per_layer_input=0,
        final_logit_softcapping=30.0, expert_count=count, expert_used_count=8,
        expert_feed_forward_length=size,
    )  # fmt: skip
    add_head(model, width, vocabulary, tied=True)
    model.add("rope_freqs.weight", 256)
    for index, count_kv in enumerate(kv):
        head = 256 if sliding[index] else 512
        assert isinstance(count_kv, int)
        add_attention(model, index, width, heads * head, count_kv * head, norm=head)
        model.block(index, ("post_attention_norm.weight", (width,)))
        add_forward(model, index, width, forward)
        add_experts(model, index, width, size, count, norm=False)
        model.block(
            index,
            ("ffn_gate_inp.scale", (width,)),
            ("ffn_down_exps.scale", (count,)),
            ("pre_ffw_norm_2.weight", (width,)),
            ("post_ffw_norm_1.weight", (width,)),
            ("post_ffw_norm_2.weight", (width,)),
            ("post_ffw_norm.weight", (width,)),
            ("layer_output_scale.weight", (1,)),
        )
    return model


def lfm2_moe(other: str | None) -> Draft:
    layers, width, vocabulary = 24, 2048, 65536
    kv: list[HeaderValue] = [8 if index % 4 == 2 else 0 for index in range(layers)]
    model = base(
        "lfm2moe", other or "q4_K", layers, width, 7168, 32, kv, vocabulary, 128000,
        shortconv__l_cache=3, expert_count=32, expert_used_count=4, expert_gating_func=2,
        expert_feed_forward_length=1792, leading_dense_block_count=2,
    )  # fmt: skip
    model.add("token_embd.weight", width, vocabulary)
    model.add("token_embd_norm.weight", width)
    for index in range(layers):
        if kv[index]:
            add_attention(model, index, width, width, 512, norm=64)
        else:
            model.block(
                index,
                ("attn_norm.weight", (width,)),
                ("shortconv.conv.weight", (3, width)),
                ("shortconv.in_proj.weight", (width, 3 * width)),
                ("shortconv.out_proj.weight", (width, width)),
            )
        if index < 2:
            add_forward(model, index, width, 7168)
        else:
            add_experts(model, index, width, 1792, 32, bias=True)
    return model


def nemotron_h_moe(other: str | None, latent: int = 0) -> Draft:
    """A layer is attention, state or experts; these may work in a narrower space."""
    width, inner, state, heads, vocabulary = 2688, 4096, 128, 64, 131072
    kinds = [("mamba", "experts", "mamba", "attention")[index % 4] for index in range(32)]
    kv: list[HeaderValue] = [2 if kind == "attention" else 0 for kind in kinds]
    forward: list[HeaderValue] = [1856 if kind == "experts" else 0 for kind in kinds]
    model = base(
        "nemotron_h_moe", other or "q4_K", len(kinds), width, 1856, 32, kv, vocabulary, 262144, 128,
        ssm__conv_kernel=4, ssm__inner_size=inner, ssm__state_size=state, ssm__group_count=8,
        ssm__time_step_rank=heads, expert_count=128, expert_used_count=6, expert_shared_count=1,
        expert_feed_forward_length=1856, expert_shared_feed_forward_length=3712,
        expert_weights_norm=True, expert_weights_scale=2.5, expert_group_count=1,
        expert_group_used_count=1, moe_latent_size=latent,
    )  # fmt: skip
    model.header["feed_forward_length"] = forward
    add_head(model, width, vocabulary, tied=False)
    channels = inner + 16 * state
    for index, kind in enumerate(kinds):
        if kind == "attention":
            add_attention(model, index, width, 32 * 128, 2 * 128)
            continue
        model.block(index, ("attn_norm.weight", (width,)))
        if kind == "mamba":
            model.block(
                index,
                ("ssm_in.weight", (width, inner + channels + heads)),
                ("ssm_conv1d.weight", (4, channels)),
                ("ssm_conv1d.bias", (channels,)),
                ("ssm_dt.bias", (heads,)),
                ("ssm_a", (1, heads)),
                ("ssm_d", (1, heads)),
                ("ssm_norm.weight", (inner // 8, 8)),
                ("ssm_out.weight", (inner, width)),
            )
            continue
        narrow = latent or width
        model.block(
            index,
            ("ffn_gate_inp.weight", (width, 128)),
            ("exp_probs_b.bias", (128,)),
            ("ffn_up_exps.weight", (narrow, 1856, 128)),
            ("ffn_down_exps.weight", (1856, narrow, 128)),
            ("ffn_up_shexp.weight", (width, 3712)),
            ("ffn_down_shexp.weight", (3712, width)),
        )
        if latent:
            model.block(
                index,
                ("ffn_latent_down.weight", (width, latent)),
                ("ffn_latent_up.weight", (latent, width)),
            )
    return model


def _encoder(arch: str, other: str | None, **more: HeaderValue) -> Draft:
    model = base(
        arch, other or "f16", 12, 768, 3072, 12, 12, 250002, 2048, None,
        attention__causal=False, pooling_type=1, **more,
    )  # fmt: skip
    model.add("token_embd.weight", 768, 250002)
    return model


def nomic_moe(other: str | None) -> Draft:
    model = _encoder(
        "nomic-bert-moe", other, expert_count=8, expert_used_count=2, moe_every_n_layers=2
    )
    model.add("token_types.weight", 768, 1)
    for part in ("weight", "bias"):
        model.add(f"token_embd_norm.{part}", 768)
    for index in range(12):
        for name, ne in (("attn_qkv", (768, 2304)), ("attn_output", (768, 768))):
            model.block(index, (f"{name}.weight", ne), (f"{name}.bias", ne[1:]))
        for name in ("attn_output_norm", "layer_output_norm"):
            model.block(index, (f"{name}.weight", (768,)), (f"{name}.bias", (768,)))
        if index % 2:
            model.block(
                index,
                ("ffn_gate_inp.weight", (768, 8)),
                ("ffn_up_exps.weight", (768, 3072, 8)),
                ("ffn_down_exps.weight", (3072, 768, 8)),
            )
        else:
            for name, ne in (("ffn_up", (768, 3072)), ("ffn_down", (3072, 768))):
                model.block(index, (f"{name}.weight", ne), (f"{name}.bias", ne[1:]))
    return model


def neo_bert(other: str | None) -> Draft:
    model = _encoder("neo-bert", other)
    model.add("enc.output_norm.weight", 768)
    for index in range(12):
        model.block(
            index,
            ("attn_norm.weight", (768,)),
            ("attn_qkv.weight", (768, 2304)),
            ("attn_output.weight", (768, 768)),
            ("ffn_norm.weight", (768,)),
            ("ffn_up.weight", (768, 6144)),
            ("ffn_down.weight", (3072, 768)),
        )
    return model


def _rwkv_base(arch: str, other: str | None, forward: int, **more: HeaderValue) -> Draft:
    layers, width, vocabulary = 24, 2048, 65536
    model = base(
        arch, other or "q4_K", layers, width, forward, 0, 0, vocabulary, 1048576, None,
        wkv__head_size=64, **more,
    )  # fmt: skip
    model.add("token_embd.weight", width, vocabulary)
    for name in ("token_embd_norm", "output_norm"):
        model.add(f"{name}.weight", width)
        model.add(f"{name}.bias", width)
    model.add("output.weight", width, vocabulary)
    for index in range(layers):
        for name in ("attn_norm", "attn_norm_2", "time_mix_ln"):
            model.block(index, (f"{name}.weight", (width,)), (f"{name}.bias", (width,)))
        for name in ("key", "value", "receptance", "output"):
            model.block(index, (f"time_mix_{name}.weight", (width, width)))
        model.add(f"blk.{index}.channel_mix_lerp_k.weight", width, 1, 1, dtype="f32")
        model.block(
            index,
            ("channel_mix_key.weight", (width, forward)),
            ("channel_mix_value.weight", (forward, width)),
        )
    return model


def rwkv6(other: str | None) -> Draft:
    model = _rwkv_base(
        "rwkv6", other, 7168, time_mix_extra_dim=32, time_decay_extra_dim=64,
        rescale_every_n_layers=6,
    )  # fmt: skip
    for index in range(24):
        for name, ne in (
            ("time_mix_w1", (2048, 160)),
            ("time_mix_w2", (32, 2048, 5)),
            ("time_mix_lerp_x", (2048, 1, 1)),
            ("time_mix_lerp_fused", (2048, 1, 1, 5)),
            ("time_mix_first", (64, 32)),
            ("channel_mix_lerp_r", (2048, 1, 1)),
            ("time_mix_decay_w1", (2048, 64)),
            ("time_mix_decay_w2", (64, 2048)),
        ):
            model.add(f"blk.{index}.{name}.weight", *ne, dtype="f32")
        model.block(
            index,
            ("time_mix_decay.weight", (2048,)),
            ("time_mix_gate.weight", (2048, 2048)),
            ("channel_mix_receptance.weight", (2048, 2048)),
        )
    return model


def rwkv7(other: str | None) -> Draft:
    ranks = {"w": 96, "a": 96, "v": 64, "g": 256}
    model = _rwkv_base(
        "rwkv7", other, 8192, attention__decay_lora_rank=96, attention__iclr_lora_rank=96,
        attention__value_residual_mix_lora_rank=64, attention__gate_lora_rank=256,
    )  # fmt: skip
    for index in range(24):
        for part, rank in ranks.items():
            # The first layer has no value to mix in; its unused tensors have another rank.
            size = 96 if part == "v" and not index else rank
            if part != "g":
                model.block(index, (f"time_mix_{part}0.weight", (2048,)))
            model.add(f"blk.{index}.time_mix_{part}1.weight", 2048, size, dtype="f32")
            model.add(f"blk.{index}.time_mix_{part}2.weight", size, 2048, dtype="f32")
        model.add(f"blk.{index}.time_mix_lerp_fused.weight", 2048, 1, 1, 6, dtype="f32")
        for name in ("k_k", "k_a", "r_k"):
            model.block(index, (f"time_mix_{name}.weight", (2048,)))
    return model


def _sparse(
    arch: str, other: str | None, layers: int, heads: int, indexer_heads: int, **more: HeaderValue
) -> Draft:
    """DeepSeek 3.2 with fewer layers: latent attention to cells that an indexer chooses."""
    width, vocabulary, rank, rope, query, plain, value = 7168, 129280, 512, 64, 1536, 128, 128
    model = base(
        arch, other or "q2_K", layers, width, 18432, heads, 1, vocabulary, 163840, None,
        attention__q_lora_rank=query, attention__kv_lora_rank=rank,
        attention__key_length=rank + rope, attention__value_length=rank,
        attention__key_length_mla=plain + rope, attention__value_length_mla=value,
        attention__indexer__head_count=indexer_heads, attention__indexer__key_length=128,
        attention__indexer__top_k=2048, rope__dimension_count=rope, expert_count=256,
        expert_used_count=8, expert_feed_forward_length=2048, expert_shared_count=1,
        leading_dense_block_count=3, expert_weights_scale=2.5, expert_weights_norm=True,
        expert_gating_func=2, **more,
    )  # fmt: skip
    add_head(model, width, vocabulary, tied=False)
    for index in range(layers):
        model.block(
            index,
            ("attn_norm.weight", (width,)),
            ("attn_q_a.weight", (width, query)),
            ("attn_q_a_norm.weight", (query,)),
            ("attn_q_b.weight", (query, heads * (plain + rope))),
            ("attn_kv_a_mqa.weight", (width, rank + rope)),
            ("attn_kv_a_norm.weight", (rank,)),
            ("attn_k_b.weight", (plain, rank, heads)),
            ("attn_v_b.weight", (rank, value, heads)),
            ("attn_output.weight", (heads * value, width)),
            ("indexer.k_norm.weight", (128,)),
            ("indexer.k_norm.bias", (128,)),
            ("indexer.proj.weight", (width, indexer_heads)),
            ("indexer.attn_k.weight", (width, 128)),
            ("indexer.attn_q_b.weight", (query, indexer_heads * 128)),
        )
        if index < 3:
            add_forward(model, index, width, 18432)
        else:
            add_experts(model, index, width, 2048, 256, shared=2048, bias=True)
    return model


def deepseek32(other: str | None) -> Draft:
    return _sparse(
        "deepseek32", other, 21, 128, 64, expert_group_count=8, expert_group_used_count=4
    )


def glm_dsa(other: str | None) -> Draft:
    return _sparse("glm-dsa", other, 18, 64, 32)


SHAPES: dict[str, Shape] = {
    "minimax-m2": minimax_m2,
    "minimax-01": minimax_01,
    "kimi-linear-48b": kimi_linear,
    **gguf_plain.SHAPES,
    "gemma4-26b": gemma4_moe,
    "lfm2-8b": lfm2_moe,
    "nemotron-h-30b": nemotron_h_moe,
    "nemotron-h-latent": lambda other: nemotron_h_moe(other, latent=1024),
    "nomic-embed-moe": nomic_moe,
    "neo-bert": neo_bert,
    "deepseek32": deepseek32,
    "glm-dsa": glm_dsa,
    "rwkv6-1.6b": rwkv6,
    "rwkv7-1.5b": rwkv7,
}
