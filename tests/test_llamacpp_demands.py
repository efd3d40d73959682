"""What llama.cpp takes on a site: seed cases, offload, splits, context, and broken facts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.engines.llamacpp.engine import ENGINE
from compiler.ir.demand import Demand, Part, Refusal, Request, Site
from compiler.ir.facts import HeaderValue, ModelFacts, Task, TensorGroup
from compiler.ir.inventory import GpuKind
from compiler.ir.spec import ArgValue, Offload
from compiler.ir.units import GIB, MIB
from tests.generators.gguf_shapes import SHAPES, facts

RTX_4090 = GpuKind(
    name="rtx-4090",
    memory_bytes=24564 * MIB,
    cuda_total_bytes=24080 * MIB,
    compute=(8, 9),
    multiprocessors=128,
)
RTX_3090 = GpuKind(
    name="rtx-3090",
    memory_bytes=24576 * MIB,
    cuda_total_bytes=24135 * MIB,
    compute=(8, 6),
    multiprocessors=82,
)
GTX_1650 = GpuKind(
    name="gtx-1650",
    memory_bytes=4096 * MIB,
    cuda_total_bytes=3910 * MIB,
    compute=(7, 5),
    multiprocessors=14,
)
NO_GPU = Site()


def site(*kinds: GpuKind, budget_bytes: int | None = None) -> Site:
    budgets = [kind.cuda_total_bytes if budget_bytes is None else budget_bytes for kind in kinds]
    return Site(kinds=kinds, budgets_bytes=tuple(budgets))


def request(  # noqa: PLR0913 - one a field
    model: ModelFacts | str,
    *,
    task: Task = "generate",
    context: int = 8192,
    concurrency: int = 1,
    kv_tokens: int | None = None,
    offload: Offload = "none",
    version: str = "b9000",
    **args: ArgValue,
) -> Request:
    return Request(
        engine="llama.cpp",
        version=version,
        facts=facts(model) if isinstance(model, str) else model,
        task=task,
        context=context,
        concurrency=concurrency,
        kv_tokens=kv_tokens,
        offload=offload,
        args=args,
    )


def demands(asked: Request, where: Site) -> tuple[Demand, ...]:
    found = ENGINE.demands(asked, where)
    assert not isinstance(found, Refusal), found
    return found


def fits(demand: Demand) -> bool:
    return all(
        device.high_bytes <= budget
        for device, budget in zip(demand.devices, demand.site.budgets_bytes, strict=True)
    )


@pytest.mark.parametrize("version", ["b4500", "b9000", "0.5.0-dev"])
@pytest.mark.parametrize("context", [1024, 4096, 8192])
def test_a_reranker_is_fully_on_a_small_card(context: int, version: str) -> None:
    asked = request("bge-reranker-v2-m3", task="rerank", context=context, version=version)
    (demand,) = demands(asked, site(GTX_1650, budget_bytes=3 * GIB))
    assert fits(demand)
    assert demand.host_layers == 0
    # Older builds gave an encoder a KV cache: 24 layers x 2 x 1,024 x f16 for each cell.
    kv_bytes = demand.devices[0].kv.bytes
    assert kv_bytes == (24 * 2 * 1024 * 2 * context if version == "b4500" else 0)


@pytest.mark.parametrize(
    ("before", "between", "after", "model", "offload"),
    [
        # Encoders lost their cache, windows got small caches, -ngl came to count the output layer.
        ("b5200", "b5250", "b5320", "bge-reranker-v2-m3", "none"),
        ("b5425", "b5430", "b5440", "gemma3-4b", "none"),
        ("b7390", "b7400", "b7430", "llama31-8b", 20),
        # Latent rows lost the V beside them.
        ("b7698", "b7750", "b7836", "deepseek-v2-lite", "none"),
    ],
)
def test_a_build_between_two_eras_takes_the_larger_of_both(
    before: str, between: str, after: str, model: str, offload: Offload
) -> None:
    task = facts(model).task

    def parts(version: str) -> list[tuple[int, int]]:
        asked = request(model, task=task, offload=offload, version=version)
        (demand,) = demands(asked, site(RTX_4090))
        sides = (demand.devices[0], demand.host)
        return [(side.weights.bytes, side.kv.bytes) for side in sides]

    older, newer = parts(before), parts(after)
    assert older != newer
    largest = [tuple(map(max, *each)) for each in zip(older, newer, strict=True)]
    assert parts(between) == largest


def test_a_latent_row_had_its_v_beside_it() -> None:
    def cache(version: str) -> Part:
        asked = request("deepseek-v2-lite", context=4096, version=version)
        return demands(asked, site(RTX_4090))[0].devices[0].kv

    older, newer = cache("b7698"), cache("b7836")
    assert older.bytes == 27 * (576 + 512) * 2 * 4096
    assert newer.bytes == 27 * 576 * 2 * 4096
    assert older.why == "27 layers x (576 + 512) x 4,096 cells x f16"
    assert newer.why == "27 layers x 576 x 4,096 cells x f16"


@pytest.mark.parametrize(
    ("version", "layers"), [("b9445", 46), ("b9665", 47), ("0.4.0", 47), ("0.5.0", 46)]
)
def test_a_layer_for_next_tokens_had_a_cache_for_a_while(version: str, layers: int) -> None:
    asked = request("glm45-air", context=4096, version=version, offload="auto")
    kv = demands(asked, site())[0].host.kv
    assert kv.bytes == 2 * layers * 8 * 128 * 2 * 4096
    assert kv.why == f"2 x {layers} layers x 8 heads x 128 x 4,096 cells x f16"


def test_the_sum_over_experts_keeps_what_it_reads_since_0_4_0() -> None:
    def compute(version: str) -> int:
        asked = request("qwen35-35b-a3b", context=32768, version=version)
        return demands(asked, site(RTX_4090))[0].devices[0].compute.bytes

    tokens, used, width = 512, 8, 2048
    assert compute("0.4.0") - compute("b10361") >= tokens * used * width * 4


def test_a_70b_model_is_cut_over_two_cards_without_exceeding_either() -> None:
    model = facts("llama31-70b", "q5_K")
    ladder = demands(request(model, offload="auto"), site(RTX_4090, RTX_4090))
    assert len(ladder) == 82
    assert not fits(ladder[0])
    first = next(demand for demand in ladder if fits(demand))
    assert first.split.gpu_layers == 77
    assert first.host_layers == 4


def test_a_smaller_quantization_fits_the_two_cards_whole() -> None:
    model = facts("llama31-70b", "q4_K")
    (demand,) = demands(request(model), site(RTX_4090, RTX_4090))
    assert fits(demand)


@pytest.mark.parametrize("model", ["llama31-8b", "qwen35-27b", "gemma3-4b", "falcon-h1"])
def test_fewer_layers_on_the_gpu_take_less_of_it(model: str) -> None:
    ladder = demands(request(model, offload="auto"), site(RTX_4090))
    counts = [demand.split.gpu_layers for demand in ladder]
    assert counts == list(range(len(ladder) - 1, -1, -1))
    held = [demand.devices[0].weights.bytes + demand.devices[0].kv.bytes for demand in ladder]
    assert held == sorted(held, reverse=True)
    on_host = [demand.host.weights.bytes + demand.host.kv.bytes for demand in ladder]
    assert on_host == sorted(on_host)
    assert [demand.host_layers for demand in ladder] == sorted(
        demand.host_layers for demand in ladder
    )


def test_an_exact_number_of_layers_is_one_demand() -> None:
    (demand,) = demands(request("llama31-8b", offload=20), site(RTX_4090))
    assert demand.split.gpu_layers == 20
    assert demand.host_layers == 13  # -ngl 20: 19 layers and the output.


def test_no_layer_on_the_gpu_takes_nothing_of_it() -> None:
    (demand,) = demands(request("llama31-8b", offload=0), site(RTX_4090))
    assert demand.devices[0].total_bytes == 0


@pytest.mark.parametrize("offload", ["none", 5])
def test_a_service_for_gpus_needs_one(offload: Offload) -> None:
    assert isinstance(ENGINE.demands(request("llama31-8b", offload=offload), NO_GPU), Refusal)


@pytest.mark.parametrize("offload", ["auto", "cpu", 0])
def test_a_host_without_gpu_serves(offload: Offload) -> None:
    (demand,) = demands(request("llama31-8b", offload=offload), NO_GPU)
    assert demand.devices == ()
    assert demand.host.weights.bytes > 4 * GIB


def test_a_cpu_service_stays_off_gpus() -> None:
    found = ENGINE.demands(request("llama31-8b", offload="cpu"), site(RTX_4090))
    assert isinstance(found, Refusal)


def test_the_larger_budget_gets_more_layers() -> None:
    where = Site(kinds=(RTX_3090, RTX_4090), budgets_bytes=(12 * GIB, 22 * GIB))
    (demand,) = demands(request("qwen3-32b"), where)
    assert demand.split.tensor_split[0] < demand.split.tensor_split[1]
    assert fits(demand)


@settings(max_examples=25)
@given(
    budgets=st.lists(st.integers(2, 40), min_size=2, max_size=4),
    model=st.sampled_from(["llama31-8b", "qwen3-32b", "gemma3-27b", "qwen35-35b-a3b"]),
    layers=st.integers(1, 30),
)
def test_a_split_deals_out_every_layer(budgets: list[int], model: str, layers: int) -> None:
    where = Site(
        kinds=(RTX_4090,) * len(budgets), budgets_bytes=tuple(gib * GIB for gib in budgets)
    )
    (demand,) = demands(request(model, offload=layers), where)
    assert sum(demand.split.tensor_split) == layers == demand.split.gpu_layers
    (single,) = demands(request(model, offload=layers), site(RTX_4090))
    weights = sum(device.weights.bytes for device in demand.devices)
    # A card more costs a copy of the rope factors and some padding, nothing else.
    assert 0 <= weights - single.devices[0].weights.bytes <= MIB
    assert sum(d.kv.bytes for d in demand.devices) == single.devices[0].kv.bytes


def test_slots_have_their_own_context_unless_the_pool_is_smaller() -> None:
    (own,) = demands(request("qwen3-8b", concurrency=4), site(RTX_4090))
    (pool,) = demands(request("qwen3-8b", concurrency=4, kv_tokens=12000), site(RTX_4090))
    assert own.kv_tokens == 4 * 8192
    assert pool.kv_tokens == 12032  # A multiple of 256.
    assert own.devices[0].kv.bytes * 12032 == pool.devices[0].kv.bytes * 4 * 8192


def test_an_older_server_cannot_share_a_pool() -> None:
    asked = request("qwen3-8b", concurrency=4, kv_tokens=12000, version="b6500")
    (demand,) = demands(asked, site(RTX_4090))
    assert demand.kv_tokens == 4 * 8192


def test_the_kv_part_says_how_it_was_found() -> None:
    (demand,) = demands(request("llama31-8b"), site(RTX_4090))
    why = demand.devices[0].kv.why
    assert why == "2 x 32 layers x 8 heads x 128 x 8,192 cells x f16"


def test_a_newer_build_has_a_wider_band_and_says_so() -> None:
    (known,) = demands(request("qwen35-27b", version="0.5.0-dev"), site(RTX_4090))
    (newer,) = demands(request("qwen35-27b", version="b99999"), site(RTX_4090))
    assert not known.assumed
    assert "newer" in newer.assumed[0]
    assert known.devices[0].compute.high_bytes < newer.devices[0].compute.high_bytes


def test_an_unknown_architecture_is_estimated_with_a_wide_band() -> None:
    model = facts("llama31-8b").model_copy(update={"architecture": "brand-new"})
    (demand,) = demands(request(model), site(RTX_4090))
    assert "brand-new" in demand.assumed[0]
    compute = demand.devices[0].compute
    assert compute.low_bytes < compute.bytes < compute.high_bytes


def test_one_quantized_side_of_the_cache_turns_flash_attention_off() -> None:
    (both,) = demands(request("qwen3-8b", cache_type_k="q8_0", cache_type_v="q8_0"), site(RTX_4090))
    (one,) = demands(request("qwen3-8b", cache_type_k="q8_0"), site(RTX_4090))
    assert both.devices[0].compute.bytes < one.devices[0].compute.bytes
    refused = ENGINE.demands(request("qwen3-8b", cache_type_v="q8_0"), site(RTX_4090))
    assert isinstance(refused, Refusal)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_shape_gives_demands_on_every_kind_of_site(name: str) -> None:
    model = facts(name)
    for where in (NO_GPU, site(RTX_4090), site(RTX_4090, RTX_3090)):
        offload: Offload = "none" if where.kinds else "cpu"
        for version in ("b5500", "b9700", "b12000"):
            asked = request(model, task=model.task, context=512, offload=offload, version=version)
            (demand,) = demands(asked, where)
            for breakdown in (*demand.devices, demand.host):
                assert breakdown.low_bytes <= breakdown.total_bytes <= breakdown.high_bytes


HOSTILE: dict[str, HeaderValue] = {
    "block_count": 1 << 30,
    "embedding_length": 0,
    "attention.head_count": 1 << 30,
    "attention.head_count_kv": -1,
    "attention.key_length": 1 << 30,
    "expert_count": 1 << 30,
    "nextn_predict_layers": 99,
    "ssm.inner_size": "many",
}


@pytest.mark.parametrize("key", sorted(HOSTILE))
def test_absurd_header_values_are_refused(key: str) -> None:
    model = facts("qwen35-4b")
    broken = model.model_copy(update={"header": {**model.header, key: HOSTILE[key]}})
    found = ENGINE.demands(request(broken), site(RTX_4090))
    assert isinstance(found, Refusal)
    assert found.code == "facts"


@pytest.mark.parametrize(
    "key",
    ["attention.head_count", "attention.head_count_kv", "expert_used_count", "ssm.state_size"],
)
@pytest.mark.parametrize("value", [0, 1, 3, 1 << 19])
def test_odd_header_values_do_no_harm(key: str, value: int) -> None:
    for name in ("llama31-8b", "qwen3-30b-a3b", "qwen35-4b", "mamba2-2.7b"):
        model = facts(name)
        odd = model.model_copy(update={"header": {**model.header, key: value}})
        ENGINE.demands(request(odd), site(RTX_4090))


@settings(max_examples=15)
@given(data=st.data(), name=st.sampled_from(sorted(SHAPES)))
def test_no_header_makes_the_law_fail(data: st.DataObject, name: str) -> None:
    model = facts(name)
    key = data.draw(st.sampled_from(sorted(model.header)))
    number = st.one_of(st.integers(-2, 300), st.sampled_from([1 << 16, 1 << 31, 1 << 60]))
    value = data.draw(st.one_of(number, st.lists(number, max_size=4), st.floats(), st.text()))
    odd = model.model_copy(update={"header": {**model.header, key: value}})
    for where in (NO_GPU, site(RTX_4090, RTX_3090)):
        ENGINE.demands(request(odd, context=512, offload="auto", task=model.task), where)


def test_a_bomb_of_tensors_is_refused() -> None:
    model = facts("llama31-8b")
    bomb = TensorGroup(
        name="blk.*.x.*", index=["0-999999", "0-999999"], dtype="f32", shape=[1], bytes=4
    )
    broken = model.model_copy(update={"tensors": [*model.tensors, bomb]})
    assert isinstance(ENGINE.demands(request(broken), site(RTX_4090)), Refusal)


@pytest.mark.parametrize("missing", ["blk.*.ffn_up.weight", "blk.*.attn_output.weight"])
def test_a_missing_tensor_falls_back_to_the_formula(missing: str) -> None:
    model = facts("llama31-8b")
    kept = [group for group in model.tensors if group.name != missing]
    broken = model.model_copy(update={"tensors": kept})
    (demand,) = demands(request(broken), site(RTX_4090))
    assert "35 %" in demand.devices[0].compute.why
