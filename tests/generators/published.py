"""Facts of well-known models, built from the shapes that their authors have published.

They carry shapes only: no file was read, so there is no revision and no digest, and `modelc lock
--update` pins the real thing. GGUF files follow llama-quantize's mixes; what a publisher chose by
hand for one tensor (an importance matrix never changes sizes) may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

from compiler.ir.facts import HeaderValue, ModelFacts, Tensor
from compiler.ir.ggml_types import FILE_TYPES
from compiler.ir.lock import LockedFile, LockedSource
from compiler.resolve.ggml import tensor_bytes
from compiler.resolve.gguf import GgufHeader, GgufTensor
from compiler.resolve.gguf_facts import gguf_facts
from compiler.resolve.hf_facts import hf_facts
from tests.generators import quant_mix, shapes
from tests.generators.shapes import Decoder, Named

_BITS = {"BF16": 16, "F16": 16, "F32": 32, "I32": 32, "U8": 8, "F8_E4M3": 8}
_ALIGNMENT = 32

QWEN3 = {
    "0.6B": Decoder(
        layers=28, hidden=1024, feed_forward=3072, heads=16, kv_heads=8, vocabulary=151669,
        qk_norm=True, tied=True,
    ),
    "4B": Decoder(
        layers=36, hidden=2560, feed_forward=9728, heads=32, kv_heads=8, vocabulary=151669,
        qk_norm=True, tied=True,
    ),
    "8B": Decoder(
        layers=36, hidden=4096, feed_forward=12288, heads=32, kv_heads=8, vocabulary=151936,
        qk_norm=True,
    ),
    "14B": Decoder(
        layers=40, hidden=5120, feed_forward=17408, heads=40, kv_heads=8, vocabulary=151936,
        qk_norm=True,
    ),
    "32B": Decoder(
        layers=64, hidden=5120, feed_forward=25600, heads=64, kv_heads=8, vocabulary=151936,
        qk_norm=True,
    ),
}  # fmt: skip
QWEN25 = {
    "1.5B": Decoder(
        layers=28, hidden=1536, feed_forward=8960, heads=12, kv_heads=2, vocabulary=151936,
        qkv_bias=True, tied=True,
    ),
    "14B": Decoder(
        layers=48, hidden=5120, feed_forward=13824, heads=40, kv_heads=8, vocabulary=152064,
        qkv_bias=True,
    ),
}  # fmt: skip
LLAMA3 = {
    "8B": Decoder(
        layers=32, hidden=4096, feed_forward=14336, heads=32, kv_heads=8, vocabulary=128256
    ),
    "70B": Decoder(
        layers=80, hidden=8192, feed_forward=28672, heads=64, kv_heads=8, vocabulary=128256
    ),
}
_AWQ = {
    "quant_method": "awq",
    "bits": 4,
    "group_size": 128,
    "zero_point": True,
    "version": "gemm",
}
_FP8 = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 8,
                "type": "float",
                "strategy": "channel",
                "symmetric": True,
                "dynamic": False,
            },
            "input_activations": {
                "num_bits": 8,
                "type": "float",
                "strategy": "token",
                "symmetric": True,
                "dynamic": True,
            },
        }
    },
}
_LAST_POOLING = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 1024, "pooling_mode_lasttoken": True},
}
_CLS_POOLING = {
    **_LAST_POOLING,
    "1_Pooling/config.json": {"word_embedding_dimension": 1024, "pooling_mode_cls_token": True},
}


def locked(source: str) -> LockedSource:
    """The lock entry of a published source, by its name in the spec; KeyError for others."""
    return _SOURCES[source](source)


def sources() -> list[str]:
    """All published sources."""
    return sorted(_SOURCES)


def _qwen3(size: str, context: int = 40960, **changes: object) -> dict[str, Any]:
    return {
        **_config("Qwen3ForCausalLM", "qwen3", QWEN3[size], context),
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000,
        "use_sliding_window": False,
        "max_window_layers": QWEN3[size].layers,
        **changes,
    }


def _qwen25(size: str, **changes: object) -> dict[str, Any]:
    return {
        **_config("Qwen2ForCausalLM", "qwen2", QWEN25[size], 32768),
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "use_sliding_window": False,
        "sliding_window": 32768,
        "max_window_layers": 21,
        **changes,
    }


def _llama3(size: str, **changes: object) -> dict[str, Any]:
    return {
        **_config("LlamaForCausalLM", "llama", LLAMA3[size], 131072),
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        **changes,
    }


def _config(architecture: str, model_type: str, shape: Decoder, context: int) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": context,
        "tie_word_embeddings": shape.tied,
        "torch_dtype": "bfloat16",
        "hidden_act": "silu",
    }


def _gpt_oss_config() -> dict[str, Any]:
    return {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "attention_bias": True,
        "head_dim": 64,
        "hidden_size": 2880,
        "initial_context_length": 4096,
        "intermediate_size": 2880,
        "layer_types": ["sliding_attention", "full_attention"] * 12,
        "max_position_embeddings": 131072,
        "num_attention_heads": 64,
        "num_experts_per_tok": 4,
        "num_hidden_layers": 24,
        "num_key_value_heads": 8,
        "num_local_experts": 32,
        "quantization_config": {
            "quant_method": "mxfp4",
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
        },
        "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "factor": 32.0,
            "original_max_position_embeddings": 4096,
            "rope_type": "yarn",
            "truncate": False,
        },
        "rope_theta": 150000,
        "sliding_window": 128,
        "tie_word_embeddings": False,
        "vocab_size": 201088,
    }


def _roberta_config(architecture: str) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": "xlm-roberta",
        "hidden_act": "gelu",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 8194,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "type_vocab_size": 1,
        "vocab_size": 250002,
    }


def _hf(
    config: dict[str, Any], tensors: Iterable[Named], **documents: object
) -> Callable[[str], LockedSource]:
    def build(source: str) -> LockedSource:
        found = [_hf_tensor(*named) for named in tensors]
        repository = source.partition(":")[0]
        facts = hf_facts(repository.split("/")[-1], {"config.json": config, **documents}, found)
        size = sum(tensor.bytes for tensor in found)
        return _entry(source, "model.safetensors", size, facts)

    tensors = list(tensors)
    return build


def _hf_tensor(name: str, dtype: str, shape: list[int]) -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=shape, bytes=prod(shape) * _BITS[dtype] // 8)


def _gguf(
    file: str,
    architecture: str,
    values: dict[str, HeaderValue],
    tensors: dict[str, list[int]],
    mix: str,
) -> Callable[[str], LockedSource]:
    def build(source: str) -> LockedSource:
        header = gguf_header(architecture, values, tensors, mix)
        return _entry(source, file, header.data_bytes, gguf_facts([header]))

    return build


def gguf_header(
    architecture: str, values: dict[str, HeaderValue], tensors: dict[str, list[int]], mix: str
) -> GgufHeader:
    """The header that llama-quantize writes for these tensors; `values` without prefix."""
    layers = values["block_count"]
    assert isinstance(layers, int)
    placed: list[GgufTensor] = []
    offset = 0
    for name in sorted(tensors, key=quant_mix.file_order):
        dtype = _type(mix, name, tensors[name], layers, tied="output.weight" not in tensors)
        size = tensor_bytes(dtype, tensors[name])
        placed.append(
            GgufTensor(name=name, dtype=dtype, shape=tensors[name], bytes=size, offset=offset)
        )
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    types = {name: number for number, name in FILE_TYPES.items()}
    return GgufHeader(
        version=3,
        big_endian=False,
        values={
            "general.architecture": architecture,
            "general.file_type": types[mix],
            **{f"{architecture}.{key}": value for key, value in values.items()},
        },
        lengths={},
        tensors=tuple(placed),
        alignment=_ALIGNMENT,
        data_offset=0,
        sha256="",
    )


def _type(mix: str, name: str, shape: list[int], layers: int, *, tied: bool) -> str:
    if mix != "MXFP4_MOE":
        return quant_mix.tensor_type(mix, name, shape, layers, tied=tied)
    if name.endswith("_exps.weight"):
        return "mxfp4"
    return quant_mix.tensor_type("Q8_0", name, shape, layers, tied=tied)


def decoder_values(shape: Decoder, context: int, rope_base: float) -> dict[str, HeaderValue]:
    """Header values of a dense decoder, without the architecture's prefix."""
    return {
        "block_count": shape.layers,
        "context_length": context,
        "embedding_length": shape.hidden,
        "feed_forward_length": shape.feed_forward,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_size,
        "attention.value_length": shape.head_size,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": rope_base,
        "rope.dimension_count": shape.head_size,
        "vocab_size": shape.vocabulary,
    }


