"""Damaged configs and odd requests give an answer or a refusal, never a traceback."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.engines.vllm.engine import ENGINE
from compiler.ir.demand import Refusal
from compiler.ir.facts import HeaderValue, Task
from compiler.ir.spec import ArgValue
from tests.vllm_cases import VERSIONS, XLM_ROBERTA, config, endpoint, request, site

MODELS = [
    "DeepSeek-R1",
    "Qwen2.5-VL-7B",
    "Qwen3-235B-A22B-FP8",
    "Qwen3-32B-AWQ",
    "Qwen3-Next-80B-A3B",
    "gpt-oss-20b",
]
ODD: st.SearchStrategy[HeaderValue] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-4, 300),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(max_size=8),
    st.lists(st.integers(-2, 80), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(0, 9), max_size=2),
)
ARGS: st.SearchStrategy[ArgValue] = st.one_of(
    st.booleans(),
    st.integers(-2, 9000),
    st.text(max_size=8),
    st.lists(st.integers(0, 64), max_size=3),
    st.dictionaries(st.sampled_from(["image", "method", "mode", "level"]), st.integers(0, 3)),
)
FLAGS = [
    "block_size",
    "compilation_config",
    "cpu_offload_gb",
    "cudagraph_capture_sizes",
    "enable_expert_parallel",
    "enable_lora",
    "enforce_eager",
    "hf_overrides",
    "kv_cache_dtype",
    "limit_mm_per_prompt",
    "max_lora_rank",
    "max_num_batched_tokens",
    "mm_processor_cache_gb",
    "speculative_config",
]


def answers(header: dict[str, HeaderValue], version: str, args: dict[str, ArgValue]) -> None:
    task: Task = "embed" if "XLM" in str(header.get("architectures")) else "generate"
    try:
        wanted = request(header, context=512, version=version, task=task, args=args)
    except (AssertionError, KeyError, IndexError):
        return
    faulty = bool(ENGINE.check_request(wanted))
    for place in (site("l40s"), site("h100-sxm", "h100-sxm"), site()):
        found = ENGINE.demands(wanted, place)
        if isinstance(found, Refusal) or faulty:
            continue
        for device in found[0].devices:
            assert 0 <= device.low_bytes <= device.total_bytes <= device.high_bytes
        assert ENGINE.launch(found[0], endpoint(found[0])).argv
        assert ENGINE.at_utilization(found[0], 900).kv_tokens >= 0


@settings(max_examples=150)
@given(data=st.data(), model=st.sampled_from(MODELS), version=st.sampled_from(VERSIONS))
def test_a_damaged_config_is_answered(data: st.DataObject, model: str, version: str) -> None:
    header = config(model)
    keys = data.draw(st.lists(st.sampled_from(sorted(header)), max_size=4, unique=True))
    for key in keys:
        header[key] = data.draw(ODD)
    answers(header, version, {})


@settings(max_examples=150)
@given(
    data=st.data(),
    model=st.sampled_from([*MODELS, "encoder"]),
    version=st.sampled_from(VERSIONS),
)
def test_odd_arguments_are_answered(data: st.DataObject, model: str, version: str) -> None:
    names = data.draw(st.lists(st.sampled_from(FLAGS), max_size=3, unique=True))
    args = {name: data.draw(ARGS) for name in names}
    answers(XLM_ROBERTA if model == "encoder" else config(model), version, args)


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size"])
def test_a_missing_size_is_named(key: str) -> None:
    header = config("Qwen3-8B")
    del header[key]
    (found,) = ENGINE.check_request(request(header))
    assert found.code == "facts-missing"
    assert f"`{key}`" in found.detail
