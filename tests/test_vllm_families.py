"""Models that vLLM serves in another way than their configuration suggests."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from compiler.engines.vllm.engine import ENGINE
from compiler.engines.vllm.model.config import shape_of
from compiler.ir.facts import HeaderValue, TensorGroup
from tests.truth.vllm import TRUTH
from tests.vllm_cases import XLM_ROBERTA, demand, endpoint, facts, flag, request

MODELS = json.loads((TRUTH / "vllm_classes.json").read_text(encoding="utf-8"))["models"]
OLMO_3: dict[str, HeaderValue] = MODELS["olmo3"]["config"]
SMOLLM_3: dict[str, HeaderValue] = MODELS["smollm3"]["config"]
MINICPM_3: dict[str, HeaderValue] = MODELS["minicpm3"]["config"]
ERNIE_45: dict[str, HeaderValue] = MODELS["ernie45_moe"]["config"]
GLM_45: dict[str, HeaderValue] = MODELS["glm4_moe"]["config"]
# Alibaba-NLP/gte-multilingual-base and its reranker, which bring their code along.
GTE: dict[str, HeaderValue] = {
    "architectures": ["NewModel"],
    "model_type": "new",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "vocab_size": 250048,
    "max_position_embeddings": 8192,
    "type_vocab_size": 1,
    "position_embedding_type": "rope",
    "torch_dtype": "float32",
}


def test_classes_that_are_gone_are_run_by_transformers() -> None:
    """Olmo 3 is still served by vLLM 0.32, and MPT is not."""
    assert ENGINE.check_request(request(OLMO_3, version="0.32.0")) == []
    own, other = (
        demand(request(OLMO_3, version=version), "l40s") for version in ("0.28.0", "0.32.0")
    )
    assert not any("Transformers" in sentence for sentence in own.assumed)
    assert any("0.28.0 was the last with its own class" in sentence for sentence in other.assumed)
    # Transformers computes positions as it goes: 65,536 rows of 128 numbers are not kept.
    saved = own.devices[0].weights.bytes - other.devices[0].weights.bytes
    assert saved == 65536 * 128 * 2
    (problem,) = ENGINE.check_request(
        request({**OLMO_3, "architectures": ["MPTForCausalLM"]}, version="0.32.0")
    )
    assert "no longer has" in problem.detail


def test_a_model_that_never_had_a_class_is_run_by_transformers() -> None:
    found = demand(request(SMOLLM_3), "l40s")
    assert any("runs `SmolLM3ForCausalLM` by Transformers" in each for each in found.assumed)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_minicpm_3_keeps_whole_heads(ranks: int) -> None:
    """Its latent attention is projected up before the cache: 40 heads of 96, keys and values."""
    kv = demand(request(MINICPM_3, version="0.29.0"), *["l40s"] * ranks).devices[0].kv.bytes
    assert kv == 4096 * 62 * 2 * 40 // ranks * 96 * 2


def test_ernie_begins_dense_and_shares_experts() -> None:
    experts = shape_of(ERNIE_45).experts
    assert experts is not None
    assert experts.layers == frozenset(range(1, 28))
    assert experts.shared_width == 2 * 1536
    cut = shape_of({**ERNIE_45, "moe_layer_end_index": -1, "moe_layer_interval": 2}).experts
    assert cut is not None
    assert cut.layers == frozenset(range(1, 28, 2))


def test_routers_in_32_bits() -> None:
    """The same router weighs twice as much in GLM 4.5 as in a model that keeps it in 16 bits."""
    plain = {**GLM_45, "model_type": "qwen3_moe"}
    tensors = [
        TensorGroup(
            name="model.layers.*.mlp.gate.weight",
            dtype="BF16",
            shape=[128, 4096],
            bytes=128 * 4096 * 2,
            index=["1-45"],
        )
    ]
    weights = []
    for header in (GLM_45, plain):
        wanted = request(header, version="0.20.2")
        known = facts(header).model_copy(update={"tensors": tensors, "format": "safetensors"})
        found = demand(replace(wanted, facts=known), "h200-sxm")
        weights.append(found.devices[0].weights.bytes)
    assert weights[0] - weights[1] == 45 * 128 * 4096 * 2


@pytest.mark.parametrize(
    ("architecture", "version", "native"),
    [
        ("NewModel", "0.9.2", "GteNewModel"),
        ("NewModel", "0.33.0", "GteNewModel"),
        ("NewForSequenceClassification", "0.33.0", "GteNewForSequenceClassification"),
        ("NewForSequenceClassification", "0.9.2", None),
    ],
)
def test_gte_is_told_the_name_of_its_class(
    architecture: str, version: str, native: str | None
) -> None:
    header: dict[str, HeaderValue] = {**GTE, "architectures": [architecture]}
    found = demand(request(header, context=512, task="embed", version=version), "l40s")
    argv = ENGINE.launch(found, endpoint(found)).argv
    if native is None:
        assert "--hf-overrides" not in argv
        assert any("has no class" in sentence for sentence in found.assumed)
    else:
        assert json.loads(flag(argv, "--hf-overrides") or "") == {"architectures": [native]}
        assert not any("has no class" in sentence for sentence in found.assumed)


def test_code_of_the_repository_must_be_allowed() -> None:
    allowed = request(GTE, context=512, task="embed", args={"trust_remote_code": True})
    said, silent = (
        demand(allowed, "l40s").assumed,
        demand(replace(allowed, args={}), "l40s").assumed,
    )
    assert any("trust_remote_code" in sentence for sentence in silent)
    assert not any("trust_remote_code" in sentence for sentence in said)


def test_a_head_of_an_encoder_is_loaded_for_scores_only() -> None:
    """In 32 bits, and not at all where the model is to embed."""
    header: dict[str, HeaderValue] = {**XLM_ROBERTA, "architectures": ["XLMRobertaModel"]}
    score = demand(request(XLM_ROBERTA, task="rerank", context=512), "l40s").devices[0]
    embed = demand(request(header, task="embed", context=512), "l40s").devices[0]
    # The dense layer of 1,024 by 1,024 is a segment of its own; its bias shares one.
    assert score.weights.bytes - embed.weights.bytes == pytest.approx(1024 * 1024 * 4, abs=1 << 20)


def test_offloading_leaves_the_embedding_on_the_gpu() -> None:
    """No more is moved than there is to move."""
    wanted = request("Qwen3-0.6B", args={"cpu_offload_gb": 40})
    found, whole = demand(wanted, "l40s"), demand(replace(wanted, args={}), "l40s")
    left = found.devices[0].weights.bytes
    assert left == 151936 * 1024 * 2
    assert found.host.weights.bytes == whole.devices[0].weights.bytes - left


def test_outputs_of_attention_are_cut_where_they_are_called_dense() -> None:
    """Phi-2 and GPT-NeoX: matrices that write into the residual are cut by their inputs."""
    phi: dict[str, HeaderValue] = {**OLMO_3, "architectures": ["PhiForCausalLM"]}
    tensors = [
        TensorGroup(
            name="model.layers.*.self_attn.dense.weight",
            index=["0-31"],
            dtype="BF16",
            shape=[4096, 4096],
            bytes=4096 * 4096 * 2,
        )
    ]
    known = facts(phi).model_copy(update={"tensors": tensors, "format": "safetensors"})
    wanted = replace(request(phi, version="0.32.0"), facts=known)
    one, two = demand(wanted, "l40s").devices[0], demand(wanted, "l40s", "l40s").devices[0]
    assert one.weights.bytes == 32 * 4096 * 4096 * 2
    assert two.weights.bytes == one.weights.bytes // 2
