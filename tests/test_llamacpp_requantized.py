"""Smaller quantizations of a model, made of its shapes alone."""

from __future__ import annotations

import pytest

from compiler.engines.llamacpp.engine import ENGINE
from compiler.ir.facts import ModelFacts
from tests.generators.published import locked

LLAMA = "unsloth/DeepSeek-R1-Distill-Llama-70B-GGUF"


def total_bytes(facts: ModelFacts) -> int:
    return sum(group.bytes * group.count() for group in facts.tensors)


def test_a_smaller_quantization_is_as_large_as_the_published_one() -> None:
    found = dict(ENGINE.smaller_quantizations(locked(f"{LLAMA}:Q5_K_S").facts))
    assert list(found) == ["Q4_K_M"]
    published = total_bytes(locked(f"{LLAMA}:Q4_K_M").facts)
    assert total_bytes(found["Q4_K_M"]) == pytest.approx(published, rel=0.005)


def test_all_else_stays() -> None:
    facts = locked(f"{LLAMA}:Q5_K_S").facts
    found = dict(ENGINE.smaller_quantizations(facts))["Q4_K_M"]
    same = {"tensors", "quantization"}
    assert found.model_dump(exclude=same) == facts.model_dump(exclude=same)
    before = sorted((tensor.name, tensor.shape) for tensor in facts.expand())
    assert sorted((tensor.name, tensor.shape) for tensor in found.expand()) == before


def test_the_largest_comes_first_and_none_is_larger_than_the_file() -> None:
    whole = locked("gpustack/bge-reranker-v2-m3-GGUF:FP16").facts
    found = list(ENGINE.smaller_quantizations(whole))
    assert [name for name, _ in found] == ["Q6_K", "Q5_K_M", "Q4_K_M"]
    sizes = [total_bytes(facts) for _, facts in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] < total_bytes(whole)
    assert not list(ENGINE.smaller_quantizations(found[-1][1]))
