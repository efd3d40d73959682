"""Which llama-server arguments a user may set, and what is wrong with the others."""

from __future__ import annotations

import pytest

from compiler.engines.llamacpp.engine import ENGINE
from compiler.ir.demand import ArgumentProblem, Request
from compiler.ir.facts import ModelFacts, Task
from compiler.ir.spec import ArgValue
from tests.generators.gguf_shapes import facts


def problems(
    version: str = "b9000",
    task: Task = "generate",
    shape: str = "qwen3-8b",
    args: dict[str, ArgValue] | None = None,
    **more: ArgValue,
) -> list[ArgumentProblem]:
    request = Request(
        engine="llama.cpp",
        version=version,
        facts=facts(shape),
        task=task,
        context=4096,
        concurrency=2,
        args={**(args or {}), **more},
    )
    return ENGINE.check_request(request)


def check(code: str, args: dict[str, ArgValue], version: str = "b9000") -> ArgumentProblem:
    (problem,) = problems(version, args=args)
    assert problem.code == code
    return problem


def test_understood_and_harmless_arguments_pass() -> None:
    assert not problems(
        flash_attn="on", cache_type_k="q8_0", cache_type_v="q8_0", ubatch_size=1024,
        n_cpu_moe=10, cpu_moe=True, override_tensor="exps=CPU", swa_full=True, no_kv_offload=True,
        threads=8, temp=0.6, jinja=False, split_mode="none", main_gpu=0, no_mmap=True,
        cache_ram=1024, ctx_checkpoints=2, metrics=True, chat_template_kwargs='{"a": 1}',
    )  # fmt: skip


@pytest.mark.parametrize("name", ["ssl_key_file", "ssl_cert_file"])
def test_flags_that_no_health_check_survives(name: str) -> None:
    assert "no health check" in check("unsupported-argument", {name: "/etc/x.pem"}).detail


@pytest.mark.parametrize("prefix", ["v2", "/v2/", "/", "/a b", "/$(x)", "/a?b", "//a"])
def test_a_prefix_that_no_url_can_have(prefix: str) -> None:
    assert "a path such as `/v2`" in check("wrong-argument", {"api_prefix": prefix}).detail


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("model", "`model`"), ("port", "`ports`"), ("host", "`listen`"), ("ctx_size", "`context`"),
        ("parallel", "`concurrency`"), ("n_gpu_layers", "`offload`"), ("tensor_split", "placement"),
        ("alias", "name"), ("fit", "memory law"), ("kv_unified", "`kv_tokens`"),
        ("ngl", "`offload`"), ("c", "`context`"), ("np", "`concurrency`"),
        ("embedding", "`task: embed`"), ("rerank", "`task: rerank`"), ("api_key", "`secrets"),
    ],
)  # fmt: skip
def test_a_managed_argument_names_the_key_to_use(name: str, key: str) -> None:
    assert key in check("managed-argument", {name: "x"}).detail


@pytest.mark.parametrize("name", ["control_vector", "models_dir", "override_kv", "rpc"])
def test_what_no_law_covers_is_refused_with_its_reason(name: str) -> None:
    assert check("unsupported-argument", {name: "x"}).detail.count(": ") == 1


def test_a_misspelt_argument_has_a_close_match() -> None:
    assert check("unknown-argument", {"flash_atn": "on"}).hint == "Did you mean `flash_attn`?"


def test_a_short_flag_is_known_by_its_long_name() -> None:
    assert check("unknown-argument", {"ub": 512}).hint == "Did you mean `ubatch_size`?"


def test_an_argument_can_be_too_new_for_the_build() -> None:
    assert "b6090" in check("unknown-argument", {"n_cpu_moe": 3}, "b6000").detail


def test_an_argument_can_be_gone_from_the_build() -> None:
    assert "load_mode" in check("unknown-argument", {"mmap": True}, "b11000").hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flash_attn", "yes"), ("cache_type_k", "q3_K"), ("ubatch_size", 0), ("ubatch_size", "x"),
        ("ubatch_size", 1 << 40), ("threads", 1.5), ("cpu_moe", "on"), ("split_mode", "column"),
        ("override_tensor", "exps"), ("override_tensor", "(=CPU"), ("override_tensor", 3),
        ("metrics", 1), ("temp", "hot"), ("main_gpu", -1), ("cache_ram", -1),
    ],
)  # fmt: skip
def test_a_bad_value_is_named(name: str, value: ArgValue) -> None:
    assert name in check("wrong-argument", {name: value}).detail


def test_a_quantized_v_cache_needs_flash_attention() -> None:
    check("wrong-argument", {"cache_type_v": "q8_0", "flash_attn": "off"})


def test_every_fault_is_reported_at_once() -> None:
    found = problems(port=1, flash_atn="on", rpc="x", ubatch_size=0)
    assert {problem.code for problem in found} == {
        "managed-argument", "unknown-argument", "unsupported-argument", "wrong-argument",
    }  # fmt: skip


def test_an_encoder_cannot_write() -> None:
    (problem,) = problems(shape="bge-m3")
    assert problem.code == "task-mismatch"


def test_a_reranker_needs_a_head() -> None:
    (problem,) = problems(task="rerank", shape="bge-m3")
    assert problem.code == "task-mismatch"
    assert not problems(task="rerank", shape="bge-reranker-v2-m3")


def test_an_input_must_fit_one_ubatch() -> None:
    (problem,) = problems(task="embed", shape="bge-m3", ubatch_size=512)
    assert problem.code == "wrong-argument"


def test_only_gguf_is_read() -> None:
    model: ModelFacts = facts("qwen3-8b").model_copy(update={"format": "safetensors"})
    request = Request(
        engine="llama.cpp", version="9000", facts=model, task="generate", context=1, concurrency=1
    )
    assert [problem.code for problem in ENGINE.check_request(request)] == ["engine-format"]


@pytest.mark.parametrize("version", ["9000", "b9000", "0.5.0-dev", "0.5.0", "v0.6", "b123456"])
def test_builds_and_releases_are_understood(version: str) -> None:
    assert ENGINE.check_version(version) is None


@pytest.mark.parametrize(
    "version", ["", "latest", "b", "9000.1.2.3", "-1", "b12", "\u0663\u0660\u0660\u0660"]
)
def test_other_versions_are_not(version: str) -> None:
    assert ENGINE.check_version(version)


@pytest.mark.parametrize(
    ("args", "version", "said"),
    [
        ({"embd_normalize": 2}, "b9000", "b9842"),
        ({"offline": True}, "b5000", "b5590"),
        ({"log_colors": "on"}, "b6000", "b6431"),
        ({"no_skip_chat_parsing": True}, "b9000", "b9842"),
    ],
)
def test_a_harmless_flag_can_be_too_new(args: dict[str, ArgValue], version: str, said: str) -> None:
    assert said in check("unknown-argument", args, version).detail


def test_a_harmless_flag_can_have_had_another_name() -> None:
    assert check("unknown-argument", {"ui": False}, "b9000").hint == "Write `webui` instead"
    assert check("unknown-argument", {"load_mode": "none"}, "b9000").hint == (
        "Write `mmap` or `mlock` instead"
    )


@pytest.mark.parametrize("version", ["b4980", "b9000", "b11390"])
def test_the_log_level_may_be_set(version: str) -> None:
    assert not problems(version, verbosity=4)
