"""From a request and a kind of GPU to launch options: what vLLM decides at start, decided here."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.engines.vllm.flags.check import normalize_arguments
from compiler.engines.vllm.flags.values import DRAFTING, as_mapping
from compiler.engines.vllm.launch.drafts import draft_of
from compiler.engines.vllm.launch.options import CudagraphMode, Draft, Lora, Options, batch_defaults
from compiler.engines.vllm.model.architectures import architectures
from compiler.engines.vllm.model.config import shape_of
from compiler.engines.vllm.model.gguf import config_of
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import NEWEST, Rules, Version, parse_version, rules_of
from compiler.ir.demand import Request
from compiler.ir.facts import HeaderValue
from compiler.ir.inventory import GpuKind
from compiler.ir.spec import ArgValue
from compiler.ir.units import GIB

# Batch defaults of the CPU backend, a socket (platforms/cpu.py, 0.28 to 0.33).
_CPU_TOKENS = 2048
_CPU_BLOCK = 128
_FP8_BITS = 8
_BLACKWELL = 10
_SMALL_BLACKWELL = 12
_FEW_HEADS = 16
# The first compute capability with bfloat16.
_AMPERE = (8, 0)
# Default of --limit-mm-per-prompt (config/multimodal.py, 0.32); older versions have 1.
_MANY_IMAGES = 999
# config/model.py `_FLOAT16_NOT_SUPPORTED_MODELS`, 0.9 to 0.33: numerically unstable in float16.
_NO_HALF = frozenset({"gemma2", "gemma3", "gemma3_text", "plamo2", "glm4"})

# Overrides that turn a language model trained as a reranker into a classifier with one score
# (model cards and docs/models/pooling_models of vLLM 0.10 to 0.33).
_RERANKER_OVERRIDES: dict[str, dict[str, HeaderValue]] = {
    "Qwen3ForCausalLM": {
        "architectures": ["Qwen3ForSequenceClassification"],
        "classifier_from_token": ["no", "yes"],
        "is_original_qwen3_reranker": True,
    },
    "Qwen2ForCausalLM": {
        "architectures": ["Qwen2ForSequenceClassification"],
        "classifier_from_token": ["0", "1"],
        "method": "from_2_way_softmax",
    },
    "GemmaForCausalLM": {
        "architectures": ["GemmaForSequenceClassification"],
        "classifier_from_token": ["Yes"],
        "method": "no_post_processing",
    },
}


# Classes of a repository's own code, by the names of vLLM's classes for them
# (models/registry.py, 0.9 to 0.33; docs/models/pooling_models).
_OWN_CLASSES = {
    "NewModel": "GteNewModel",
    "NewForSequenceClassification": "GteNewForSequenceClassification",
}


def version_of(request: Request) -> Version:
    """The version of the request; the newest known one when the text cannot be read."""
    return parse_version(request.version) or NEWEST


def effective_header(request: Request) -> dict[str, HeaderValue]:
    """config.json with --hf-overrides laid over it, nested sections merged."""
    facts = request.facts
    base = config_of(facts) if facts.format == "gguf" else facts.header
    return merged(base, header_overrides(request))


def header_overrides(request: Request) -> dict[str, HeaderValue]:
    """What --hf-overrides must say: what the task needs, with the user's own on top."""
    needed: dict[str, HeaderValue] = {}
    native = _OWN_CLASSES.get(request.facts.architecture)
    if native is not None and architectures().has(native, version_of(request)):
        needed = {"architectures": [native]}
    elif request.task == "rerank":
        needed = _RERANKER_OVERRIDES.get(request.facts.architecture, {})
    own = as_mapping(request.args.get("hf_overrides", {}))
    return merged(needed, own)


def request_shape(request: Request) -> Shape:
    """The model's shape under the request. Raises ShapeError when the config says too little."""
    return shape_of(effective_header(request))


