"""What differs between builds of llama.cpp: their flags, their names, their attention kernels."""

from __future__ import annotations

import pytest

from compiler.engines.llamacpp.engine import ENGINE
from compiler.engines.llamacpp.flags import builds
from compiler.engines.llamacpp.flags.builds import STUDIED_BUILD, parse_build
from compiler.engines.llamacpp.flags.rules import ARGUMENTS
from compiler.engines.llamacpp.flags.table import flag_table, words_for
from compiler.engines.llamacpp.ggml.cuda import attention_runs, attention_types
from compiler.engines.llamacpp.model.shape import read_shape
from compiler.ir.demand import Demand, Refusal, Request, Site
from compiler.ir.spec import ArgValue
from tests.generators.gguf_shapes import facts
from tests.test_llamacpp_command import ENDPOINT, KIND, demand

BUILDS = flag_table().builds
MODELS = ("qwen3-8b", "qwen3-30b-a3b", "gemma3-4b", "smollm2-135m")


def argv_of(given: Demand) -> tuple[str, ...]:
    return ENGINE.launch(given, ENDPOINT).argv


def unknown_flags(argv: tuple[str, ...], build: int) -> list[str]:
    """The flags of a command line that a build of the table does not have."""
    flags = [word[2:] for word in argv[1:] if word.startswith("--")]
    return [flag for flag in flags if flag_table().kind(flag, build) is None]


@pytest.mark.parametrize("build", BUILDS)
def test_every_build_whose_source_was_read_knows_what_is_emitted(build: int) -> None:
    for model in MODELS:
        for gpus, concurrency in ((1, 1), (2, 3)):
            given = demand(f"b{build}", gpus, facts=facts(model), concurrency=concurrency)
            assert not unknown_flags(argv_of(given), build)
    assert not unknown_flags(argv_of(demand(f"b{build}", offload=0)), build)
    embedder = demand(f"b{build}", facts=facts("bge-m3"), task="embed", context=512)
    assert not unknown_flags(argv_of(embedder), build)


@pytest.mark.parametrize("build", BUILDS)
def test_a_flag_that_passes_check_is_known_to_the_build(build: int) -> None:
    values: dict[str, ArgValue] = {
        "switch": True, "integer": 1, "number": 0.5, "text": "x", "choice": "0",
    }  # fmt: skip
    for name, argument in ARGUMENTS.items():
        if argument.effect != "passed" or not argument.since <= build < argument.until:
            continue
        args: dict[str, ArgValue] = {name: "/x" if argument.pattern else values[argument.kind]}
        request = Request(
            engine="llama.cpp", version=f"b{build}", facts=facts("qwen3-8b"), task="generate",
            context=4096, concurrency=2, args=args,
        )  # fmt: skip
        if ENGINE.check_request(request):
            assert words_for(name, args[name], build) is None
            continue
        found = ENGINE.demands(request, Site(kinds=(KIND,), budgets_bytes=(20 << 30,)))
        assert not isinstance(found, Refusal)
        assert not unknown_flags(argv_of(found[0]), build)


@pytest.mark.parametrize(
    ("flag", "first"),
    [
        ("kv-unified", builds.KV_UNIFIED_FLAG), ("no-kv-unified", builds.NO_KV_UNIFIED_FLAG),
        ("cache-ram", builds.CACHE_RAM_FLAG), ("swa-checkpoints", builds.CHECKPOINTS_FLAG),
        ("ctx-checkpoints", builds.CHECKPOINTS_NAME), ("fit", builds.FIT_FLAG),
        ("load-mode", builds.LOAD_MODE_FLAG), ("device", builds.DEVICE_FLAG),
        ("swa-full", builds.SWA_FULL_FLAG), ("no-op-offload", builds.NO_OP_OFFLOAD_FLAG),
        ("override-tensor", builds.OVERRIDE_TENSOR_FLAG), ("cpu-moe", builds.CPU_MOE_FLAG),
        ("n-cpu-moe", builds.N_CPU_MOE_FLAG),
    ],
)  # fmt: skip
def test_a_flag_came_between_a_source_without_and_one_with_it(flag: str, first: int) -> None:
    (span,) = flag_table().spans(flag)
    before = max(build for build in BUILDS if build < span.first)
    assert before < first <= span.first


@pytest.mark.parametrize("flag", ["mmap", "no-mmap", "mlock"])
def test_flags_went_after_the_last_source_with_them(flag: str) -> None:
    last = flag_table().spans(flag)[-1].last
    assert last
    after = min(build for build in BUILDS if build > last)
    assert last < builds.NO_MMAP_GONE <= after


