"""Laws of the simulation: what is abridged equals the whole, and time is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.engines.llamacpp.flags.builds import Era
from compiler.engines.llamacpp.ggml.steps import Arena
from compiler.engines.llamacpp.graphs.job import stack_for
from compiler.engines.llamacpp.graphs.stack import Stack
from compiler.engines.llamacpp.launch.options import Options
from compiler.engines.llamacpp.memory.compute import compute_bytes, simulate
from compiler.engines.llamacpp.memory.law import usage
from compiler.engines.llamacpp.model.shape import Shape, read_shape
from compiler.engines.llamacpp.placed.layers import lay_out
from tests.generators.gguf_shapes import SHAPES, facts
from tests.generators.published import locked
from tests.truth.llamacpp_accuracy import STUDIED, options_of

# Quantized by llama-quantize's mixes: some layers have larger types than others.
MIXED = (
    "unsloth/Qwen3-14B-GGUF:Q4_K_M",
    "unsloth/DeepSeek-R1-Distill-Llama-70B-GGUF:Q4_K_M",
)


def check_abridged(shape: Shape, options: Options) -> Stack:
    """The layers that were simulated, if all of them take the same."""
    layout = lay_out(shape, options)
    whole = compute_bytes(shape, options, layout, Era(), abridge=False)
    assert compute_bytes(shape, options, layout, Era()) == whole
    return stack_for(shape, options, layout)


FLAGS = [
    "ctx=8192 np=4 kvu=1 no=4",
    "ctx=32768 np=4 no=4 ctk=q8_0 ctv=q8_0",
    "ctx=8192 np=2 no=2 fa=off",
    "ctx=8192 no=1 ngl=20",
    "ctx=4096 no=1 np=2 ngl=11 ub=256",
    "ctx=4096 b=256 ub=256 no=0",
    "ctx=16384 no=1 cpu_moe=1",
    # Mamba 2 comes to the same state only after three layers.
    "ctx=9216 np=16 b=512 ub=32 no=16",
    # Attention is computed beside the next layer, and the mask freed there.
    "ctx=2048 np=8 ub=8 ngl=18 fa=off ctv=q8_0 no=4",
    # What all layers read is made beside the second.
    "ctx=4096 np=4 ub=32 fa=off kvu=1 kvo=0 ctk=q8_0 no=1",
]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    model=st.sampled_from(sorted(SHAPES)),
    flags=st.sampled_from(FLAGS),
    gpus=st.sampled_from([0, 1, 2, 3, 4]),
)
def test_an_abridged_graph_takes_what_the_whole_takes(model: str, flags: str, gpus: int) -> None:
    shape = read_shape(facts(model))
    check_abridged(shape, options_of(shape, flags, gpus))


@pytest.mark.parametrize(
    "model", ["gemma3-4b", "gemma4-e4b", "qwen35-4b", "jamba", "nemotron-h", "mamba2-2.7b"]
)
@pytest.mark.parametrize("flags", FLAGS[-3:])
def test_layers_of_several_kinds_are_abridged(model: str, flags: str) -> None:
    shape = read_shape(facts(model))
    check_abridged(shape, options_of(shape, flags, 1))


# Model, flags and GPUs: several of these, experts and layers on the host, windows, recurrent layers
# and shared caches.
PLACED = [
    # With pipeline parallelism the copy that a GPU begins with is read beside its second layer.
    ("llama31-8b", "ctx=8192 np=1 no=0", 2),
    ("gemma3-27b", "ctx=8192 np=1 no=0", 2),
    ("gpt-oss-20b", "ctx=8192 np=2 no=2", 3),
    ("qwen35-27b", "ctx=8192 np=4 kvu=1 no=4 ts=3,1,2,2", 4),
    ("lfm2-1.2b", "ctx=8192 np=1 no=0", 2),
    ("bge-m3", "ctx=8192 np=1 no=0", 2),
    # What the last layer reads is copied at the start of a split, beside the layer before it.
    ("deepseek-v3", "ctx=16384 np=4 kvu=1 no=4 cpu_moe=1", 1),
    ("deepseek-v3", "ctx=24576 np=8 no=8 b=512 ngl=41 fa=off cpu_moe=1", 4),
    ("qwen3-235b", "ctx=55396 np=4 no=4 ub=32 ngl=83 fa=off cpu_moe=1", 1),
    ("glm45-air", "ctx=16384 np=4 kvu=1 no=4 cpu_moe=1", 1),
    ("mixtral-8x7b", "ctx=4096 no=1 fa=off cpu_moe=1 oo=0 ctk=f32 ctv=f32", 2),
    ("qwen3-next-80b", "ctx=16384 np=4 kvu=1 no=4 n_cpu_moe=8 ub=2048", 1),
    ("jamba", "ctx=8192 np=2 no=2 ngl=17", 1),
    ("nemotron-h", "ctx=8192 np=2 no=2 ngl=30", 2),
    ("gemma3-4b", "ctx=16384 np=4 no=4 ngl=20", 1),
    ("gemma3n-e4b", "ctx=8192 np=2 no=2", 1),
    ("gemma4-e4b", "ctx=8192 np=2 no=2", 1),
]


@pytest.mark.parametrize(("model", "flags", "gpus"), PLACED)
def test_layers_in_other_places_are_abridged(model: str, flags: str, gpus: int) -> None:
    shape = read_shape(facts(model))
    options = options_of(shape, flags, gpus)
    layout = lay_out(shape, options)
    simulate.cache_clear()
    found = compute_bytes(shape, options, layout, Era())
    # A prompt and a decode step, and neither was simulated whole.
    assert simulate.cache_info().misses <= 2
    assert found == compute_bytes(shape, options, layout, Era(), abridge=False)


@pytest.mark.parametrize(("model", "flags"), [("gemma3n-e4b", "ngl=10"), ("gemma4-e4b", "ngl=12")])
def test_a_cache_shared_with_another_device_needs_the_whole_graph(model: str, flags: str) -> None:
    shape = read_shape(facts(model))
    stack = check_abridged(shape, options_of(shape, f"ctx=8192 np=2 no=2 {flags}", 1))
    assert any(block.cache_device not in (-1, block.device) for block in stack.blocks)
    assert stack.abridged == stack.blocks


@pytest.mark.parametrize("flags", ["ctx=8192 no=1", "ctx=4096 np=2 no=2 ub=128 fa=off"])
@pytest.mark.parametrize("source", MIXED)
def test_layers_of_mixed_types_are_simulated_as_one_kind(source: str, flags: str) -> None:
    shape = read_shape(locked(source).facts)
    for gpu_layers in (2, 9, 20, 31):
        stack = check_abridged(shape, options_of(shape, f"{flags} ngl={gpu_layers}", 1))
        assert len(set(stack.blocks)) > len(set(stack.abridged))
        assert len(stack.abridged) <= 6


@pytest.mark.parametrize("source", MIXED)
def test_a_ladder_takes_few_simulations(source: str) -> None:
    shape = read_shape(locked(source).facts)
    before = simulate.cache_info().misses
    for gpu_layers in range(shape.layers_in_file + 2):
        options = options_of(shape, f"ctx=8192 no=1 ngl={gpu_layers}", 1)
        usage(shape, options, STUDIED)
    assert simulate.cache_info().misses - before <= 12


def test_a_stack_keeps_a_layer_in_every_place() -> None:
    shape = read_shape(facts("llama31-70b"))
    options = options_of(shape, "ctx=8192 ngl=40", 1)
    stack = stack_for(shape, options, lay_out(shape, options))
    assert [block.device for block in stack.blocks] == [1] * 41 + [0] * 39
    # The first and the last of each device, and one for all between them.
    assert [block.device for block in stack.abridged] == [1, 1, 1, 0, 0, 0]
    assert [turn.at for turn in stack.order] == [0, *[1] * 39, 2, 3, *[4] * 37, 5]


@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 10_000)), max_size=60),
)
def test_blocks_of_an_arena_never_overlap(steps: list[tuple[bool, int]]) -> None:
    arena = Arena()
    live: list[tuple[int, int]] = []
    for takes, size in steps:
        if takes or not live:
            address = arena.allocate(size)
            end = address + size
            assert all(end <= start or stop <= address for start, stop in live)
            assert end <= arena.largest
            live.append((address, end))
        else:
            address, end = live.pop(size % len(live))
            arena.release(address, end - address)
    for address, end in live:
        arena.release(address, end - address)
    assert arena.free == [(0, 1 << 62)]
