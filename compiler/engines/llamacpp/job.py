"""What decides a compute buffer, and nothing else: equal jobs have equal buffers."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import NamedTuple

from compiler.engines.llamacpp import families
from compiler.engines.llamacpp.builds import Graph
from compiler.engines.llamacpp.cache import sliding_cells
from compiler.engines.llamacpp.closed_form import pipelined
from compiler.engines.llamacpp.cuda import KERNEL_TYPES, MOST_VECTOR_TOKENS, attention_supported
from compiler.engines.llamacpp.layers import Layout
from compiler.engines.llamacpp.options import Moves, Options, ubatch_tokens
from compiler.engines.llamacpp.quants import is_quantized
from compiler.engines.llamacpp.scheduler import PIPELINE_COPIES
from compiler.engines.llamacpp.shape import Shape
from compiler.engines.llamacpp.tensor import NOWHERE
from compiler.engines.llamacpp.weights import loads


@dataclass(frozen=True, slots=True)
class Cut:
    """How long runs of equal layers are cut short: rounds that stay, and the step of what goes.

    A run mostly leaves the allocator in the same state after each round, or after two to four,
    because activations change places from layer to layer.
    """

    kept: int
    step: int
    mixed: bool = False
    """Layers on the host that differ by the types of their weights are cut, too."""


CUTS = (Cut(4, 2, mixed=True), Cut(4, 2), Cut(6, 2), Cut(8, 12), Cut(1 << 20, 1))
"""The next one is taken where the allocator did not come to the same state again."""

_ADA = 89  # The compute capability that stands for an unknown one, times ten.
# Mixed layers on the host: those that lead to the states which alternate from there on.
MIXED_START = 2
MIXED_CYCLE = 2
# The longest pattern of layers that repeats: one full attention layer in six, types in three.
_LONGEST_PERIOD = 12


class Block(NamedTuple):
    """One layer in a job: a layer of the model that looks like it, and its device."""

    like: int
    device: int
    cache_device: int = -1
    """The device of the layer whose KV cache it reads; -1 for a layer with a cache of its own."""


class Run(NamedTuple):
    """A repetition that was cut short."""

    start: int
    """The first block in the job."""
    period: int
    """Blocks of a round."""
    kept: int
    """Rounds that stayed."""
    step: int
    """What went is a multiple of so many rounds; how many makes no difference to the buffers."""


Shortened = tuple[tuple[Block, ...], tuple[Run, ...]]
"""What stayed, and how it was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A graph to be simulated."""

    shape: Shape
    graph: Graph
    blocks: tuple[Block, ...]
    runs: tuple[Run, ...]
    mixed: int
    """So many blocks on the host stand for more of their kinds, in another order; mostly 0."""
    moves: Moves
    first_device: int
    """The device of the first layer."""
    output_device: int
    gpus: int
    capabilities: tuple[int, ...]
    """Of the GPUs, times ten; empty where they make no difference."""
    copies: int
    whole: bool
    """All layers and the output are on GPUs."""
    tokens: int
    rows: int
    slots: int
    sequences: int
    """Sequences of the batch; a batch may have fewer than the memory has slots."""
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

    @property
    def attends_on_host(self) -> bool:
        """Whether flash attention is asked for and CUDA has no kernel for it."""
        types = {self.type_k, self.type_v}
        return self.flash_attention and not _has_kernel(self.shape, types)


def job_for(  # noqa: PLR0913 - what decides a graph, and how much of it stays.
    shape: Shape,
    options: Options,
    layout: Layout,
    graph: Graph,
    rows: int,
    cut: Cut,
    *,
    in_place: bool = False,
) -> Job:
    """The job of a model under explicit options, long runs of equal layers cut short.

    `in_place`: host weights are multiplied where they are, so that their types do not matter.
    """
    blocks, runs, mixed = _blocks(shape, options, layout, cut, in_place=in_place)
    return Job(
        shape=shape,
        graph=_telling(shape, options, graph),
        blocks=blocks,
        runs=runs,
        mixed=mixed,
        moves=options.moves,
        first_device=layout.layers[0],
        output_device=layout.output,
        gpus=options.gpus,
        capabilities=telling_capabilities(shape, options),
        copies=PIPELINE_COPIES if pipelined(shape, options) else 1,
        whole=options.gpu_layers > shape.layers_in_file,
        tokens=ubatch_tokens(options, causal=shape.causal),
        rows=rows,
        slots=options.slots,
        sequences=options.slots,
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


def _has_kernel(shape: Shape, types: AbstractSet[str]) -> bool:
    """Whether flash attention over caches of these types runs on a CUDA GPU."""
    return attention_supported(shape) and types <= KERNEL_TYPES


def telling_capabilities(shape: Shape, options: Options) -> tuple[int, ...]:
    """Compute capabilities where the kernel of attention depends on them."""
    tokens = ubatch_tokens(options, causal=shape.causal) // options.streams
    plain = options.cache_type_k == options.cache_type_v == "f16"
    if plain or not options.flash_attention or tokens > MOST_VECTOR_TOKENS:
        return ()
    return options.capabilities or (_ADA,) * options.gpus


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


def _blocks(
    shape: Shape, options: Options, layout: Layout, cut: Cut, *, in_place: bool
) -> tuple[tuple[Block, ...], tuple[Run, ...], int]:
    found = loads(shape, options.moves)
    moving = NOWHERE if in_place else layout.host
    blocks = []
    for index, (device, layer) in enumerate(zip(layout.layers, found.layers, strict=True)):
        owner = shape.layers[index].cache_of
        blocks.append(
            Block(
                layer.like_on_host if device == moving else layer.like_on_gpu,
                device,
                -1 if owner in (None, index) else layout.layers[owner],
            )
        )
    foreign = any(block.cache_device not in (-1, block.device) for block in blocks)
    types = {options.cache_type_k, options.cache_type_v}
    left = options.flash_attention and not _has_kernel(shape, types)
    travels = pipelined(shape, options) and (foreign or left)
    # What travels to a state on the host takes longer to settle where attention is there, too.
    both = shape.arch in families.BOTH_IN_EACH_LAYER and not options.kv_on_gpu
    if travels or both or shape.arch in families.LONG_LIVED:
        # A cache on another GPU travels to each layer that shares it; attention without a kernel
        # runs on the host. Every copy of what travels is kept, layer by layer.
        return tuple(blocks), (), 0
    hosted = next((i for i, block in enumerate(blocks) if block.device != moving), len(blocks))
    alike = len({layer.like_on_gpu for layer in found.layers[:hosted]}) == 1
    some = _mixed(blocks[:hosted]) if cut.mixed and alike and hosted < len(blocks) else ()
    if not some:
        return *shortened(blocks, cut), 0
    rest, runs = shortened(blocks[hosted:], cut)
    moved = (run._replace(start=run.start + len(some)) for run in runs)
    return (*some, *rest), tuple(moved), len(some)


def _mixed(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Layers that differ by types alone: the first, then each kind in both of two states.

    Empty where that is no saving. What the allocator makes of a layer depends on the layer's kind
    and on the state before it. Where the states alternate, whatever the kinds, each kind was seen
    in each of them, and their order and number make no difference to the buffers.
    """
    kinds = sorted(set(blocks))
    some = [*blocks[:MIXED_START], *(kind for kind in kinds for _ in range(MIXED_CYCLE))]
    some += kinds[:1] * ((len(blocks) - len(some)) % MIXED_CYCLE)
    return tuple(some) if len(kinds) > 1 and len(some) < len(blocks) else ()


