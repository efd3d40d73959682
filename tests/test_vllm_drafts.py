"""Speculative decoding with a second model: its weights, its cache, its place in a command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.engines.vllm.engine import ENGINE
from compiler.ir.demand import Located, Request
from compiler.ir.facts import HeaderValue, TensorGroup
from compiler.ir.spec import ArgValue
from tests.vllm_cases import config, demand, endpoint, facts, flag, refusal, request

EAGLE_3: dict[str, HeaderValue] = {
    "architectures": ["LlamaForCausalLMEagle3"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 1,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "draft_vocab_size": 32000,
    "max_position_embeddings": 40960,
    "torch_dtype": "bfloat16",
}
MEDUSA: dict[str, HeaderValue] = {
    "architectures": ["MedusaModel"],
    "model_type": "medusa",
    "hidden_size": 4096,
    "num_heads": 3,
    "num_hidden_layers": 1,
    "vocab_size": 151936,
}


def drafted(
    draft: str | dict[str, HeaderValue],
    said: dict[str, ArgValue] | None = None,
    *,
    model: str = "Qwen3-8B",
    version: str = "0.33.0",
    **args: ArgValue,
) -> Request:
    header = config(draft) if isinstance(draft, str) else draft
    wanted: dict[str, ArgValue] = {
        "model": "org/draft",
        "num_speculative_tokens": 4,
        **(said or {}),
    }
    plain = request(model, version=version, args={"speculative_config": wanted, **args})
    return replace(plain, companions={"speculative_config": (facts(header),)})


def test_a_draft_model_is_weighed_and_cached_beside_the_model() -> None:
    wanted = drafted("Qwen3-0.6B")
    assert ENGINE.check_request(wanted) == []
    plain, found = demand(request("Qwen3-8B"), "l40s"), demand(wanted, "l40s")
    alone = demand(request("Qwen3-0.6B"), "l40s").devices[0]
    more = found.devices[0].weights.bytes - plain.devices[0].weights.bytes
    assert more == alone.weights.bytes
    # One pool: a block holds the tokens of both models.
    both = plain.devices[0].kv.bytes + alone.kv.bytes
    assert found.devices[0].kv.bytes == both
    assert "draft model" in found.devices[0].weights.why
    assert found.devices[0].graphs.bytes > plain.devices[0].graphs.bytes


def test_drafted_tokens_are_verified_all_at_once() -> None:
    few = drafted("Qwen3-0.6B", {"num_speculative_tokens": 1})
    many = drafted("Qwen3-0.6B", {"num_speculative_tokens": 15})
    sizes = [
        demand(replace(wanted, concurrency=256), "h200-sxm").devices[0].compute.bytes
        for wanted in (few, many)
    ]
    assert sizes[0] < sizes[1]


def test_eagle_takes_the_embedding_of_the_model() -> None:
    wanted = drafted(EAGLE_3, {"method": "eagle3"})
    assert ENGINE.check_request(wanted) == []
    more = _more(wanted)
    layer = (32 + 2 * 8) * 128 * 2 * 4096 + 32 * 128 * 4096 + 3 * 12288 * 4096
    # Beside its layer a projection of three hidden states, and 32,000 tokens of output.
    numbers = layer + 3 * 4096 * 4096 + 32000 * 4096
    assert more == pytest.approx(2 * numbers, rel=0.02)


def test_eagle_by_its_tensors() -> None:
    tensors = [
        TensorGroup(name="embed_tokens.weight", dtype="BF16", shape=[151936, 4096],
                    bytes=151936 * 4096 * 2),
        TensorGroup(name="fc.weight", dtype="BF16", shape=[4096, 8192], bytes=4096 * 8192 * 2),
        TensorGroup(name="lm_head.weight", dtype="BF16", shape=[151936, 4096],
                    bytes=151936 * 4096 * 2),
    ]  # fmt: skip
    header: dict[str, HeaderValue] = {
        **EAGLE_3,
        "architectures": ["EagleLlamaForCausalLM"],
        "tie_word_embeddings": False,
    }
    own = facts(header).model_copy(update={"tensors": tensors, "format": "safetensors"})
    wanted = replace(
        drafted(header, {"method": "eagle"}), companions={"speculative_config": (own,)}
    )
    rotary = 40960 * 128 * 2
    assert _more(wanted) == pytest.approx(4096 * 8192 * 2 + rotary, abs=4 << 20)


def test_medusa_has_heads_and_no_cache() -> None:
    wanted = drafted(MEDUSA, {"method": "medusa"}, version="0.32.0")
    assert ENGINE.check_request(wanted) == []
    (problem,) = ENGINE.check_request(replace(wanted, version="0.33.0"))
    assert "no longer drafts with Medusa heads" in problem.detail
    assert _more(wanted) == pytest.approx(3 * (4096 * 4096 + 151936 * 4096) * 2, rel=0.01)
    kv = demand(request("Qwen3-8B", version="0.32.0"), "h200-sxm").devices[0].kv
    assert demand(wanted, "h200-sxm").devices[0].kv == kv


def test_a_draft_is_cut_like_the_model() -> None:
    one, two = demand(drafted("Qwen3-0.6B"), "l40s"), demand(drafted("Qwen3-0.6B"), *["l40s"] * 2)
    assert two.devices[0].weights.bytes < 0.51 * one.devices[0].weights.bytes
    whole = drafted(EAGLE_3, {"method": "eagle3", "draft_tensor_parallel_size": 1})
    cut = drafted(EAGLE_3, {"method": "eagle3"})
    sizes = [demand(wanted, *["l40s"] * 2).devices[0].weights.bytes for wanted in (whole, cut)]
    assert sizes[0] > sizes[1] + (100 << 20)


def test_a_whole_draft_is_not_kept_on_one_rank() -> None:
    wanted = drafted("Qwen3-0.6B", {"draft_tensor_parallel_size": 1})
    assert refusal(wanted, "l40s", "l40s").code == "ranks"
    assert len(demand(wanted, "l40s").devices) == 1


def test_a_draft_stands_on_the_last_stage() -> None:
    wanted = drafted("Qwen3-0.6B", pipeline_parallel_size=2)
    first, last = demand(wanted, "l40s", "l40s").devices
    assert last.weights.bytes > first.weights.bytes + (1 << 30)
    assert last.kv.bytes > first.kv.bytes


@pytest.mark.parametrize(
    ("name", "header"),
    [("yuhuili/EAGLE-Qwen3-8B", EAGLE_3), ("org/qwen3-8b-EAGLE3", EAGLE_3), ("org/heads", MEDUSA)],
)
def test_a_method_that_is_not_said_is_told_as_vllm_tells_it(
    name: str, header: dict[str, HeaderValue]
) -> None:
    told = demand(drafted(header, {"model": name}), "h200-sxm")
    whole = demand(drafted("Qwen3-0.6B"), "h200-sxm")
    assert told.devices[0].weights.bytes != whole.devices[0].weights.bytes
    assert ENGINE.check_request(drafted(header, {"model": name}, version="0.32.0")) == []


PROBLEMS = [
    (drafted("Qwen3-0.6B", version="0.13.0"), "0.15.0"),
    (drafted("Llama-3.1-8B"), "128,256 tokens"),
    (drafted({"architectures": ["LlamaForCausalLM"]}), "`hidden_size`"),
    (replace(drafted("Qwen3-0.6B"), companions={}), "was not read"),
]


@pytest.mark.parametrize(("wanted", "words"), PROBLEMS)
def test_drafts_that_do_not_go_with_the_model(wanted: Request, words: str) -> None:
    (problem,) = ENGINE.check_request(wanted)
    assert (problem.code, problem.argument) == ("wrong-argument", "speculative_config")
    assert words in problem.detail


def test_the_draft_is_named_by_where_it_lies() -> None:
    found = demand(drafted("Qwen3-0.6B"), "l40s")
    place = Located(path="org/draft", revision="abc123")
    where = replace(endpoint(found), companions={"speculative_config": (place,)})
    said = flag(ENGINE.launch(found, where).argv, "--speculative-config")
    assert said == '{"model":"org/draft","num_speculative_tokens":4,"revision":"abc123"}'


def test_companions_are_the_models_that_arguments_name() -> None:
    args: dict[str, ArgValue] = {"speculative_config": {"model": "org/draft"}}
    assert ENGINE.companions(args) == {"speculative_config": ("org/draft",)}
    assert ENGINE.companions({"speculative_config": {"method": "ngram"}}) == {}


def _more(wanted: Request) -> int:
    """Weights that the draft adds."""
    plain = demand(request("Qwen3-8B", version=wanted.version), "h200-sxm").devices[0].weights.bytes
    return demand(wanted, "h200-sxm").devices[0].weights.bytes - plain
