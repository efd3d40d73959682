"""One model of each architecture, in its published shape, as header-only GGUFs and as HF configs.

The GGUF table holds what tests/generators/gguf_shapes.py does not have: layers of several kinds,
arrays by layer, encoders without a causal mask, recurrent and shared-KV layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.generators import quant_mix
from tests.generators.models import GgufTensorSpec, write_gguf

Rows = dict[str, list[int]]
"""Suffix of a tensor's name to its shape, innermost first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufModel:
    """A GGUF model: values without prefix, tensors outside blocks, and those of each block."""

    architecture: str
    values: dict[str, Any]
    outside: Rows
    blocks: list[Rows]
    mix: str = "Q4_K_M"
    block_name: str = "blk"


def write_architecture(name: str, path: Path) -> Path:
    """Write a named GGUF model as a header and a hole."""
    model = GGUF[name]
    values = {
        "general.architecture": model.architecture,
        "general.type": "model",
        "general.name": name,
        "tokenizer.ggml.model": "none",
        **{f"{model.architecture}.{key}": value for key, value in model.values.items()},
    }
    return write_gguf(path, values, list(_tensors(model)))


def _tensors(model: GgufModel) -> Iterable[GgufTensorSpec]:
    shapes = {f"{name}": shape for name, shape in model.outside.items()}
    for index, rows in enumerate(model.blocks):
        for suffix, shape in rows.items():
            shapes[f"{model.block_name}.{index}.{suffix}"] = shape
    tied = "output.weight" not in shapes
    for name in sorted(shapes, key=quant_mix.file_order):
        shape = shapes[name]
        kept = any(word in name for word in ("ssm_conv1d", "altup", "laurel", "attn_rel_b"))
        layers = len(model.blocks)
        dtype = quant_mix.tensor_type(model.mix, name, shape, layers, tied=tied)
        yield name, "f32" if kept else dtype, shape


