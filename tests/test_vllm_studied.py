"""Silence is a fault: whatever nobody has looked at is marked, with a band, or refused."""

from __future__ import annotations

import json

import pytest

from compiler.engines.vllm.engine import ENGINE
from compiler.engines.vllm.model.architectures import architectures, class_stem
from compiler.engines.vllm.model.config import ShapeError, shape_of
from compiler.engines.vllm.model.reading import is_read, settings
from compiler.engines.vllm.model.studied import doubts_of, studied, unread_keys
from compiler.ir.demand import Demand, Refusal
from compiler.ir.facts import HeaderValue
from tables.vllm_studied import (
    TARGET,
    families,
    keys_of,
    known_headers,
    numbers,
    ratios,
    read_keys,
)
from tests.vllm_cases import config, demand, qwen3, request, site

NEWEST = sorted(
    name
    for name in architectures().spans
    if architectures().has(name, (0, 33, 0)) and name.isidentifier()
)
QUANTIZATIONS = [
    *("awq", "gptq", "fp8", "mxfp4", "bitsandbytes", "compressed-tensors", "modelopt", "quark"),
    *("fp_quant", "torchao", "inc", "experts_int8", "humming", "moe_wna16", "turboquant", "x"),
]


def answer(header: dict[str, HeaderValue]) -> Demand | Refusal | None:
    """What the law says of a model; None when the request itself is refused."""
    wanted = request(header, context=2048, concurrency=4)
    if ENGINE.check_request(wanted):
        return None
    found = ENGINE.demands(wanted, site("h100-sxm"))
    return found if isinstance(found, Refusal) else found[0]


@pytest.mark.parametrize("name", NEWEST)
def test_every_class_is_known_or_assumed_or_refused(name: str) -> None:
    """Nothing but the name tells an unknown class from a plain decoder here."""
    found = answer({**qwen3(2560, 9728, 36, 32), "architectures": [name], "model_type": "x"})
    if not isinstance(found, Demand) or class_stem(name) in studied().classes:
        return
    device = found.devices[0]
    assert any(f"`{name}`" in sentence for sentence in found.assumed)
    assert device.weights.high_bytes > device.weights.bytes * 15 // 10
    assert found.growth is None
    if device.kv.bytes:
        assert device.kv.bytes == device.kv.high_bytes > 2 * device.kv.low_bytes


@pytest.mark.parametrize("method", QUANTIZATIONS)
def test_every_quantization_is_known_or_assumed_or_refused(method: str) -> None:
    quantization: dict[str, HeaderValue] = {"quant_method": method}
    found = answer({**qwen3(2560, 9728, 36, 32), "quantization_config": quantization})
    if isinstance(found, Demand) and any("not known" in text for text in found.assumed):
        device = found.devices[0]
        assert device.weights.low_bytes < device.weights.bytes // 2


@pytest.mark.parametrize("key", ["compress_rates_x", "memory_slots", "num_loops", "engram_layers"])
def test_a_key_that_nobody_read_is_named(key: str) -> None:
    header: dict[str, HeaderValue] = {**qwen3(2560, 9728, 36, 32), key: 4}
    found = demand(request(header), "h100-sxm")
    assert any(f"`{key}`" in sentence for sentence in found.assumed)
    plain = demand(request(qwen3(2560, 9728, 36, 32)), "h100-sxm")
    assert found.devices[0].high_bytes > plain.devices[0].high_bytes
    assert plain.growth is not None
    assert found.growth is None


ODD: list[tuple[dict[str, HeaderValue], str]] = [
    ({"compress_ratios": [4, 128] * 18}, "does not read `compress_ratios`"),
    ({"index_topk": 2048, "index_n_heads": 32, "index_head_dim": 128}, "`index_topk`"),
    ({"hc_mult": 4}, "does not read `hc_mult`"),
    ({"mamba_d_state": 128, "mamba_expand": 2}, "`mamba_d_state`, `mamba_expand`"),
    ({"head_dim": [64, 128] * 18}, "no lists and sections in `head_dim`"),
    ({"num_key_value_heads": [8, 4] * 18}, "no lists and sections in `num_key_value_heads`"),
    ({"intermediate_size": [9728, 4864] * 18}, "no lists and sections in `intermediate_size`"),
    ({"head_dims": [64, 128] * 18}, "does not read `head_dims`"),
    ({"kv_share_map": [0, 0, 1, 1]}, "does not read `kv_share_map`"),
    ({"attn_pattern": "FSFSFSFS"}, "does not read `attn_pattern`"),
    ({"vocab_expansion_factor": 2}, "does not read `vocab_expansion_factor`"),
    ({"expert_num": 64, "expert_ffn_size": 1024}, "`expert_ffn_size`, `expert_num`"),
    ({"layer_types": ["full_attention", "full_attention"]}, "names 2 of 36 layers"),
    ({"text_config": {**qwen3(2560, 9728, 36, 32), "memory_slots": 4}}, "`memory_slots`"),
]