def _bert_values(
    layers: int, hidden: int, inner: int, heads: int, positions: int
) -> dict[str, Any]:
    return {
        "block_count": layers,
        "context_length": positions,
        "embedding_length": hidden,
        "feed_forward_length": inner,
        "attention.head_count": heads,
        "attention.layer_norm_epsilon": 1e-5,
        "attention.causal": False,
    }


def _entry(source: str, file: str, size_bytes: int, facts: ModelFacts) -> LockedSource:
    return LockedSource(
        source=source,
        repository=source.partition(":")[0],
        files=[LockedFile(name=file, bytes=size_bytes)],
        facts=facts,
    )


def _gguf_decoder(
    file: str, architecture: str, shape: Decoder, mix: str, context: int, rope_base: float
) -> Callable[[str], LockedSource]:
    return _gguf(
        file,
        architecture,
        decoder_values(shape, context, rope_base),
        shapes.gguf_decoder(shape, rope_factors=architecture == "llama"),
        mix,
    )


def _all() -> dict[str, Callable[[str], LockedSource]]:
    decoder = shapes.hf_decoder
    awq: dict[str, Any] = {"torch_dtype": "float16", "quantization_config": _AWQ}
    found: dict[str, Callable[[str], LockedSource]] = {
        f"Qwen/Qwen3-{size}": _hf(_qwen3(size), decoder(QWEN3[size]))
        for size in ("8B", "14B", "32B")
    }
    for size in ("8B", "14B", "32B"):
        found[f"Qwen/Qwen3-{size}-AWQ"] = _hf(_qwen3(size, **awq), decoder(QWEN3[size], "awq"))
    for size in ("0.6B", "4B"):
        found[f"Qwen/Qwen3-Reranker-{size}"] = _hf(_qwen3(size), decoder(QWEN3[size]))
    found["Qwen/Qwen3-Embedding-0.6B"] = _hf(
        _qwen3("0.6B", 32768), decoder(QWEN3["0.6B"], prefix=""), **_LAST_POOLING
    )
    small = QWEN25["1.5B"]
    found["Qwen/Qwen2.5-1.5B-Instruct"] = _hf(_qwen25("1.5B"), decoder(small))
    found["Qwen/Qwen2.5-1.5B-Instruct-AWQ"] = _hf(_qwen25("1.5B", **awq), decoder(small, "awq"))
    found["meta-llama/Llama-3.1-8B-Instruct"] = _hf(_llama3("8B"), decoder(LLAMA3["8B"]))
    found["meta-llama/Llama-3.3-70B-Instruct"] = _hf(_llama3("70B"), decoder(LLAMA3["70B"]))
    found["RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic"] = _hf(
        _llama3("70B", quantization_config=_FP8), decoder(LLAMA3["70B"], "fp8")
    )
    found["openai/gpt-oss-20b"] = _hf(_gpt_oss_config(), shapes.hf_gpt_oss(24, 32))
    found["BAAI/bge-m3"] = _hf(
        _roberta_config("XLMRobertaModel"), shapes.hf_xlm_roberta(classifier=False), **_CLS_POOLING
    )
    found["BAAI/bge-reranker-v2-m3"] = _hf(
        {**_roberta_config("XLMRobertaForSequenceClassification"), "id2label": {"0": "LABEL_0"}},
        shapes.hf_xlm_roberta(classifier=True),
    )
    return found | _all_gguf()


