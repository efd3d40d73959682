"""What decides a compute buffer, and nothing else: equal jobs have equal buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from compiler.engines.llamacpp.builds import Graph
from compiler.engines.llamacpp.cache import sliding_cells
from compiler.engines.llamacpp.closed_form import pipelined
from compiler.engines.llamacpp.cuda import attention_supported
from compiler.engines.llamacpp.layers import Layout
from compiler.engines.llamacpp.options import Moves, Options, ubatch_tokens
from compiler.engines.llamacpp.quants import is_quantized
from compiler.engines.llamacpp.scheduler import PIPELINE_COPIES
from compiler.engines.llamacpp.shape import Shape
from compiler.engines.llamacpp.weights import loads


@dataclass(frozen=True, slots=True)
class Cut:
    """How long runs of equal layers are cut short: rounds that stay, and the step of what goes.

    A run leaves the allocator in the same state after each round, or after two or four, because
    activations change places from layer to layer.
    """

    kept: int
    step: int


# Checked against whole graphs in tests/test_llamacpp_law.py.
EXACT = Cut(4, 4)
# For the many rungs of an offload ladder: over 1,367 draws as exact as the other; two rounds
# alone were off for 3 % of the draws, by up to 23 %.
ROUGH = Cut(4, 2)

# The longest pattern of layers that repeats: one full attention layer in six, types in three.
_LONGEST_PERIOD = 12


class Block(NamedTuple):
    """One layer in a job: a layer of the model that looks like it, and its device."""

    like: int
    device: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A graph to be simulated."""

    shape: Shape
    graph: Graph
    blocks: tuple[Block, ...]
    moves: Moves
    first_device: int
    """The device of the first layer."""
    output_device: int
    gpus: int
    copies: int
    whole: bool
    """All layers and the output are on GPUs."""
    tokens: int
    rows: int
    slots: int
    streams: int
    cells: int
    sliding_cells: int
    flash_attention: bool
    type_k: str
    type_v: str
    kv_on_gpu: bool
    op_offload: bool
    embeds: bool
    pooling: int

    @property
    def host(self) -> int:
        """The number of the host among the devices."""
        return self.gpus


def job_for(
    shape: Shape, options: Options, layout: Layout, graph: Graph, rows: int, cut: Cut = EXACT
) -> Job:
    """The job of a model under explicit options, long runs of equal layers cut short."""
    return Job(
        shape=shape,
        graph=_telling(shape, options, graph),
        blocks=_blocks(shape, options, layout, cut),
        moves=options.moves,
        first_device=layout.layers[0],
        output_device=layout.output,
        gpus=options.gpus,
        copies=PIPELINE_COPIES if pipelined(shape, options) else 1,
        whole=options.gpu_layers > shape.layers_in_file,
        tokens=ubatch_tokens(options, causal=shape.causal),
        rows=rows,
        slots=options.slots,
        streams=options.streams,
        cells=options.cells_per_stream,
        sliding_cells=sliding_cells(shape, options),
        flash_attention=options.flash_attention,
        type_k=options.cache_type_k,
        type_v=options.cache_type_v,
        kv_on_gpu=options.kv_on_gpu,
        op_offload=options.op_offload,
        embeds=options.embeds,
        pooling=shape.pooling if options.pooling is None else options.pooling,
    )


def _telling(shape: Shape, options: Options, graph: Graph) -> Graph:
    """The era without what makes no difference here, so that jobs of neighbouring eras are one."""
    quantized = is_quantized(options.cache_type_k) or is_quantized(options.cache_type_v)
    plain = options.cache_type_k == options.cache_type_v == "f16"
    return replace(
        graph,
        rotation=graph.rotation or not quantized,
        attention_copies=graph.attention_copies or plain,
        fusion_holds=graph.fusion_holds or not shape.experts.count,
        idle_inputs=graph.idle_inputs or not pipelined(shape, options),
        sliding_cache=graph.sliding_cache or not shape.window,
        output_limit=True,
        output_counts=True,
        streams=True,
        encoder_cache=False,
    )


def _blocks(shape: Shape, options: Options, layout: Layout, cut: Cut) -> tuple[Block, ...]:
    found = loads(shape, options.moves)
    blocks = [
        Block(layer.like_on_host if device == layout.host else layer.like_on_gpu, device)
        for device, layer in zip(layout.layers, found.layers, strict=True)
    ]
    if pipelined(shape, options) and options.flash_attention and not attention_supported(shape):
        # Attention then runs on the host, and what travels there is kept for every layer.
        return tuple(blocks)
    return shortened(blocks, cut)


def shortened(blocks: Sequence[Block], cut: Cut = EXACT) -> tuple[Block, ...]:
    """The blocks with every long repetition of a pattern cut to a few rounds."""
    ids = [(like << 8) + device for like, device in blocks]
    result: list[Block] = []
    start = 0
    while start < len(ids):
        saved, length = _longest_saving(ids, start, cut)
        keep = length - saved if saved else 1
        result += blocks[start : start + keep]
        start += length if saved else 1
    return tuple(result)


def _longest_saving(ids: Sequence[int], start: int, cut: Cut) -> tuple[int, int]:
    """How many blocks from `start` on can go, and how many the repetition spans."""
    best = (0, 1)
    for period in range(1, min(_LONGEST_PERIOD, (len(ids) - start) // (cut.kept + 1)) + 1):
        rounds = 1
        while _repeats(ids, start, period, rounds):
            rounds += 1
        saved = (rounds - cut.kept) // cut.step * cut.step * period
        if saved > best[0]:
            best = (saved, rounds * period)
    return best


def _repeats(ids: Sequence[int], start: int, period: int, rounds: int) -> bool:
    here = start + rounds * period
    return list(ids[here : here + period]) == list(ids[start : start + period])
