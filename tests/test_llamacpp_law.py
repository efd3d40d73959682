"""Laws of the simulation: what is cut short equals the whole, and time is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.llamacpp_accuracy import STUDIED, options_of
from compiler.engines.llamacpp.allocator import Arena
from compiler.engines.llamacpp.builds import Graph
from compiler.engines.llamacpp.compute import compute_bytes, simulate
from compiler.engines.llamacpp.job import CUTS, Block, Run, job_for, shortened
from compiler.engines.llamacpp.law import usage
from compiler.engines.llamacpp.layers import lay_out
from compiler.engines.llamacpp.shape import read_shape
from tests.generators.gguf_shapes import SHAPES, facts
from tests.generators.published import locked

# Quantized by llama-quantize's mixes: some layers have larger types than others. With the second
# the states do not alternate under all flags.
MIXED = (
    "unsloth/Qwen3-14B-GGUF:Q4_K_M",
    "unsloth/DeepSeek-R1-Distill-Llama-70B-GGUF:Q4_K_M",
)


def check_shortened(model: str, flags: str, gpus: int) -> None:
    shape = read_shape(facts(model))
    options = options_of(shape, flags, gpus)
    layout = lay_out(shape, options)
    whole = compute_bytes(shape, options, layout, Graph(), CUTS[-1:])
    assert compute_bytes(shape, options, layout, Graph()) == whole


FLAGS = [
    "ctx=8192 np=4 kvu=1 no=4",
    "ctx=32768 np=4 no=4 ctk=q8_0 ctv=q8_0",
    "ctx=8192 np=2 no=2 fa=off",
    "ctx=8192 no=1 ngl=20",
    "ctx=4096 no=1 np=2 ngl=11 ub=256",
    "ctx=4096 b=256 ub=256 no=0",
    "ctx=16384 no=1 cpu_moe=1",
    # Mamba 2 changes places only after three layers.
    "ctx=9216 np=16 b=512 ub=32 no=16",
]


@settings(max_examples=40, derandomize=True)
@given(
    model=st.sampled_from(sorted(SHAPES)),
    flags=st.sampled_from(FLAGS),
    gpus=st.sampled_from([0, 1, 2, 3, 4]),
)
def test_a_shortened_graph_takes_what_the_whole_takes(model: str, flags: str, gpus: int) -> None:
    check_shortened(model, flags, gpus)


@pytest.mark.parametrize("flags", ["ctx=8192 no=1", "ctx=4096 np=2 no=2 ub=128 fa=off"])
@pytest.mark.parametrize("source", MIXED)
def test_layers_of_mixed_types_on_the_host_are_cut(source: str, flags: str) -> None:
    shape = read_shape(locked(source).facts)
    cut = []
    for gpu_layers in (2, 9, 20, 31):
        options = options_of(shape, f"{flags} ngl={gpu_layers}", 1)
        layout = lay_out(shape, options)
        cut.append(job_for(shape, options, layout, Graph(), options.slots, CUTS[0]).mixed)
        whole = compute_bytes(shape, options, layout, Graph(), CUTS[-1:])
        assert compute_bytes(shape, options, layout, Graph()) == whole
    assert any(cut)


def test_a_ladder_takes_few_simulations() -> None:
    shape = read_shape(locked(MIXED[0]).facts)
    before = simulate.cache_info().misses
    for gpu_layers in range(shape.layers_in_file + 2):
        options = options_of(shape, f"ctx=8192 no=1 ngl={gpu_layers}", 1)
        usage(shape, options, STUDIED)
    assert simulate.cache_info().misses - before <= shape.layers_in_file // 2


def test_long_runs_are_cut_and_short_ones_are_not() -> None:
    cut = CUTS[0]
    pattern = [Block(1, 0), Block(1, 0), Block(1, 0), Block(2, 0)]
    assert shortened(pattern * 20, cut) == (tuple(pattern * 4), (Run(0, 4, 4, 2),))
    assert shortened(pattern * 2, cut) == (tuple(pattern * 2), ())
    two_gpus = [Block(0, 0)] * 41 + [Block(0, 1)] * 40
    blocks, runs = shortened(two_gpus, cut)
    assert runs == (Run(0, 1, 5, 2), Run(5, 1, 4, 2))
    assert blocks == (Block(0, 0),) * 5 + (Block(0, 1),) * 4
    assert shortened(two_gpus, CUTS[-1]) == (tuple(two_gpus), ())


@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 10_000)), max_size=60),
)
def test_blocks_of_an_arena_never_overlap(steps: list[tuple[bool, int]]) -> None:
    arena = Arena(128)
    live: list[tuple[int, int]] = []
    for takes, size in steps:
        if takes or not live:
            address = arena.allocate(size)
            end = address + -(-size // 128) * 128
            assert all(end <= start or stop <= address for start, stop in live)
            assert end <= arena.largest
            live.append((address, end))
        else:
            address, end = live.pop(size % len(live))
            arena.release(address, end - address)
    for address, end in live:
        arena.release(address, end - address)
    assert arena.free == [(0, 1 << 62)]
