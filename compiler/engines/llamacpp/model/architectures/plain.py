"""Architectures of attention alone whose graphs are rebuilt node by node."""

from __future__ import annotations

from compiler.engines.llamacpp.model.architectures.record import Architecture

ROWS: dict[str, Architecture] = {
    "arcee": Architecture(source="models/arcee.cpp", proven="exact", squared=True),
    "baichuan": Architecture(source="models/baichuan.cpp", proven="exact", rope="but-forty-layers"),
    "bailingmoe2": Architecture(source="models/bailingmoe2.cpp", proven="exact", next_cached=True),
    "command-r": Architecture(
        source="models/command-r.cpp", proven="followed", layer_norm=True, scaled_logits=True
    ),
    "deepseek": Architecture(source="models/deepseek.cpp", proven="exact", raw_weights=True),
    "deepseek2": Architecture(
        source="models/deepseek2.cpp",
        proven="followed",
        header_normalizes=True,
        drafts_itself=True,
    ),
    "dots1": Architecture(source="models/dots1.cpp", proven="exact"),
    "ernie4_5": Architecture(source="models/ernie4-5.cpp", proven="exact"),
    "ernie4_5-moe": Architecture(source="models/ernie4-5-moe.cpp", proven="exact"),
    "exaone": Architecture(source="models/exaone.cpp", proven="exact"),
    "gemma": Architecture(source="models/gemma.cpp", proven="exact"),
    "gemma4": Architecture(
        source="models/gemma4.cpp",
        proven="exact",
        followed_since=9270,
        capped_logits=True,
        keeps_hidden=True,
        output_first=True,
        late=True,
    ),
    "glm4": Architecture(source="models/glm4.cpp", proven="followed", next_cached=True),
    "glm4moe": Architecture(
        source="models/glm4-moe.cpp",
        proven="followed",
        header_normalizes=True,
        gating=2,
        next_cached=True,
        drafts_itself=True,
        next_rows="behind-norm",
    ),
    "granite": Architecture(
        source="models/granite.cpp",
        proven="exact",
        followed_since=9106,
        rope="header",
        scaled_residual=True,
        scaled_logits=True,
    ),
    "granitemoe": Architecture(
        source="models/granite-moe.cpp",
        proven="exact",
        rope="header",
        scaled_residual=True,
        scaled_logits=True,
    ),
    "hunyuan-dense": Architecture(
        source="models/hunyuan-dense.cpp", proven="exact", norm_behind_rope=True
    ),
    "hunyuan-moe": Architecture(
        source="models/hunyuan-moe.cpp", proven="exact", norm_behind_rope=True
    ),
    "internlm2": Architecture(source="models/internlm2.cpp", proven="exact"),
    "llama": Architecture(source="models/llama.cpp", proven="followed"),
    "maincoder": Architecture(source="models/maincoder.cpp", proven="exact", norm_behind_rope=True),
    "minicpm": Architecture(
        source="models/minicpm.cpp",
        proven="exact",
        scaled=True,
        scaled_residual=True,
        scaled_logits=True,
    ),
    "minicpm3": Architecture(source="models/minicpm3.cpp", proven="exact"),
    "minimax-m2": Architecture(source="models/minimax-m2.cpp", proven="exact"),
    "mistral3": Architecture(source="models/mistral3.cpp", proven="exact"),
    "nemotron": Architecture(
        source="models/nemotron.cpp", proven="exact", layer_norm=True, squared=True
    ),
    "olmoe": Architecture(source="models/olmoe.cpp", proven="exact", raw_weights=True),
    "orion": Architecture(source="models/orion.cpp", proven="exact", layer_norm=True),
    "pangu-embedded": Architecture(source="models/pangu-embed.cpp", proven="exact"),
    "phi3": Architecture(
        source="models/phi3.cpp", proven="followed", last_residual_first=True, ignores_window=True
    ),
    "phimoe": Architecture(source="models/phimoe.cpp", proven="exact", last_residual_first=True),
    "qwen2": Architecture(source="models/qwen2.cpp", proven="followed"),
    "qwen2moe": Architecture(source="models/qwen2moe.cpp", proven="exact", raw_weights=True),
    "qwen2vl": Architecture(
        source="models/qwen2vl.cpp", proven="exact", followed_since=10500, four_positions=True
    ),
    "qwen3": Architecture(source="models/qwen3.cpp", proven="followed", softmax_scores=True),
    "qwen3moe": Architecture(source="models/qwen3moe.cpp", proven="followed"),
    "qwen3vl": Architecture(
        source="models/qwen3vl.cpp", proven="exact", softmax_scores=True, four_positions=True
    ),
    "qwen3vlmoe": Architecture(source="models/qwen3vlmoe.cpp", proven="exact", four_positions=True),
    "seed_oss": Architecture(source="models/seed-oss.cpp", proven="exact"),
    "smollm3": Architecture(source="models/smollm3.cpp", proven="exact", rope="not-every-fourth"),
    "stablelm": Architecture(source="models/stablelm.cpp", proven="exact", layer_norm=True),
    "starcoder2": Architecture(source="models/starcoder2.cpp", proven="exact", layer_norm=True),
    "step35": Architecture(
        source="models/step35.cpp",
        proven="exact",
        header_normalizes=True,
        late_rows=True,
        kept_before_norm=True,
        keeps_hidden=True,
        drafts_itself=True,
        next_rows="before-norm",
    ),
    "xverse": Architecture(source="models/xverse.cpp", proven="exact"),
}
