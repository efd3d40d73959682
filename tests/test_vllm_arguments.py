"""The user's vLLM flags against the version: known, managed, costed, refused or harmless."""

from __future__ import annotations

import pytest

from compiler.engines.vllm.engine import ENGINE
from compiler.engines.vllm.flags.rules import MANAGED, REFUSED, SUCCESSORS
from compiler.engines.vllm.flags.table import flag_table
from compiler.ir.demand import ArgumentProblem, Refusal, Site
from compiler.ir.spec import ArgValue
from compiler.ir.units import GIB
from tests.vllm_cases import (
    RERANKER_4B,
    VERSIONS,
    XLM_ROBERTA,
    demand,
    gpu,
    refusal,
    request,
)


def problems(version: str, **args: ArgValue) -> list[ArgumentProblem]:
    return ENGINE.check_request(request("Qwen3-8B", version=version, args=args))


def only(version: str, **args: ArgValue) -> ArgumentProblem:
    (found,) = problems(version, **args)
    return found


HARMLESS: list[tuple[str, dict[str, ArgValue]]] = [
    ("0.33.0", {"enforce_eager": True}),
    ("0.8.5", {"generation_config": "vllm"}),
    ("0.33.0", {"generation_config": "vllm"}),
    ("0.33.0", {"enable_prefix_caching": False}),
    ("0.33.0", {"disable_prefix_caching": True}),
    ("0.25.1", {"no_enable_prefix_caching": True}),
    ("0.33.0", {"tool_call_parser": "hermes", "enable_auto_tool_choice": True}),
    ("0.33.0", {"reasoning_parser": "qwen3"}),
    ("0.25.1", {"enable_log_requests": True}),
    ("0.33.0", {"enable_log_requests": True}),
    ("0.33.0", {"disable_log_requests": True}),
    ("0.33.0", {"seed": 7, "max_logprobs": -1}),
    ("0.33.0", {"trust_remote_code": True}),
    ("0.33.0", {"limit_mm_per_prompt": {"image": 2}}),
    ("0.33.0", {"speculative_config": {"method": "ngram", "num_speculative_tokens": 4}}),
    ("0.33.0", {"speculative_config": '{"method": "ngram", "num_speculative_tokens": 4}'}),
    ("0.33.0", {"compilation_config": {"cudagraph_mode": "PIECEWISE"}}),
    ("0.33.0", {"pipeline_parallel_size": 1}),
    ("0.33.0", {"enable_dbo": False}),
    ("0.8.5", {"swap_space": 4}),
    ("0.15.1", {"swap_space": 4.0}),
    ("0.12.0", {"attention_backend": "FLASHINFER"}),
]


@pytest.mark.parametrize(("version", "args"), HARMLESS)
def test_arguments_that_pass(version: str, args: dict[str, ArgValue]) -> None:
    assert problems(version, **args) == []


UNKNOWN: list[tuple[str, str, ArgValue, str]] = [
    ("0.33.0", "swap_space", 4, "swaps nothing"),
    ("0.33.0", "guided_decoding_backend", "xgrammar", "structured_outputs_config"),
    ("0.33.0", "rope_scaling", {"factor": 2}, "hf_overrides"),
    ("0.33.0", "override_pooler_config", {}, "pooler_config"),
    ("0.33.0", "cuda_graph_sizes", [1, 2], "cudagraph_capture_sizes"),
    ("0.33.0", "max_seq_len_to_capture", 8192, "max_cudagraph_capture_size"),
    ("0.33.0", "num_scheduler_steps", 8, "async_scheduling"),
    ("0.33.0", "calculate_kv_scales", True, "checkpoint"),
    ("0.33.0", "enforce_eagre", True, "enforce_eager"),
    ("0.33.0", "speculative_model", "x", "speculative_config"),
    ("0.9.2", "moe_backend", "triton", ""),
    ("0.18.1", "lora_extra_vocab_size", 256, "vocabulary"),
]


@pytest.mark.parametrize(("version", "name", "value", "hint"), UNKNOWN)
def test_unknown_arguments_name_their_successor(
    version: str, name: str, value: ArgValue, hint: str
) -> None:
    found = only(version, **{name: value})
    assert found.code == "unknown-argument"
    assert found.argument == name
    assert hint in found.hint


def test_a_removed_flag_says_who_last_had_it() -> None:
    assert "0.15.1 was the last" in only("0.33.0", swap_space=4).detail


def test_a_young_flag_says_who_has_it() -> None:
    assert "0.18.1 has it" in only("0.9.2", language_model_only=True).detail