@pytest.mark.parametrize(("odd", "said"), ODD)
def test_what_the_law_does_not_read_in_this_family_is_named(
    odd: dict[str, HeaderValue], said: str
) -> None:
    """Also what it reads in others, and what it reads as a number where a list stands."""
    found = demand(request({**qwen3(2560, 9728, 36, 32), **odd}), "h100-sxm")
    assert any(said in sentence for sentence in found.assumed)
    device = found.devices[0]
    assert device.weights.low_bytes < device.weights.bytes // 2
    assert device.weights.high_bytes > device.weights.bytes * 15 // 10
    assert found.growth is None


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "awq", "w_bit": 2, "q_group_size": 64},
        {"quant_method": "gptq", "bits": 5, "group_size": 128},
        {"quant_method": "gptq", "bits": 4, "group_size": 37},
        {"quant_method": "exl3", "bits": 4},
        {"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"},
        {
            "quant_method": "compressed-tensors",
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": {"num_bits": 6, "type": "float", "group_size": 16},
                }
            },
        },
    ],
)
def test_a_quantization_without_kernels_is_not_known(quantization: HeaderValue) -> None:
    header = {**qwen3(2560, 9728, 36, 32), "quantization_config": quantization}
    found = demand(request(header), "h100-sxm")
    assert any("quantization is not known" in sentence for sentence in found.assumed)
    assert found.devices[0].weights.low_bytes < found.devices[0].weights.bytes // 2


@pytest.mark.parametrize("dtype", ["float4_e2m1", "float8_e4m3fn", "int8"])
def test_a_type_of_weights_that_nobody_knows_is_named(dtype: str) -> None:
    found = demand(request({**qwen3(2560, 9728, 36, 32), "torch_dtype": dtype}), "h100-sxm")
    assert any(f"`{dtype}`" in sentence for sentence in found.assumed)


def test_another_value_of_any_key_is_read_or_refused() -> None:
    """No value in a file that is known brings the law down when it is another."""
    for header in known_headers().values():
        try:
            shape = shape_of(header)
        except ShapeError:
            continue
        for path, _ in settings(header):
            is_read(header, shape, path)


def test_keys_of_few_families_are_those_of_the_truth_data() -> None:
    stored = json.loads(TARGET.read_text(encoding="utf-8"))
    assert stored["families"] == families()
    assert stored["numbers"] == numbers()


@pytest.mark.parametrize("value", [None, False, 0, [], {}, "a name"])
def test_a_key_that_says_nothing_is_not(value: HeaderValue) -> None:
    assert not list(unread_keys({"memory_slots": value}))


@pytest.mark.parametrize(
    "key", ["eos_token_id", "attention_dropout", "initializer_std", "rms_norm_eps", "use_cache"]
)
def test_keys_that_leave_memory_alone_are_known(key: str) -> None:
    assert not list(unread_keys({key: 1}))


def test_a_kind_of_layer_that_nobody_knows_is_named() -> None:
    kinds: list[HeaderValue] = ["full_attention", "wavelet_attention"] * 18
    header: dict[str, HeaderValue] = {**qwen3(2560, 9728, 36, 32), "layer_types": kinds}
    found = demand(request(header), "h100-sxm")
    assert any("`wavelet_attention`" in sentence for sentence in found.assumed)


def test_models_that_are_known_are_not_in_doubt() -> None:
    for name, header in known_headers().items():
        try:
            shape = shape_of(header)
        except ShapeError:
            continue
        assert not doubts_of(header, shape, weighed=False).parts, name


def test_bands_cover_what_a_plain_reading_was_off_by() -> None:
    """And no narrower: the file is what tables/vllm_studied.py makes of the truth data."""
    for part, values in ratios().items():
        below, above = studied().bands[part]
        assert 1000 - below <= 1000 * values[0][0] + 1
        assert 1000 + above >= 1000 * values[-1][0] - 1


def test_the_listed_keys_are_those_of_the_truth_data_and_of_the_law() -> None:
    stored = set(json.loads(TARGET.read_text(encoding="utf-8"))["keys"])
    keys = {key for header in known_headers().values() for key in keys_of(header)} | read_keys()
    assert stored == {key for key in keys if key.isidentifier()}


def test_tensors_that_were_read_leave_the_weights_sure() -> None:
    names: list[HeaderValue] = ["NobodyForCausalLM"]
    header = {**config("Qwen3-8B"), "architectures": names}
    shape = shape_of(header)
    assert "weights" in doubts_of(header, shape, weighed=False).parts
    assert doubts_of(header, shape, weighed=True).parts == {"kv", "compute", "graphs"}


@pytest.mark.parametrize("key", ["ngram_vocab_size_ratio", "engram_layers", "engram"])
def test_tables_that_no_config_counts_are_refused(key: str) -> None:
    header = {**qwen3(2560, 9728, 36, 32), "model_type": "x", key: 7}
    for where in (header, {**header, "text_config": header}):
        wanted = request(where, context=2048, concurrency=4)
        (problem,) = ENGINE.check_request(wanted)
        assert problem.code == "facts-missing"
        assert key in problem.detail
    assert not ENGINE.check_request(request({**header, key: 0}, context=2048, concurrency=4))


def test_experts_by_longcats_names() -> None:
    named = {**qwen3(2560, 9728, 36, 32), "n_routed_experts": 64, "moe_topk": 6}
    mixture = shape_of({**named, "expert_ffn_hidden_size": 512}).experts
    assert mixture is not None
    assert (mixture.active, mixture.width) == (6, 512)
