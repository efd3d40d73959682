"""Which models vLLM has a class for, and configurations with names of their own."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.engines.vllm.engine import ENGINE
from compiler.engines.vllm.model.architectures import architectures
from compiler.engines.vllm.model.config import shape_of
from compiler.ir.demand import Refusal
from compiler.ir.facts import HeaderValue
from compiler.resolve.hf_facts import hf_facts
from tests.vllm_cases import config, demand, request, site

GPT_2: dict[str, HeaderValue] = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
    "tie_word_embeddings": True,
}
T5: dict[str, HeaderValue] = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "d_model": 512,
    "num_layers": 6,
    "is_encoder_decoder": True,
}
DBRX: dict[str, HeaderValue] = {
    "architectures": ["DbrxForCausalLM"],
    "model_type": "dbrx",
    "d_model": 6144,
    "n_heads": 48,
    "n_layers": 40,
    "max_seq_len": 32768,
    "vocab_size": 100352,
    "attn_config": {"kv_n_heads": 8},
    "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4},
}


def test_gpt_2_by_its_own_names() -> None:
    shape = shape_of(GPT_2)
    assert (shape.hidden, shape.layers, shape.heads, shape.inner) == (768, 12, 12, 3072)
    assert (shape.positions, shape.learnt_positions) == (1024, 1024)
    weights = demand(request(GPT_2, context=1024), "l40s").devices[0].weights.bytes
    # 124 million parameters.
    assert 2 * 124e6 < weights < 2 * 128e6


def test_gpt_2_as_its_repository_has_it() -> None:
    """The published config.json, of which transformers fills in the rest."""
    published: dict[str, Any] = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_ctx": 1024,
        "n_embd": 768,
        "n_head": 12,
        "n_layer": 12,
        "n_positions": 1024,
        "vocab_size": 50257,
    }
    found = hf_facts("gpt2", {"config.json": published}, [])
    assert (found.layers, found.position_limit) == (12, 1024)
    assert shape_of(found.header) == shape_of(GPT_2)


def test_a_mixture_in_nested_sections() -> None:
    shape = shape_of(DBRX)
    assert (shape.hidden, shape.layers, shape.heads, shape.kv_heads) == (6144, 40, 48, 8)
    assert shape.experts is not None
    assert (shape.experts.count, shape.experts.active, shape.experts.width) == (16, 4, 10752)


PAIRS = [
    (T5, "0.33.0", "no class"),
    ({**T5, "architectures": ["BartForConditionalGeneration"]}, "0.33.0", "0.10.2 was the last"),
    ({**T5, "architectures": ["BartForConditionalGeneration"]}, "0.10.2", "V0 engine"),
    ({**T5, "architectures": ["WhisperForConditionalGeneration"]}, "0.33.0", "writes down speech"),
    ({**T5, "architectures": ["WhisperForConditionalGeneration"]}, "0.9.2", "V0 engine"),
]


@pytest.mark.parametrize(("header", "version", "words"), PAIRS)
def test_encoders_with_decoders_are_refused_with_the_reason(
    header: dict[str, HeaderValue], version: str, words: str
) -> None:
    (problem,) = ENGINE.check_request(request(header, version=version))
    assert problem.code == "engine-format"
    assert words in problem.detail


def test_a_class_that_was_removed_is_refused() -> None:
    header: dict[str, HeaderValue] = {
        **config("Qwen3-8B"),
        "architectures": ["BaichuanForCausalLM"],
    }
    assert ENGINE.check_request(request(header, version="0.23.0")) == []
    (problem,) = ENGINE.check_request(request(header))
    assert problem.code == "engine-format"
    assert "no longer has" in problem.detail


def test_a_class_that_came_later_is_an_assumption() -> None:
    found = demand(request("Qwen3-8B", version="0.8.5"), "l40s")
    assert not any("has no class" in sentence for sentence in found.assumed)
    early = demand(request("gpt-oss-20b", version="0.9.2"), "h200-sxm")
    assert any("yet; 0.10.2 has it" in sentence for sentence in early.assumed)


def test_a_class_of_nobody_is_an_assumption() -> None:
    header: dict[str, HeaderValue] = {
        **config("Qwen3-8B"),
        "architectures": ["HomemadeForCausalLM"],
    }
    found = demand(request(header), "l40s")
    assert any("by Transformers" in sentence for sentence in found.assumed)


def test_decoders_are_turned_into_classifiers_and_embedders() -> None:
    table = architectures()
    for name in ("Qwen3ForSequenceClassification", "Qwen3Model", "Qwen3ForRewardModeling"):
        assert table.served_as(name, (0, 33, 0)) == "Qwen3ForCausalLM"
    header: dict[str, HeaderValue] = {
        **config("Qwen3-8B"),
        "architectures": ["Qwen3ForSequenceClassification"],
    }
    wanted = request(header, task="classify")
    assert ENGINE.check_request(wanted) == []
    assert not any("has no class" in sentence for sentence in demand(wanted, "l40s").assumed)


def test_between_two_releases_either_of_them_counts() -> None:
    table = architectures()
    # 0.10.2 was the last release with BART, 0.11.2 the first without that was looked at.
    assert table.has("BartForConditionalGeneration", (0, 11, 0))
    assert not table.has("BartForConditionalGeneration", (0, 11, 2))
    assert table.has("LlamaForCausalLM", (9, 9, 9))
    assert table.has("LlamaForCausalLM", (0, 1, 0))


def test_spans_lie_within_the_releases() -> None:
    table = architectures()
    assert list(table.releases) == sorted(table.releases)
    for spans in table.spans.values():
        assert spans
        for first, last, _ in spans:
            assert 0 <= first <= last < len(table.releases)


def test_a_class_that_every_rank_would_hold_whole_is_not_cut() -> None:
    header: dict[str, HeaderValue] = {
        "architectures": ["GPTBigCodeForCausalLM"],
        "model_type": "gpt_bigcode",
        "n_embd": 6144,
        "n_head": 48,
        "n_layer": 40,
        "n_inner": 24576,
        "n_positions": 8192,
        "vocab_size": 49152,
        "multi_query": True,
    }
    asked = request(header, context=1024, version="0.32.0")
    assert demand(asked, "h100-sxm").devices[0].weights.bytes > 0
    answer = ENGINE.demands(asked, site("h100-sxm", "h100-sxm"))
    assert isinstance(answer, Refusal)
    assert "every GPU would hold" in answer.detail
