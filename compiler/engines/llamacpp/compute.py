"""Compute buffers on each device: simulated where the graph is known, else by formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from compiler.engines.llamacpp import closed_form, families
from compiler.engines.llamacpp.allocator import State
from compiler.engines.llamacpp.build import Build, GraphError
from compiler.engines.llamacpp.builds import Graph
from compiler.engines.llamacpp.job import (
    CUTS,
    MIXED_CYCLE,
    MIXED_START,
    Block,
    Cut,
    Job,
    Run,
    job_for,
)
from compiler.engines.llamacpp.layers import Layout
from compiler.engines.llamacpp.models.decoder import decoder, finish
from compiler.engines.llamacpp.models.encoder import encoder
from compiler.engines.llamacpp.models.gemma import gemma3n, gemma4
from compiler.engines.llamacpp.models.minimax import minimax01
from compiler.engines.llamacpp.models.pooling import pool
from compiler.engines.llamacpp.models.rwkv import rwkv6, rwkv7
from compiler.engines.llamacpp.models.t5 import t5_encoder
from compiler.engines.llamacpp.options import NO_MOVES, Options, batch_sizes
from compiler.engines.llamacpp.scheduler import OFFLOAD_TOKENS, Devices, reserve
from compiler.engines.llamacpp.shape import Shape
from compiler.engines.llamacpp.tensor import Tensor

_MODELS: Mapping[str, Callable[[Build], Tensor]] = MappingProxyType(
    {
        **dict.fromkeys(families.POST_NORM_ENCODERS, encoder),
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


def output_rows(shape: Shape, options: Options, graph: Graph) -> int:
    """Tokens of the worst graph that give logits (server-context.cpp `server_output_limits`)."""
    batch, ubatch = batch_sizes(options, causal=shape.causal)
    tokens = min(options.all_cells, ubatch)
    if not graph.output_limit or shape.arch in families.ENCODER_BLOCKS:
        return tokens
    limit = options.output_rows
    if limit is None:
        limit = batch if options.embeds else options.slots
    return min(tokens, limit)


def compute_bytes(
    shape: Shape, options: Options, layout: Layout, graph: Graph, cuts: Sequence[Cut] = CUTS
) -> Compute:
    """Compute buffers under one era of the graph code."""
    rows = output_rows(shape, options, graph)
    try:
        for cut in cuts:
            job = job_for(shape, options, layout, graph, rows, cut)
            found = simulate(job)
            if found.settled:
                break
        sizes = found.sizes
        if not _small(job) and _moves_to_host(job):
            for cut in cuts:
                job = job_for(shape, options, layout, graph, rows, cut, in_place=True)
                found = _reserve(_decode(_host_part(job)))
                if found.settled:
                    break
            sizes = tuple(map(max, sizes, found.sizes))
        return Compute(sizes, simulated=True)
    except (GraphError, IndexError):
        # A tensor is missing, or is of a rank that the family's graph does not expect.
        return Compute(closed_form.compute_bytes(shape, options, layout, rows), simulated=False)


@dataclass(frozen=True, slots=True)
class Reserved:
    """Bytes of each device, host last."""

    sizes: tuple[int, ...]
    settled: bool
    """What was cut short had come to repeat itself, so that the whole graph takes the same."""


@lru_cache(maxsize=8192)
def simulate(job: Job) -> Reserved:
    """The buffers in which the graphs of a context fit (llama-context.cpp `sched_reserve`).

    The graph of a whole ubatch decides, but for what only a decode step leaves on the host, which
    is not in here. Raises GraphError when the model lacks a tensor of its family.
    """
    found = [_reserve(job)]
    if _small(job):
        found.append(_reserve(_decode(job)))
    if job.shape.arch in families.ONE_SEQUENCE and job.slots > 1:
        found.append(_reserve(replace(job, sequences=1)))
    sizes = zip(*(each.sizes for each in found), strict=True)
    return Reserved(tuple(map(max, sizes)), settled=all(each.settled for each in found))


def _decode(job: Job) -> Job:
    """A step of a token a slot."""
    return replace(job, tokens=job.slots, rows=job.slots)


def _small(job: Job) -> bool:
    """Whether a prompt is so short that a decode step may need more on a GPU."""
    return job.slots < job.tokens < _LARGE_PROMPT * job.slots


def _moves_to_host(job: Job) -> bool:
    """Whether a decode step runs on the host what a prompt takes to a GPU."""
    on_host = any(block.device == job.host for block in job.blocks) or job.output_device == job.host
    taken = job.slots < OFFLOAD_TOKENS <= job.tokens
    return bool(job.gpus) and job.op_offload and taken and (on_host or job.moves != NO_MOVES)


def _host_part(job: Job) -> Job:
    """The job without the layers that leave the host alone; one of each kind stays."""
    host, blocks = job.host, job.blocks
    hosted = sum(block.device == host for block in blocks)
    rest = blocks[hosted:]
    alone = job.moves == NO_MOVES and job.kv_on_gpu and not job.attends_on_host
    if not hosted or not alone or any(host in (each.device, each.cache_device) for each in rest):
        return job
    kinds: dict[int, Block] = {}
    for block in rest[:-1]:
        kinds.setdefault(block.like, block)
    return replace(
        job,
        blocks=(*blocks[:hosted], *kinds.values(), *rest[-1:]),
        runs=tuple(run for run in job.runs if run.start + run.period * run.kept <= hosted),
    )


@lru_cache(maxsize=8192)
def _reserve(job: Job) -> Reserved:
    """Build the graph of a job and run scheduler and allocator over it."""
    b = Build(job)
    x = _MODELS.get(job.shape.arch, decoder)(b)
    if job.embeds:
        pool(b, x)
    devices = Devices(
        gpus=job.gpus,
        capabilities=job.capabilities,
        copies=job.copies,
        op_offload=job.op_offload,
        attention_copies=job.graph.attention_copies,
        fusion_holds=job.graph.fusion_holds,
        idle_inputs=job.graph.idle_inputs,
    )
    cut = job.runs or job.mixed
    marked = {id(b.graph.nodes[start]) for start in b.starts} if cut else ()
    sizes, states = reserve(b.graph, devices, marked)
    settled = not cut or (
        len(states) == len(job.blocks)
        and _alternates(job.mixed, states)
        and all(_settled(run, states) for run in job.runs)
    )
    return Reserved(sizes, settled=settled)


def _alternates(mixed: int, states: Sequence[State]) -> bool:
    """Whether each of the mixed layers led from a state to the next of a cycle."""
    last = mixed - MIXED_CYCLE
    return all(states[at] == states[at + MIXED_CYCLE] for at in range(MIXED_START, last + 1))


def _settled(run: Run, states: Sequence[State]) -> bool:
    """Whether the rounds that are gone would have led from a state to the same state.

    The state before a round decides where its tensors go. So where it was the same before two
    rounds, those between them can stand there any number of times.
    """
    before = [states[run.start + each * run.period] for each in range(run.kept)]
    return any(
        before[each] == before[each + cycle]
        for cycle in range(1, run.kept)
        if run.step % cycle == 0
        for each in range(run.kept - cycle)
    )
