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
# Of these, the ones that normalize what comes out of a layer (models/bert.cpp).
POST_NORM_ENCODERS = frozenset(
    {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3"}
)
# Files with encoder blocks (`llama_model_has_encoder`), for which the output rows have no limit.
ENCODER_BLOCKS = frozenset({"t5", "t5encoder"})
DIFFUSION = frozenset({"dream", "llada", "llada-moe", "rnd1"})
CACHELESS = ENCODERS | DIFFUSION
# Tokens attend to the batch (`build_attn_inp_no_cache`); of these, one has a cache that it ignores.
BATCH_ATTENTION = CACHELESS | {"llama-embed"}
# Encoders that load an output layer, if only to ignore it.
ENCODERS_WITH_OUTPUT = frozenset({"gemma-embedding"})
# The weights of the chosen experts are taken as they are (models/*.cpp, `build_moe_ffn`).
RAW_WEIGHTS = frozenset(
    {"deepseek", "gpt-oss", "jamba", "llada-moe", "llama4", "olmoe", "qwen2moe"}
)

# State only, no attention (llama-arch.cpp `llm_arch_is_recurrent`).
RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})

# Linear attention with one full layer in every `full_attention_interval`.
DELTA_NET = frozenset({"qwen3next", "qwen35", "qwen35moe"})
# Of these and others, one layer in so many attends where the header does not say.
FULL_INTERVAL: Mapping[str, int] = MappingProxyType(
    {**dict.fromkeys(DELTA_NET, 4), "minimax-01": 8, "qwen4exp": 4}
)

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
        "minimax-01",
        "bailingmoe3",
        "glm5-next",
        "kimi-k3",
        "qwen4exp",
    }
)
# Of these, each layer holds attention and a recurrent state at once.
BOTH_IN_EACH_LAYER = frozenset({"falcon-h1"})

# Latent attention to the cells that a lightning indexer chooses.
SPARSE_LATENT = frozenset({"deepseek32", "glm-dsa"})
# Families whose cache holds the keys of an indexer beside K and V (`create_memory`), and of these,
# the ones in which the header says which layers have one.
INDEXED = SPARSE_LATENT | {"glm5-next", "hy_v4", "minimax-m3", "qwen4exp"}
INDEXER_TYPES = frozenset({"glm-dsa", "glm5-next", "hy_v4"})
# Trained for so many tokens, GLM is 5.2 or later: without a list every fourth layer has an indexer
# (models/glm-dsa.cpp, GLM_5_2_DEFAULT_INDEXER_TYPES).
GLM52_CONTEXT = 1 << 20
# Rows of a sliding cache, of compressed ones and their states instead of K and V
# (llama-kv-cache-dsv4.cpp).
COMPRESSED = frozenset({"deepseek4"})

# Attention without rope, with it where the header says so, in layers with a window only (or in all
# when none has one), and in three layers of four.
NO_ROPE = frozenset({"jamba", "nemotron_h", "nemotron_h_moe"})
ROPE_SWITCH = frozenset({"granite", "granitehybrid", "granitemoe"})
ROPE_IN_WINDOWS = frozenset({"cohere2", "exaone4", "muse-glimmer"})
NO_ROPE_EVERY_FOURTH = frozenset({"afmoe", "smollm3"})
# models/baichuan.cpp: the model of so many layers has biases by distance instead.
BAICHUAN_WITHOUT_ROPE = 40

# Q and K are normalized behind the rope.
NORM_BEHIND_ROPE = frozenset({"hunyuan-dense", "hunyuan-moe", "maincoder"})

# The last hidden state is kept for a next-token head, and rows are selected behind it
# (`embeddings_nextn_masked` is not set in llama-server).
LATE_ROWS = DELTA_NET | {"nemotron_h", "nemotron_h_moe"}
KEEPS_HIDDEN = LATE_ROWS | {"gemma4", "gpt-oss", "step35"}
# Their layers for next tokens had a cache in some builds, though they do not run.
NEXT_CACHED = frozenset({"bailingmoe2", "cohere2moe", "exaone-moe", "exaone4", "glm4", "glm4moe"})
# Feed-forward layers without a gate square what passes (LLM_FFN_RELU_SQR).
SQUARED = frozenset({"arcee", "jais2", "nemotron", "nemotron_h", "nemotron_h_moe", "plm"})