def _values(layers: int, width: int, context: int, vocabulary: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Values that every model has; a double underscore in a name is a dot."""
    return {
        "block_count": layers,
        "context_length": context,
        "embedding_length": width,
        "vocab_size": vocabulary,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


def _head(width: int, vocabulary: int, *, tied: bool) -> Rows:
    rows = {"token_embd.weight": [width, vocabulary], "output_norm.weight": [width]}
    return rows if tied else rows | {"output.weight": [width, vocabulary]}


def _attention(width: int, heads: int, kv_heads: int, head_size: int = 128) -> Rows:
    return {
        "attn_norm.weight": [width],
        "attn_q.weight": [width, heads * head_size],
        "attn_k.weight": [width, kv_heads * head_size],
        "attn_v.weight": [width, kv_heads * head_size],
        "attn_output.weight": [heads * head_size, width],
    }


def _forward(width: int, inner: int) -> Rows:
    return {
        "ffn_norm.weight": [width],
        "ffn_gate.weight": [width, inner],
        "ffn_up.weight": [width, inner],
        "ffn_down.weight": [inner, width],
    }


def _experts(width: int, inner: int, experts: int, shared: int = 0) -> Rows:
    rows = {
        "ffn_norm.weight": [width],
        "ffn_gate_inp.weight": [width, experts],
        "ffn_gate_exps.weight": [width, inner, experts],
        "ffn_up_exps.weight": [width, inner, experts],
        "ffn_down_exps.weight": [inner, width, experts],
    }
    if shared:
        rows |= {
            "ffn_gate_shexp.weight": [width, shared],
            "ffn_up_shexp.weight": [width, shared],
            "ffn_down_shexp.weight": [shared, width],
        }
    return rows


def _mamba(width: int, inner: int, state: int, rank: int) -> Rows:
    return {
        "attn_norm.weight": [width],
        "ssm_in.weight": [width, 2 * inner],
        "ssm_conv1d.weight": [4, inner],
        "ssm_conv1d.bias": [inner],
        "ssm_x.weight": [inner, rank + 2 * state],
        "ssm_dt.weight": [rank, inner],
        "ssm_dt.bias": [inner],
        "ssm_a": [state, inner],
        "ssm_d": [inner],
        "ssm_out.weight": [inner, width],
    }


def _mamba2(width: int, inner: int, state: int, heads: int) -> Rows:
    return {
        "attn_norm.weight": [width],
        "ssm_in.weight": [width, 2 * inner + 2 * state + heads],
        "ssm_conv1d.weight": [4, inner + 2 * state],
        "ssm_conv1d.bias": [inner + 2 * state],
        "ssm_dt.bias": [heads],
        "ssm_a": [1, heads],
        "ssm_d": [1, heads],
        "ssm_norm.weight": [inner, 1],
        "ssm_out.weight": [inner, width],
    }


def _jamba() -> GgufModel:
    """One block of eight attends, every second one has experts."""
    kv_heads = [8 if layer % 8 == 4 else 0 for layer in range(32)]
    blocks = []
    for layer in range(32):
        mixer = _attention(4096, 32, 8) if kv_heads[layer] else _mamba(4096, 8192, 16, 256)
        blocks.append(mixer | (_experts(4096, 14336, 16) if layer % 2 else _forward(4096, 14336)))
    values = _values(
        *(32, 4096, 262144, 65536),
        feed_forward_length=14336,
        attention__head_count=32,
        attention__head_count_kv=kv_heads,
        ssm__conv_kernel=4,
        ssm__inner_size=8192,
        ssm__state_size=16,
        ssm__time_step_rank=256,
        expert_count=16,
        expert_used_count=2,
    )
    outside = _head(4096, 65536, tied=False)
    return GgufModel(architecture="jamba", values=values, outside=outside, blocks=blocks)


def _granite_hybrid() -> GgufModel:
    kv_heads = [4 if layer % 10 == 5 else 0 for layer in range(40)]
    blocks = [
        (_attention(1536, 12, 4) if count else _mamba2(1536, 3072, 128, 48))
        | _experts(1536, 512, 64, shared=1024)
        for count in kv_heads
    ]
    values = _values(
        *(40, 1536, 131072, 100352),
        feed_forward_length=512,
        attention__head_count=12,
        attention__head_count_kv=kv_heads,
        ssm__conv_kernel=4,
        ssm__inner_size=3072,
        ssm__state_size=128,
        ssm__time_step_rank=48,
        ssm__group_count=1,
        expert_count=64,
        expert_used_count=6,
        expert_shared_feed_forward_length=1024,
    )
    outside = _head(1536, 100352, tied=True)
    return GgufModel(architecture="granitehybrid", values=values, outside=outside, blocks=blocks)


def _falcon_h1() -> GgufModel:
    """Each block attends and has a recurrent state at the same time."""
    block = _mamba2(2048, 3072, 256, 48) | _attention(2048, 8, 2) | _forward(2048, 4096)
    values = _values(
        *(24, 2048, 131072, 65537),
        feed_forward_length=4096,
        attention__head_count=8,
        attention__head_count_kv=2,
        attention__key_length=128,
        attention__value_length=128,
        ssm__conv_kernel=4,
        ssm__inner_size=3072,
        ssm__state_size=256,
        ssm__time_step_rank=48,
        ssm__group_count=1,
    )
    outside = _head(2048, 65537, tied=False)
    return GgufModel(architecture="falcon-h1", values=values, outside=outside, blocks=[block] * 24)


def _gemma3n() -> GgufModel:
    """The last fifteen layers share the KV cache of earlier ones; every fifth attends to all."""
    block = _attention(2048, 8, 2, 256) | _forward(2048, 16384)
    block |= {f"{name}.weight": [256] for name in ("attn_q_norm", "attn_k_norm")}
    block |= {f"{name}.weight": [2048] for name in ("post_attention_norm", "post_ffw_norm")}
    block |= {
        "inp_gate.weight": [2048, 256],
        "proj.weight": [256, 2048],
        "post_norm.weight": [2048],
    }
    block |= {"altup_correct_coef.weight": [4, 4], "altup_predict_coef.weight": [4, 16]}
    block |= {"altup_router.weight": [2048, 4], "altup_correct_scale.weight": [2048]}
    block |= {"laurel_l.weight": [2048, 64], "laurel_r.weight": [64, 2048]}
    values = _values(
        *(35, 2048, 32768, 262144),
        feed_forward_length=[16384] * 35,
        attention__head_count=8,
        attention__head_count_kv=2,
        attention__key_length=256,
        attention__value_length=256,
        attention__sliding_window=512,
        attention__sliding_window_pattern=[layer % 5 != 4 for layer in range(35)],
        attention__shared_kv_layers=15,
        activation_sparsity_scale=[1.6448534 if layer < 10 else 0.0 for layer in range(35)],
        altup__active_idx=0,
        altup__num_inputs=4,
        embedding_length_per_layer_input=256,
    )
    outside = _head(2048, 262144, tied=True) | {
        "per_layer_token_embd.weight": [256 * 35, 262144],
        "per_layer_model_proj.weight": [2048, 256 * 35],
        "altup_proj.weight": [2048, 2048, 3],
        "altup_unembd_proj.weight": [2048, 2048, 3],
    }
    return GgufModel(architecture="gemma3n", values=values, outside=outside, blocks=[block] * 35)


def _llama4() -> GgufModel:
    block = _attention(5120, 40, 8) | _experts(5120, 8192, 16, shared=8192)
    values = _values(
        *(48, 5120, 10485760, 202048),
        feed_forward_length=16384,
        attention__head_count=40,
        attention__head_count_kv=8,
        expert_count=16,
        expert_used_count=1,
        expert_feed_forward_length=8192,
        interleave_moe_layer_step=1,
    )
    outside = _head(5120, 202048, tied=False) | {"rope_freqs.weight": [64]}
    return GgufModel(architecture="llama4", values=values, outside=outside, blocks=[block] * 48)


def _minicpm3() -> GgufModel:
    """MLA without the absorbed tensors."""
    block = {
        "attn_norm.weight": [2560],
        "attn_q_a.weight": [2560, 768],
        "attn_q_a_norm.weight": [768],
        "attn_q_b.weight": [768, 40 * 96],
        "attn_kv_a_mqa.weight": [2560, 288],
        "attn_kv_a_norm.weight": [256],
        "attn_kv_b.weight": [256, 40 * 128],
        "attn_output.weight": [40 * 64, 2560],
    } | _forward(2560, 6400)
    values = _values(
        *(62, 2560, 32768, 73448),
        feed_forward_length=6400,
        attention__head_count=40,
        attention__head_count_kv=40,
        attention__q_lora_rank=768,
        attention__kv_lora_rank=256,
        rope__dimension_count=32,
    )
    outside = _head(2560, 73448, tied=True)
    return GgufModel(architecture="minicpm3", values=values, outside=outside, blocks=[block] * 62)


def _modern_bert() -> GgufModel:
    block = {
        "attn_norm.weight": [768],
        "attn_qkv.weight": [768, 2304],
        "attn_output.weight": [768, 768],
        "ffn_norm.weight": [768],
        "ffn_up.weight": [768, 2304],
        "ffn_down.weight": [1152, 768],
    }
    first = {name: shape for name, shape in block.items() if name != "attn_norm.weight"}
    values = _values(
        *(22, 768, 8192, 50368),
        feed_forward_length=1152,
        attention__head_count=12,
        attention__causal=False,
        attention__sliding_window=128,
        attention__sliding_window_pattern=3,
        pooling_type=2,
    )
    outside = _head(768, 50368, tied=True) | {"token_embd_norm.weight": [768]}
    return GgufModel(
        architecture="modern-bert",
        values=values,
        outside=outside,
        blocks=[first] + [block] * 21,
        mix="F16",
    )


def _jina_bert() -> GgufModel:
    names = ("attn_q", "attn_k", "attn_v", "attn_output")
    block = {f"{name}.weight": [768, 768] for name in names}
    block |= {f"{name}.bias": [768] for name in names}
    block |= {"ffn_up.weight": [768, 3072], "ffn_gate.weight": [768, 3072]}
    block |= {"ffn_down.weight": [3072, 768], "ffn_down.bias": [768]}
    values = _values(
        *(12, 768, 8192, 30528),
        feed_forward_length=3072,
        attention__head_count=12,
        attention__causal=False,
        pooling_type=1,
    )
    outside = {"token_embd.weight": [768, 30528], "token_types.weight": [768, 2]}
    return GgufModel(
        architecture="jina-bert-v2", values=values, outside=outside, blocks=[block] * 12, mix="F16"
    )


def _t5_encoder() -> GgufModel:
    block = {
        "attn_norm.weight": [4096],
        **{f"attn_{name}.weight": [4096, 4096] for name in ("q", "k", "v", "o")},
        "ffn_norm.weight": [4096],
        "ffn_gate.weight": [4096, 10240],
        "ffn_up.weight": [4096, 10240],
        "ffn_down.weight": [10240, 4096],
    }
    values = _values(
        *(24, 4096, 512, 32128),
        feed_forward_length=10240,
        attention__head_count=64,
        attention__key_length=64,
        attention__value_length=64,
        attention__relative_buckets_count=32,
    )
    outside = {
        "token_embd.weight": [4096, 32128],
        "enc.output_norm.weight": [4096],
        "enc.blk.0.attn_rel_b.weight": [64, 32],
    }
    return GgufModel(
        architecture="t5encoder",
        values=values,
        outside=outside,
        blocks=[block] * 24,
        mix="F16",
        block_name="enc.blk",
    )


def _plain(architecture: str, block: Rows, values: dict[str, Any], *, tied: bool) -> GgufModel:
    outside = _head(values["embedding_length"], values["vocab_size"], tied=tied)
    blocks = [block] * values["block_count"]
    return GgufModel(architecture=architecture, values=values, outside=outside, blocks=blocks)


def _heads(heads: int, kv_heads: int, inner: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "feed_forward_length": inner,
        "attention__head_count": heads,
        "attention__head_count_kv": kv_heads,
        **more,
    }


GGUF: dict[str, GgufModel] = {
    "jamba-1.5-mini": _jamba(),
    "granite-4.0-h-tiny": _granite_hybrid(),
    "falcon-h1-1.5b": _falcon_h1(),
    "gemma-3n-e4b": _gemma3n(),
    "llama-4-scout": _llama4(),
    "minicpm3-4b": _minicpm3(),
    "gte-modernbert-base": _modern_bert(),
    "jina-embeddings-v2-base-en": _jina_bert(),
    "t5-v1_1-xxl-encoder": _t5_encoder(),
    "exaone-4.0-32b": _plain(
        "exaone4",
        _attention(5120, 40, 8) | _forward(5120, 27392),
        _values(
            *(64, 5120, 131072, 102400),
            **_heads(40, 8, 27392, attention__sliding_window=4096),
            attention__sliding_window_pattern=4,
        ),
        tied=False,
    ),
    "smollm3-3b": _plain(
        "smollm3",
        _attention(2048, 16, 4) | _forward(2048, 11008),
        _values(36, 2048, 65536, 128256, **_heads(16, 4, 11008)),
        tied=True,
    ),
    "command-r7b": _plain(
        "cohere2",
        _attention(4096, 32, 8) | _forward(4096, 14336),
        _values(
            32, 4096, 8192, 256000, **_heads(32, 8, 14336, attention__sliding_window=4096)
        ),
        tied=True,
    ),
    "mamba-2.8b": _plain(
        "mamba",
        _mamba(2560, 5120, 16, 160),
        _values(
            *(64, 2560, 1048576, 50280),
            ssm__conv_kernel=4,
            ssm__inner_size=5120,
            ssm__state_size=16,
            ssm__time_step_rank=160,
        ),
        tied=True,
    ),
}  # fmt: skip
