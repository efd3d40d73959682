"""What decides a compute buffer, and nothing else: equal jobs have equal buffers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.engines.llamacpp.flags.builds import Era
from compiler.engines.llamacpp.ggml.cuda import (
    KERNEL_TYPES,
    MOST_VECTOR_TOKENS,
    attention_supported,
)
from compiler.engines.llamacpp.ggml.scheduler import PIPELINE_COPIES
from compiler.engines.llamacpp.graphs.closed_form import pipelined
from compiler.engines.llamacpp.graphs.stack import Block, Stack, host_part, stack_of
from compiler.engines.llamacpp.launch.options import NO_MOVES, Moves, Options, ubatch_tokens
from compiler.engines.llamacpp.model.quants import is_quantized
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.cache import sliding_cells
from compiler.engines.llamacpp.placed.layers import Layout

_ADA = 89  # The compute capability that stands for an unknown one, times ten.


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A graph to be simulated."""

    shape: Shape
    era: Era
    blocks: tuple[Block, ...]
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
    rollbacks: int

    @property
    def host(self) -> int:
        """The number of the host among the devices."""
        return self.gpus


def job_for(
    shape: Shape, options: Options, layout: Layout, era: Era, rows: int, stack: Stack
) -> Job:
    """The job of a model under explicit options."""
    return Job(
        shape=shape,
        era=_relevant(shape, options, era),
        blocks=stack.abridged,
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
        rollbacks=options.rollbacks,
    )


def telling_capabilities(shape: Shape, options: Options) -> tuple[int, ...]:
    """Compute capabilities where the kernel of attention depends on them."""
    tokens = ubatch_tokens(options, causal=shape.causal) // options.streams
    plain = options.cache_type_k == options.cache_type_v == "f16"
    if plain or not options.flash_attention or tokens > MOST_VECTOR_TOKENS:
        return ()
    return options.capabilities or (_ADA,) * options.gpus


def _relevant(shape: Shape, options: Options, era: Era) -> Era:
    """The era without what makes no difference here, so that jobs of neighbouring eras are one."""
    quantized = is_quantized(options.cache_type_k) or is_quantized(options.cache_type_v)
    plain = options.cache_type_k == options.cache_type_v == "f16"
    hidden = era.keeps_hidden(shape.arch) or not shape.family.keeps_hidden
    return replace(
        era,
        hidden_qwen35=hidden,
        hidden_gemma4=hidden,
        hidden_output=hidden,
        latent_rows=era.latent_rows or not shape.latent.absorbed,
        rotation=era.rotation or not quantized,
        attention_copies=era.attention_copies or plain,
        reduction_holds=era.reduction_holds or not shape.experts.count,
        fusion_holds=era.fusion_holds or not shape.experts.count,
        idle_inputs=era.idle_inputs or not pipelined(shape, options),
        sliding_cache=era.sliding_cache or not shape.window,
        output_limit=True,
        output_counts=True,
        streams=True,
        encoder_cache=False,
    )


def stack_for(
    shape: Shape, options: Options, layout: Layout, *, in_place: bool = False, abridge: bool = True
) -> Stack:
    """The layers of a model in a job under explicit options, abridged where that can be."""
    abridge = abridge and not shape.family.long_lived
    # What is computed of a layer on the host is spread over the splits behind it, and what comes to
    # a GPU, and stays there with pipeline parallelism, is read beside the second layer, too.
    late = shape.family.late or options.moves != NO_MOVES or pipelined(shape, options)
    alone = options.kv_on_gpu and not _attends_on_host(shape, options)
    if in_place and alone and options.moves == NO_MOVES:
        return host_part(shape, layout, abridge=abridge, late=late)
    return stack_of(shape, options.moves, layout, in_place=in_place, abridge=abridge, late=late)


def _attends_on_host(shape: Shape, options: Options) -> bool:
    """Whether flash attention is asked for and CUDA has no kernel for it."""
    types = {options.cache_type_k, options.cache_type_v}
    return options.flash_attention and not (attention_supported(shape) and types <= KERNEL_TYPES)