# What one layer needs stays until the last, so that no round of layers is like the next: distances
# (T5), the first layer's values (RWKV 7), token shifts, zeros to unhide cells (sparse attention).
LONG_LIVED = SPARSE_LATENT | {"t5encoder", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}

# What a layer needs is computed when a layer behind it asks: embeddings for each layer, and
# feed-forward layers beside which no cache is written.
LATE = frozenset({"gemma3n", "gemma4", "nemotron_h", "nemotron_h_moe"})

# A batch of one sequence is reserved too (llama-context.cpp `sched_reserve`): the distances within
# a sequence grow with its square.
ONE_SEQUENCE = frozenset({"kimi-linear", "minimax-01"})

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
        "afmoe": 4,
        "cohere2moe": 4,
        "exaone-moe": 4,
        "laguna": 4,
        "mellum": 4,
        "muse-glimmer": 4,
        "smallthinker": 4,
        "gemma3n": 5,
        "gemma3": 6,
        "gemma-embedding": 6,
        "modern-bert": 3,
        "plamo3": 8,
    }
)
# The full layer is the first of its round instead of the last.
FULL_LAYER_FIRST = frozenset({"cohere2moe", "laguna", "modern-bert", "smallthinker"})
# models/exaone4.cpp: only the model of so many layers has windows.
EXAONE4_SLIDING_LAYERS = 64
# The header names a window that llama.cpp does not use.
SLIDING_IGNORED = frozenset({"phi3"})

# Windows that the code sets when the header has none.
DEFAULT_WINDOW: Mapping[str, int] = MappingProxyType(
    {"exaone-moe": 128, "exaone4": 4096, "gemma2": 4096, "llama4": 8192}
)
# The scale of the embeddings and of what a layer adds, where the header names none.
SCALED_ANYWAY = frozenset({"grok", "minicpm"})

