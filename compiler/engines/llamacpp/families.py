"""Which architectures share which trait of llama.cpp's memory, by general.architecture."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# No KV cache at all (llama-model.cpp `create_memory`).
ENCODERS = frozenset(
    {
        "bert",
        "nomic-bert",
        "nomic-bert-moe",
        "jina-bert-v2",
        "jina-bert-v3",
        "neo-bert",
        "modern-bert",
        "eurobert",
        "gemma-embedding",
    }
)
DIFFUSION = frozenset({"dream", "llada", "llada-moe", "rnd1"})
CACHELESS = ENCODERS | DIFFUSION

# State only, no attention (llama-arch.cpp `llm_arch_is_recurrent`).
RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})

# Linear attention with one full layer in every `full_attention_interval`.
DELTA_NET = frozenset({"qwen3next", "qwen35", "qwen35moe"})

# Attention layers and recurrent layers in one model (llama-arch.cpp `llm_arch_is_hybrid`).
HYBRID = DELTA_NET | frozenset(
    {
        "jamba",
        "falcon-h1",
        "plamo2",
        "granitehybrid",
        "lfm2",
        "lfm2moe",
        "nemotron_h",
        "nemotron_h_moe",
        "kimi-linear",
    }
)
# Of these, each layer holds attention and a recurrent state at once.
BOTH_IN_EACH_LAYER = frozenset({"falcon-h1"})

# One full layer in every so many, the others with a sliding window, where the header holds no
# pattern (llama-model.cpp `load_hparams`, `set_swa_pattern`).
SLIDING_PERIOD: Mapping[str, int] = MappingProxyType(
    {
        "gemma2": 2,
        "gpt-oss": 2,
        "olmo2": 4,
        "cohere2": 4,
        "exaone4": 4,
        "llama4": 4,
        "gemma3n": 5,
        "gemma3": 6,
    }
)
# The header names a window that llama.cpp does not use.
SLIDING_IGNORED = frozenset({"phi3"})

# Windows that the code sets when the header has none.
DEFAULT_WINDOW: Mapping[str, int] = MappingProxyType({"gemma2": 4096, "llama4": 8192})

# Four position rows a token (multi-section rope).
FOUR_POSITIONS = frozenset({"qwen2vl", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe"})

# LayerNorm instead of RMSNorm in the decoder.
LAYER_NORM = frozenset({"command-r", "cohere2", "starcoder2", "phi2", "stablelm", "gpt2"})

# The graph of these is rebuilt from their source and not yet compared with libllama.
TRANSCRIBED = frozenset(
    {
        "cohere2",
        "falcon-h1",
        "gemma",
        "gemma3n",
        "gemma4",
        "granite",
        "granitehybrid",
        "granitemoe",
        "jamba",
        "lfm2moe",
        "llama4",
        "mamba",
        "nemotron_h",
        "nemotron_h_moe",
        "qwen2moe",
        "qwen2vl",
        "qwen3vl",
        "qwen3vlmoe",
    }
)

# The graph of these is rebuilt node by node and compared with libllama's own sizes.
EXACT = frozenset(
    {
        "llama",
        "qwen2",
        "qwen3",
        "qwen3moe",
        "gemma2",
        "gemma3",
        "phi3",
        "gpt-oss",
        "command-r",
        "glm4",
        "glm4moe",
        "deepseek2",
        "qwen3next",
        "qwen35",
        "qwen35moe",
        "lfm2",
        "mamba2",
        "bert",
        "nomic-bert",
    }
)
