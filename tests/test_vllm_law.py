"""The vLLM law on the cases that people have trouble with, and its laws over versions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.engines.vllm.demand.demands import estimates_of
from compiler.engines.vllm.engine import ENGINE
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import ModelFacts, TensorGroup
from compiler.ir.units import GIB, MIB, demand_mib
from compiler.views.breakdown import breakdown_lines
from tests.truth.vllm import TRUTH
from tests.vllm_cases import (
    GEMMA_3,
    KINDS,
    RERANKER_4B,
    VERSIONS,
    XLM_ROBERTA,
    config,
    demand,
    endpoint,
    flag,
    qwen3,
    refusal,
    request,
)


def between(low_gib: float, high_gib: float, size_bytes: int) -> None:
    assert low_gib * GIB <= size_bytes <= high_gib * GIB


def test_a_reranker_takes_its_share_and_never_the_card() -> None:
    found = demand(request(RERANKER_4B, context=8192, task="rerank"), "l40s")
    between(9.2, 10.2, found.devices[0].high_bytes)
    assert found.kv_tokens == 8192 + 16


def test_a_small_model_fits_beside_a_desktop_on_six_gigabytes() -> None:
    found = demand(request("Qwen2.5-1.5B", concurrency=8), "rtx-a2000")
    assert found.devices[0].high_bytes <= KINDS["rtx-a2000"].memory_bytes - GIB


def test_awq_brings_32_billion_parameters_onto_one_3090() -> None:
    found = demand(request("Qwen3-32B-AWQ", context=8192, concurrency=8), "rtx-3090")
    assert found.devices[0].high_bytes <= KINDS["rtx-3090"].memory_bytes * 95 // 100


def test_seventy_billion_in_fp8_take_two_cards() -> None:
    wanted = request("Llama-3.3-70B-FP8-dynamic", context=32768)
    found = demand(wanted, "h100-sxm", "h100-sxm", linked=True)
    assert len(found.devices) == 2
    assert found.split.tensor_parallel == 2
    between(33.8, 34.0, found.devices[0].weights.bytes)


@pytest.mark.parametrize("kind", ["a100-sxm-80gb", "rtx-4090", "l40s", "h100-sxm"])
def test_gpt_oss_weighs_under_fourteen_gigabytes(kind: str) -> None:
    found = demand(request("gpt-oss-20b", context=32768), kind)
    between(13.0, 14.0, found.devices[0].weights.bytes)


@pytest.mark.parametrize("task", ["embed", "rerank", "classify"])
def test_encoders_keep_no_kv(task: str) -> None:
    wanted = request(XLM_ROBERTA, context=8192, task=task)  # type: ignore[arg-type]
    found = demand(wanted, "rtx-a2000")
    assert found.devices[0].kv.bytes == 0
    assert found.growth is None
    assert found.kv_tokens == 0
    between(1.04, 1.1, found.devices[0].weights.bytes)


def test_embedding_decoders_leave_the_output_out() -> None:
    untied = {**qwen3(2560, 9728, 36, 32), "tie_word_embeddings": False}
    generating = demand(request(untied), "l40s").devices[0].weights.bytes
    embedding = demand(request(untied, task="embed"), "l40s").devices[0].weights.bytes
    assert 0 <= generating - embedding - 151936 * 2560 * 2 < 2 * MIB


def test_windowed_layers_cost_a_window_only() -> None:
    whole = {key: value for key, value in GEMMA_3.items() if not key.startswith("sliding")}
    short = demand(request(GEMMA_3, context=32768), "l40s").devices[0].kv.bytes
    full = demand(request({**whole, "model_type": "llama"}, context=32768), "l40s")
    assert short * 3 < full.devices[0].kv.bytes


def test_prefix_caching_keeps_a_second_state_of_recurrent_layers() -> None:
    cached = demand(request("Qwen3.5-27B"), "h200-sxm").devices[0].kv.bytes
    plain = (
        demand(request("Qwen3.5-27B", args={"enable_prefix_caching": False}), "h200-sxm")
        .devices[0]
        .kv.bytes
    )
    assert plain < cached


def test_an_eager_start_has_no_graphs() -> None:
    found = demand(request("Qwen3-8B", args={"enforce_eager": True}), "l40s")
    assert found.devices[0].graphs.high_bytes == 0


def test_a_cache_in_fp8_is_half_the_size() -> None:
    plain = demand(request("Qwen3-8B"), "l40s").devices[0].kv.bytes
    small = demand(request("Qwen3-8B", args={"kv_cache_dtype": "fp8"}), "l40s")
    assert small.devices[0].kv.bytes * 2 == plain


def test_adapters_are_given_room_at_start() -> None:
    plain = demand(request("Qwen3-8B"), "l40s").devices[0].weights.bytes
    args = {"enable_lora": True, "max_loras": 2, "max_lora_rank": 32}
    adapted = demand(request("Qwen3-8B", args=args), "l40s").devices[0].weights.bytes  # type: ignore[arg-type]
    between(0.3, 0.4, adapted - plain)


def test_offloaded_weights_move_to_ram() -> None:
    plain = demand(request("Qwen3-8B"), "l40s")
    moved = demand(request("Qwen3-8B", args={"cpu_offload_gb": 4}), "l40s")
    gone = plain.devices[0].weights.bytes - moved.devices[0].weights.bytes
    assert gone == moved.host.weights.bytes == 4 * GIB


def test_the_second_runner_of_025_ignores_offloading() -> None:
    moved = demand(request("Qwen3-8B", version="0.25.1", args={"cpu_offload_gb": 4}), "l40s")
    assert moved.host.weights.bytes == 0


def test_vision_towers_cost_nothing_when_only_text_is_served() -> None:
    plain = demand(request("Qwen2.5-VL-7B"), "l40s").devices[0]
    args = {"language_model_only": True}
    text = demand(request("Qwen2.5-VL-7B", args=args), "l40s").devices[0]  # type: ignore[arg-type]
    assert plain.weights.bytes - text.weights.bytes > GIB
    assert plain.compute.bytes > text.compute.bytes


def test_cards_without_bfloat16_run_in_half() -> None:
    found = demand(request("Qwen3-0.6B"), "rtx-2080-ti")
    assert any("float16" in sentence for sentence in found.assumed)


def test_on_the_cpu_everything_lies_in_ram() -> None:
    found = demand(request("Qwen3-0.6B"))
    assert found.devices == ()
    between(1.1, 1.2, found.host.weights.bytes)
    assert found.host.kv.bytes == GIB


REFUSED = [
    ("Qwen3-8B", ("p40",), "compute-capability"),
    ("Qwen3-8B-FP8", ("rtx-2080-ti",), "compute-capability"),
    ("gpt-oss-20b", ("rtx-2080-ti",), "compute-capability"),
    ("Qwen3-32B-AWQ", ("v100",), "compute-capability"),
    ("Qwen2.5-7B", ("l40s",) * 3, "heads-not-divisible"),
    ("Qwen3-8B", ("l40s", "rtx-4090"), "unequal-gpus"),
    ("Qwen3-8B", ("mig-3g.40gb",) * 2, "mig"),
    ("bge-base-en-v1.5", ("l40s",) * 2, "heads-not-divisible"),
    ("Qwen3-8B-FP8", (), "compute-capability"),
]


@pytest.mark.parametrize(("model", "kinds", "code"), REFUSED)
def test_sites_that_vllm_refuses(model: str, kinds: tuple[str, ...], code: str) -> None:
    task = "embed" if model.startswith("bge") else "generate"
    found = refusal(request(model, context=512, task=task), *kinds)  # type: ignore[arg-type]
    assert found.code == code
    assert found.detail.endswith(".")


def test_gemma_cannot_run_in_half() -> None:
    assert refusal(request(GEMMA_3), "rtx-2080-ti").code == "compute-capability"


def test_bfloat16_is_refused_where_the_card_has_none() -> None:
    wanted = request("Qwen3-0.6B", args={"dtype": "bfloat16"})
    assert "dtype: half" in refusal(wanted, "rtx-2080-ti").detail


def test_a_context_beyond_the_positions_is_refused() -> None:
    assert refusal(request("Qwen3-8B", context=65536), "l40s").code == "context"


def test_yarn_by_override_stretches_the_positions() -> None:
    scaling = {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768
    }  # fmt: skip
    wanted = request("Qwen3-8B", context=131072, args={"hf_overrides": {"rope_scaling": scaling}})  # type: ignore[dict-item]
    assert demand(wanted, "h200-sxm").kv_tokens >= 131072


def test_roberta_cannot_use_its_first_positions() -> None:
    assert refusal(request(XLM_ROBERTA, context=8193, task="embed"), "l40s").code == "context"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("model", ["Qwen3-8B", "gpt-oss-20b", "Qwen3-Next-80B-A3B", "DeepSeek-R1"])
def test_bands_hold_their_figure_in_every_version(model: str, version: str) -> None:
    found = demand(request(model, version=version), *(["h200-sxm"] * 8), linked=True)
    for _, part in found.devices[0].parts():
        assert 0 <= part.low_bytes <= part.bytes <= part.high_bytes
        assert part.why.endswith(".")


@pytest.mark.parametrize("version", VERSIONS)
def test_guaranteed_tokens_are_held_in_every_version(version: str) -> None:
    for model in ("Qwen3-8B", "gpt-oss-20b"):
        wanted = request(model, version=version, context=8192, kv_tokens=50_000)
        assert demand(wanted, "h200-sxm").kv_tokens >= 50_000


@settings(max_examples=60)
@given(
    context=st.integers(16, 32768),
    concurrency=st.integers(1, 512),
    version=st.sampled_from(VERSIONS),
    model=st.sampled_from(["Qwen3-8B", "gpt-oss-20b", "Qwen2.5-1.5B", "Qwen3-Next-80B-A3B"]),
)
def test_more_is_never_less(context: int, concurrency: int, version: str, model: str) -> None:
    small = demand(
        request(model, context=context, concurrency=concurrency, version=version), "h200-sxm"
    )
    large = demand(
        request(model, context=context * 2, concurrency=concurrency, version=version)
        if context <= 16384
        else request(model, context=context, concurrency=concurrency * 2, version=version),
        "h200-sxm",
    )
    assert small.devices[0].kv.bytes <= large.devices[0].kv.bytes
    assert small.devices[0].total_bytes <= large.devices[0].total_bytes


@settings(max_examples=60)
@given(kv_bytes=st.integers(0, 200 * GIB), version=st.sampled_from(VERSIONS))
def test_growth_stays_between_guarantee_and_maximum(kv_bytes: int, version: str) -> None:
    found = demand(request("Qwen3-8B", version=version, concurrency=4), "h200-sxm")
    assert found.growth is not None
    grown = ENGINE.grow(found, kv_bytes)
    size = grown.devices[0].kv.bytes
    assert found.devices[0].kv.bytes <= size <= found.growth.max_kv_bytes
    assert size % found.growth.step_bytes == 0
    assert size <= max(kv_bytes, found.devices[0].kv.bytes)
    assert grown.kv_tokens >= found.kv_tokens
    assert grown.devices[0].compute == found.devices[0].compute


@pytest.mark.parametrize("version", VERSIONS)
def test_a_shorter_context_makes_no_band_wider(version: str) -> None:
    """Nor the whole: what a first start compiles in, a longer context's cache fills later."""
    wider = [
        demand(request(RERANKER_4B, context=context, version=version, task="embed"), "rtx-4090")
        for context in (2048, 4096, 8192, 32768)
    ]
    for short, longer in pairwise(each.devices[0] for each in wider):
        assert short.high_bytes <= longer.high_bytes
        for (name, own), (_, other) in zip(short.parts(), longer.parts(), strict=True):
            assert own.high_bytes <= other.high_bytes, name


