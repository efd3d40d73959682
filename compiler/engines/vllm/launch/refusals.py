"""What vLLM refuses whatever memory is free: sites for a request, and requests on any site."""

from __future__ import annotations

from compiler.engines.vllm.launch.classes import (
    class_problems,
    encoder_decoder_problem,
    held_whole,
    table_problem,
)
from compiler.engines.vllm.launch.conflicts import conflict_problems
from compiler.engines.vllm.launch.decide import (
    half_forbidden,
    header_overrides,
    needs_half,
    options_of,
    parallel_sizes,
    request_shape,
    version_of,
)
from compiler.engines.vllm.launch.options import Options, vision_ranks
from compiler.engines.vllm.model.config import ShapeError
from compiler.engines.vllm.model.gguf import reads_architecture
from compiler.engines.vllm.model.quantization import SchemeKind, scheme_of
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import rules_of, show_version
from compiler.ir.demand import ArgumentProblem, Refusal, Request, Site
from compiler.ir.inventory import GpuKind

_OLDEST_COMPUTE = (7, 0)
_BLACKWELL = 10
# Least compute capability of each layout: `get_min_capability` of
# model_executor/layers/quantization/ (0.33), Marlin weight-only kernels included.
_LEAST_COMPUTE: dict[SchemeKind, tuple[int, int]] = {
    "awq": (7, 5),
    "gptq": (7, 0),
    "wna16": (8, 0),
    "fp8": (8, 0),
    "int8": (7, 5),
    "nvfp4": (8, 0),
    "mxfp4": (8, 0),
    "mxfp8": (8, 0),
    "bnb4": (7, 0),
    "bnb8": (7, 0),
    "gguf": (7, 0),
}
_ON_CPU: frozenset[SchemeKind] = frozenset({"none", "awq", "gptq", "wna16", "int8"})


def site_refusal(request: Request, shape: Shape, site: Site) -> Refusal | None:
    """Why this site is out of the question; None when it is not."""
    if request.facts.format == "gguf" and not reads_architecture(request.facts):
        return Refusal(code="format", detail=_gguf_problem(request).detail)
    if 0 < shape.position_limit < request.context:
        return Refusal(code="context", detail=context_detail(request, shape))
    if not site.kinds:
        return _cpu_refusal(request, shape)
    kind = site.kinds[0]
    options = options_of(request, shape, kind, len(site.kinds))
    return (
        _parallel_refusal(shape, options, len(site.kinds))
        or _compute_refusal(shape, options, kind)
        or _split_refusal(shape, options, site)
    )


def request_problems(request: Request) -> list[ArgumentProblem]:
    """What is wrong with a request on any site, its arguments' names and kinds apart."""
    if (found := encoder_decoder_problem(request) or table_problem(request)) is not None:
        return [found]
    try:
        shape = request_shape(request)
    except ShapeError as error:
        return [ArgumentProblem(code="facts-missing", argument="model", detail=f"{error}.")]
    problems = class_problems(request, shape)
    if request.facts.format == "gguf" and not reads_architecture(request.facts):
        problems.append(_gguf_problem(request))
    if request.task == "generate" and shape.encoder:
        detail = f"`{shape.architecture}` reads text in both directions and cannot generate."
        problems.append(ArgumentProblem(code="task-mismatch", argument="task", detail=detail))
    if request.task == "rerank" and request.facts.architecture.endswith("ForCausalLM"):
        problems += _decoder_reranker_problems(request)
    if 0 < shape.position_limit < request.context:
        problems.append(
            ArgumentProblem(
                code="context-too-long",
                argument="context",
                detail=context_detail(request, shape),
                hint=f"Write `context: {shape.position_limit}` or less.",
            )
        )
    return problems + conflict_problems(request, shape)


def _decoder_reranker_problems(request: Request) -> list[ArgumentProblem]:
    """A language model reranks by the scores of two answer tokens, which vLLM must be told."""
    hint = ""
    if not rules_of(version_of(request)).pooling_reranks_decoders:
        detail = "Language models rerank from vLLM 0.9.2 on."
    elif "architectures" in header_overrides(request):
        return []
    else:
        detail = f"How a `{request.facts.architecture}` scores a document is not known."
        hint = "Say `hf_overrides` with `architectures` and `classifier_from_token`."
    return [ArgumentProblem(code="task-mismatch", argument="task", detail=detail, hint=hint)]


def context_detail(request: Request, shape: Shape) -> str:
    """The sentence about a context beyond the model's positions."""
    return (
        f"{request.context:,} tokens are asked for; the model has positions for "
        f"{shape.position_limit:,}."
    )