def options_of(request: Request, shape: Shape, kind: GpuKind | None, ranks: int) -> Options:
    """Complete options of a launch on `ranks` GPUs of one kind; without a kind, on the CPU.

    What pipeline and data parallelism leave of the GPUs are tensor parallel ranks; a number that
    does not divide is refused elsewhere.
    """
    version = version_of(request)
    args = normalize_arguments(request.args, version)
    rules = rules_of(version)
    pooling = shape.encoder or request.task != "generate"
    sizes, limit, mode = _graphs(args)
    images = _images(args)
    stages, engines = parallel_sizes(request.args)
    speculative = as_mapping(args.get("speculative_config", {}))
    method = str(speculative.get("method") or "")
    tensor_parallel = max(1, ranks // (stages * engines))
    return Options(
        version=version,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=stages,
        data_parallel=engines,
        expert_parallel=bool(args.get("enable_expert_parallel")),
        context=request.context,
        sequences=sequences_of(request),
        batched_tokens=_batched_tokens(request, args, shape, rules, kind),
        dtype=_dtype(args, shape, kind),
        kv_dtype=_kv_dtype(args, shape, kind, rules, tensor_parallel),
        quantization=_text(args, "quantization"),
        block_size=_whole(args, "block_size") or (None if kind else _CPU_BLOCK),
        pooling=pooling,
        prefix_caching=_flag(args, "enable_prefix_caching"),
        async_scheduling=args.get("async_scheduling") is not False,
        hybrid_kv=args.get("disable_hybrid_kv_cache_manager") is not True,
        compiles=_compiles(args),
        cudagraph="none" if kind is None else mode,
        capture_sizes=sizes,
        capture_limit=limit,
        language_model_only=bool(args.get("language_model_only")),
        images=images,
        picture_pixels=_whole(as_mapping(args.get("mm_processor_kwargs", {})), "max_pixels"),
        profile_images=not args.get("skip_mm_profiling"),
        replicate_vision=args.get("mm_encoder_tp_mode") == "data",
        lora=_lora(args),
        draft_method=_draft_method(method),
        draft_tokens=_whole(speculative, "num_speculative_tokens") or 0,
        draft_layers=shape.draft_layers if "mtp" in method else 0,
        draft=_draft(request, speculative, tensor_parallel),
        cpu_offload_bytes=_offload(args, shape, rules),
        kv_ram_bytes=_gibibytes(args, "kv_offloading_size"),
        sleeps=bool(args.get("enable_sleep_mode")),
        api_servers=_whole(args, "api_server_count") or (engines if rules.servers_by_rank else 1),
        image_cache_bytes=_image_cache(args, shape),
        flashinfer_attention="FLASHINFER" in str(args.get("attention_backend", "")).upper(),
        flashinfer_sampler=kind is not None and kind.compute >= (7, 5),
        mxfp4_backend=_moe_backend(args),
        ssm_dtype_bytes=_state_bytes(args, kind),
    )


def _draft(request: Request, config: Mapping[str, ArgValue], tensor_parallel: int) -> Draft | None:
    """The draft model, where the arguments name one that is none of the target's own layers."""
    method = str(config.get("method") or "")
    companions = request.companions.get("speculative_config", ())
    if not companions or (method and method not in DRAFTING):
        return None
    return draft_of(config, companions[0], tensor_parallel)


def _draft_method(method: str) -> str:
    """The method with those of single families (`qwen3_next_mtp`, ...) under their common name."""
    return "mtp" if method.endswith("mtp") else method


def parallel_sizes(args: Mapping[str, ArgValue]) -> tuple[int, int]:
    """Pipeline stages and data parallel engines that the arguments ask for."""
    return (
        max(1, _whole(args, "pipeline_parallel_size") or 1),
        max(1, _whole(args, "data_parallel_size") or 1),
    )


def sequences_of(request: Request) -> int:
    """Requests in flight on one data parallel engine: they are dealt out evenly."""
    return -(-request.concurrency // parallel_sizes(request.args)[1])


def prefills_in_chunks(request: Request, shape: Shape, rules: Rules) -> bool:
    """Whether a prompt longer than a batch is cut up; otherwise a batch must hold the longest."""
    args = normalize_arguments(request.args, version_of(request))
    if shape.encoder or args.get("enable_chunked_prefill") is False:
        return False
    if request.task == "generate":
        return True
    # Only pooling of the last token can see a prompt in pieces.
    return rules.pooling_chunks and request.facts.pooling in {None, "last", "none", "rank"}


def needs_half(shape: Shape, kind: GpuKind | None) -> bool:
    """Whether the GPU lacks bfloat16, so that a model in it must run in float16."""
    return kind is not None and kind.compute < _AMPERE and shape.dtype != "float16"


def half_forbidden(shape: Shape) -> bool:
    """Whether vLLM refuses float16 for this model."""
    return shape.model_type in _NO_HALF


def merged(
    base: Mapping[str, HeaderValue], over: Mapping[str, ArgValue] | Mapping[str, HeaderValue]
) -> dict[str, HeaderValue]:
    """One mapping laid over another, nested sections merged."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def _batched_tokens(
    request: Request,
    args: Mapping[str, ArgValue],
    shape: Shape,
    rules: Rules,
    kind: GpuKind | None,
) -> int:
    """The user's own, or vLLM's default for the GPU, bounded by what requests can ever fill."""
    own = _whole(args, "max_num_batched_tokens")
    if own:
        return own
    tokens = batch_defaults(kind, rules)[0] if kind else _CPU_TOKENS
    if not prefills_in_chunks(request, shape, rules):
        tokens = max(tokens, request.context)
    sequences = sequences_of(request)
    return max(min(tokens, sequences * request.context), sequences)


def _dtype(args: Mapping[str, ArgValue], shape: Shape, kind: GpuKind | None) -> str:
    own = _text(args, "dtype") or "auto"
    return "half" if own == "auto" and needs_half(shape, kind) else own


def _kv_dtype(
    args: Mapping[str, ArgValue], shape: Shape, kind: GpuKind | None, rules: Rules, ranks: int
) -> str:
    own = _text(args, "kv_cache_dtype") or "auto"
    if own == "auto" and kind and kind.compute >= (8, 9) and _checkpoint_kv_is_fp8(shape):
        own = "fp8"
    if shape.mla is None or not shape.mla.index_heads or kind is None:
        return own
    return _sparse_kv_dtype(own, shape.heads // ranks, kind, rules)


def _sparse_kv_dtype(own: str, heads: int, kind: GpuKind, rules: Rules) -> str:
    """How sparse latent attention keeps a cache in fp8: packed with its scales, or as it is.

    That follows from the backend that the GPU prefers (platforms/cuda.py
    `_get_backend_priorities`, layers/attention/mla_attention.py, 0.18, 0.22, 0.29 and 0.32):
    FlashInfer's on data centre Blackwell keeps it as it is, until 0.19 for few heads alone, and
    that of other Blackwell knows only the packed form.
    """
    if kind.compute[0] == _SMALL_BLACKWELL and own in {"auto", "fp8", "fp8_e4m3"}:
        return "fp8_ds_mla"
    if not own.startswith("fp8"):
        return own
    plain = rules.plain_sparse_fp8 or heads <= _FEW_HEADS
    return own if kind.compute[0] == _BLACKWELL and plain else "fp8_ds_mla"


def _checkpoint_kv_is_fp8(shape: Shape) -> bool:
    """Checkpoints with calibrated KV scales are served with an fp8 cache."""
    config = shape.quantization or {}
    scheme = config.get("kv_cache_scheme")
    if isinstance(scheme, dict) and scheme.get("type") == "float":
        return scheme.get("num_bits") == _FP8_BITS
    return str(config.get("kv_cache_quant_algo") or "").upper() == "FP8"


def _graphs(
    args: Mapping[str, ArgValue],
) -> tuple[tuple[int, ...], int | None, CudagraphMode]:
    config = as_mapping(args.get("compilation_config", {}))
    listed = (
        args.get("cudagraph_capture_sizes")
        or args.get("cuda_graph_sizes")
        or config.get("cudagraph_capture_sizes")
        or []
    )
    limit = (
        _whole(args, "max_cudagraph_capture_size")
        or _whole(config, "max_cudagraph_capture_size")
        or _whole(config, "max_capture_size")
    )
    sizes = _whole_numbers(listed)
    if "cuda_graph_sizes" in args and len(sizes) == 1:
        # One number meant the largest size there (config/scheduler.py, 0.9 to 0.11).
        return (), sizes[0], _mode(args, config)
    return sizes, limit, _mode(args, config)


def _mode(args: Mapping[str, ArgValue], config: Mapping[str, ArgValue]) -> CudagraphMode:
    name = str(config.get("cudagraph_mode") or "").upper()
    if name == "NONE" or config.get("use_cudagraph") is False or not _compiles(args):
        return "none"
    if name == "PIECEWISE":
        return "piecewise"
    return "full_decode" if name in {"FULL", "FULL_DECODE_ONLY"} else "full_and_piecewise"


def _compiles(args: Mapping[str, ArgValue]) -> bool:
    """Switching compilation off takes the graphs with it."""
    config = as_mapping(args.get("compilation_config", {}))
    off = config.get("level") == 0 or config.get("mode") == 0
    return not (off or args.get("enforce_eager") is True or args.get("optimization_level") == 0)


def _images(args: Mapping[str, ArgValue]) -> int:
    """Most images or videos of a prompt: either of them makes vLLM profile the tower."""
    limits = as_mapping(args.get("limit_mm_per_prompt", {}))
    return max(_limit(limits, "image"), _limit(limits, "video"))


def _limit(limits: Mapping[str, ArgValue], modality: str) -> int:
    value = limits.get(modality, _MANY_IMAGES)
    if isinstance(value, dict):
        value = value.get("count", _MANY_IMAGES)
    return value if isinstance(value, int) else _MANY_IMAGES


def _lora(args: Mapping[str, ArgValue]) -> Lora | None:
    if not args.get("enable_lora"):
        return None
    return Lora(adapters=_whole(args, "max_loras") or 1, rank=_whole(args, "max_lora_rank") or 16)


def _offload(args: Mapping[str, ArgValue], shape: Shape, rules: Rules) -> int:
    """Bytes a GPU that --cpu-offload-gb moves to RAM, where the version's runner honours it."""
    gigabytes = args.get("cpu_offload_gb", 0)
    ignored = rules.v2_ignores_offload and not shape.experts and not shape.recurrent
    if not isinstance(gigabytes, int | float) or ignored:
        return 0
    return int(gigabytes * GIB)


def _gibibytes(args: Mapping[str, ArgValue], name: str) -> int:
    size = args.get(name, 0)
    if isinstance(size, bool) or not isinstance(size, int | float):
        return 0
    return int(size * GIB)


def _image_cache(args: Mapping[str, ArgValue], shape: Shape) -> int:
    """RAM that processed images may fill in one process; 4 GiB unless said (0.10 to 0.33)."""
    if not shape.multimodal or args.get("language_model_only"):
        return 0
    gigabytes = args.get("mm_processor_cache_gb", 4)
    return int(gigabytes * GIB) if isinstance(gigabytes, int | float) else 0


def _state_bytes(args: Mapping[str, ArgValue], kind: GpuKind | None) -> int | None:
    """Bytes of a number of recurrent states; the CPU backend keeps them in 32 bits (cpu.py)."""
    said = {"float32": 4, "float16": 2, "bfloat16": 2}.get(str(args.get("mamba_ssm_cache_dtype")))
    return said or (None if kind else 4)


def _moe_backend(args: Mapping[str, ArgValue]) -> str | None:
    own = _text(args, "moe_backend")
    return own if own in {"marlin", "triton"} else None


def _flag(args: Mapping[str, ArgValue], name: str) -> bool | None:
    value = args.get(name)
    return value if isinstance(value, bool) else None


def _text(args: Mapping[str, ArgValue], name: str) -> str | None:
    value = args.get(name)
    return str(value) if isinstance(value, str) and value else None


def _whole(args: Mapping[str, ArgValue], name: str) -> int | None:
    """A whole number, which the command line may carry as text."""
    value = args.get(name)
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _whole_numbers(value: ArgValue) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,)
    items = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(items, list):
        return ()
    return tuple(
        sorted({int(item) for item in items if isinstance(item, int | str) and str(item).isdigit()})
    )
