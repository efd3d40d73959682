"""Mistral's own layout: params.json and consolidated.safetensors, as vLLM translates them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.engines.registry import engine_of
from compiler.ir.facts import ModelFacts, Tensor
from compiler.resolve.gguf_facts import FactsMissingError
from compiler.resolve.hf_facts import hf_facts
from compiler.resolve.mistral import config_of, rename_tensors
from compiler.resolve.sources import resolve_source
from tests.generators.models import write_folder, write_safetensors

Json = dict[str, Any]


def params(**changes: object) -> Json:
    """params.json of Mistral 7B."""
    return {
        "dim": 4096,
        "n_layers": 32,
        "head_dim": 128,
        "hidden_dim": 14336,
        "n_heads": 32,
        "n_kv_heads": 8,
        "norm_eps": 1e-05,
        "vocab_size": 32768,
        "rope_theta": 1000000.0,
        **changes,
    }


def facts(**changes: object) -> ModelFacts:
    return hf_facts("m", {"params.json": params(**changes)}, [])


def renamed(name: str) -> str:
    tensor = Tensor(name=name, dtype="BF16", shape=[1], bytes=2)
    return rename_tensors([tensor])[0].name


def test_a_dense_model() -> None:
    found = facts()
    assert (found.architecture, found.task, found.layers) == ("MistralForCausalLM", "generate", 32)
    assert (found.vocabulary, found.position_limit) == (32768, 128000)
    assert found.header["num_key_value_heads"] == 8
    assert "n_layers" not in found.header


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"max_position_embeddings": 131072}, 131072),
        ({"max_seq_len": 32768}, 32768),
        ({"yarn": {"factor": 16, "original_max_position_embeddings": 16384}}, 262144),
    ],
)
def test_position_limit(changes: Json, limit: int) -> None:
    assert facts(**changes).position_limit == limit


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"moe": {"num_experts": 8, "num_experts_per_tok": 2}}, "MixtralForCausalLM"),
        ({"moe": {"num_experts": 128, "num_shared_experts": 1}}, "MistralLarge3ForCausalLM"),
        ({"vision_encoder": {"hidden_size": 1024}}, "PixtralForConditionalGeneration"),
        (
            {"multimodal": {"vision_encoder_args": {"hidden_size": 1024}}},
            "PixtralForConditionalGeneration",
        ),
    ],
)
def test_architectures(changes: Json, name: str) -> None:
    found = facts(**changes)
    assert (found.architecture, found.layers) == (name, 32)


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ({"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}, "fp8"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
    ],
)
def test_quantization(section: Json, name: str) -> None:
    assert facts(quantization=section).quantization == name
    assert facts(quantization=section, vision_encoder={"a": 1}).quantization == name


def test_windows_that_repeat_over_the_layers() -> None:
    """Ministral 8B: three layers of four with a window."""
    header = facts(sliding_window=[None, 32768, 32768, 32768]).header
    assert header["sliding_window"] == 32768
    assert header["layer_types"] == ["full_attention", *["sliding_attention"] * 3] * 8
    assert facts(sliding_window=4096).header["layer_types"] == ["sliding_attention"] * 32
    assert "layer_types" not in facts(sliding_window=None).header


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("tok_embeddings.weight", "model.embed_tokens.weight"),
        ("layers.3.attention.wq.weight", "model.layers.3.self_attn.q_proj.weight"),
        ("layers.3.attention_norm.weight", "model.layers.3.input_layernorm.weight"),
        ("layers.3.feed_forward.w2.qscale_weight", "model.layers.3.mlp.down_proj.weight_scale"),
        (
            "layers.0.feed_forward.experts.7.w1.weight",
            "model.layers.0.mlp.experts.7.gate_proj.weight",
        ),
        ("output.weight", "lm_head.weight"),
        ("norm.weight", "model.norm.weight"),
        ("vision_encoder.transformer.layers.0.attention.wq.weight", None),
    ],
)
def test_names_of_tensors(own: str, name: str | None) -> None:
    assert renamed(own) == (name or own)


def test_a_folder(tmp_path: Path) -> None:
    """What is read is what a folder of the same model with a config.json gives."""
    tensors = [("tok_embeddings.weight", "BF16", [32768, 4096])]
    tensors += [(f"layers.{n}.attention.wk.weight", "BF16", [1024, 4096]) for n in range(32)]
    write_safetensors(tmp_path / "consolidated.safetensors", tensors)
    write_folder(tmp_path, {"params.json": params(), "tekken.json": {}})
    found = resolve_source(str(tmp_path), tmp_path)
    assert [file.name for file in found.files] == [
        "consolidated.safetensors",
        "params.json",
        "tekken.json",
    ]
    assert found.facts.format == "safetensors"
    assert found.facts.parameters == 32768 * 4096 + 32 * 1024 * 4096
    assert {group.name for group in found.facts.tensors} == {
        "model.embed_tokens.weight",
        "model.layers.*.self_attn.k_proj.weight",
    }
    (run,) = engine_of("vllm").profile(found.facts).layers or []
    assert (run.layers, run.kv_heads, run.head_size) == (32, 8, 128)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**6) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["num_experts", "num_shared_experts", "vision_encoder_args", "factor"]),
            inner,
        )
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [*params(), "moe", "sliding_window", "quantization", "multimodal", "vision_encoder", "yarn"]
)


@given(st.dictionaries(KEYS, VALUES))
def test_any_parameters_give_facts_or_are_refused(changes: Json) -> None:
    config = config_of(params(**changes))
    assert config["architectures"]
    try:
        found = facts(**changes)
    except FactsMissingError:
        return
    assert found.layers > 0
