"""Architectures with sliding windows by a rule of their own."""

from __future__ import annotations

from compiler.engines.llamacpp.model.architectures.record import Architecture

ROWS: dict[str, Architecture] = {
    "afmoe": Architecture(
        source="models/afmoe.cpp", proven="neighbour", rope="not-every-fourth", sliding_period=4
    ),
    "cohere2": Architecture(
        source="models/cohere2.cpp",
        proven="exact",
        layer_norm=True,
        rope="in-windows",
        scaled_logits=True,
        sliding_period=4,
    ),
    "cohere2moe": Architecture(
        source="models/cohere2moe.cpp",
        proven="neighbour",
        layer_norm=True,
        next_cached=True,
        sliding_period=4,
        full_layer_first=True,
        drafts_itself=True,
    ),
    "exaone-moe": Architecture(
        source="models/exaone-moe.cpp",
        proven="neighbour",
        next_cached=True,
        sliding_period=4,
        default_window=128,
    ),
    "exaone4": Architecture(
        source="models/exaone4.cpp",
        proven="exact",
        rope="in-windows",
        next_cached=True,
        sliding_period=4,
        default_window=4096,
    ),
    "gemma2": Architecture(
        source="models/gemma2.cpp",
        proven="followed",
        capped_logits=True,
        sliding_period=2,
        default_window=4096,
    ),
    "gemma3": Architecture(source="models/gemma3.cpp", proven="followed", sliding_period=6),
    "gemma3n": Architecture(
        source="models/gemma3n.cpp",
        proven="exact",
        capped_logits=True,
        output_first=True,
        sliding_period=5,
        late=True,
    ),
    "gpt-oss": Architecture(
        source="models/openai-moe.cpp",
        proven="followed",
        raw_weights=True,
        late_rows=True,
        kept_before_norm=True,
        keeps_hidden=True,
        sliding_period=2,
    ),
    "laguna": Architecture(
        source="models/laguna.cpp", proven="neighbour", sliding_period=4, full_layer_first=True
    ),
    "llama4": Architecture(
        source="models/llama4.cpp",
        proven="exact",
        raw_weights=True,
        gating=2,
        sliding_period=4,
        default_window=8192,
    ),
    "mellum": Architecture(source="models/mellum.cpp", proven="neighbour", sliding_period=4),
    "muse-glimmer": Architecture(
        source="models/muse-glimmer.cpp", proven="neighbour", rope="in-windows", sliding_period=4
    ),
    "olmo2": Architecture(source="models/olmo2.cpp", proven="exact", sliding_period=4),
    "plamo3": Architecture(source="models/plamo3.cpp", proven="neighbour", sliding_period=8),
    "smallthinker": Architecture(
        source="models/smallthinker.cpp",
        proven="neighbour",
        sliding_period=4,
        full_layer_first=True,
    ),
}