def _gguf_problem(request: Request) -> ArgumentProblem:
    return ArgumentProblem(
        code="engine-format",
        argument="model",
        detail=f"vLLM cannot load GGUF files of architecture `{request.facts.architecture}`.",
        hint="Use `engine: llama.cpp`, or the original repository.",
    )


def _cpu_refusal(request: Request, shape: Shape) -> Refusal | None:
    if parallel_sizes(request.args) != (1, 1):
        detail = "Pipeline stages and data parallel engines stand on GPUs, of which there is none."
        return Refusal(code="ranks", detail=detail)
    without = sorted(scheme_of(shape.quantization, None).kinds() - _ON_CPU)
    if not without:
        return None
    return Refusal(
        code="compute-capability",
        detail=f"vLLM's CPU backend has no kernels for weights in {without[0]}.",
    )


# The first release of which its source was read that has them (config/cache.py, 0.18 and 0.22).
_FIRST_HEAD_SCALES = (0, 22, 0)


def _compute_refusal(shape: Shape, options: Options, kind: GpuKind) -> Refusal | None:
    shown = f"{kind.compute[0]}.{kind.compute[1]}"
    if kind.compute < _OLDEST_COMPUTE:
        detail = f"vLLM needs compute capability 7.0; {kind.name} has {shown}."
        return Refusal(code="compute-capability", detail=detail)
    kinds = scheme_of(shape.quantization, options.quantization).kinds()
    least, scheme = max(
        ((_LEAST_COMPUTE.get(own, _OLDEST_COMPUTE), own) for own in sorted(kinds)),
        default=(_OLDEST_COMPUTE, "none"),
    )
    if kind.compute < least:
        detail = (
            f"Weights in {scheme} need compute capability {least[0]}.{least[1]} in vLLM "
            f"{show_version(options.version)}; {kind.name} has {shown}."
        )
        return Refusal(code="compute-capability", detail=detail)
    if options.dtype == "bfloat16" and kind.compute < (8, 0):
        detail = (
            f"bfloat16 needs compute capability 8.0; {kind.name} has {shown}. Use `dtype: half`."
        )
        return Refusal(code="compute-capability", detail=detail)
    if options.dtype == "half" and needs_half(shape, kind) and half_forbidden(shape):
        detail = (
            f"{kind.name} has no bfloat16 (compute capability {shown}), and vLLM refuses "
            f"float16 for `{shape.model_type}` models."
        )
        return Refusal(code="compute-capability", detail=detail)
    if options.kv_dtype.endswith("_per_token_head") and (
        shape.mla or options.version < _FIRST_HEAD_SCALES
    ):
        what = "latent attention" if shape.mla else f"vLLM {show_version(options.version)}"
        detail = f"{what} has no KV cache in {options.kv_dtype}. Use `kv_cache_dtype: fp8`."
        return Refusal(code="format", detail=detail[0].upper() + detail[1:])
    if options.kv_dtype == "nvfp4" and kind.compute[0] != _BLACKWELL:
        detail = f"A KV cache in nvfp4 needs data centre Blackwell; {kind.name} has {shown}."
        return Refusal(code="compute-capability", detail=detail)
    if options.kv_dtype.startswith("fp8") and kind.compute < (8, 0):
        detail = f"A KV cache in fp8 needs compute capability 8.0; {kind.name} has {shown}."
        return Refusal(code="compute-capability", detail=detail)
    return None


def _parallel_refusal(shape: Shape, options: Options, gpus: int) -> Refusal | None:
    """Stages and engines that the arguments ask for, against the GPUs and the layers."""
    if options.gpus != gpus:
        stages, engines = options.pipeline_parallel, options.data_parallel
        parts = [f"{stages} pipeline stages"] if stages > 1 else []
        parts += [f"{engines} data parallel engines"] if engines > 1 else []
        detail = f"{gpus} GPUs do not make {' in each of '.join(parts)} of equal size."
        return Refusal(code="ranks", detail=detail)
    if options.pipeline_parallel > shape.layers:
        detail = f"{shape.layers} layers do not make {options.pipeline_parallel} pipeline stages."
        return Refusal(code="layers", detail=detail)
    draft, ranks = options.draft, options.tensor_parallel
    allowed = {ranks} if draft is not None and draft.method == "draft_model" else {1, ranks}
    if draft is not None and draft.tensor_parallel not in allowed:
        # config/speculative.py, v1/spec_decode/draft_model.py, 0.15 to 0.33.
        detail = f"The draft model cannot be cut over {draft.tensor_parallel} of {ranks} ranks."
        return Refusal(code="ranks", detail=detail)
    return None


