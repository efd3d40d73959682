"""Compute buffers on each device: simulated where the graph is known, else by formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from compiler.engines.llamacpp import closed_form, families
from compiler.engines.llamacpp.build import Build, GraphError
from compiler.engines.llamacpp.builds import Graph
from compiler.engines.llamacpp.job import EXACT, Cut, Job, job_for
from compiler.engines.llamacpp.layers import Layout
from compiler.engines.llamacpp.models.decoder import decoder, finish
from compiler.engines.llamacpp.models.encoder import encoder
from compiler.engines.llamacpp.models.gemma import gemma3n, gemma4
from compiler.engines.llamacpp.models.pooling import pool
from compiler.engines.llamacpp.options import Options, batch_sizes
from compiler.engines.llamacpp.scheduler import Devices, reserve
from compiler.engines.llamacpp.shape import Shape
from compiler.engines.llamacpp.tensor import Tensor

_MODELS: Mapping[str, Callable[[Build], Tensor]] = MappingProxyType(
    {
        **dict.fromkeys(families.ENCODERS, encoder),
        "gemma3n": lambda b: finish(b, gemma3n(b)),
        "gemma4": lambda b: finish(b, gemma4(b)),
    }
)


@dataclass(frozen=True, slots=True)
class Compute:
    """Bytes of each device's compute buffer, host last; `simulated` or by formula."""

    sizes: tuple[int, ...]
    simulated: bool


def output_rows(shape: Shape, options: Options, graph: Graph) -> int:
    """Tokens of the worst graph that give logits (server-context.cpp `server_output_limits`)."""
    batch, ubatch = batch_sizes(options, causal=shape.causal)
    tokens = min(options.all_cells, ubatch)
    if not graph.output_limit:
        return tokens
    limit = options.output_rows
    if limit is None:
        limit = batch if options.embeds else options.slots
    return min(tokens, limit)


def compute_bytes(
    shape: Shape, options: Options, layout: Layout, graph: Graph, cut: Cut = EXACT
) -> Compute:
    """Compute buffers under one era of the graph code."""
    rows = output_rows(shape, options, graph)
    job = job_for(shape, options, layout, graph, rows, cut)
    try:
        return Compute(simulate(job), simulated=True)
    except (GraphError, IndexError):
        # A tensor is missing, or is of a rank that the family's graph does not expect.
        return Compute(closed_form.compute_bytes(shape, options, layout, rows), simulated=False)


@lru_cache(maxsize=8192)
def simulate(job: Job) -> tuple[int, ...]:
    """Build the worst graph of a job and run scheduler and allocator over it.

    Raises GraphError when the model lacks a tensor of its family.
    """
    b = Build(job)
    x = _MODELS.get(job.shape.arch, decoder)(b)
    if job.embeds:
        pool(b, x)
    devices = Devices(
        gpus=job.gpus,
        copies=job.copies,
        op_offload=job.op_offload,
        attention_copies=job.graph.attention_copies,
        fusion_holds=job.graph.fusion_holds,
        idle_inputs=job.graph.idle_inputs,
    )
    return reserve(b.graph, devices)
