"""Architectures that attend to a choice of the cells, or to compressed ones."""

from __future__ import annotations

from compiler.engines.llamacpp.model.architectures.record import Architecture

ROWS: dict[str, Architecture] = {
    "deepseek32": Architecture(
        source="models/deepseek32.cpp",
        proven="exact",
        header_normalizes=True,
        sparse_latent=True,
        indexed=True,
        long_lived=True,
        drafts_itself=True,
    ),
    "deepseek4": Architecture(
        source="models/deepseek4.cpp", proven="neighbour", compressed=True, large_graph=True
    ),
    "glm-dsa": Architecture(
        source="models/glm-dsa.cpp",
        proven="exact",
        header_normalizes=True,
        gating=2,
        sparse_latent=True,
        indexed=True,
        lists_indexers=True,
        long_lived=True,
        drafts_itself=True,
    ),
    "hy_v4": Architecture(
        source="models/hy-v4.cpp",
        proven="neighbour",
        indexed=True,
        lists_indexers=True,
        large_graph=True,
    ),
    "minimax-m3": Architecture(
        source="models/minimax-m3.cpp", proven="neighbour", indexed=True, large_graph=True
    ),
}
