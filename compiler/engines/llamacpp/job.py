"""What decides a compute buffer, and nothing else: equal jobs have equal buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from compiler.engines.llamacpp.builds import Graph
from compiler.engines.llamacpp.cache import sliding_cells
from compiler.engines.llamacpp.closed_form import pipelined
from compiler.engines.llamacpp.cuda import attention_supported
from compiler.engines.llamacpp.layers import Layout
from compiler.engines.llamacpp.options import Moves, Options, ubatch_tokens
from compiler.engines.llamacpp.scheduler import PIPELINE_COPIES
from compiler.engines.llamacpp.shape import Shape
from compiler.engines.llamacpp.weights import loads

# A run of equal layers leaves the allocator in the same state after each; this many of them,
# at both ends, stand for any number (checked against whole graphs in tests/test_llamacpp_law.py).
KEPT_REPEATS = 4
# Activations change places from layer to layer, so that the state returns after two or four.
_PARITY = 4
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


def job_for(shape: Shape, options: Options, layout: Layout, graph: Graph, rows: int) -> Job:
    """The job of a model under explicit options, long runs of equal layers cut short."""
    return Job(
        shape=shape,
        graph=graph,
        blocks=_blocks(shape, options, layout),
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


def _blocks(shape: Shape, options: Options, layout: Layout) -> tuple[Block, ...]:
    found = loads(shape, options.moves)
    blocks = [
        Block(layer.like_on_host if device == layout.host else layer.like_on_gpu, device)
        for device, layer in zip(layout.layers, found.layers, strict=True)
    ]
    if pipelined(shape, options) and options.flash_attention and not attention_supported(shape):
        # Attention then runs on the host, and what travels there is kept for every layer.
        return tuple(blocks)
    return shortened(blocks)


def shortened(blocks: Sequence[Block], kept: int = KEPT_REPEATS) -> tuple[Block, ...]:
    """The blocks with every long repetition of a pattern cut to a few rounds."""
    ids = [(like << 8) + device for like, device in blocks]
    result: list[Block] = []
    start = 0
    while start < len(ids):
        saved, length = _longest_saving(ids, start, kept)
        keep = length - saved if saved else 1
        result += blocks[start : start + keep]
        start += length if saved else 1
    return tuple(result)


def _longest_saving(ids: Sequence[int], start: int, kept: int) -> tuple[int, int]:
    """How many blocks from `start` on can go, and how many the repetition spans."""
    best = (0, 1)
    for period in range(1, min(_LONGEST_PERIOD, (len(ids) - start) // (kept + 1)) + 1):
        rounds = 1
        while _repeats(ids, start, period, rounds):
            rounds += 1
        saved = (rounds - kept) // _PARITY * _PARITY * period
        if saved > best[0]:
            best = (saved, rounds * period)
    return best


def _repeats(ids: Sequence[int], start: int, period: int, rounds: int) -> bool:
    here = start + rounds * period
    return list(ids[here : here + period]) == list(ids[start : start + period])
