"""Models that draft with their own layers for next tokens: libllama's sizes, to the byte."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from compiler.engines.llamacpp.engine import ENGINE
from compiler.engines.llamacpp.flags.builds import STUDIED_BUILD, Build
from compiler.engines.llamacpp.memory.law import usage
from compiler.engines.llamacpp.memory.next_tokens import next_usage
from compiler.engines.llamacpp.model.shape import read_shape
from compiler.ir.catalog import builtin_kinds
from compiler.ir.demand import Demand, Endpoint, Request, Site
from compiler.ir.facts import ModelFacts
from compiler.ir.spec import ArgValue
from compiler.ir.units import MIB
from compiler.resolve.gguf import read_gguf
from compiler.resolve.gguf_facts import gguf_facts
from compiler.resolve.ranges import LocalFile
from tests.generators import gguf_truth
from tests.oracle import next_tokens

TRUTH = Path(__file__).parent / "truth" / "llamacpp_next_tokens.yaml"
BUILD = Build(number=STUDIED_BUILD, text=f"b{STUDIED_BUILD}")
ROWS: list[dict[str, Any]] = YAML(typ="safe").load(TRUTH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("next")


@cache
def facts_of(model: str, folder: Path) -> ModelFacts:
    path = folder / f"{model}.gguf"
    next_tokens.write(model, path)
    return gguf_facts([read_gguf(LocalFile(path, path.name))])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['flags']}")
def test_both_contexts_are_exact(row: dict[str, Any], folder: Path) -> None:
    shape = read_shape(facts_of(row["model"], folder))
    options = next_tokens.options_of(shape, row["flags"])
    own, second = usage(shape, options, BUILD), next_usage(shape, options, BUILD)
    assert second is not None
    devices = range(options.gpus + 1)
    found = [[own.weights[n], own.cache.total(n), own.compute[n]] for n in devices]
    assert found == row["own"]
    # libllama's own count leaves out the output buffer: a row of logits and of hidden state a slot.
    output = options.slots * 4 * (shape.vocabulary + shape.width)
    compute = [*second.compute[:-1], second.compute[-1] - output]
    assert [[second.kv[n], compute[n]] for n in devices] == row["next"]
    assert second.compute_low == second.compute == second.compute_high


@pytest.mark.parametrize(
    ("context", "mib"),
    [(8192, 552.06), (32768, 648.06)],
)
def test_what_logs_print(context: int, mib: float) -> None:
    """Qwen3.6-27B with a ubatch of 2,048 on an RTX 3090: the second context in all."""
    facts, args = gguf_truth.facts("qwen3.6-27b-mtp"), {"ubatch_size": 2048}
    demand, plain = (asked(facts, context, args, speculates=each) for each in (True, False))
    kv = 2 * 4 * 256 * context * 2
    compute = demand.devices[0].compute.bytes - plain.devices[0].compute.bytes
    assert (kv + compute) / MIB == pytest.approx(mib, abs=0.01)


def asked(
    facts: ModelFacts, context: int, args: dict[str, Any], *, speculates: bool = True
) -> Demand:
    return demands(facts, context, args | ({"spec_type": "draft-mtp"} if speculates else {}))


def demands(facts: ModelFacts, context: int, args: dict[str, Any]) -> Demand:
    request = Request(
        engine="llama.cpp", version="11390", facts=facts, task="generate", context=context,
        concurrency=1, args=args,
    )  # fmt: skip
    assert ENGINE.check_request(request) == []
    kind = builtin_kinds()["rtx-3090"]
    answer = ENGINE.demands(request, Site(kinds=(kind,), budgets_bytes=(kind.cuda_total_bytes,)))
    assert isinstance(answer, tuple)
    return answer[0]


def test_it_costs_weights_states_and_a_second_cache() -> None:
    facts = gguf_truth.facts("qwen3.6-27b-mtp")
    plain, drafting = asked(facts, 8192, {}, speculates=False), asked(facts, 8192, {})
    first, second = plain.devices[0], drafting.devices[0]
    assert second.weights.bytes > first.weights.bytes + 200 * MIB
    # Three states to return to beside each slot's own, and the cache of one layer.
    states = 48 * (6144 * 128 + 3 * (6144 + 2 * 16 * 128)) * 4
    assert second.kv.bytes - first.kv.bytes == 3 * states + 2 * 4 * 256 * 8192 * 2
    assert "for next tokens" in second.weights.why
    assert "x 4 to return to" in second.kv.why


def test_the_flags_emitted_are_the_flags_costed() -> None:
    args = {"spec_draft_n_max": 2, "cache_type_k_draft": "q8_0", "cache_type_v_draft": "q8_0"}
    demand = asked(gguf_truth.facts("qwen3.6-27b-mtp"), 8192, args)
    launch = ENGINE.launch(
        demand,
        Endpoint(
            bin="llama-server", model_path="/m.gguf", revision=None, served_name="m",
            listen="127.0.0.1", port=8000, shares_bytes=(demand.devices[0].high_bytes,),
        ),
    )  # fmt: skip
    words = " ".join(launch.argv)
    assert "--spec-type draft-mtp --spec-draft-n-max 2" in words
    assert "--cache-type-k-draft q8_0 --cache-type-v-draft q8_0" in words


def test_a_family_that_is_not_rebuilt_has_a_wide_band() -> None:
    demand = asked(gguf_truth.facts("glm-5.2"), 8192, {})
    assert any("layers for next tokens" in sentence for sentence in demand.assumed)


def problems(facts: ModelFacts, version: str = "11390", **args: ArgValue) -> list[str]:
    request = Request(
        engine="llama.cpp", version=version, facts=facts, task="generate", context=4096,
        concurrency=1, args=args,
    )  # fmt: skip
    return [each.detail for each in ENGINE.check_request(request)]


def test_what_cannot_draft_itself_is_refused() -> None:
    without = gguf_truth.facts("step-3.7-flash")
    assert "no layers for next tokens" in problems(without, spec_type="draft-mtp")[0]
    mtp = gguf_truth.facts("qwen3.6-27b-mtp")
    assert "it came with b9842" in problems(mtp, "9000", spec_type="draft-mtp")[0]
    assert "runs a graph of its own" in problems(mtp, spec_type="draft-eagle3")[0]
    assert "says nothing without" in problems(mtp, cache_type_k_draft="q8_0")[0]
