"""What configurations leave out because transformers fills it in, by model_type."""

from __future__ import annotations

from collections.abc import Iterator

# The class defaults of transformers' configurations (5.23), for the keys that memory depends on;
# a test compares them. `-` is no default, or one that transformers derives from other keys. The
# window of the Qwen family is left out: it is off unless `use_sliding_window` says otherwise.
_KEYS = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings"),
    *("sliding_window", "tie_word_embeddings"),
)
_TABLE = """
apertus          4096 14336 32 32    -   - 131072  65536    - no
arcee            2560 18432 32 32   -   -  32000   4096    - no
aria_text        4096  4096 32 32    -   -  32000   2048    - -
bamba            4096 14336 32 32   8   - 128000 262144    - no
bert              768  3072 12 12   -   -  30522    512    - yes
bitnet           2560  6912 30 20    5   - 128256   2048    - no
camembert         768  3072 12 12   -   -  30522    512    - yes
cohere           8192 22528 40 64   -   - 256000   8192    - yes
cohere2          8192 22528 40 64   -   - 256000   8192 4096 yes
cohere2_moe      8192 22528 40 64    - 128 256000   8192 4096 yes
deberta-v2       1536  6144 24 24   -   - 128100    512    - yes
deepseek_v2      4096 11008 32 32   -   - 102400   2048    - no
deepseek_v3      7168 18432 61 128 128  - 129280   4096    - no
deepseek_v32     7168 18432 61 128 128   - 129280 163840    - no
dots1            4608 10944 62 32   32   - 152064   2048 4096 no
electra           256  1024 12 4    -   -  30522    512    - yes
ernie             768  3072 12 12    -   -  30522    512    - yes
ernie4_5         1024  3072 18 16   2 128 103424 131072    - yes
ernie4_5_moe     2560 12288 28 20    4   - 103424 131072    - yes
exaone4          4096 16384 32 32   32   - 102400   2048 4096 no
falcon_h1        4096 14336 32 32   8   - 128000   8192    - no
gemma            3072 24576 28 16  16 256 256000   8192    - yes
gemma2           2304  9216 26 8    4 256 256000   8192 4096 yes
gemma3_text      2304  9216 26 8    4 256 262208 131072 4096 yes
gemma3n_text     2048     - 35 8    2 256 262400  32768  512 yes
gemma4_text      2304  9216 30 8     4 256 262144 131072  512 yes
glm              4096 13696 40 32   2 128 151552 131072    - no
glm4             4096 13696 40 32   2 128 151552 131072    - no
glm4_moe         4096 10944 46 96   8   - 151552 131072    - no
glm4_moe_lite    2048 10240 47 20   20   - 154880 202752    - no
glm4v_moe_text   4096 10944 46 96    8   - 151424  65536    - -
glm4v_text       4096 13696 40 32    2   - 151552  32768    - -
glm_moe_dsa      6144 12288 78 64   64   - 154880 202752    - no
gpt_neox         6144 24576 44 64   -   -  50432   2048    - no
gpt_oss          2880  2880 36 64   8  64 201088 131072  128 no
granite          4096 11008 32 32   -   -  32000   2048    - no
granitemoe       4096 11008 32 32   -   -  32000   2048    - no
granitemoehybrid 4096 11008 32 32    -   -  32000   2048    - no
granitemoeshared 4096 11008 32 32    -   -  32000   2048    - no
helium           2560  7040 24 20  20 128  48000   4096    - no
hunyuan_v1_dense 4096 11008 32 32    -   - 290943   2048    - no
hunyuan_v1_moe   4096 11008 32 32    -   - 290943   2048    - no
internlm3        4096 10240 48 32   2 128 128512  32768    - no
jamba            4096 14336 32 32   8   -  65536 262144    - no
lfm2             2560 12288 32 32    8   -  65536 128000    - yes
lfm2_moe         2048  7168 32 32    8   -  65536 128000    - yes
llama            4096 11008 32 32   -   -  32000   2048    - no
llama4_text      5120  8192 48 40   8 128 202048 131072    - no
minimax          4096 14336 32 32    8   -  32000 131072    - no
minimax_m2       3072  1536 62 48    8 128 200064 196608    - no
ministral        4096 14336 32 32    8   -  32000 131072 4096 no
ministral3       4096 14336 34 32    8 128 131072 262144    - no
mistral          4096 14336 32 32   8   -  32000 131072 4096 no
mixtral          4096 14336 32 32   8   -  32000 131072    - no
mllama_text_model 4096 14336 40 32    8   - 128256 131072    - -
modernbert        768  1152 22 12   -   -  50368   8192    - yes
mpnet             768  3072 12 12   -   -  30527    512    - yes
nemotron         6144 24576 32 48   -   - 256000   4096    - no
nomic_bert        768  3072 12 12   -   -  30528   2048    - -
olmo             4096 11008 32 32   -   -  50304   2048    - no
olmo2            4096 11008 32 32   -   -  50304   2048    - no
olmo3            4096 11008 32 32    -   -  50304   2048 4096 no
olmoe            2048  2048 16 16   -   -  50304   4096    - no
paddleocr_vl_text 1024  3072 18 16    2 128 103424 131072    - -
persimmon        4096 16384 36 64   -   - 262144  16384    - no
phi              2048  8192 24 32   -   -  51200   2048    - no
phi3             3072  8192 32 32   -   -  32064   4096    - no
phimoe           4096  6400 32 32    8   -  32064 131072    - no
qwen2            4096 22016 32 32  32   - 151936  32768    - no
qwen2_5_omni_text 3584 18944 28 28    4   - 152064  32768    - -
qwen2_5_vl_text  8192 29568 80 64   8   - 152064  32768    - -
qwen2_moe        2048  5632 24 16  16   - 151936  32768    - no
qwen2_vl_text    8192 29568 80 64   8   - 152064  32768    - -
qwen3            4096 22016 32 32  32 128 151936  32768    - no
qwen3_5_moe_text 2048     - 40 16    2 256 248320  32768    - -
qwen3_5_text     4096 12288 32 16    4 256 248320  32768    - -
qwen3_moe        2048  6144 24 32   4   - 151936  32768    - no
qwen3_next       2048  5632 48 16   2 256 151936  32768    - no
qwen3_vl_moe_text 2048  5632 24 16   16   - 151936 128000    - -
qwen3_vl_text    4096 22016 32 32  32 128 151936 128000    - -
roberta           768  3072 12 12   -   -  50265    512    - yes
seed_oss         4096 27648 64 80   8 128 155136 524288    - no
smollm3          2048 11008 36 16   4   - 128256  32768    - yes
solar_open       4096     - 48 64    8 128 196608 131072    - no
stablelm         2560  6912 32 32  32   -  50304   4096    - no
starcoder2       3072 12288 30 24   2   -  49152   4096    - yes
xlm-roberta       768  3072 12 12   -   -  30522    512    - yes
zamba2           2560     - 54 32    -   -  32000   4096    - yes
"""

