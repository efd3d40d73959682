"""Which modules a checkpoint quantizes, and how: names, patterns and mixed precision."""

from __future__ import annotations

import pytest

from compiler.engines.vllm.model.modules import canonical, names_of, role_of
from compiler.engines.vllm.model.quantization import SchemeKind, scheme_of
from compiler.ir.facts import HeaderValue
from tests.vllm_cases import config

PREFIX = "model.layers.3."


def section(name: str) -> dict[str, HeaderValue]:
    found = config(name)["quantization_config"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "name",
    [
        "model.language_model.layers.3.mlp.up_proj",
        "language_model.model.layers.3.mlp.up_proj",
        "model.language_model.model.layers.3.mlp.up_proj",
        "backbone.layers.3.mlp.up_proj",
        "model.layers.3.mlp.up_proj",
    ],
)
def test_the_language_model_has_many_names(name: str) -> None:
    assert canonical(name) == "model.layers.3.mlp.up_proj"
    assert names_of([name]).cover("model.layers.3.mlp.gate_up_proj")


@pytest.mark.parametrize(
    ("listed", "covered"),
    [
        ("model.language_model.layers.3.self_attn*", True),
        ("language_model.model.layers.3.self_attn", True),
        ("re:.*language_model.*self_attn.*", True),
        ("re:.*self_attn.*", True),
        ("*self_attn*", True),
        ("self_attn", True),
        ("model.visual*", False),
        ("model.language_model.layers.30.self_attn*", False),
    ],
)
def test_lists_of_what_is_left_alone(listed: str, *, covered: bool) -> None:
    assert names_of([listed]).cover(f"{PREFIX}self_attn.qkv_proj") == covered


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("model.layers.3.block_sparse_moe.experts.17.w1", (3, "experts")),
        ("model.layers.3.mlp.experts", (3, "experts")),
        ("model.layers.3.block_sparse_moe.shared_experts.up_proj", (3, "shared.up_proj")),
        ("model.layers.3.mixer.q_proj", (3, "q_proj")),
        ("model.layers.3.feed_forward.w2", (3, "down_proj")),
        ("model.visual.layers.3.mlp.up_proj", None),
        ("mtp.layers.0.mlp.up_proj", None),
        ("lm_head", None),
    ],
)
def test_matrices_are_known_whatever_their_block_is_called(
    name: str, role: tuple[int, str] | None
) -> None:
    assert role_of(name) == role


QWEN_27 = [
    ("linear_attn.in_proj_qkvz", "fp8"),
    ("linear_attn.in_proj_ba", "none"),
    ("mlp.gate_up_proj", "nvfp4"),
    ("mlp.down_proj", "nvfp4"),
]


@pytest.mark.parametrize(("module", "kind"), QWEN_27)
def test_modelopt_names_the_algorithm_of_each_module(module: str, kind: SchemeKind) -> None:
    scheme = scheme_of(section("Qwen3.6-27B-NVFP4"), None)
    assert scheme.for_module(f"model.layers.0.{module}").kind == kind
    assert scheme.of_output is not None
    assert scheme.kinds() == {"fp8", "nvfp4"}


def test_experts_of_minimax_m3_are_in_four_bits_and_the_rest_in_eight() -> None:
    scheme = scheme_of(section("MiniMax-M3-NVFP4"), None)
    assert scheme.for_module("model.layers.9.mlp.experts.0.gate_proj").kind == "nvfp4"
    assert scheme.for_module("model.layers.9.self_attn.qkv_proj").kind == "mxfp8"
    assert scheme.for_module("model.layers.9.mlp.shared_expert.gate_up_proj").kind == "mxfp8"
    assert scheme.for_module("model.layers.9.mlp.gate").kind == "none"


def _group(bits: int, targets: list[HeaderValue], group_size: int = 0) -> dict[str, HeaderValue]:
    weights: dict[str, HeaderValue] = {"num_bits": bits, "type": "float", "group_size": group_size}
    return {"weights": weights, "targets": targets}


def test_groups_of_compressed_tensors_have_a_scheme_each() -> None:
    """Names and patterns count before a group that means every linear module."""
    groups: dict[str, HeaderValue] = {
        "group_0": _group(8, ["Linear"]),
        "group_1": _group(4, ["re:.*mlp.experts.*", "model.layers.5.mlp.down_proj"], 16),
    }
    scheme = scheme_of(
        {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": ["lm_head"]}, None
    )
    found = {
        name: scheme.for_module(f"model.layers.5.{name}").kind
        for name in ("self_attn.qkv_proj", "mlp.experts.0.gate_proj", "mlp.down_proj")
    }
    assert found == {
        "self_attn.qkv_proj": "fp8",
        "mlp.experts.0.gate_proj": "nvfp4",
        "mlp.down_proj": "nvfp4",
    }


def test_an_algorithm_that_nobody_knows_is_unknown_and_not_taken_for_fp8() -> None:
    assert scheme_of({"quant_method": "modelopt", "quant_algo": "W3A5"}, None).kind == "unknown"
    mixed = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}
    assert scheme_of(mixed, None).kind == "unknown"
