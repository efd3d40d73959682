"""Sentences about the parts of a vLLM breakdown and about what the law had to assume."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.engines.vllm.flags.values import LIKE_TRITON
from compiler.engines.vllm.launch.classes import class_assumption
from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.headers import has_tied_output
from compiler.engines.vllm.memory.kv import Layout, logged_tokens
from compiler.engines.vllm.memory.law import Estimate
from compiler.engines.vllm.memory.runtime import tunes_delta
from compiler.engines.vllm.memory.stages import stage_layers
from compiler.engines.vllm.model.quantization import scheme_of
from compiler.engines.vllm.model.recurrent import names_recurrent_layers
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import NEWEST, show_version
from compiler.ir.demand import Request
from compiler.ir.inventory import GpuKind
from compiler.ir.units import show_mib

# Patch releases of the newest known version follow its law.
_LAST_PATCH = 99
_FIRST_V1_COMPUTE = (8, 0)
# The first release that reads an output beside a tied embedding (config/model.py
# `maybe_untie_word_embeddings`, model_loader/weight_tying.py, read in 0.32).
_FIRST_UNTIED = (0, 32, 0)
# Classes that see or hear, whose config.json has no section for it under a name that is known.
_TOWERS_WITHOUT_SECTION = frozenset(
    {"ChameleonForConditionalGeneration", "Molmo2ForConditionalGeneration", "MolmoForCausalLM"}
    | {"Ovis", "Ovis2_5", "Ovis2_6ForCausalLM", "Ovis2_6_MoeForCausalLM", "Phi4MMForCausalLM"}
    | {
        "GraniteSpeechForConditionalGeneration",
        "MiDashengLMModel",
        "QwenVLForConditionalGeneration",
    }
)
# Compute capabilities of GPUs that share the host's memory: Jetson Orin and Thor, GB10.
_UNIFIED = frozenset({(8, 7), (11, 0), (12, 1)})


def why_weights(shape: Shape, estimate: Estimate) -> str:
    """How the weights were weighed."""
    options = estimate.options
    ranks, stages = options.tensor_parallel, options.pipeline_parallel
    shared = f", one of {ranks} shards" if ranks > 1 else ""
    embedding = f"an embedding of {shape.vocabulary:,} tokens"
    if stages == 1:
        held = f"{shape.layers} layers of {shape.hidden:,} and {embedding}"
    else:
        here = stage_layers(shape, options)
        held = f"Stage {options.stage + 1} of {stages}: {len(here)} layers of {shape.hidden:,}"
        if options.is_first_stage:
            held += f" and {embedding}"
        elif options.is_last_stage:
            held += " and the output"
    text = f"{held} as vLLM allocates them{shared}."
    if estimate.draft_bytes:
        text += f" The draft model takes {show_mib(estimate.draft_bytes)} of it."
    return text


def why_kv(layout: Layout, options: Options, blocks: int, more_bytes: int = 0) -> str:
    """What the KV cache holds, and how much more a first start needs in its place."""
    first = ""
    if more_bytes:
        first = f" A first start compiles kernels before, in {show_mib(more_bytes)} more."
    if not layout.exists:
        return f"The model keeps no KV cache.{first}"
    return (
        f"{blocks:,} blocks of {layout.block_size:,} tokens, {layout.block_bytes:,} B each, hold "
        f"{logged_tokens(layout, options, blocks):,} tokens as vLLM counts them.{first}"
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
    request: Request, shape: Shape, options: Options, kind: GpuKind | None
) -> tuple[str, ...]:
    """Whole sentences about what the law had to guess."""
    return (
        *_about_version(request, shape, options, kind),
        *_about_model(request, shape, options),
        *_about_kernels(request),
        *_about_gpu(options, kind),
    )


def _about_version(
    request: Request, shape: Shape, options: Options, kind: GpuKind | None
) -> Iterator[str]:
    version, shown = options.version, f"vLLM {request.version}"
    if version > (*NEWEST[:2], _LAST_PATCH):
        yield f"{shown} is newer than the law, which knows {show_version(NEWEST)}."
    # V1 learnt encoders with 0.10 and GPUs below 8.0 with 0.9.
    old_gpu = kind is not None and kind.compute < _FIRST_V1_COMPUTE and version < (0, 9, 0)
    if old_gpu or (shape.encoder and version < (0, 10, 0)):
        yield f"{shown} runs this on its V0 engine, which the law does not cover."
    if kind is not None and tunes_delta(shape, options, kind):
        yield (
            f"{shown} may keep what tuning the kernels of `{shape.architecture}` took: 3.4 GiB on "
            "an RTX 5090, nothing on an L40S and on Hopper; no other GPU was measured."
        )
    if options.rules.charges_whole_device:
        yield "vLLM 0.8 charges all memory in use on a GPU to itself, so it is given whole ones."


def _about_model(request: Request, shape: Shape, options: Options) -> Iterator[str]:
    facts = request.facts
    if facts.format == "config":
        yield "Weights are computed from config.json alone; no tensor was read."
    if facts.format == "gguf":
        yield "vLLM loads GGUF files experimentally; no launch of one was measured."
    if sentence := class_assumption(shape.architecture, options.version):
        yield sentence
    if shape.model_type == "new" and request.args.get("trust_remote_code") is not True:
        yield "The configuration is code of the repository: vLLM reads it with `trust_remote_code`."
    mixed = set(shape.attention) == {"full"} and not shape.encoder
    if mixed and names_recurrent_layers(facts.header):
        yield (
            f"The recurrent layers of `{shape.architecture}` are costed as attention, which takes "
            "more KV than vLLM does."
        )
    if options.version >= _FIRST_UNTIED and has_tied_output(facts, shape, options):
        yield (
            "The files have an output beside a tied embedding; vLLM keeps one if they are equal, "
            "as is assumed, and both if not."
        )
    if facts.tensors:
        return
    if scheme_of(shape.quantization, options.quantization).kind == "unknown":
        yield "The checkpoint's quantization is not known; weights are costed in 16 bits."
    if shape.vision and shape.vision.family == "unknown":
        outer = str(facts.header.get("model_type") or "")
        yield f"The vision tower of `{outer}` is weighed as one of CLIP's build."
    if shape.vision is None and shape.architecture in _TOWERS_WITHOUT_SECTION:
        yield f"The tower of `{shape.architecture}` is not weighed without tensors."
    if "audio_config" in facts.header and not shape.audio:
        yield "The audio tower is not weighed without tensors."


def _about_kernels(request: Request) -> Iterator[str]:
    if (backend := request.args.get("moe_backend")) in LIKE_TRITON:
        yield f"The workspaces of `moe_backend: {backend}` are taken for those of Triton's kernels."


def _about_gpu(options: Options, kind: GpuKind | None) -> Iterator[str]:
    if kind is None:
        yield "On a host without GPU the CPU build of vLLM is taken to be installed."
        return
    if options.dtype == "half" and kind.compute < _FIRST_V1_COMPUTE:
        yield "The GPU has no bfloat16, so the model runs in float16."
    if kind.compute in _UNIFIED and not kind.unified:
        yield (
            f"A GPU of compute capability {kind.compute[0]}.{kind.compute[1]} shares the memory of "
            "its host: with `unified: true` its kind is budgeted so."
        )
