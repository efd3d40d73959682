"""Architectures that read a whole text at once: encoders and diffusion."""

from __future__ import annotations

from compiler.engines.llamacpp.model.architectures.record import Architecture

ROWS: dict[str, Architecture] = {
    "bert": Architecture(
        source="models/bert.cpp",
        proven="followed",
        encoder=True,
        post_norm=True,
        learned_positions=True,
    ),
    "dream": Architecture(source="models/dream.cpp", proven="exact", diffusion=True),
    "eurobert": Architecture(source="models/eurobert.cpp", proven="exact", encoder=True),
    "gemma-embedding": Architecture(
        source="models/gemma-embedding.cpp",
        proven="exact",
        encoder=True,
        loads_output=True,
        sliding_period=6,
    ),
    "jina-bert-v2": Architecture(
        source="models/jina-bert-v2.cpp", proven="exact", encoder=True, post_norm=True
    ),
    "jina-bert-v3": Architecture(
        source="models/jina-bert-v3.cpp",
        proven="neighbour",
        encoder=True,
        post_norm=True,
        rotary=True,
    ),
    "llada": Architecture(source="models/llada.cpp", proven="exact", diffusion=True),
    "llada-moe": Architecture(
        source="models/llada-moe.cpp", proven="exact", diffusion=True, raw_weights=True
    ),
    "llama-embed": Architecture(
        source="models/llama-embed.cpp", proven="exact", ignores_cache=True
    ),
    "modern-bert": Architecture(
        source="models/modern-bert.cpp",
        proven="exact",
        encoder=True,
        layer_norm=True,
        sliding_period=3,
        full_layer_first=True,
    ),
    "neo-bert": Architecture(source="models/neo-bert.cpp", proven="exact", encoder=True),
    "nomic-bert": Architecture(
        source="models/nomic-bert.cpp", proven="followed", encoder=True, post_norm=True, rotary=True
    ),
    "nomic-bert-moe": Architecture(
        source="models/nomic-bert-moe.cpp",
        proven="exact",
        encoder=True,
        post_norm=True,
        rotary=True,
    ),
    "rnd1": Architecture(source="models/rnd1.cpp", proven="exact", diffusion=True),
    "t5encoder": Architecture(
        source="models/t5encoder.cpp", proven="exact", encoder_blocks=True, long_lived=True
    ),
}
