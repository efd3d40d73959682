"""Experts in RAM: a mixture keeps attention, cache and dense parts on its GPUs where it can."""

from __future__ import annotations

import pytest

from compiler.engines.llamacpp.engine import ENGINE
from compiler.ir.catalog import builtin_kinds
from compiler.ir.demand import Demand, Endpoint, Site
from tests.generators.gguf_shapes import facts
from tests.test_llamacpp_demands import demands, fits, request

KINDS = builtin_kinds()


def site(*names: str) -> Site:
    kinds = tuple(KINDS[name] for name in names)
    return Site(kinds=kinds, budgets_bytes=tuple(kind.cuda_total_bytes for kind in kinds))


def first_fit(ladder: tuple[Demand, ...]) -> Demand:
    return next(demand for demand in ladder if fits(demand))


@pytest.mark.parametrize(
    ("model", "kinds", "context"),
    [
        ("qwen3-30b-a3b", ("rtx-3060",), 32768),
        ("qwen35-35b-a3b", ("rtx-4070",), 65536),
        ("glm45-air", ("rtx-3090", "rtx-4080"), 16384),
        ("qwen3-next-80b", ("rtx-3060", "rtx-3090"), 8192),
    ],
)
def test_the_fewest_experts_that_fit_go_to_ram(
    model: str, kinds: tuple[str, ...], context: int
) -> None:
    found = first_fit(demands(request(model, context=context, offload="auto"), site(*kinds)))
    assert found.host_layers == 0
    assert found.split.gpu_layers == facts(model).layers + 1
    count = found.split.expert_layers
    assert count
    assert 0 < found.host_experts <= count
    assert len(found.split.tensor_split) == (len(kinds) if len(kinds) > 1 else 0)
    # One layer's experts more on the GPUs do not fit, whatever the split.
    asked = request(model, context=context, n_cpu_moe=count - 1)
    assert not any(fits(demand) for demand in demands(asked, site(*kinds)))
    # What was found by the ladder is what the flag itself costs.
    (by_hand,) = demands(request(model, context=context, n_cpu_moe=count), site(*kinds))
    assert [each.high_bytes for each in by_hand.devices] == [
        each.high_bytes for each in found.devices
    ]


def test_whole_layers_go_when_experts_are_not_enough() -> None:
    ladder = demands(request("qwen3-30b-a3b", context=131072, offload="auto"), site("rtx-3050"))
    found = first_fit(ladder)
    assert found.host_layers > 0
    assert found.split.expert_layers == 48
    # Of the layers that stay, all experts are in RAM.
    assert found.host_layers + found.host_experts == 48


def test_experts_cost_less_than_whole_layers() -> None:
    ladder = demands(request("qwen3-30b-a3b", context=8192, offload="auto"), site("rtx-3060"))
    costs = [demand.host_permille for demand in ladder]
    assert costs == sorted(costs)
    assert costs[0] == 0
    experts = [demand for demand in ladder if demand.host_experts and not demand.host_layers]
    layers = [demand for demand in ladder if demand.host_layers]
    assert max(each.host_permille for each in experts) < min(each.host_permille for each in layers)
    # Half of the layers without their experts cost less than half of all layers.
    half = min(experts, key=lambda each: abs(each.host_experts - 24))
    assert half.host_permille < 400


def test_the_command_says_which_experts_stay() -> None:
    asked = request("qwen3-30b-a3b", context=8192, offload="auto")
    found = first_fit(demands(asked, site("rtx-3060")))
    endpoint = Endpoint(
        bin="llama-server",
        model_path="/models/m.gguf",
        revision=None,
        served_name="chat",
        listen="127.0.0.1",
        port=8000,
        shares_bytes=tuple(each.high_bytes for each in found.devices),
    )
    argv = ENGINE.launch(found, endpoint).argv
    assert argv[argv.index("--n-cpu-moe") + 1] == str(found.split.expert_layers)
    assert argv[argv.index("--n-gpu-layers") + 1] == "49"


def test_leading_dense_layers_are_no_step() -> None:
    # The first layer of GLM 4.5 Air has no experts, and its last is not loaded.
    ladder = demands(request("glm45-air", offload="auto"), site("rtx-4070"))
    steps = [d.split.expert_layers for d in ladder if d.host_experts and not d.host_layers]
    assert all(step is not None and step >= 2 for step in steps)
    assert max(step or 0 for step in steps) == 46


def test_a_number_that_is_given_stays() -> None:
    asked = request("qwen3-30b-a3b", context=8192, offload="auto", n_cpu_moe=10)
    ladder = demands(asked, site("rtx-3060"))
    assert {demand.split.expert_layers for demand in ladder} == {None}
    assert ladder[0].host_experts == 10
    assert ladder[0].host_permille == 0  # It was asked for.
    assert first_fit(ladder).host_layers > 0


def test_builds_without_the_flag_leave_whole_layers_in_ram() -> None:
    asked = request("qwen3-30b-a3b", offload="auto", version="b6089")
    ladder = demands(asked, site("rtx-3060"))
    assert not any(demand.host_experts for demand in ladder)
    assert first_fit(ladder).host_layers > 0


def test_a_dense_model_has_no_such_step() -> None:
    ladder = demands(request("qwen3-32b", offload="auto"), site("rtx-4080"))
    assert not any(demand.host_experts for demand in ladder)