# Four position rows a token (multi-section rope).
FOUR_POSITIONS = frozenset({"qwen2vl", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe"})

# LayerNorm instead of RMSNorm in the decoder.
LAYER_NORM = frozenset(
    {
        "bloom",
        "codeshell",
        "cohere2",
        "cohere2moe",
        "command-r",
        "dbrx",
        "falcon",
        "gpt2",
        "gptneox",
        "jais",
        "jais2",
        "modern-bert",
        "mpt",
        "nemotron",
        "olmo",
        "orion",
        "phi2",
        "stablelm",
        "starcoder",
        "starcoder2",
    }
)

# The graph of these is rebuilt node by node and compared with libllama's own sizes.
EXACT = frozenset(
    {
        "arcee",
        "baichuan",
        "bailingmoe2",
        "bert",
        "cohere2",
        "command-r",
        "deepseek",
        "deepseek2",
        "deepseek32",
        "dots1",
        "dream",
        "ernie4_5",
        "ernie4_5-moe",
        "eurobert",
        "exaone",
        "exaone4",
        "falcon-h1",
        "gemma",
        "gemma-embedding",
        "gemma2",
        "gemma3",
        "gemma3n",
        "gemma4",
        "glm-dsa",
        "glm4",
        "glm4moe",
        "gpt-oss",
        "granite",
        "granitehybrid",
        "granitemoe",
        "hunyuan-dense",
        "hunyuan-moe",
        "internlm2",
        "jamba",
        "jina-bert-v2",
        "kimi-linear",
        "lfm2",
        "lfm2moe",
        "llada",
        "llada-moe",
        "llama",
        "llama-embed",
        "llama4",
        "maincoder",
        "mamba",
        "mamba2",
        "minicpm",
        "minicpm3",
        "minimax-01",
        "minimax-m2",
        "mistral3",
        "modern-bert",
        "nemotron",
        "nemotron_h",
        "nemotron_h_moe",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "olmo2",
        "olmoe",
        "orion",
        "pangu-embedded",
        "phi3",
        "phimoe",
        "qwen2",
        "qwen2moe",
        "qwen2vl",
        "qwen3",
        "qwen35",
        "qwen35moe",
        "qwen3moe",
        "qwen3next",
        "qwen3vl",
        "qwen3vlmoe",
        "rnd1",
        "rwkv6",
        "rwkv7",
        "seed_oss",
        "smollm3",
        "stablelm",
        "starcoder2",
        "step35",
        "t5encoder",
        "xverse",
    }
)
# Of these, the ones whose graph code of older builds was followed back, log by log; of the others
# only the studied source is known.
FOLLOWED = frozenset(
    {
        "bert",
        "command-r",
        "deepseek2",
        "gemma2",
        "gemma3",
        "glm4",
        "glm4moe",
        "gpt-oss",
        "lfm2",
        "llama",
        "mamba2",
        "nomic-bert",
        "phi3",
        "qwen2",
        "qwen3",
        "qwen35",
        "qwen35moe",
        "qwen3moe",
        "qwen3next",
    }
)

# Families of which logs from this build on agree with the law.
FOLLOWED_SINCE: Mapping[str, int] = MappingProxyType(
    {"gemma4": 9270, "granite": 9106, "qwen2vl": 10500}
)
# The graph of these was rewritten: until then it took up to so many percent more than the law says
# (Kimi Linear in b8130 and b8180, before its delta net was fused).
REWRITTEN: Mapping[str, int] = MappingProxyType({"kimi-linear": 160})

# Of the other architectures of the studied source (llama-arch.cpp LLM_ARCH_NAMES), the ones whose
# weights and cache were looked at (`create_memory`, `load_arch_hparams`): the graph alone is that
# of a neighbour.
LOOKED_AT = frozenset(
    {
        "afmoe",
        "apertus",
        "arctic",
        "arwkv7",
        "bailingmoe",
        "bailingmoe3",
        "bitnet",
        "bloom",
        "chameleon",
        "chatglm",
        "codeshell",
        "cogvlm",
        "cohere2moe",
        "dbrx",
        "deci",
        "deepseek2-ocr",
        "deepseek4",
        "exaone-moe",
        "falcon",
        "glm5-next",
        "gpt2",
        "gptneox",
        "granite_swa",
        "grok",
        "grovemoe",
        "hunyuan_vl",
        "hy_v3",
        "hy_v4",
        "jais",
        "jais2",
        "jina-bert-v3",
        "kimi-k3",
        "laguna",
        "maple",
        "mellum",
        "mimo2",
        "minimax-m3",
        "mistral4",
        "mpt",
        "muse-glimmer",
        "olmo",
        "openelm",
        "paddleocr",
        "phi2",
        "plamo",
        "plamo3",
        "qwen",
        "qwen4exp",
        "refact",
        "rwkv6qwen2",
        "smallthinker",
        "spark2_5",
        "starcoder",
        "talkie",
    }
)
# Known by name, and what they keep for a token is not followed: layers that run several times
# (hrm_text, nanbeige), adapters beside a router (graniteswitch), windows of other ranks
# (dots3note), a decoder beside an encoder (t5), states of another kind (plamo2), latent rows that
# are written out (plm).
NOT_FOLLOWED = frozenset(
    {"dots3note", "graniteswitch", "hrm_text", "nanbeige", "plamo2", "plm", "t5"}
)
# No language model that llama-server serves by itself, each with what it is.
NO_MODEL: Mapping[str, str] = MappingProxyType(
    {
        "clip": "a projector",
        "dflash": "a draft model",
        "eagle3": "a draft model",
        "gemma4-assistant": "a draft model",
        "gptj": "a name without a graph",
        "pockettts": "a model of speech",
        "qwen3tts": "a model of speech",
        "wavtokenizer-dec": "a decoder of sound",
    }
)