# Architectures with names of their own for the same things.
_OWN_NAMES: dict[str, dict[str, int | bool]] = {
    "bloom": {"vocab_size": 250880, "tie_word_embeddings": True},
    "distilbert": {
        "dim": 768,
        "hidden_dim": 3072,
        "max_position_embeddings": 512,
        "n_heads": 12,
        "n_layers": 6,
        "vocab_size": 30522,
    },
    "falcon_mamba": {
        "conv_kernel": 4,
        "hidden_size": 768,
        "num_hidden_layers": 32,
        "state_size": 16,
        "tie_word_embeddings": True,
        "vocab_size": 50280,
    },
    "falcon": {
        "max_position_embeddings": 2048,
        "multi_query": True,
        "new_decoder_architecture": False,
        "tie_word_embeddings": True,
    },
    "gpt2": {
        "n_embd": 768,
        "n_head": 12,
        "n_layer": 12,
        "n_positions": 1024,
        "tie_word_embeddings": True,
        "vocab_size": 50257,
    },
    "gpt_bigcode": {"multi_query": True, "n_positions": 1024, "tie_word_embeddings": True},
    "mamba": {"expand": 2, "conv_kernel": 4, "state_size": 16, "tie_word_embeddings": True},
    "opt": {"max_position_embeddings": 2048, "tie_word_embeddings": True},
    "t5": {"d_kv": 64, "tie_word_embeddings": True},
}


def _rows() -> Iterator[tuple[str, dict[str, int | bool]]]:
    for line in _TABLE.strip().splitlines():
        name, *cells = line.split()
        pairs = zip(_KEYS, cells, strict=True)
        yield name, {key: _cell(text) for key, text in pairs if text != "-"}


def _cell(text: str) -> int | bool:
    return text == "yes" if text in {"yes", "no"} else int(text)


DEFAULTS: dict[str, dict[str, int | bool]] = dict(_rows()) | _OWN_NAMES
"""Value of each key that a configuration of this model_type may leave out."""
