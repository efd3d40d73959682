"""Pipeline stages and data parallel engines: layers, caches and processes of each GPU."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.engines.vllm.engine import ENGINE
from compiler.engines.vllm.launch.decide import options_of
from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.headers import weights_from_tensors
from compiler.engines.vllm.memory.kv import layout_of
from compiler.engines.vllm.memory.stages import stage_sizes
from compiler.engines.vllm.model.config import shape_of
from compiler.ir.facts import TensorGroup
from compiler.ir.spec import ArgValue
from tests.vllm_cases import (
    GEMMA_3,
    KINDS,
    config,
    demand,
    endpoint,
    facts,
    flag,
    refusal,
    request,
    site,
)

PIPELINE: dict[str, ArgValue] = {"pipeline_parallel_size": 2}
DATA: dict[str, ArgValue] = {"data_parallel_size": 2}

# Layers, stages, and the cut that vLLM's get_pp_indices makes of them.
CUTS = [
    (36, 2, (18, 18)),
    (61, 2, (31, 30)),
    (61, 4, (15, 15, 16, 15)),
    (27, 4, (7, 7, 7, 6)),
    (80, 3, (27, 27, 26)),
    (47, 8, (6, 6, 6, 6, 6, 6, 6, 5)),
]


@pytest.mark.parametrize(("layers", "stages", "sizes"), CUTS)
def test_layers_are_dealt_out_as_vllm_does(
    layers: int, stages: int, sizes: tuple[int, ...]
) -> None:
    assert stage_sizes(layers, stages) == sizes


@given(layers=st.integers(1, 200), stages=st.integers(1, 16))
def test_no_layer_is_lost_between_stages(layers: int, stages: int) -> None:
    sizes = stage_sizes(layers, stages)
    assert sum(sizes) == layers
    assert max(sizes) - min(sizes) <= 1
    assert sizes[-1] == min(sizes)


def test_stages_hold_the_weights_of_the_model_once() -> None:
    whole = demand(request("Qwen3-8B"), "l40s").devices[0]
    stages = demand(request("Qwen3-8B", args=PIPELINE), "l40s", "l40s").devices
    together = sum(stage.weights.bytes for stage in stages)
    # Both stages have the rotary cache; all else is cut.
    assert 0 <= together - whole.weights.bytes < 32 << 20


def test_a_tied_embedding_stands_on_both_ends() -> None:
    config_tied = {**config("Qwen3-8B"), "tie_word_embeddings": True}
    table = 151936 * 4096 * 2
    whole = demand(request(config_tied), "l40s").devices[0].weights.bytes
    stages = demand(request(config_tied, args=PIPELINE), "l40s", "l40s").devices
    together = sum(stage.weights.bytes for stage in stages)
    assert table <= together - whole < table + (32 << 20)


def test_only_the_last_stage_samples() -> None:
    wanted = request("Qwen3-8B", concurrency=256, args=PIPELINE)
    first, last = demand(wanted, "l40s", "l40s").devices
    assert last.compute.bytes > first.compute.bytes + 256 * 151936 * 4


def test_every_stage_has_the_same_blocks_of_its_own_layers() -> None:
    wanted = request("DeepSeek-R1", args=PIPELINE)
    found = demand(wanted, *["h200-sxm"] * 16, linked=True)
    sizes = [device.kv.bytes for device in found.devices]
    assert sizes == [sizes[0]] * 8 + [sizes[-1]] * 8
    # 31 and 30 layers.
    assert sizes[0] * 30 == sizes[-1] * 31
    argv = ENGINE.launch(found, endpoint(found)).argv
    assert flag(argv, "--kv-cache-memory-bytes") == str(max(sizes))
    assert flag(argv, "--pipeline-parallel-size") == "2"
    assert flag(argv, "--tensor-parallel-size") == "8"


def test_stages_grow_together() -> None:
    found = demand(request("DeepSeek-R1", args=PIPELINE), *["h200-sxm"] * 16, linked=True)
    assert found.growth is not None
    grown = ENGINE.grow(found, found.devices[0].kv.bytes + 10 * found.growth.step_bytes)
    steps = {
        device.kv.bytes // before.kv.bytes
        for device, before in zip(grown.devices, found.devices, strict=True)
    }
    assert len(steps) == 1
    assert grown.kv_tokens > found.kv_tokens
    full = ENGINE.grow(found, 1 << 60)
    assert max(device.kv.bytes for device in full.devices) == found.growth.max_kv_bytes


def test_groups_of_a_hybrid_are_made_over_all_stages() -> None:
    """26 layers, of which every sixth attends to everything: 4 full, 22 with a window."""
    shape = shape_of(GEMMA_3)

    def layout(stage: int, stages: int) -> tuple[int, int]:
        options = Options(
            version=(0, 33, 0),
            context=4096,
            sequences=8,
            batched_tokens=2048,
            pipeline_parallel=stages,
            stage=stage,
        )
        found = layout_of(shape, options)
        return len(found.groups), found.block_bytes

    groups, whole = layout(0, 1)
    page = whole // 4
    # Each group of 4 has 2 layers on either stage, by which its pages are counted.
    assert layout(0, 2) == (groups, 2 * page)
    assert layout(1, 2) == (groups, 2 * page)


def test_from_0_14_to_0_16_a_stage_must_have_room_for_all_layers() -> None:
    sizes = {
        version: demand(request("Qwen3-8B", version=version, args=PIPELINE), "l40s", "l40s")
        .devices[0]
        .kv.bytes
        for version in ("0.13.0", "0.15.1", "0.18.1")
    }
    assert sizes["0.13.0"] == sizes["0.18.1"]
    assert sizes["0.15.1"] == 2 * sizes["0.13.0"]


def test_engines_of_a_dense_model_are_replicas() -> None:
    alone = demand(request("Qwen3-8B", concurrency=8), "l40s")
    found = demand(request("Qwen3-8B", concurrency=16, args=DATA), "l40s", "l40s")
    assert found.devices == alone.devices * 2
    assert found.kv_tokens == 2 * alone.kv_tokens
    assert found.split.data_parallel == 2
    argv = ENGINE.launch(found, endpoint(found)).argv
    # Requests are dealt out: each engine has half of them in flight.
    assert flag(argv, "--max-num-seqs") == "8"
    assert flag(argv, "--data-parallel-size") == "2"


def test_guaranteed_tokens_are_shared_by_the_engines() -> None:
    wanted = request("Qwen3-8B", kv_tokens=65536, args=DATA)
    found = demand(wanted, "l40s", "l40s")
    assert found.kv_tokens >= 65536
    assert (
        found.devices[0].kv.bytes
        < demand(request("Qwen3-8B", kv_tokens=65536), "l40s").devices[0].kv.bytes
    )


def test_engines_share_the_experts_of_a_mixture() -> None:
    model = "Qwen3-235B-A22B-FP8"
    kinds = ["h200-sxm"] * 4
    tensor = demand(request(model, args={"enable_expert_parallel": True}), *kinds, linked=True)
    data: dict[str, ArgValue] = {"enable_expert_parallel": True, "data_parallel_size": 4}
    engines = demand(request(model, args=data), *kinds, linked=True)
    # The experts are cut over four GPUs both ways; attention only in the first.
    more = engines.devices[0].weights.bytes - tensor.devices[0].weights.bytes
    assert 0 < more < tensor.devices[0].weights.bytes // 4
    # Without expert parallelism each expert is cut over all of them instead.
    cut = demand(request(model, args={"data_parallel_size": 2}), *kinds[:2], linked=True)
    assert cut.devices[0].weights.bytes < 2.2 * engines.devices[0].weights.bytes


def test_tokens_of_all_engines_meet_at_the_experts() -> None:
    model = "gpt-oss-20b"
    alone = demand(request(model), "h200-sxm").devices[0].compute.bytes
    both = demand(request(model, concurrency=32, args=DATA), "h200-sxm", "h200-sxm")
    assert both.devices[0].compute.bytes > alone


def test_engines_have_processes_of_their_own() -> None:
    two = demand(request("Qwen3-8B", args=DATA), "l40s", "l40s")
    one = demand(request("Qwen3-8B"), "l40s")
    # Two engine cores with a worker inside, two API servers and a coordinator.
    assert two.host.runtime.bytes == 2 * one.host.runtime.bytes + (1 << 30)
    assert "coordinator" in two.host.runtime.why
    before = demand(request("Qwen3-8B", version="0.13.0", args=DATA), "l40s", "l40s")
    assert two.host.runtime.bytes - before.host.runtime.bytes == 1 << 30


def test_stages_within_engines() -> None:
    args: dict[str, ArgValue] = {**PIPELINE, **DATA}
    found = demand(request("Qwen3-8B", args=args), *["l40s"] * 8)
    assert found.split.tensor_parallel == 2
    first, last = found.devices[0], found.devices[2]
    assert "Stage 1 of 2" in first.weights.why
    assert found.devices == (first, first, last, last) * 2


REFUSED = [
    ("Qwen3-8B", {"pipeline_parallel_size": 2}, 3, "ranks"),
    ("Qwen3-8B", {"data_parallel_size": 4}, 2, "ranks"),
    ("Qwen3-8B", {"pipeline_parallel_size": 2}, 1, "ranks"),
    ("Qwen3-8B", {"data_parallel_size": 2}, 0, "ranks"),
    ("Qwen3-8B", {"pipeline_parallel_size": 40}, 40, "layers"),
    ("Qwen2.5-7B", {"data_parallel_size": 2}, 6, "heads-not-divisible"),
]


@pytest.mark.parametrize(("model", "args", "gpus", "code"), REFUSED)
def test_sites_that_make_no_such_stages(
    model: str, args: dict[str, ArgValue], gpus: int, code: str
) -> None:
    found = refusal(request(model, args=args), *["l40s"] * gpus)
    assert found.code == code
    assert found.detail.endswith(".")


def test_three_stages_stand_on_three_gpus() -> None:
    args: dict[str, ArgValue] = {"pipeline_parallel_size": 3}
    assert len(demand(request("Qwen2.5-7B", args=args), *["l40s"] * 3).devices) == 3
    assert ENGINE.gpus_per_shard(args) == 3
    assert ENGINE.gpus_per_shard({**args, "data_parallel_size": 2}) == 6
    assert ENGINE.gpus_per_shard({}) == 1


def test_encoders_are_copied_by_engines() -> None:
    wanted = request("bge-base-en-v1.5", context=512, task="embed", args=DATA)
    assert ENGINE.check_request(wanted) == []
    assert len(demand(wanted, "l40s", "l40s").devices) == 2


PROBLEMS = [
    ("bge-base-en-v1.5", "0.33.0", "embed"),
    ("Qwen3-8B", "0.10.1", "generate"),
]


@pytest.mark.parametrize(("model", "version", "task"), PROBLEMS)
def test_stages_that_the_model_or_version_cannot_make(model: str, version: str, task: str) -> None:
    wanted = request(model, context=512, version=version, task=task, args=PIPELINE)  # type: ignore[arg-type]
    (problem,) = ENGINE.check_request(wanted)
    assert (problem.code, problem.argument) == ("wrong-argument", "pipeline_parallel_size")


def test_tensors_stand_on_their_stage() -> None:
    shape = shape_of(config("Qwen3-8B"))
    header = facts(config("Qwen3-8B"))
    tensors = [
        TensorGroup(name="model.embed_tokens.weight", dtype="BF16", shape=[151936, 4096],
                    bytes=151936 * 4096 * 2),
        TensorGroup(name="model.layers.*.mlp.up_proj.weight", index=["0-35"], dtype="BF16",
                    shape=[12288, 4096], bytes=12288 * 4096 * 2),
        TensorGroup(name="model.norm.weight", dtype="BF16", shape=[4096], bytes=8192),
        TensorGroup(name="lm_head.weight", dtype="BF16", shape=[151936, 4096],
                    bytes=151936 * 4096 * 2),
    ]  # fmt: skip
    own = header.model_copy(update={"tensors": tensors, "format": "safetensors"})
    sizes = []
    for stage in range(3):
        options = Options(
            version=(0, 33, 0),
            context=4096,
            sequences=8,
            batched_tokens=2048,
            pipeline_parallel=3,
            stage=stage,
        )
        sizes.append(weights_from_tensors(own, shape, options, KINDS["l40s"]) or 0)
    table = 151936 * 4096 * 2
    assert sizes[0] - sizes[1] == pytest.approx(table, abs=2 << 20)
    assert sizes[2] - sizes[1] == pytest.approx(table, abs=2 << 20)


def test_the_command_carries_the_utilization_that_was_asked_for() -> None:
    for permille, shown in ((900, "0.9"), (873, "0.873"), (1000, "1")):
        found = ENGINE.at_utilization(demand(request("Qwen3-8B"), "l40s"), permille)
        argv = ENGINE.launch(found, endpoint(found)).argv
        assert flag(argv, "--gpu-memory-utilization") == shown
        assert "--kv-cache-memory-bytes" not in argv


def test_the_weakest_stage_decides_at_a_utilization() -> None:
    found = ENGINE.at_utilization(demand(request("Qwen3-8B", args=PIPELINE), "l40s", "l40s"), 900)
    first, last = found.devices
    # The last stage samples too, so that it has less room than the first.
    assert first.kv.bytes == last.kv.bytes
    assert first.total_bytes < last.total_bytes


def test_requests_in_flight_are_dealt_out_evenly() -> None:
    wanted = request("Qwen3-8B", concurrency=7, args={"data_parallel_size": 2})
    options = options_of(wanted, shape_of(config("Qwen3-8B")), KINDS["l40s"], 2)
    assert (options.sequences, options.tensor_parallel) == (4, 1)
    assert site("l40s", "l40s").kinds[0] == KINDS["l40s"]
