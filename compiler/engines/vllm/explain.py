"""Sentences about the parts of a vLLM breakdown and about what the law had to assume."""

from __future__ import annotations

from compiler.engines.vllm.estimate import Estimate
from compiler.engines.vllm.kv import Layout, logged_tokens
from compiler.engines.vllm.options import Options
from compiler.engines.vllm.shape import Shape
from compiler.engines.vllm.versions import NEWEST, OLDEST, parse_version, show_version
from compiler.ir.demand import Request
from compiler.ir.units import show_mib


def why_weights(shape: Shape, estimate: Estimate) -> str:
    """How the weights were weighed."""
    ranks = estimate.options.tensor_parallel
    shared = f", one of {ranks} shards" if ranks > 1 else ""
    return (
        f"{shape.layers} layers of {shape.hidden:,} and an embedding of {shape.vocabulary:,} "
        f"tokens as vLLM allocates them{shared}."
    )


def why_kv(layout: Layout, options: Options, kv_bytes: int) -> str:
    """What the KV cache holds."""
    if not layout.exists:
        return "The model keeps no KV cache."
    blocks = kv_bytes // layout.block_bytes
    return (
        f"{blocks:,} blocks of {layout.block_size:,} tokens, {layout.block_bytes:,} B each, hold "
        f"{logged_tokens(layout, options, kv_bytes):,} tokens as vLLM counts them."
    )


def why_compute(estimate: Estimate) -> str:
    """Which peak decides, and what stays."""
    activation, options = estimate.activation, estimate.options
    if activation.sampler_bytes >= activation.forward_bytes:
        peak = f"sampling for {options.sequences:,} sequences"
    else:
        peak = f"a forward pass of {options.batched_tokens:,} tokens"
    text = f"The peak is {peak}: {show_mib(activation.transient_bytes)}"
    if activation.persistent_bytes:
        text += f"; tables and workspaces that stay: {show_mib(activation.persistent_bytes)}"
    return text + "."


def why_graphs(estimate: Estimate) -> str:
    """How many CUDA graphs there are."""
    graphs = estimate.graphs
    if not graphs.larger_bytes:
        return "No CUDA graphs are captured."
    place = "inside" if estimate.options.rules.graphs_in_budget else "outside"
    return f"CUDA graphs for {graphs.sizes} batch sizes, {place} vLLM's own budget."


def why_runtime(estimate: Estimate) -> str:
    """Context and libraries."""
    runtime = estimate.runtime
    return (
        f"CUDA context {show_mib(runtime.context_bytes)}, NCCL and kernels "
        f"{show_mib(runtime.charged_bytes)}."
    )


def assumptions(
    request: Request, shape: Shape, options: Options, *, needs_half: bool, unified: bool
) -> tuple[str, ...]:
    """Whole sentences about what the law had to guess."""
    found = list(shape.assumed)
    version = parse_version(request.version)
    if version is not None and version > (NEWEST[0], NEWEST[1], 99):
        found.append(
            f"vLLM {request.version} is newer than the law, which knows {show_version(NEWEST)}."
        )
    if version is not None and version < OLDEST:
        found.append(
            f"vLLM {request.version} is older than the law, which begins with "
            f"{show_version(OLDEST)}."
        )
    if request.facts.format == "config":
        found.append("Weights are computed from config.json alone; no tensor was read.")
    if request.facts.format == "gguf":
        found.append("vLLM loads GGUF files experimentally; no launch of one was measured.")
    if needs_half and options.dtype == "half":
        found.append("The GPU has no bfloat16, so the model runs in float16.")
    if unified:
        found.append("Memory is shared with the host, and vLLM reads what is free from the host.")
    if shape.encoder and options.version < (0, 10, 0):
        found.append(f"vLLM {request.version} runs encoders on its old engine, measured by nobody.")
    if options.rules.charges_whole_device:
        found.append(
            "vLLM 0.8 charges all memory in use on a GPU to itself, so it should not share one."
        )
    return tuple(found)
