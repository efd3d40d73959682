"""What the choice of a kernel costs: layouts of weights, workspaces and library memory."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from compiler.engines.vllm.demand.demands import estimates_of
from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.activation import activation_of
from compiler.engines.vllm.memory.headers import weights_from_tensors
from compiler.engines.vllm.memory.law import Estimate
from compiler.engines.vllm.memory.mxfp4 import mxfp4_backend, mxfp4_sizes
from compiler.engines.vllm.memory.weights import decoder_sizes, index_sizes
from compiler.engines.vllm.model.config import shape_of
from compiler.engines.vllm.model.quantization import scheme_of
from compiler.engines.vllm.versions import Version
from compiler.ir.demand import Site
from compiler.ir.facts import HeaderValue, ModelFacts, TensorGroup
from compiler.ir.inventory import GpuKind
from compiler.ir.spec import ArgValue
from compiler.ir.units import GIB, MIB
from tests.truth.vllm import TRUTH
from tests.vllm_cases import KINDS, config, demand, facts, gpu, refusal, request, site

CLASSES = json.loads((TRUTH / "vllm_classes.json").read_text(encoding="utf-8"))["models"]
B200 = gpu("b200", 183359, 182632, (10, 0))


def launch(version: Version, **changes: int | str) -> Options:
    plain = Options(version=version, context=4096, sequences=16, batched_tokens=2048)
    return replace(plain, **changes)  # type: ignore[arg-type]


def on_gpus(
    model: str | dict[str, HeaderValue],
    *names: str,
    version: str,
    linked: bool = True,
    args: dict[str, ArgValue] | None = None,
) -> Estimate:
    wanted = request(model, version=version, args=args)
    return estimates_of(wanted, site(*names, linked=linked))[0]


BACKENDS = [
    ("h100-sxm", (0, 18, 1), None, "triton_padded"),
    ("h100-sxm", (0, 19, 0), None, "triton_doubled"),
    ("h100-sxm", (0, 24, 0), None, "triton_doubled"),
    ("h100-sxm", (0, 25, 0), None, "triton_swizzled"),
    ("h100-sxm", (0, 33, 0), "marlin", "marlin"),
    ("a100-sxm-80gb", (0, 33, 0), None, "marlin"),
    ("rtx-5090", (0, 33, 0), None, "marlin"),
]


@pytest.mark.parametrize(("kind", "version", "own", "backend"), BACKENDS)
def test_kernels_of_gpt_oss(kind: str, version: Version, own: str | None, backend: str) -> None:
    options = replace(launch(version), mxfp4_backend=own)
    assert mxfp4_backend(options, KINDS[kind]) == backend


def test_data_centre_blackwell_has_kernels_of_its_own() -> None:
    assert mxfp4_backend(launch((0, 33, 0)), B200) == "trtllm"
    assert mxfp4_backend(replace(launch((0, 33, 0)), mxfp4_backend="triton"), B200) == "triton"
    # Width and hidden size in steps of 256, biases in 32 bits.
    wide = 32 * (2 * 3072 * 3072 + 3072 * 3072)
    scales, biases = wide // 32, 32 * 3 * 3072 * 4
    assert sum(mxfp4_sizes(2880, 2880, 32, "trtllm")) == wide // 2 + scales + biases


def test_scales_that_stay_are_those_of_the_checkpoint() -> None:
    """gpt-oss-20b: 5,760 and 2,880 rows of 90 scales for each of 32 experts.

    Where they stay, 1,440 bytes of values are padded to 1,472 in every row as well.
    """
    kept, freed = (
        sum(mxfp4_sizes(2880, 2880, 32, backend))
        for backend in ("triton_doubled", "triton_swizzled")
    )
    assert kept - freed == 32 * (5760 + 2880) * (90 + 32)


def test_values_of_gpt_oss_120b_are_not_padded_from_0_25_on() -> None:
    """A log of 0.25.1 on H100: 61.29 GiB; padded as in 0.19 they came to 62.4."""
    found = on_gpus("gpt-oss-120b", "h100-sxm", version="0.25.1")
    assert found.weights_bytes / GIB == pytest.approx(61.29, rel=0.002)


def test_hopper_may_lack_triton_kernels_in_the_upper_end() -> None:
    """Installs by pip of 0.10 to 0.14 fall back to Marlin: 65.97 GiB in a log of 0.11."""
    wanted = request("gpt-oss-120b", context=8192, version="0.11.0")
    weights = demand(wanted, "h100-sxm").devices[0].weights
    assert weights.bytes / GIB == pytest.approx(64.6, rel=0.005)
    assert weights.high_bytes / GIB == pytest.approx(65.97, rel=0.005)


@pytest.mark.parametrize(("kind", "megabytes"), [("h100-sxm", 64), ("l40s", 9)])
def test_cublas_has_its_workspaces(kind: str, megabytes: int) -> None:
    """Of Llama 3.1 8B sampling keeps 2,048 hidden states and 3.61 tables of logits."""
    shape = shape_of(config("Llama-3.1-8B"))
    options = launch((0, 19, 0), sequences=512)
    table_bytes = 512 * 128256 * 4 * 361 // 100
    expected = table_bytes + 2048 * 4096 * 2 + megabytes * MIB
    assert activation_of(shape, options, KINDS[kind]).sampler_bytes == expected


def test_the_cheaper_sampler_came_with_0_17() -> None:
    shape = shape_of(config("Qwen3-14B"))
    old, new = (
        activation_of(shape, launch(version, sequences=512), KINDS["l40s"]).sampler_bytes
        for version in ((0, 16, 0), (0, 17, 0))
    )
    assert old > 2 * new


def test_a_stage_that_is_not_the_last_hands_its_states_on() -> None:
    shape = shape_of(config("Llama-3.1-8B"))
    options = replace(launch((0, 19, 0)), pipeline_parallel=2)
    first, last = (
        activation_of(shape, replace(options, stage=stage), KINDS["l40s"]).forward_bytes
        for stage in (0, 1)
    )
    assert first - last == 2 * 2048 * 4096 * 2


FUSED = [
    ("0.16.0", "h100-sxm", 2, None, False),
    ("0.17.1", "h100-sxm", 2, None, True),
    ("0.17.1", "a100-sxm-80gb", 2, None, False),
    ("0.17.1", "h100-sxm", 4, {"pipeline_parallel_size": 2}, False),
    ("0.25.1", "h100-sxm", 4, {"pipeline_parallel_size": 2}, True),
    ("0.17.1", "h100-sxm", 2, {"enforce_eager": True}, False),
]


@pytest.mark.parametrize(("version", "kind", "gpus", "args", "fused"), FUSED)
def test_all_reduce_fused_with_the_norm_takes_two_gigabytes(
    version: str, kind: str, gpus: int, args: dict[str, ArgValue] | None, fused: bool
) -> None:
    found = on_gpus("Llama-3.1-8B", *[kind] * gpus, version=version, args=args)
    assert (found.runtime.charged_bytes > 2 * GIB) == fused


def test_all_reduce_over_pcie_is_not_fused() -> None:
    found = on_gpus("Llama-3.1-8B", "h100-sxm", "h100-sxm", version="0.19.0", linked=False)
    assert found.runtime.charged_bytes < GIB


def test_nvlink_communicators_lie_outside_the_budget() -> None:
    """One for tensor parallelism; a mixture of experts has one more."""
    pair = ("h100-sxm", "h100-sxm")
    dense = on_gpus("Llama-3.1-8B", *pair, version="0.19.0").runtime.context_bytes
    mixed = on_gpus("Qwen3-30B-A3B", *pair, version="0.19.0").runtime.context_bytes
    alone = on_gpus("Llama-3.1-8B", "h100-sxm", version="0.19.0").runtime.context_bytes
    assert (dense - alone, mixed - dense) == (1040 * MIB, 492 * MIB)


TUNED = [
    ("0.17.1", "rtx-5090", False),
    ("0.18.1", "rtx-5090", True),
    ("0.19.0", "l40s", False),
    ("0.19.0", "h100-sxm", False),
    ("0.20.2", "rtx-5090", False),
]


@pytest.mark.parametrize(("version", "kind", "kept"), TUNED)
def test_tuning_of_gated_delta_nets_is_kept(version: str, kind: str, kept: bool) -> None:
    found = on_gpus("Qwen3.5-9B", kind, version=version)
    assert (found.runtime.charged_bytes > 3 * GIB) == kept
    assumed = demand(request("Qwen3.5-9B", version=version), kind).assumed
    assert any("tuning the kernels" in sentence for sentence in assumed) == kept


def test_tuning_that_nobody_measured_is_in_the_upper_end() -> None:
    found = demand(request("Qwen3.5-9B", version="0.19.0"), "rtx-3090")
    runtime = found.devices[0].runtime
    assert runtime.high_bytes - runtime.bytes > 3 * GIB > runtime.bytes
    assert any("tuning the kernels" in sentence for sentence in found.assumed)


def test_unused_zero_points_of_gptq_experts() -> None:
    """128 experts of 768: 16 groups of 2,048 inputs and 6 of 768, eight zero points in one."""
    shape = shape_of(config("Qwen3-30B-A3B-GPTQ-Int4"))
    halves, words = (
        sum(decoder_sizes(shape, launch(version), KINDS["l40s"]))
        for version in ((0, 27, 1), (0, 28, 0))
    )
    assert words - halves == 2 * 48 * 128 * (16 * 2 * 768 + 6 * 2048) // 8


def test_gptq_on_hopper_keeps_zero_points_and_order() -> None:
    section: dict[str, HeaderValue] = {
        "quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": True,
    }  # fmt: skip
    scheme = scheme_of(section, None)
    ampere, hopper = (
        replace(scheme, compute=compute).sizes(4096, 2048, 2) for compute in ((8, 0), (9, 0))
    )
    # Inputs are permuted on both: two tables of 32-bit places.
    assert ampere == [4096 * 2048 // 2, 16 * 4096 * 2, 2048 * 4, 2048 * 4]
    assert hopper == [*ampere[:2], 16 * 4096 // 2, *ampere[2:]]


def test_marlin_repeats_the_scales_of_fp8_blocks() -> None:
    section: dict[str, HeaderValue] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    scheme = scheme_of(section, None)
    ampere, ada = (
        replace(scheme, compute=compute).sizes(4096, 2048, 2) for compute in ((8, 0), (8, 9))
    )
    assert ada == [4096 * 2048, 32 * 16 * 4]
    assert ampere == [4096 * 2048, 4096 * 16 * 2]


def test_tensors_of_fp8_blocks_are_repeated_as_well() -> None:
    header = config("Qwen3-8B-FP8")
    shape, name = shape_of(header), "model.layers.0.mlp.down_proj"
    tensors = [
        TensorGroup(name=f"{name}.weight", index=[], dtype="F8_E4M3", shape=[4096, 12288],
                    bytes=4096 * 12288),
        TensorGroup(name=f"{name}.weight_scale_inv", index=[], dtype="F32", shape=[32, 96],
                    bytes=32 * 96 * 4),
    ]  # fmt: skip
    known: ModelFacts = facts(header).model_copy(
        update={"format": "safetensors", "tensors": tensors}
    )
    ampere, ada = (
        weights_from_tensors(known, shape, launch((0, 33, 0)), KINDS[kind]) or 0
        for kind in ("a100-sxm-80gb", "l40s")
    )
    assert ampere - ada == 4096 * 96 * 2 - 32 * 96 * 4


def test_sparse_attention_keeps_its_picks() -> None:
    """DeepSeek-V3.2 reads 2,048 of all tokens, for each token of a batch."""
    shape, options = shape_of(config("DeepSeek-R1")), launch((0, 33, 0))
    assert shape.mla is not None
    assert list(index_sizes(shape, shape.mla, options)) == []
    picks = replace(shape.mla, index_topk=2048)
    assert next(iter(index_sizes(shape, picks, options))) == 2048 * 2048 * 4


def test_workspaces_of_experts_are_as_wide_as_the_hidden_state() -> None:
    """Qwen3-30B-A3B: hidden state 2,048, experts of 768, eight of them a token."""
    shape = shape_of(config("Qwen3-30B-A3B"))
    old, new = (
        activation_of(shape, launch(version), KINDS["l40s"]).persistent_bytes
        for version in ((0, 13, 0), (0, 14, 1))
    )
    assert new - old == 2048 * 8 * (2048 - 768) * 2


def test_experts_of_nemotron_are_layers_of_their_own() -> None:
    header = {**CLASSES["nemotron"]["config"], "hybrid_override_pattern": "ME*E" * 13}
    header |= {
        "n_routed_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 1856,
        "moe_shared_expert_intermediate_size": 3712,
    }  # fmt: skip
    experts = shape_of(header).experts
    assert experts is not None
    assert experts.layers == frozenset(range(1, 52, 2))
    assert experts.shared_width == 3712
    assert shape_of({**header, "hybrid_override_pattern": "M*-M" * 13}).experts is None


@pytest.mark.parametrize("dtype", ["fp8_per_token_head", "int8_per_token_head"])
def test_a_cache_with_a_scale_a_head_and_token(dtype: str) -> None:
    """Qwen3-8B: 36 layers, eight heads of 128, each with four bytes behind it."""
    found = demand(request("Qwen3-8B", context=8192, args={"kv_cache_dtype": dtype}), "h100-sxm")
    assert found.devices[0].kv.bytes == 513 * 16 * 36 * 2 * 8 * (128 + 4)


@pytest.mark.parametrize(("model", "version"), [("Qwen3-8B", "0.20.2"), ("GLM-5.2", "0.33.0")])
def test_such_a_cache_is_refused_where_there_is_none(model: str, version: str) -> None:
    args: dict[str, ArgValue] = {"kv_cache_dtype": "int8_per_token_head"}
    found = refusal(request(model, context=8192, version=version, args=args), "h100-sxm")
    assert found.code == "format"
    assert "int8_per_token_head" in found.detail


@pytest.mark.parametrize(
    ("kind", "version", "row", "keys"),
    [
        (KINDS["h200-sxm"], "0.33.0", 656, 21),
        (B200, "0.33.0", 576, 21),
        (KINDS["h200-sxm"], "0.18.1", 656, 78),
        # Eight ranks leave eight heads each, for which 0.18 preferred FlashInfer.
        (B200, "0.18.1", 576, 78),
    ],
)
def test_sparse_attention_in_fp8_follows_the_gpu(
    kind: GpuKind, version: str, row: int, keys: int
) -> None:
    """GLM-5.2 has 78 rows a token; from 0.22 on an indexer in 21 layers, before in all."""
    wanted = request("GLM-5.2", context=8192, version=version, args={"kv_cache_dtype": "fp8"})
    found = estimates_of(wanted, Site(kinds=(kind,) * 8, budgets_bytes=(1 << 40,) * 8))[0]
    assert found.layout.block_bytes == 64 * (78 * row + keys * 132)