def _all_gguf() -> dict[str, Callable[[str], LockedSource]]:
    distill, coder = "DeepSeek-R1-Distill-Llama-70B", "Qwen2.5-Coder-14B-Instruct"
    found = {
        f"unsloth/{distill}-GGUF:{mix}": _gguf_decoder(
            f"{distill}-{mix}.gguf", "llama", LLAMA3["70B"], mix, 131072, 500000.0
        )
        for mix in ("Q3_K_M", "Q4_K_M", "Q5_K_S")
    }
    for size in ("8B", "14B", "32B"):
        found[f"unsloth/Qwen3-{size}-GGUF:Q4_K_M"] = _gguf_decoder(
            f"Qwen3-{size}-Q4_K_M.gguf", "qwen3", QWEN3[size], "Q4_K_M", 40960, 1000000.0
        )
    for owner in ("unsloth", "Qwen"):
        found[f"{owner}/{coder}-GGUF:Q4_K_M"] = _gguf_decoder(
            f"{coder}-Q4_K_M.gguf".lower() if owner == "Qwen" else f"{coder}-Q4_K_M.gguf",
            "qwen2", QWEN25["14B"], "Q4_K_M", 32768, 1000000.0,
        )  # fmt: skip
    found["Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M"] = _gguf_decoder(
        "qwen2.5-1.5b-instruct-q4_k_m.gguf", "qwen2", QWEN25["1.5B"], "Q4_K_M", 32768, 1000000.0
    )
    small = QWEN3["0.6B"]
    found["Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0"] = _gguf(
        "Qwen3-Embedding-0.6B-Q8_0.gguf",
        "qwen3",
        {**decoder_values(small, 32768, 1000000.0), "pooling_type": 3},
        shapes.gguf_decoder(small),
        "Q8_0",
    )
    for quant in ("FP16", "Q8_0"):
        found[f"gpustack/bge-reranker-v2-m3-GGUF:{quant}"] = _gguf(
            f"bge-reranker-v2-m3-{quant}.gguf",
            "bert",
            _bert_values(24, 1024, 4096, 16, 8192) | {"vocab_size": 250002},
            shapes.gguf_bert(
                layers=24, hidden=1024, inner=4096, vocabulary=250002, positions=8192, head=True
            ),
            "F16" if quant == "FP16" else quant,
        )
    found["nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0"] = _gguf(
        "nomic-embed-text-v1.5.Q8_0.gguf",
        "nomic-bert",
        _bert_values(12, 768, 3072, 12, 2048)
        | {"vocab_size": 30522, "pooling_type": 1, "rope.freq_base": 1000.0},
        shapes.gguf_nomic(layers=12, hidden=768, inner=3072, vocabulary=30522),
        "Q8_0",
    )
    gpt_oss = _gguf(
        "gpt-oss-20b-mxfp4.gguf",
        "gpt-oss",
        _gpt_oss_values(),
        shapes.gguf_gpt_oss(24, 32),
        "MXFP4_MOE",
    )
    return found | {
        "ggml-org/gpt-oss-20b-GGUF": gpt_oss,
        "ggml-org/gpt-oss-20b-GGUF:MXFP4": gpt_oss,
    }


def _gpt_oss_values() -> dict[str, HeaderValue]:
    return {
        "block_count": 24,
        "context_length": 131072,
        "embedding_length": 2880,
        "feed_forward_length": 2880,
        "attention.head_count": 64,
        "attention.head_count_kv": 8,
        "attention.key_length": 64,
        "attention.value_length": 64,
        "attention.sliding_window": 128,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "expert_count": 32,
        "expert_used_count": 4,
        "expert_feed_forward_length": 2880,
        "rope.freq_base": 150000.0,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 32.0,
        "rope.scaling.original_context_length": 4096,
        "vocab_size": 201088,
    }


_SOURCES = _all()