def _split_refusal(shape: Shape, options: Options, site: Site) -> Refusal | None:
    if len(site.kinds) == 1:
        return None
    if any(kind.mig for kind in site.kinds):
        detail = "CUDA shows a process one MIG slice only, so a replica cannot be cut over several."
        return Refusal(code="mig", detail=detail)
    if any(kind.name != site.kinds[0].name for kind in site.kinds):
        return Refusal(code="unequal-gpus", detail="Tensor parallelism needs GPUs of one kind.")
    ranks = options.tensor_parallel
    if shape.encoder and ranks > 1:
        detail = f"`{shape.architecture}` is small and is not cut over GPUs."
        return Refusal(code="heads-not-divisible", detail=detail)
    if ranks > 1 and held_whole(shape.architecture, options.version):
        detail = f"Through Transformers every GPU would hold `{shape.architecture}` whole."
        return Refusal(code="heads-not-divisible", detail=detail)
    return _divisibility(shape, options, ranks)


def _divisibility(shape: Shape, options: Options, ranks: int) -> Refusal | None:
    """config/model.py `verify_with_parallel_config` and the shards of linear layers."""
    if shape.heads % ranks:
        detail = f"{shape.heads} attention heads cannot be cut over {ranks} GPUs."
        return Refusal(code="heads-not-divisible", detail=detail)
    few = min(shape.kv_heads, ranks)
    if few and not shape.mla and max(shape.kv_heads, ranks) % few:
        detail = f"{shape.kv_heads} KV heads cannot be cut over {ranks} GPUs."
        return Refusal(code="heads-not-divisible", detail=detail)
    if shape.recurrent and (
        shape.recurrent.value_heads % ranks
        or (shape.recurrent.kind == "gdn" and shape.recurrent.key_heads % ranks)
    ):
        detail = f"{shape.recurrent.value_heads} recurrent heads cannot be cut over {ranks} GPUs."
        return Refusal(code="heads-not-divisible", detail=detail)
    groups = shape.recurrent.key_heads if shape.recurrent else 0
    if shape.recurrent and shape.recurrent.kind == "mamba2" and groups > 1 and groups % ranks:
        # mamba_mixer2.py: only a single group is copied to every rank.
        detail = f"{groups} groups of recurrent heads cannot be cut over {ranks} GPUs."
        return Refusal(code="heads-not-divisible", detail=detail)
    return _tower_divisibility(shape, options) or _block_divisibility(shape, options, ranks)


def _tower_divisibility(shape: Shape, options: Options) -> Refusal | None:
    """Vision towers are cut by heads as well (`divide` in models/qwen2_5_vl.py, clip.py, ...)."""
    vision, ranks = shape.vision, vision_ranks(shape, options)
    if vision is None or vision.family == "unknown" or options.language_model_only:
        return None
    heads = vision.heads if vision.cuts_heads else 0
    for number, what in (
        (heads, "attention heads"),
        (vision.inner, "columns of the MLP"),
    ):
        if number % ranks and any(part.cut for part in vision.parts):
            detail = (
                f"{number} {what} of the vision tower cannot be cut over {ranks} GPUs; "
                "`mm_encoder_tp_mode: data` leaves it whole."
            )
            return Refusal(code="heads-not-divisible", detail=detail)
    return None


def _block_divisibility(shape: Shape, options: Options, ranks: int) -> Refusal | None:
    """Quantized shards must end on a scale: fp8 blocks and integer groups are not cut."""
    whole = scheme_of(shape.quantization, options.quantization)
    matrix = "mlp.experts.0.down_proj" if shape.experts else "mlp.down_proj"
    scheme = whole.for_module(f"model.layers.{shape.layers - 1}.{matrix}")
    step = scheme.block[1] if scheme.block else scheme.group
    widths = [(shape.inner, ranks)]
    if shape.experts:
        widths = [
            (shape.experts.width, options.expert_shards),
            (shape.experts.shared_width, ranks),
        ]
    for width, parts in widths:
        if width and (width % parts or (step and scheme.kind != "mxfp4" and width // parts % step)):
            detail = f"MLP width {width:,} cannot be cut over {parts} GPUs" + (
                f" in whole groups of {step}." if step else "."
            )
            return Refusal(code="heads-not-divisible", detail=detail)
    return None
