"""Architectures with recurrent states, alone or beside attention."""

from __future__ import annotations

from compiler.engines.llamacpp.model.architectures.record import Architecture

ROWS: dict[str, Architecture] = {
    "arwkv7": Architecture(
        source="models/arwkv7.cpp", proven="neighbour", recurrent=True, long_lived=True
    ),
    "bailingmoe3": Architecture(
        source="models/bailingmoe3.cpp", proven="neighbour", hybrid=True, large_graph=True
    ),
    "falcon-h1": Architecture(
        source="models/falcon-h1.cpp", proven="exact", hybrid=True, both_in_each_layer=True
    ),
    "glm5-next": Architecture(
        source="models/glm5-next.cpp",
        proven="neighbour",
        hybrid=True,
        indexed=True,
        lists_indexers=True,
        larger_graph=True,
    ),
    "granitehybrid": Architecture(
        source="models/granite-hybrid.cpp",
        proven="exact",
        rope="header",
        scaled_residual=True,
        scaled_logits=True,
        hybrid=True,
    ),
    "jamba": Architecture(
        source="models/jamba.cpp",
        proven="exact",
        rope="never",
        raw_weights=True,
        residual_first=True,
        last_residual_first=True,
        hybrid=True,
    ),
    "kimi-k3": Architecture(
        source="models/kimi-k3.cpp", proven="neighbour", hybrid=True, larger_graph=True
    ),
    "kimi-linear": Architecture(
        source="models/kimi-linear.cpp",
        proven="exact",
        rewritten_percent=160,
        hybrid=True,
        one_sequence=True,
        large_graph=True,
    ),
    "lfm2": Architecture(
        source="models/lfm2.cpp",
        proven="followed",
        residual_first=True,
        last_residual_first=True,
        hybrid=True,
        rolls_back=True,
    ),
    "lfm2moe": Architecture(
        source="models/lfm2moe.cpp",
        proven="exact",
        residual_first=True,
        last_residual_first=True,
        hybrid=True,
        rolls_back=True,
    ),
    "mamba": Architecture(source="models/mamba.cpp", proven="exact", recurrent=True),
    "mamba2": Architecture(source="models/mamba2.cpp", proven="followed", recurrent=True),
    "minimax-01": Architecture(
        source="models/minimax-01.cpp",
        proven="exact",
        hybrid=True,
        full_interval=8,
        one_sequence=True,
        large_graph=True,
    ),
    "nemotron_h": Architecture(
        source="models/nemotron-h.cpp",
        proven="exact",
        rope="never",
        squared=True,
        late_rows=True,
        keeps_hidden=True,
        hybrid=True,
        late=True,
        rolls_back=True,
    ),
    "nemotron_h_moe": Architecture(
        source="models/nemotron-h-moe.cpp",
        proven="exact",
        rope="never",
        squared=True,
        header_normalizes=True,
        gating=2,
        late_rows=True,
        keeps_hidden=True,
        hybrid=True,
        late=True,
        drafts_itself=True,
        rolls_back=True,
    ),
    "qwen35": Architecture(
        source="models/qwen35.cpp",
        proven="followed",
        four_positions=True,
        late_rows=True,
        keeps_hidden=True,
        hybrid=True,
        delta_net=True,
        full_interval=4,
        large_graph=True,
        drafts_itself=True,
        next_rows="behind-norm",
        rolls_back=True,
    ),
    "qwen35moe": Architecture(
        source="models/qwen35moe.cpp",
        proven="followed",
        four_positions=True,
        late_rows=True,
        keeps_hidden=True,
        hybrid=True,
        delta_net=True,
        full_interval=4,
        large_graph=True,
        drafts_itself=True,
        next_rows="behind-norm",
        rolls_back=True,
    ),
    "qwen3next": Architecture(
        source="models/qwen3next.cpp",
        proven="followed",
        late_rows=True,
        keeps_hidden=True,
        hybrid=True,
        delta_net=True,
        full_interval=4,
        large_graph=True,
        drafts_itself=True,
        next_rows="inside",
    ),
    "qwen4exp": Architecture(
        source="models/qwen4exp.cpp",
        proven="neighbour",
        hybrid=True,
        full_interval=4,
        indexed=True,
        large_graph=True,
    ),
    "rwkv6": Architecture(
        source="models/rwkv6.cpp", proven="exact", recurrent=True, long_lived=True
    ),
    "rwkv6qwen2": Architecture(
        source="models/rwkv6qwen2.cpp", proven="neighbour", recurrent=True, long_lived=True
    ),
    "rwkv7": Architecture(
        source="models/rwkv7.cpp", proven="exact", recurrent=True, long_lived=True
    ),
}
