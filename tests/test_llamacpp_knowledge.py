"""Silence is the fault: what nobody looked at is refused, or assumed with a band that covers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from compiler.engines.llamacpp.demand.demands import _whole
from compiler.engines.llamacpp.engine import ENGINE
from compiler.engines.llamacpp.flags.builds import Era, parse_build
from compiler.engines.llamacpp.memory.nodes import graph_tensors, largest_graph
from compiler.engines.llamacpp.model import knowledge
from compiler.engines.llamacpp.model.architectures import (
    ARCHITECTURES,
    architecture,
    with_trait,
)
from compiler.engines.llamacpp.model.shape import read_shape
from compiler.ir.demand import Breakdown, Refusal
from compiler.ir.facts import HeaderValue, ModelFacts
from tests.generators.gguf_shapes import facts
from tests.test_llamacpp_demands import RTX_4090, demands, request, site

NEWEST: dict[str, list[str]] = YAML(typ="safe").load(
    Path(__file__).resolve().parent / "truth" / "llamacpp_architectures.yaml"
)
STUDIED = "b11390"


def of_architecture(arch: str, **header: HeaderValue) -> ModelFacts:
    """A plain decoder under another name, as a new family first looks."""
    plain = facts("qwen3-1.7b")
    return plain.model_copy(
        update={"architecture": arch, "header": {**plain.header, **header}, "task": "generate"}
    )


def taken(model: ModelFacts) -> tuple[Breakdown, tuple[str, ...]]:
    (demand,) = demands(request(model, context=4096, version=STUDIED), site(RTX_4090))
    return demand.devices[0], demand.assumed


def banded(breakdown: Breakdown) -> set[str]:
    return {
        name
        for name in ("weights", "kv", "compute")
        if getattr(breakdown, name).low_bytes < getattr(breakdown, name).high_bytes
    }


@pytest.mark.parametrize("arch", NEWEST["architectures"])
def test_every_architecture_has_one_of_three_answers(arch: str) -> None:
    row = ARCHITECTURES[arch]
    assert not (row.no_model and row.looked_at)
    assert row.source or row.no_model
    asked = request(of_architecture(arch), context=4096, version=STUDIED)
    if ENGINE.check_request(asked):
        return  # Refused, with the reason.
    answer = ENGINE.demands(asked, site(RTX_4090))
    if isinstance(answer, Refusal) or architecture(arch).exact:
        return
    (demand,) = answer
    assert any(f"`{arch}`" in sentence for sentence in demand.assumed)
    assert "compute" in banded(demand.devices[0])
    if not architecture(arch).looked_at:
        assert "kv" in banded(demand.devices[0])


@pytest.mark.parametrize("arch", sorted(with_trait("no_model")))
def test_what_is_no_model_is_refused(arch: str) -> None:
    (problem,) = ENGINE.check_request(request(of_architecture(arch), version=STUDIED))
    assert architecture(arch).no_model in problem.detail


def test_nothing_of_a_family_that_nobody_looked_at_is_exact() -> None:
    breakdown, assumed = taken(of_architecture("deepseek9"))
    assert banded(breakdown) == {"weights", "kv", "compute"}
    assert any("nobody has looked at it" in sentence for sentence in assumed)
    plain, _ = taken(of_architecture("qwen3"))
    assert not banded(plain)
    # DeepSeek V4 kept a twelfth of what plain attention would.
    assert breakdown.kv.low_bytes * 12 <= breakdown.kv.bytes
    assert breakdown.kv.high_bytes > breakdown.kv.bytes


@pytest.mark.parametrize(
    ("arch", "header"),
    [
        ("qwen3", {"attention.compress_ratios": [0, 4] * 14}),
        ("llama", {"attention.indexer.key_length": 128}),
        ("mistral3", {"ssm.state_size": 128}),
        ("mimo2", {"attention.kv_cache_stride": 4}),
        ("afmoe", {"num_loops": 2}),
    ],
)
def test_a_key_that_is_not_read_is_noticed_by_name(arch: str, header: dict[str, Any]) -> None:
    breakdown, assumed = taken(of_architecture(arch, **header))
    assert {"kv", "compute"} <= banded(breakdown)
    (key,) = header
    assert any(f"`{key}`" in sentence for sentence in assumed)


@pytest.mark.parametrize("key", NEWEST["keys"])
def test_every_key_that_speaks_of_memory_was_looked_at(key: str) -> None:
    looked_at = any(key.startswith(name) for name in knowledge._MEMORY_KEYS)
    assert looked_at or not knowledge._speaks_of_memory(key)


@pytest.mark.parametrize(
    ("slots", "cache", "starts"),
    [(1, "q8_0", True), (2, "q8_0", False), (2, "f16", True), (4, "q8_0", False)],
)
def test_a_graph_beyond_llama_cpps_own_limit_is_refused(
    slots: int, cache: str, starts: bool
) -> None:
    # As libllama b11312 answers: ggml-impl.h, hash set full.
    asked = request(
        "phi4-14b",
        context=4096,
        concurrency=slots,
        version=STUDIED,
        cache_type_k=cache,
        cache_type_v=cache,
    )
    answer = ENGINE.demands(asked, site(RTX_4090))
    assert isinstance(answer, Refusal) != starts
    if isinstance(answer, Refusal):
        assert answer.code == "graph-size"


def test_the_limit_is_the_next_prime_behind_eight_nodes_a_tensor() -> None:
    shape = read_shape(facts("phi4-14b"))
    build = parse_build(STUDIED)
    assert build is not None
    asked = request(
        "phi4-14b", context=4096, concurrency=2, cache_type_k="q8_0", cache_type_v="q8_0"
    )
    options = _whole(asked, site(RTX_4090), shape, build)
    assert largest_graph(shape, 512) == 2053
    assert graph_tensors(shape, options, Era()) == 2058


def test_slots_that_share_a_pool_start() -> None:
    asked = request(
        "phi4-14b",
        context=4096,
        concurrency=2,
        kv_tokens=4096,
        version=STUDIED,
        cache_type_k="q8_0",
        cache_type_v="q8_0",
    )
    assert not isinstance(ENGINE.demands(asked, site(RTX_4090)), Refusal)


@pytest.mark.parametrize("mode", ["row", "tensor"])
def test_split_modes_that_are_not_followed_are_called_so(mode: str) -> None:
    (problem,) = ENGINE.check_request(request("qwen3-8b", version=STUDIED, split_mode=mode))
    assert problem.code == "unsupported-argument"
    assert mode in problem.detail
    assert "layer" in problem.hint
