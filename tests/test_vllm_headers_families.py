"""Weights from tensors and from the config agree: MLA, linear attention, vision, encoders."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.headers import weights_from_tensors
from compiler.engines.vllm.memory.weights import weights_from_shape
from compiler.engines.vllm.model.config import shape_of
from compiler.ir.facts import HeaderValue, ModelFacts, TensorGroup
from tests.test_vllm_headers import group, linear
from tests.vllm_cases import KINDS, XLM_ROBERTA, config, facts

OPTIONS = Options(version=(0, 11, 2), context=4096, sequences=16, batched_tokens=2048)


def check(
    header: dict[str, HeaderValue], tensors: list[TensorGroup], options: Options, within: float
) -> None:
    shape, kind = shape_of(header), KINDS["h200-sxm"]
    found: ModelFacts = facts(header).model_copy(
        update={"tensors": tensors, "format": "safetensors"}
    )
    by_tensors = weights_from_tensors(found, shape, options, kind)
    by_config = weights_from_shape(shape, options, kind)
    assert by_tensors is not None
    assert abs(by_tensors / by_config - 1) < within


def norms(path: str, width: int, *index: str) -> list[TensorGroup]:
    names = ("input_layernorm", "post_attention_layernorm")
    return [group(f"{path}.{name}.weight", "BF16", width, index=index) for name in names]


def deepseek_r1() -> list[TensorGroup]:
    every, routed, block = "0-61", "3-61", "model.layers.*"
    kind, attention = "fp8-block", "model.layers.*.self_attn"
    tensors = [
        group("model.embed_tokens.weight", "BF16", 129280, 7168),
        group("lm_head.weight", "BF16", 129280, 7168),
        group("model.norm.weight", "BF16", 7168),
        group("model.layers.*.eh_proj.weight", "BF16", 7168, 14336, index=("61",)),
        group(f"{attention}.q_a_layernorm.weight", "BF16", 1536, index=(every,)),
        group(f"{attention}.kv_a_layernorm.weight", "BF16", 512, index=(every,)),
        group(f"{block}.mlp.gate.weight", "BF16", 256, 7168, index=(routed,)),
        group(f"{block}.mlp.gate.e_score_correction_bias", "F32", 256, index=(routed,)),
        *norms(block, 7168, every),
    ]
    tensors += linear(f"{attention}.q_a_proj", 1536, 7168, kind, every)
    tensors += linear(f"{attention}.q_b_proj", 128 * 192, 1536, kind, every)
    tensors += linear(f"{attention}.kv_a_proj_with_mqa", 576, 7168, kind, every)
    tensors += linear(f"{attention}.kv_b_proj", 128 * 256, 512, kind, every)
    tensors += linear(f"{attention}.o_proj", 7168, 128 * 128, kind, every)
    for name, rows, columns in (
        ("gate_proj", 1, 0),
        ("up_proj", 1, 0),
        ("down_proj", 0, 1),
    ):
        for path, width, index in (
            (f"{block}.mlp", 18432, ("0-2",)),
            (f"{block}.mlp.shared_experts", 2048, (routed,)),
            (f"{block}.mlp.experts.*", 2048, (routed, "0-255")),
        ):
            size = (width if rows else 7168, width if columns else 7168)
            tensors += linear(f"{path}.{name}", *size, kind, *index)
    return tensors


@pytest.mark.parametrize("ranks", [1, 8])
def test_latent_attention_with_shared_and_routed_experts(ranks: int) -> None:
    options = replace(OPTIONS, tensor_parallel=ranks)
    check(config("DeepSeek-R1"), deepseek_r1(), options, 0.001)


def qwen3_next() -> list[TensorGroup]:
    full = ",".join(str(layer) for layer in range(3, 48, 4))
    linear_layers = ",".join(f"{layer}-{layer + 2}" for layer in range(0, 48, 4))
    every, block = "0-47", "model.layers.*"
    keys, values = 16 * 128, 32 * 128
    tensors = [
        group("model.embed_tokens.weight", "BF16", 151936, 2048),
        group("lm_head.weight", "BF16", 151936, 2048),
        group("model.norm.weight", "BF16", 2048),
        *norms(block, 2048, every),
        group(f"{block}.linear_attn.A_log", "F32", 32, index=(linear_layers,)),
        group(f"{block}.linear_attn.dt_bias", "BF16", 32, index=(linear_layers,)),
        group(f"{block}.linear_attn.norm.weight", "F32", 128, index=(linear_layers,)),
        group(
            f"{block}.linear_attn.conv1d.weight",
            "BF16",
            2 * keys + values,
            1,
            4,
            index=(linear_layers,),
        ),
        group(f"{block}.mlp.gate.weight", "BF16", 512, 2048, index=(every,)),
        group(f"{block}.mlp.shared_expert_gate.weight", "BF16", 1, 2048, index=(every,)),
        group("mtp.fc.weight", "BF16", 2048, 4096),
    ]
    for name, rows, columns, layers in (
        ("linear_attn.in_proj_qkvz", 2 * keys + 2 * values, 2048, linear_layers),
        ("linear_attn.in_proj_ba", 64, 2048, linear_layers),
        ("linear_attn.out_proj", 2048, values, linear_layers),
        ("self_attn.q_proj", 2 * 16 * 256, 2048, full),
        ("self_attn.k_proj", 512, 2048, full),
        ("self_attn.v_proj", 512, 2048, full),
        ("self_attn.o_proj", 2048, 4096, full),
        ("mlp.shared_expert.gate_proj", 512, 2048, every),
        ("mlp.shared_expert.up_proj", 512, 2048, every),
        ("mlp.shared_expert.down_proj", 2048, 512, every),
    ):
        tensors += linear(f"{block}.{name}", rows, columns, "none", layers)
    for name, rows, columns in (
        ("gate_proj", 512, 2048),
        ("up_proj", 512, 2048),
        ("down_proj", 2048, 512),
    ):
        tensors += linear(f"{block}.mlp.experts.*.{name}", rows, columns, "none", every, "0-511")
    return tensors


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_linear_attention(ranks: int) -> None:
    options = replace(OPTIONS, tensor_parallel=ranks)
    check(config("Qwen3-Next-80B-A3B"), qwen3_next(), options, 0.0005)


def qwen_vision() -> list[TensorGroup]:
    blocks, layers = ("0-31",), ("0-27",)
    tower, block = "visual.blocks.*", "model.layers.*"
    tensors = [
        group("model.embed_tokens.weight", "BF16", 152064, 3584),
        group("lm_head.weight", "BF16", 152064, 3584),
        group("model.norm.weight", "BF16", 3584),
        *norms(block, 3584, *layers),
        group("visual.patch_embed.proj.weight", "BF16", 1280, 3, 2, 14, 14),
        group(f"{tower}.attn.qkv.weight", "BF16", 3840, 1280, index=blocks),
        group(f"{tower}.attn.qkv.bias", "BF16", 3840, index=blocks),
        group(f"{tower}.attn.proj.weight", "BF16", 1280, 1280, index=blocks),
        group(f"{tower}.attn.proj.bias", "BF16", 1280, index=blocks),
        group("visual.merger.mlp.0.weight", "BF16", 5120, 5120),
        group("visual.merger.mlp.2.weight", "BF16", 3584, 5120),
    ]
    for name, rows, columns in (
        ("gate_proj", 3420, 1280),
        ("up_proj", 3420, 1280),
        ("down_proj", 1280, 3420),
    ):
        tensors += linear(f"{tower}.mlp.{name}", rows, columns, "none", *blocks)
    for name, rows, columns in (
        ("self_attn.q_proj", 3584, 3584),
        ("self_attn.k_proj", 512, 3584),
        ("self_attn.v_proj", 512, 3584),
        ("self_attn.o_proj", 3584, 3584),
        ("mlp.gate_proj", 18944, 3584),
        ("mlp.up_proj", 18944, 3584),
        ("mlp.down_proj", 3584, 18944),
    ):
        tensors += linear(f"{block}.{name}", rows, columns, "none", *layers)
    return tensors


@pytest.mark.parametrize("ranks", [1, 2])
def test_vision_tower(ranks: int) -> None:
    check(config("Qwen2.5-VL-7B"), qwen_vision(), replace(OPTIONS, tensor_parallel=ranks), 0.001)


def test_a_vision_tower_is_not_loaded_for_text_alone() -> None:
    options = replace(OPTIONS, language_model_only=True)
    check(config("Qwen2.5-VL-7B"), qwen_vision(), options, 0.001)


def test_an_encoder() -> None:
    layers, stem = "0-23", "roberta.encoder.layer.*"
    tensors = [
        group("roberta.embeddings.word_embeddings.weight", "F32", 250002, 1024),
        group("roberta.embeddings.position_embeddings.weight", "F32", 8194, 1024),
        group("roberta.embeddings.token_type_embeddings.weight", "F32", 1, 1024),
        group("classifier.dense.weight", "F32", 1024, 1024),
        group("classifier.out_proj.weight", "F32", 1, 1024),
    ]
    for name, rows, columns in (
        ("attention.self.query", 1024, 1024),
        ("attention.self.key", 1024, 1024),
        ("attention.self.value", 1024, 1024),
        ("attention.output.dense", 1024, 1024),
        ("intermediate.dense", 4096, 1024),
        ("output.dense", 1024, 4096),
    ):
        tensors.append(group(f"{stem}.{name}.weight", "F32", rows, columns, index=(layers,)))
        tensors.append(group(f"{stem}.{name}.bias", "F32", rows, index=(layers,)))
    check(XLM_ROBERTA, tensors, replace(OPTIONS, pooling=True), 0.001)