@pytest.mark.parametrize("name", sorted(MANAGED))
def test_managed_arguments_say_where_to_put_them(name: str) -> None:
    found = only("0.33.0", **{name: 1})
    assert found.code == "managed-argument"
    assert found.hint.endswith(".")


UNSUPPORTED: list[tuple[str, ArgValue]] = [
    ("data_parallel_size_local", 2),
    ("kv_transfer_config", {"kv_connector": "LMCacheConnectorV1"}),
    ("kv_cache_dtype", "turboquant_4bit_nc"),
    ("kv_offloading_backend", "lmcache"),
    ("mm_processor_kwargs", {"num_crops": 4}),
    ("moe_backend", "deep_gemm_mega_moe"),
    ("decode_context_parallel_size", 2),
    ("speculative_config", {"method": "dflash", "model": "x", "num_speculative_tokens": 4}),
    ("quantization", "torchao"),
    ("speculative_config", {"method": "mlp_speculator", "num_speculative_tokens": 4}),
    ("speculative_config", {"method": "eagle3", "num_speculative_tokens": 4}),
    ("speculative_config", {"method": "ngram"}),
    ("compilation_config", {"pass_config": {}}),
    ("model_impl", "transformers"),
    ("dtype", "float32"),
    ("enable_eplb", True),
    ("config", "flags.yaml"),
]


@pytest.mark.parametrize(("name", "value"), UNSUPPORTED)
def test_flags_that_change_memory_unseen_are_refused(name: str, value: ArgValue) -> None:
    found = only("0.33.0", **{name: value})
    assert found.code == "unsupported-argument"
    assert "changes what vLLM takes" in found.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [("grpc", True), ("ssl_keyfile", "/etc/key.pem"), ("ssl_certfile", "/etc/cert.pem")],
)
def test_flags_that_no_health_check_survives(name: str, value: ArgValue) -> None:
    found = only("0.32.0", **{name: value})
    assert (found.code, "no health check" in found.detail) == ("unsupported-argument", True)