def test_a_first_start_compiles_where_the_cache_will_be() -> None:
    found = demand(request(RERANKER_4B, context=512, task="embed", concurrency=32), "rtx-4090")
    device, activation = found.devices[0], estimates_of(found.request, found.site)[0].activation
    room = device.kv.high_bytes + device.compute.high_bytes + device.graphs.high_bytes
    assert room == activation.cold_peak_bytes + activation.persistent_bytes
    assert "A first start compiles kernels before, in" in device.kv.why
    # A cache that grows fills that room first, and what is reserved grows with the rest alone.
    more = device.kv.high_bytes + 8 * found.growth.step_bytes if found.growth else 0
    grown = ENGINE.grow(found, more)
    assert grown.devices[0].kv.high_bytes == grown.devices[0].kv.bytes
    assert found.high_bytes_with(grown.devices[0].kv.bytes) == (grown.devices[0].high_bytes,)


def test_growing_to_the_maximum_holds_every_request() -> None:
    found = demand(request("Qwen3-8B", context=8192, concurrency=4), "h200-sxm")
    assert ENGINE.grow(found, 1 << 50).kv_tokens >= 4 * 8192


def test_at_a_utilization_the_kv_is_what_is_left() -> None:
    found = demand(request("Llama-3.1-8B", concurrency=256), "l40s")
    filled = ENGINE.at_utilization(found, 900)
    estimate = estimates_of(found.request, found.site)[0]
    budget = -(-KINDS["l40s"].cuda_total_bytes * 900 // 1000)
    spare = budget - estimate.charged_bytes - filled.devices[0].kv.bytes
    assert 0 <= spare < estimate.layout.block_bytes
    assert filled.kv_tokens > found.kv_tokens


def test_at_a_utilization_that_is_too_small_nothing_is_left() -> None:
    found = demand(request("Llama-3.1-8B"), "l40s")
    assert ENGINE.at_utilization(found, 100).devices[0].kv.bytes == 0


def test_a_config_alone_is_an_assumption() -> None:
    assert any("config.json alone" in s for s in demand(request("Qwen3-8B"), "l40s").assumed)


def test_newer_versions_follow_the_newest_law_and_say_so() -> None:
    found = demand(request("Qwen3-8B", version="0.34.0"), "l40s")
    assert any("newer than the law" in sentence for sentence in found.assumed)
    assert found.devices == demand(request("Qwen3-8B"), "l40s").devices


def test_a_config_without_sizes_is_refused() -> None:
    found = refusal(request({"architectures": ["LlamaForCausalLM"]}), "l40s")
    assert found.code == "format"
    assert "`hidden_size`" in found.detail


def test_the_engine_has_the_name_that_the_inventory_uses() -> None:
    name: EngineName = ENGINE.name
    assert name == "vllm"


def test_processes_of_a_split_replica_take_more_ram() -> None:
    one = demand(request("Qwen3-8B"), "l40s").host.total_bytes
    two = demand(request("Qwen3-8B"), "l40s", "l40s").host.total_bytes
    assert two > one + 2 * GIB - 512 * MIB


GGUF_LLAMA = ModelFacts(
    format="gguf",
    architecture="llama",
    task="generate",
    parameters=8_030_261_248,
    layers=32,
    vocabulary=128256,
    position_limit=131072,
    quantization="Q4_K_M",
    header={
        "block_count": 32,
        "embedding_length": 4096,
        "feed_forward_length": 14336,
        "attention.head_count": 32,
        "attention.head_count_kv": 8,
        "context_length": 131072,
    },
    tensors=[
        TensorGroup(name="token_embd.weight", dtype="q4_K", shape=[4096, 128256], bytes=295501824),
        TensorGroup(
            name="blk.*.ffn_up.weight",
            index=["0-31"],
            dtype="q4_K",
            shape=[4096, 14336],
            bytes=33030144,
        ),
    ],
)


def test_a_gguf_file_is_weighed_by_its_tensors() -> None:
    wanted = replace(request("Llama-3.1-8B"), facts=GGUF_LLAMA)
    assert ENGINE.check_request(wanted) == []
    found = demand(wanted, "l40s")
    between(1.2, 1.35, found.devices[0].weights.bytes)
    assert found.devices[0].kv == demand(request("Llama-3.1-8B"), "l40s").devices[0].kv
    assert any("experimentally" in sentence for sentence in found.assumed)


def test_gguf_architectures_that_vllm_cannot_load_are_refused() -> None:
    facts = GGUF_LLAMA.model_copy(update={"architecture": "rwkv7"})
    wanted = replace(request("Llama-3.1-8B"), facts=facts)
    assert [problem.code for problem in ENGINE.check_request(wanted)] == ["engine-format"]


def test_an_unknown_quantization_is_an_assumption() -> None:
    header = config("Qwen3-8B")
    header["quantization_config"] = {"quant_method": "hqq"}
    found = demand(request(header), "l40s")
    assert any("not known" in sentence for sentence in found.assumed)


@pytest.mark.parametrize(("version", "mentioned"), [("0.31.0", False), ("0.32.0", True)])
def test_an_output_beside_a_tied_embedding_is_an_assumption(version: str, mentioned: bool) -> None:
    """Qwen3-0.6B has one, a copy: vLLM 0.32 reads it and compares."""
    table = TensorGroup(
        name="lm_head.weight", index=[], dtype="BF16", shape=[151936, 1024], bytes=151936 * 2048
    )
    wanted = request("Qwen3-0.6B", version=version)
    facts = wanted.facts.model_copy(update={"format": "safetensors", "tensors": [table]})
    found = demand(replace(wanted, facts=facts), "l40s")
    assert any("tied embedding" in sentence for sentence in found.assumed) == mentioned


def test_encoder_decoders_are_not_covered() -> None:
    header = {**config("Qwen3-8B"), "is_encoder_decoder": True}
    problems = ENGINE.check_request(request(header))
    assert [problem.code for problem in problems] == ["engine-format"]


def test_the_v0_engine_is_an_assumption() -> None:
    found = demand(request("Qwen2.5-7B", version="0.8.5", args={"dtype": "half"}), "v100")
    assert any("V0 engine" in sentence for sentence in found.assumed)


def test_the_worked_example_of_the_documentation_is_what_is_computed() -> None:
    found = demand(request(RERANKER_4B, context=8192, task="rerank"), "l40s")
    text = (TRUTH.parent.parent / "docs" / "memory-vllm.md").read_text(encoding="utf-8")
    # As `modelc explain` prints them, and with the share that a plan grants: whole MiB, rounded up.
    printed = [line.split() for line in breakdown_lines(found.devices[0])]
    for name, size, low, high, *_ in printed[1:]:
        row = "together" if name == "total" else name
        assert f"| {row} | {size} ({low} to {high}) |" in text
    share_bytes = demand_mib(found.devices[0].high_bytes) * MIB
    argv = ENGINE.launch(found, endpoint(found, share_bytes)).argv
    assert f"--gpu-memory-utilization {flag(argv, '--gpu-memory-utilization')}" in text
