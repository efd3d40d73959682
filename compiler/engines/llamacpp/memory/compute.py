"""Compute buffers on each device: simulated where the graph is known, else by formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from types import MappingProxyType

from compiler.engines.llamacpp.flags.builds import Era
from compiler.engines.llamacpp.ggml.scheduler import OFFLOAD_TOKENS, Devices, script_of
from compiler.engines.llamacpp.ggml.steps import Script, Sizes
from compiler.engines.llamacpp.ggml.tensor import Tensor
from compiler.engines.llamacpp.graphs import closed_form
from compiler.engines.llamacpp.graphs.builder import GraphBuilder, GraphError, weight_of
from compiler.engines.llamacpp.graphs.job import Job, job_for, stack_for
from compiler.engines.llamacpp.graphs.models.decoder import decoder, finish
from compiler.engines.llamacpp.graphs.models.encoder import encoder
from compiler.engines.llamacpp.graphs.models.gemma import gemma3n, gemma4
from compiler.engines.llamacpp.graphs.models.minimax import minimax01
from compiler.engines.llamacpp.graphs.models.next_tokens import next_tokens
from compiler.engines.llamacpp.graphs.models.pooling import pool
from compiler.engines.llamacpp.graphs.models.rwkv import rwkv6, rwkv7
from compiler.engines.llamacpp.graphs.models.t5 import t5_encoder
from compiler.engines.llamacpp.graphs.stack import Stack
from compiler.engines.llamacpp.launch.options import NO_MOVES, Options, batch_sizes
from compiler.engines.llamacpp.model.architectures import with_trait
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.layers import Layout

_MODELS: Mapping[str, Callable[[GraphBuilder], Tensor]] = MappingProxyType(
    {
        **dict.fromkeys(with_trait("post_norm"), encoder),
        "t5encoder": t5_encoder,
        "minimax-01": lambda b: finish(b, minimax01(b)),
        **dict.fromkeys(("rwkv6", "rwkv6qwen2"), lambda b: finish(b, rwkv6(b))),
        **dict.fromkeys(("rwkv7", "arwkv7"), lambda b: finish(b, rwkv7(b))),
        "gemma3n": lambda b: finish(b, gemma3n(b)),
        "gemma4": lambda b: finish(b, gemma4(b)),
    }
)

# A prompt of so many tokens a slot needs more for each of its nodes than a decode step can gain
# by the order in which it takes and gives back memory.
_LARGE_PROMPT = 4


@dataclass(frozen=True, slots=True)
class Compute:
    """Bytes of each device's compute buffer, host last; `simulated` or by formula."""

    sizes: tuple[int, ...]
    simulated: bool


def output_rows(shape: Shape, options: Options, era: Era) -> int:
    """Tokens of the worst graph that give logits (server-context.cpp `server_output_limits`)."""
    batch, ubatch = batch_sizes(options, causal=shape.causal)
    tokens = min(options.all_cells, ubatch)
    if not era.output_limit or shape.family.encoder_blocks:
        return tokens
    limit = options.output_rows
    if limit is None:
        limit = batch if options.embeds else options.slots
    return min(tokens, limit)


def compute_bytes(
    shape: Shape, options: Options, layout: Layout, era: Era, *, abridge: bool = True
) -> Compute:
    """Compute buffers under one era of the graph code.

    `abridge`: equal layers are simulated once for all of them, which makes no difference.
    """
    rows = output_rows(shape, options, era)
    try:
        stack = stack_for(shape, options, layout, abridge=abridge)
        job = job_for(shape, options, layout, era, rows, stack)
        sizes = _reserve_all(job, stack)
        if not _small(job) and _moves_to_host(job):
            stack = stack_for(shape, options, layout, in_place=True, abridge=abridge)
            sizes = tuple(map(max, sizes, _reserve(_decode(job, stack), stack)))
        return Compute(sizes, simulated=True)
    except (GraphError, IndexError, ZeroDivisionError):
        # A tensor is missing, or is of a rank that the family's graph does not expect.
        return Compute(closed_form.compute_bytes(shape, options, layout, rows), simulated=False)


def _reserve_all(job: Job, stack: Stack) -> Sizes:
    """The buffers in which the graphs of a context fit (llama-context.cpp `sched_reserve`).

    The graph of a whole ubatch decides, but for what only a decode step leaves on the host, which
    is not in here. Raises GraphError when the model lacks a tensor of its family.
    """
    sizes = _reserve(job, stack)
    if _small(job):
        sizes = tuple(map(max, sizes, _reserve(_decode(job, stack), stack)))
    if job.shape.family.one_sequence and job.slots > 1:
        sizes = tuple(map(max, sizes, _reserve(replace(job, sequences=1), stack)))
    return sizes


def _decode(job: Job, stack: Stack) -> Job:
    """A step of a token a slot."""
    return replace(job, blocks=stack.abridged, tokens=job.slots, rows=job.slots)


def _small(job: Job) -> bool:
    """Whether a prompt is so short that a decode step may need more on a GPU."""
    return job.slots < job.tokens < _LARGE_PROMPT * job.slots


def _moves_to_host(job: Job) -> bool:
    """Whether a decode step runs on the host what a prompt takes to a GPU."""
    on_host = any(block.device == job.host for block in job.blocks) or job.output_device == job.host
    taken = job.slots < OFFLOAD_TOKENS <= job.tokens
    return bool(job.gpus) and job.op_offload and taken and (on_host or job.moves != NO_MOVES)


def _reserve(job: Job, stack: Stack) -> Sizes:
    """What a graph with all layers of a stack takes, from a job of the abridged ones."""
    script = simulate(job)
    if stack.blocks == stack.abridged:
        return script.whole()
    # Where layers do not come one after another there is nothing to repeat.
    told = script.regular and len(script) == len(job.blocks)
    found = script.sizes(stack.order) if told else None
    return found or simulate(replace(job, blocks=stack.blocks)).whole()


@lru_cache(maxsize=256)
def simulate(job: Job) -> Script:
    """Build the graph of a job and run the scheduler over it."""
    b = _built(job)
    devices = Devices(
        gpus=job.gpus,
        capabilities=job.capabilities,
        copies=job.copies,
        op_offload=job.op_offload,
        attention_copies=job.era.attention_copies,
        reduction_holds=job.era.reduction_holds,
        fusion_holds=job.era.fusion_holds,
        idle_inputs=job.era.idle_inputs,
    )
    return script_of(b.graph, devices, b.starts, partial(weight_of, job.shape, job.moves))


def graph_size(job: Job) -> int:
    """Nodes and leafs of the graph of a job. Raises GraphError as `simulate` does."""
    graph = _built(job).graph
    return len(graph.nodes) + len(graph.leafs)


def _built(job: Job) -> GraphBuilder:
    b = GraphBuilder(job)
    x = next_tokens(b) if job.shape.heads else _MODELS.get(job.shape.arch, decoder)(b)
    if job.embeds:
        pool(b, x)
    return b