WRONG: list[tuple[str, ArgValue]] = [
    ("enforce_eager", "yes"),
    ("max_num_batched_tokens", "many"),
    ("max_num_batched_tokens", 8),
    ("dtype", "bf16"),
    ("block_size", 10),
    ("cpu_offload_gb", -1),
    ("limit_mm_per_prompt", "image=2"),
    ("mm_encoder_tp_mode", "split"),
    ("optimization_level", 4),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_values_that_vllm_refuses(name: str, value: ArgValue) -> None:
    assert only("0.33.0", **{name: value}).code == "wrong-argument"


CONFLICTS: list[tuple[str, str, ArgValue]] = [
    ("Qwen3-32B-AWQ", "quantization", "fp8"),
    ("Qwen3-8B", "quantization", "awq"),
    ("Qwen3-8B", "enable_expert_parallel", True),
    ("Qwen3-8B", "speculative_config", {"method": "mtp", "num_speculative_tokens": 1}),
]


@pytest.mark.parametrize(("model", "name", "value"), CONFLICTS)
def test_arguments_that_this_model_makes_wrong(model: str, name: str, value: ArgValue) -> None:
    (found,) = ENGINE.check_request(request(model, args={name: value}))
    assert found.code == "wrong-argument"
    assert found.argument == name


AGREEING: list[tuple[str, str, ArgValue]] = [
    ("Qwen3-32B-AWQ", "quantization", "awq_marlin"),
    ("Qwen3-8B", "quantization", "fp8"),
    ("gpt-oss-20b", "enable_expert_parallel", True),
    ("DeepSeek-R1", "speculative_config", {"method": "mtp", "num_speculative_tokens": 1}),
]


@pytest.mark.parametrize(("model", "name", "value"), AGREEING)
def test_arguments_that_suit_this_model(model: str, name: str, value: ArgValue) -> None:
    assert ENGINE.check_request(request(model, args={name: value})) == []


def test_every_fault_is_reported_at_once() -> None:
    found = problems("0.33.0", swap_space=4, host="::", enforce_eager=1, nnodes=2)
    assert [problem.code for problem in found] == [
        "unknown-argument",
        "managed-argument",
        "wrong-argument",
        "unsupported-argument",
    ]


def test_an_encoder_cannot_generate() -> None:
    found = ENGINE.check_request(request(XLM_ROBERTA))
    assert [problem.code for problem in found] == ["task-mismatch"]


def test_a_context_beyond_the_positions_is_a_fault() -> None:
    found = ENGINE.check_request(request("Qwen3-8B", context=65536))
    assert [problem.code for problem in found] == ["context-too-long"]


def test_decoders_rerank_from_092_on() -> None:
    old = request(RERANKER_4B, task="rerank", version="0.9.1")
    assert [problem.code for problem in ENGINE.check_request(old)] == ["task-mismatch"]
    assert ENGINE.check_request(request(RERANKER_4B, task="rerank", version="0.9.2")) == []


def test_a_batch_that_is_not_cut_must_hold_the_longest_request() -> None:
    args: dict[str, ArgValue] = {"max_num_batched_tokens": 4096}
    wanted = request(XLM_ROBERTA, context=8192, task="embed", args=args)
    (found,) = ENGINE.check_request(wanted)
    assert found.code == "wrong-argument"
    assert "8192" in found.hint


@pytest.mark.parametrize("text", ["0.33.0", "0.8.5", "v0.10", "0.10.2.post1", "0.34.0rc1", "1.2.3"])
def test_versions_that_are_understood(text: str) -> None:
    assert ENGINE.check_version(text) is None


@pytest.mark.parametrize("text", ["", "latest", "0", "b4000", "0.33.x", "0.33.0; rm -rf /"])
def test_versions_that_are_not(text: str) -> None:
    assert "is not a vLLM version" in str(ENGINE.check_version(text))


def test_every_rule_is_about_a_flag_that_some_version_has() -> None:
    known = set(flag_table().flags)
    for name in (*MANAGED, *REFUSED):
        assert name.replace("_", "-") in known, name


def test_no_successor_is_offered_for_a_flag_that_stays() -> None:
    table = flag_table()
    for name in SUCCESSORS:
        # The log flag comes and goes, and KV in bytes is younger than the oldest version.
        stays = table.emits(name.replace("_", "-"), (0, 33, 0))
        assert not stays or name in {"disable_log_requests", "kv_cache_memory_bytes"}, name


def test_the_table_knows_the_releases_it_was_read_from() -> None:
    shown = [".".join(map(str, release)) for release in flag_table().releases]
    assert shown == [version for version in VERSIONS if version != "0.10.1"]


WITH_A_WAY_OUT: list[tuple[str, ArgValue, str]] = [
    ("kv_transfer_config", {"kv_connector": "LMCacheConnectorV1"}, "kv_offloading_size"),
    ("decode_context_parallel_size", 2, "tensor_parallel"),
    ("kv_cache_dtype", "turboquant_4bit_nc", "fp8"),
    ("moe_backend", "deep_gemm_mega_moe", "triton"),
    ("speculative_config", {"method": "dspark", "num_speculative_tokens": 4}, "mtp"),
]


@pytest.mark.parametrize(("name", "value", "way"), WITH_A_WAY_OUT)
def test_what_is_refused_says_what_to_write(name: str, value: ArgValue, way: str) -> None:
    assert way in only("0.33.0", **{name: value}).hint


def test_kv_that_leaves_the_gpu_lies_in_ram() -> None:
    plain = demand(request("Qwen3-8B"), "h100-sxm")
    found = demand(request("Qwen3-8B", args={"kv_offloading_size": 8}), "h100-sxm")
    assert found.host.kv.bytes == 8 * GIB
    assert found.devices == plain.devices
    mixed = request("gpt-oss-20b", args={"kv_offloading_size": 8})
    assert [each.argument for each in ENGINE.check_request(mixed)] == ["kv_offloading_size"]


def test_pictures_that_are_capped_cost_less() -> None:
    small: dict[str, ArgValue] = {"mm_processor_kwargs": {"max_pixels": 1003520}}
    wanted = request("Qwen3-VL-8B-Instruct-mrope", args=small)
    most = demand(request("Qwen3-VL-8B-Instruct-mrope"), "h100-sxm").devices[0].compute
    assert demand(wanted, "h100-sxm").devices[0].compute.bytes < most.bytes // 2


def test_kv_in_nvfp4_takes_nine_sixteenths_of_fp8() -> None:
    kind = gpu("b200", 183359, 182632, (10, 0))
    sizes = []
    for dtype in ("fp8", "nvfp4"):
        wanted = request("Qwen3-8B", args={"kv_cache_dtype": dtype})
        found = ENGINE.demands(wanted, Site(kinds=(kind,), budgets_bytes=(kind.memory_bytes,)))
        assert not isinstance(found, Refusal)
        sizes.append(found[0].devices[0].kv.bytes)
    assert sizes[1] * 16 == sizes[0] * 9
    refused = refusal(request("Qwen3-8B", args={"kv_cache_dtype": "nvfp4"}), "h100-sxm")
    assert refused.code == "compute-capability"


def test_kernels_of_experts_that_pack_like_tritons_are_an_assumption() -> None:
    found = demand(request("Qwen3-30B-A3B", args={"moe_backend": "cutlass"}), "h100-sxm")
    assert any("workspaces of `moe_backend: cutlass`" in text for text in found.assumed)
