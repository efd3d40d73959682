"""Command lines of vLLM: every flag exists in the version, and the share passes its checks."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.engines.vllm.demand.demands import estimates_of
from compiler.engines.vllm.demand.utilization import highest_steps, least_steps, requested_bytes
from compiler.engines.vllm.engine import ENGINE
from compiler.engines.vllm.flags.table import flag_table
from compiler.engines.vllm.model.config import shape_of
from compiler.engines.vllm.versions import parse_version
from compiler.ir.demand import Demand
from compiler.ir.spec import ArgValue
from compiler.ir.units import GIB
from tests.vllm_cases import (
    KINDS,
    RERANKER_4B,
    VERSIONS,
    XLM_ROBERTA,
    demand,
    endpoint,
    flag,
    request,
)

OVERRIDES = (
    '{"architectures":["Qwen3ForSequenceClassification"],'
    '"classifier_from_token":["no","yes"],"is_original_qwen3_reranker":true}'
)


def argv(wanted: Demand, *shares_bytes: int) -> tuple[str, ...]:
    return ENGINE.launch(wanted, endpoint(wanted, *shares_bytes)).argv


def test_the_whole_command_line_of_a_reranker() -> None:
    found = demand(request(RERANKER_4B, context=8192, task="rerank"), "l40s")
    line = argv(found)
    assert line == (
        "/opt/vllm/bin/vllm",
        "serve",
        "org/model",
        "--served-model-name",
        "chat",
        "--host",
        "0.0.0.0",  # noqa: S104, only compared.
        "--port",
        "8000",
        "--runner",
        "pooling",
        "--hf-overrides",
        OVERRIDES,
        "--max-model-len",
        "8192",
        "--max-num-seqs",
        "16",
        "--max-num-batched-tokens",
        "2048",
        "--tensor-parallel-size",
        "1",
        "--gpu-memory-utilization",
        line[line.index("--gpu-memory-utilization") + 1],
        "--kv-cache-memory-bytes",
        str(found.devices[0].kv.bytes),
    )


MODELS: list[tuple[str, dict[str, ArgValue]]] = [
    ("Qwen3-8B", {}),
    ("Qwen3-8B", {"enable_prefix_caching": False, "enforce_eager": True}),
    ("gpt-oss-20b", {"kv_cache_dtype": "fp8"}),
    ("bge-base-en-v1.5", {}),
]


@pytest.mark.parametrize("version", [*VERSIONS, "0.12.0", "0.17.0", "0.20.2", "0.30.1"])
@pytest.mark.parametrize(("model", "args"), MODELS)
def test_every_emitted_flag_exists_in_the_version(
    model: str, args: dict[str, ArgValue], version: str
) -> None:
    task = "embed" if model.startswith("bge") else "generate"
    wanted = request(model, context=512, version=version, args=args, task=task)  # type: ignore[arg-type]
    assert ENGINE.check_request(wanted) == []
    parsed = parse_version(version)
    assert parsed is not None
    emitted = [word[2:] for word in argv(demand(wanted, "h100-sxm")) if word.startswith("--")]
    assert "max-num-batched-tokens" in emitted
    assert len(emitted) == len(set(emitted))
    for name in emitted:
        assert flag_table().emits(name, parsed), f"--{name} in {version}"


def test_kv_is_said_in_bytes_where_the_version_can() -> None:
    old = argv(demand(request("Qwen3-8B", version="0.10.1"), "l40s"))
    new = argv(demand(request("Qwen3-8B", version="0.10.2"), "l40s"))
    assert "--kv-cache-memory-bytes" not in old
    assert flag(new, "--kv-cache-memory-bytes") == str(4096 // 16 * 16 * 147456)


NEGATIVES = [
    ("0.10.2", "--no-enable-prefix-caching"),
    ("0.32.0", "--no-enable-prefix-caching"),
    ("0.33.0", "--disable-prefix-caching"),
]


@pytest.mark.parametrize(("version", "name"), NEGATIVES)
def test_switching_off_is_spelled_as_the_version_wants_it(version: str, name: str) -> None:
    args: dict[str, ArgValue] = {"enable_prefix_caching": False}
    assert name in argv(demand(request("Qwen3-8B", version=version, args=args), "l40s"))


@pytest.mark.parametrize("version", ["0.10.2", "0.25.1", "0.33.0"])
def test_a_flag_that_came_and_went_keeps_its_sense(version: str) -> None:
    args: dict[str, ArgValue] = {"enable_log_requests": True}
    line = argv(demand(request("Qwen3-8B", version=version, args=args), "l40s"))
    assert line[-1] in {"--enable-log-requests", "--no-disable-log-requests"}


def test_mappings_are_written_as_json() -> None:
    args: dict[str, ArgValue] = {"limit_mm_per_prompt": {"image": 2, "video": 0}}
    line = argv(demand(request("Qwen2.5-VL-7B", args=args), "l40s"))
    assert json.loads(str(flag(line, "--limit-mm-per-prompt"))) == {"image": 2, "video": 0}


def test_lists_are_written_as_words() -> None:
    args: dict[str, ArgValue] = {"cudagraph_capture_sizes": [1, 2, 4]}
    line = argv(demand(request("Qwen3-8B", args=args), "l40s"))
    assert line[-4:] == ("--cudagraph-capture-sizes", "1", "2", "4")


def test_a_revision_is_passed_on() -> None:
    found = demand(request("Qwen3-8B"), "l40s")
    launch = ENGINE.launch(found, endpoint(found, revision="abc"))
    assert flag(launch.argv, "--revision") == "abc"


def test_cards_without_bfloat16_are_told_to_use_half() -> None:
    assert flag(argv(demand(request("Qwen3-0.6B"), "rtx-2080-ti")), "--dtype") == "half"
    assert flag(argv(demand(request("Qwen3-0.6B"), "l40s")), "--dtype") is None


TASKS = [
    ("0.33.0", "embed", ("--runner", "pooling", "--convert", "embed")),
    ("0.9.2", "embed", ("--task", "embed")),
    ("0.9.2", "rerank", ("--task", "score")),
]


@pytest.mark.parametrize(("version", "task", "words"), TASKS)
def test_the_task_is_said_as_the_version_wants_it(
    version: str, task: str, words: tuple[str, ...]
) -> None:
    wanted = request(RERANKER_4B, version=version, task=task)  # type: ignore[arg-type]
    line = argv(demand(wanted, "l40s"))
    start = line.index(words[0])
    assert line[start : start + len(words)] == words


def test_encoders_batch_whole_requests() -> None:
    wanted = request(XLM_ROBERTA, context=8192, task="rerank")
    assert flag(argv(demand(wanted, "l40s")), "--max-num-batched-tokens") == "8192"


def test_small_launches_batch_no_more_than_they_can_fill() -> None:
    wanted = request("Qwen3-8B", context=256, concurrency=2)
    assert flag(argv(demand(wanted, "l40s")), "--max-num-batched-tokens") == "512"


def test_user_overrides_stand_beside_those_the_task_needs() -> None:
    args: dict[str, ArgValue] = {"hf_overrides": {"num_labels": 1}}
    line = argv(demand(request(RERANKER_4B, task="rerank", args=args), "l40s"))
    overrides = json.loads(str(flag(line, "--hf-overrides")))
    assert overrides["num_labels"] == 1
    assert overrides["is_original_qwen3_reranker"] is True
    assert line.count("--hf-overrides") == 1


def test_on_the_cpu_the_cache_is_said_in_the_environment() -> None:
    found = demand(request("Qwen3-0.6B", context=16384))
    launch = ENGINE.launch(found, endpoint(found))
    assert launch.env["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert "--gpu-memory-utilization" not in launch.argv
    assert launch.health_path == "/health"


@settings(max_examples=150)
@given(
    spare_bytes=st.integers(0, 60 * GIB),
    version=st.sampled_from(VERSIONS),
    kind=st.sampled_from(["l40s", "a100-sxm-80gb", "h200-sxm"]),
)
def test_a_share_passes_the_check_at_start(spare_bytes: int, version: str, kind: str) -> None:
    """Free memory, with all other shares in full use, covers what vLLM asks for."""
    found = demand(request("Qwen3-8B", version=version), kind)
    total = KINDS[kind].cuda_total_bytes
    share = min(found.devices[0].high_bytes + spare_bytes, total)
    utilization = float(str(flag(argv(found, share), "--gpu-memory-utilization")))
    estimate = estimates_of(found.request, found.site)[0]
    free = share - estimate.runtime.context_bytes
    assert math.ceil(total * utilization) <= free
    # Without KV in bytes the utilization alone must leave room for the guaranteed KV.
    assert math.ceil(total * utilization) >= estimate.charged_bytes + found.devices[0].kv.bytes


def test_the_least_utilization_starts_and_one_step_less_does_not() -> None:
    found = demand(request("Llama-3.1-8B", context=8192), "l40s")
    estimate, total = estimates_of(found.request, found.site)[0], KINDS["l40s"].cuda_total_bytes
    steps = least_steps(estimate, total, 8192)
    assert estimate.kv_within(total * steps // 10_000) >= estimate.request_bytes
    assert estimate.kv_within(total * (steps - 1) // 10_000) < estimate.request_bytes


def test_the_highest_utilization_asks_for_no_more_than_is_free() -> None:
    total, free = 48 * GIB, 47 * GIB
    steps = highest_steps(total, free)
    assert requested_bytes(total, steps) <= free < requested_bytes(total, steps + 1)


def test_the_overridden_header_is_the_one_that_is_costed() -> None:
    args: dict[str, ArgValue] = {"hf_overrides": {"num_hidden_layers": 18}}
    whole = demand(request("Qwen3-8B"), "l40s").devices[0].weights.bytes
    half = demand(request("Qwen3-8B", args=args), "l40s").devices[0].weights.bytes
    assert half < whole
    assert shape_of(RERANKER_4B).layers == 36