def shortened(blocks: Sequence[Block], cut: Cut) -> Shortened:
    """The blocks with every long repetition of a pattern cut to a few rounds."""
    ids = [(like << 16) + (device << 8) + cache + 1 for like, device, cache in blocks]
    result: list[Block] = []
    runs = []
    start = 0
    while start < len(ids):
        period, rounds, gone = _longest_saving(ids, start, cut)
        if gone:
            runs.append(Run(len(result), period, rounds - gone, cut.step))
        result += blocks[start : start + period * (rounds - gone)]
        start += period * rounds
    return tuple(result), tuple(runs)


def _longest_saving(ids: Sequence[int], start: int, cut: Cut) -> tuple[int, int, int]:
    """The period and rounds of the repetition at `start` of which most can go, and how many."""
    best = (1, 1, 0)
    for period in range(1, min(_LONGEST_PERIOD, (len(ids) - start) // (cut.kept + 1)) + 1):
        rounds = 1
        while _repeats(ids, start, period, rounds):
            rounds += 1
        gone = max(0, (rounds - cut.kept) // cut.step * cut.step)
        if gone * period > best[0] * best[2]:
            best = (period, rounds, gone)
    return best


def _repeats(ids: Sequence[int], start: int, period: int, rounds: int) -> bool:
    here = start + rounds * period
    return ids[here : here + period] == ids[start : start + period]
