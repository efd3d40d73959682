"""KV pools of hybrids, pipeline stages and draft models against vLLM's own planner."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from compiler.engines.vllm.launch.decide import options_of, request_shape
from compiler.engines.vllm.memory.caches import layer_caches
from compiler.engines.vllm.memory.kv import layout_of, request_blocks
from compiler.ir.demand import Request
from compiler.ir.facts import HeaderValue
from compiler.ir.spec import ArgValue
from tests.test_vllm_drafts import EAGLE_3, drafted
from tests.test_vllm_hybrids import KIMI, MODELS
from tests.truth.vllm import TRUTH
from tests.vllm_cases import GEMMA_3, KINDS, request

TWO: dict[str, ArgValue] = {"pipeline_parallel_size": 2}
THREE: dict[str, ArgValue] = {"pipeline_parallel_size": 3}
# As wide as gpt-oss-20b, whose layers have heads of 64; drafts with heads of 64 and of 128.
SMALL_EAGLE: dict[str, HeaderValue] = {**EAGLE_3, "hidden_size": 2880, "head_dim": 64}
LARGE_EAGLE: dict[str, HeaderValue] = {**EAGLE_3, "hidden_size": 2880}
CASES: dict[str, Request] = {
    "falcon-h1": request(MODELS["falcon_h1"]["config"]),
    "gemma-3 in two stages": request(GEMMA_3, args=TWO),
    "gpt-oss in two stages": request("gpt-oss-20b", args=TWO),
    "gpt-oss with a draft of larger heads": drafted(
        LARGE_EAGLE, {"method": "eagle3"}, model="gpt-oss-20b"
    ),
    "gpt-oss with a draft of the same heads": drafted(
        SMALL_EAGLE, {"method": "eagle3"}, model="gpt-oss-20b"
    ),
    "jamba in two stages": request(MODELS["jamba"]["config"], args=TWO),
    "kimi linear in two stages": request(KIMI, args=TWO),
    "nemotron-h": request(MODELS["nemotron"]["config"]),
    "qwen3 in three stages": request("Qwen3-8B", args=THREE),
    "qwen3 with a draft model": drafted("Qwen3-0.6B"),
    "qwen3-next in three stages": request("Qwen3-Next-80B-A3B", args=THREE),
}
PLANS: dict[str, Any] = json.loads((TRUTH / "vllm_pools.json").read_text(encoding="utf-8"))["cases"]


def case_of(wanted: Request) -> dict[str, Any]:
    """What vLLM's planner is asked: the caches of all layers, and the sizes of the launch."""
    asked = replace(wanted, version="0.32.0")
    shape, stages = request_shape(asked), int(str(asked.args.get("pipeline_parallel_size", 1)))
    options = options_of(asked, shape, KINDS["h200-sxm"], stages)
    layout = layout_of(shape, options)
    return {
        "context": options.context,
        "batched_tokens": options.batched_tokens,
        "sequences": options.sequences,
        "stages": stages,
        "block": layout.block_size,
        "states": max((g.states for g in layout.groups if g.kind == "state"), default=0),
        "layers": [
            [cache.kind, cache.size_bytes, cache.window, cache.stage]
            for cache in layer_caches(shape, options)
        ],
    }


@pytest.mark.parametrize("name", sorted(CASES))
def test_pools_are_planned_as_vllm_plans_them(name: str) -> None:
    """benchmarks/vllm_pools.py gave these caches to vLLM's planner, with 40 GiB on each GPU."""
    asked, planned = case_of(CASES[name]), PLANS[name]["planned"]
    assert {key: PLANS[name][key] for key in asked} == asked
    wanted = replace(CASES[name], version="0.32.0")
    shape = request_shape(wanted)
    options = options_of(wanted, shape, KINDS["h200-sxm"], asked["stages"])
    layouts = [layout_of(shape, replace(options, stage=stage)) for stage in range(asked["stages"])]
    assert [layout.block_bytes for layout in layouts] == planned["block_bytes"]
    assert len(layouts[0].groups) == planned["groups"]
    assert request_blocks(layouts[0], options) == planned["request_blocks"]
    assert min((40 << 30) // layout.block_bytes for layout in layouts) == planned["blocks"]