def test_flash_attention_takes_a_value_between_two_sources() -> None:
    switch, text = flag_table().spans("flash-attn")
    assert (switch.kind, text.kind) == ("switch", "text")
    assert switch.last
    assert switch.last < builds.FLASH_ATTN_VALUE <= text.first


@pytest.mark.parametrize(("build", "unified"), [(5500, False), (7347, True), (8095, False)])
def test_one_slot_stays_one(build: int, unified: bool) -> None:
    assert ("--kv-unified" in argv_of(demand(f"b{build}"))) == unified


def test_checkpoints_had_another_name() -> None:
    old = argv_of(demand("b6500", facts=facts("gemma3-4b")))
    new = argv_of(demand("b9000", facts=facts("gemma3-4b")))
    assert old[old.index("--swa-checkpoints") + 1] == "4"
    assert new[new.index("--ctx-checkpoints") + 1] == "4"


@pytest.mark.parametrize(
    ("name", "value", "build", "words"),
    [
        ("warmup", True, 6122, ()), ("warmup", False, 6122, ("--no-warmup",)),
        ("warmup", True, 9842, ("--warmup",)), ("metrics", False, 9842, ()),
        ("metrics", True, 3889, ("--metrics",)), ("offline", True, 4980, None),
        ("log_colors", "on", 6301, None), ("log_colors", "on", 6431, ("--log-colors", "on")),
        ("reasoning", "on", 30000, ("--reasoning", "on")), ("no_such_flag", 1, 9842, None),
        ("cpu_strict", "1", 4980, ("--cpu-strict", "1")), ("jinja", False, 6122, ()),
        ("jinja", False, 7324, ("--no-jinja",)), ("jinja", True, 3889, None),
    ],
)  # fmt: skip
def test_words_of_a_flag_follow_the_build(
    name: str, value: object, build: int, words: tuple[str, ...] | None
) -> None:
    assert words_for(name, value, build) == words


@pytest.mark.parametrize(
    ("version", "number", "newer"),
    [
        ("0.2.0", 10566, False), ("0.3.0-dev", 10808, False), ("0.4.0", 10809, False),
        ("0.4.1-dev", 11145, False), ("v0.5.0", 11146, False),
        ("0.5.0-dev", STUDIED_BUILD, False), ("0.6.0", 11429, True), ("1.0.0", 11501, True),
        ("0.0.7347", 7347, False), ("0.0.10361", 10361, False),
    ],
)  # fmt: skip
def test_a_release_is_a_build(version: str, number: int, newer: bool) -> None:
    build = parse_build(version)
    assert build
    assert (build.number, build.newer) == (number, newer)


@pytest.mark.parametrize(
    ("type_k", "type_v", "build", "runs"),
    [
        ("q5_1", "q4_0", 11146, True), ("q5_1", "q4_0", 10809, False),
        ("iq4_nl", "iq4_nl", 11146, False), ("bf16", "bf16", 9842, True),
        ("bf16", "bf16", 8390, False), ("f32", "f32", 6845, True), ("f32", "f32", 6301, False),
        ("q8_0", "q8_0", 6301, True), ("q8_0", "f16", 9842, False), ("f16", "f16", 3889, True),
    ],
)  # fmt: skip
def test_cuda_attends_to_pairs_of_cache_types(
    type_k: str,
    type_v: str,
    build: int,
    runs: bool,
) -> None:
    assert attention_types(type_k, type_v, build) == runs


@pytest.mark.parametrize(
    ("model", "type_k", "build", "runs"),
    [
        ("gemma3-4b", "f16", 6122, True), ("gemma3-4b", "q8_0", 6122, False),  # heads of 256
        ("gemma3-4b", "q8_0", 6301, True), ("qwen3-8b", "q8_0", 6122, True),  # heads of 128
    ],
)  # fmt: skip
def test_old_builds_attend_to_a_quantized_cache_with_heads_of_128_only(
    model: str,
    type_k: str,
    build: int,
    runs: bool,
) -> None:
    assert attention_runs(read_shape(facts(model)), type_k, type_k, build) == runs


def test_flash_attention_that_a_build_lacks_is_left_off() -> None:
    args: dict[str, ArgValue] = {"cache_type_k": "q4_1"}
    old, new = (argv_of(demand(version, args=args)) for version in ("b9842", "b11146"))
    assert old[old.index("--flash-attn") + 1] == "off"
    assert new[new.index("--flash-attn") + 1] == "on"
