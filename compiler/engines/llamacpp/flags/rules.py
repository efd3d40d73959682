"""llama-server's flags: which a user may set, which the law costs, which modelc sets itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from compiler.engines.llamacpp.flags import builds
from compiler.engines.llamacpp.model.quants import CACHE_TYPES

Kind = Literal["switch", "integer", "number", "text", "choice", "list"]
Effect = Literal["costed", "passed", "managed", "uncosted", "unhealthy"]

NEVER = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One flag of llama-server.

    costed: it changes memory and the law follows it. passed: it does not change memory.
    managed: modelc sets it, `text` says from what. uncosted: the law does not follow it, `text`
    says why. unhealthy: with it no health check would ever succeed.
    """

    kind: Kind = "text"
    effect: Effect = "passed"
    text: str = ""
    choices: tuple[str, ...] = ()
    low: int | None = None
    uncosted_choices: Mapping[str, str] = field(default_factory=dict)
    """Words that llama-server takes and the law does not follow, each with the reason."""
    pattern: str = ""
    """What a text must match as a whole; `text` says it in words."""
    since: int = 0
    until: int = NEVER
    """Where the table of flags is not to decide: the first builds with the flag, and without."""


def _managed(text: str, kind: Kind = "text", since: int = 0) -> Argument:
    return Argument(kind=kind, effect="managed", text=text, since=since)


def _uncosted(text: str, since: int = 0) -> Argument:
    return Argument(effect="uncosted", text=text, since=since)


_OTHER_FILE = "its memory is that of another file, which the lock does not describe"
_SOURCE = "write the source of the file, so that it is locked, as"
_ROUTER = "it makes llama-server start other models, which no plan would know of"

_COSTED = {
    "batch_size": Argument(kind="integer", effect="costed", low=1),
    "ubatch_size": Argument(kind="integer", effect="costed", low=1),
    "flash_attn": Argument(kind="choice", effect="costed", choices=("on", "off", "auto")),
    "cache_type_k": Argument(kind="choice", effect="costed", choices=CACHE_TYPES),
    "cache_type_v": Argument(kind="choice", effect="costed", choices=CACHE_TYPES),
    "swa_full": Argument(kind="switch", effect="costed", since=builds.SWA_FULL_FLAG),
    "kv_offload": Argument(kind="switch", effect="costed"),
    "op_offload": Argument(kind="switch", effect="costed", since=builds.NO_OP_OFFLOAD_FLAG),
    "cpu_moe": Argument(kind="switch", effect="costed", since=builds.CPU_MOE_FLAG),
    "n_cpu_moe": Argument(kind="integer", effect="costed", low=0, since=builds.N_CPU_MOE_FLAG),
    "override_tensor": Argument(kind="list", effect="costed", since=builds.OVERRIDE_TENSOR_FLAG),
    "split_mode": Argument(
        kind="choice",
        effect="costed",
        choices=("layer", "none"),
        uncosted_choices={
            # ggml-cuda.cu registers no split buffers any more: loading ends with "does not support
            # split buffers". ggml-backend-meta.cpp is behind `tensor`.
            "row": "CUDA builds of late 2026 refuse it at start, and older ones cut each matrix",
            "tensor": "it cuts each weight and the cache by heads over all GPUs, experimentally",
        },
    ),
    "main_gpu": Argument(kind="integer", effect="costed", low=0),
    "mmap": Argument(kind="switch", effect="costed", until=builds.NO_MMAP_GONE),
    "load_mode": Argument(
        kind="choice",
        effect="costed",
        choices=("none", "mmap", "mlock", "mmap+mlock"),
        since=builds.LOAD_MODE_FLAG,
    ),
    "mlock": Argument(kind="switch", effect="costed", until=builds.NO_MMAP_GONE),
    "cache_ram": Argument(kind="integer", effect="costed", low=0, since=builds.CACHE_RAM_FLAG),
    "ctx_checkpoints": Argument(
        kind="integer", effect="costed", low=0, since=builds.CHECKPOINTS_FLAG
    ),
    "pooling": Argument(kind="choice", effect="costed", choices=("mean", "cls", "last", "none")),
}

_DRAFTS = builds.DRAFT_CONTEXT
_COMPANIONS = {
    "lora": Argument(kind="list", effect="costed"),
    "mmproj": Argument(effect="costed", since=builds.MMPROJ_FLAG),
    "mmproj_offload": Argument(kind="switch", effect="costed", since=builds.MMPROJ_FLAG),
    "mmproj_device": Argument(effect="costed", since=builds.MMPROJ_DEVICE_FLAG),
    "image_min_tokens": Argument(
        kind="integer", effect="costed", low=1, since=builds.IMAGE_TOKENS_FLAG
    ),
    "image_max_tokens": Argument(
        kind="integer", effect="costed", low=1, since=builds.IMAGE_TOKENS_FLAG
    ),
    "mtmd_batch_max_tokens": Argument(kind="integer", effect="costed", low=1),
    "model_draft": Argument(effect="costed"),
    "spec_type": Argument(kind="list", effect="costed", since=_DRAFTS),
    "spec_draft_n_max": Argument(kind="integer", effect="costed", low=1, since=_DRAFTS),
    "gpu_layers_draft": Argument(kind="integer", effect="costed", low=0),
    "cache_type_k_draft": Argument(kind="choice", effect="costed", choices=CACHE_TYPES),
    "cache_type_v_draft": Argument(kind="choice", effect="costed", choices=CACHE_TYPES),
    "cpu_moe_draft": Argument(kind="switch", effect="costed", since=_DRAFTS),
    "n_cpu_moe_draft": Argument(kind="integer", effect="costed", low=0, since=_DRAFTS),
    "override_tensor_draft": Argument(kind="list", effect="costed", since=_DRAFTS),
    "spec_ngram_mod_n_max": Argument(kind="integer", effect="costed", low=1, since=_DRAFTS),
    "spec_ngram_simple_size_m": Argument(kind="integer", effect="costed", low=1, since=_DRAFTS),
    "spec_ngram_map_k_size_m": Argument(kind="integer", effect="costed", low=1, since=_DRAFTS),
    "spec_ngram_map_k4v_size_m": Argument(kind="integer", effect="costed", low=1, since=_DRAFTS),
    # What decides how much is drafted, and by which CPUs, but no size.
    **dict.fromkeys(
        (
            *("spec_draft_n_min", "spec_ngram_mod_n_min", "spec_ngram_mod_n_match"),
            *("spec_ngram_simple_size_n", "spec_ngram_simple_min_hits"),
            *("spec_ngram_map_k_size_n", "spec_ngram_map_k_min_hits"),
            *("spec_ngram_map_k4v_size_n", "spec_ngram_map_k4v_min_hits"),
            *("threads_draft", "threads_batch_draft"),
        ),
        Argument(kind="integer", since=_DRAFTS),
    ),
    **dict.fromkeys(
        ("spec_draft_p_min", "spec_draft_p_split"), Argument(kind="number", since=_DRAFTS)
    ),
    "video_fps": Argument(kind="number", since=builds.MMPROJ_DEVICE_FLAG),
}

_MANAGED = {
    "model": _managed("`model` of the service"),
    "model_url": _managed("`model` of the service"),
    "hf_repo": _managed("`model` of the service"),
    "hf_file": _managed("`model` of the service"),
    "docker_repo": _managed("`model` of the service"),
    "ctx_size": _managed("`context`, `concurrency` and `kv_tokens`"),
    "parallel": _managed("`concurrency`"),
    "kv_unified": _managed("`kv_tokens`: below context x concurrency the slots share a pool"),
    "kv_unified_per_slot": _managed("`kv_tokens` and `context`"),
    "n_gpu_layers": _managed("`offload`"),
    "gpu_layers": _managed("`offload`"),
    "tensor_split": _managed("the placement: layers are dealt out by what is free"),
    "device": _managed("`placement`"),
    "fit": _managed("the memory law; sizes must not change at start"),
    "fit_target": _managed("the memory law"),
    "fit_ctx": _managed("the memory law"),
    "port": _managed("`ports` of the host"),
    "host": _managed("`listen` of the service, its host or the defaults"),
    "alias": _managed("the name of the service"),
    "embedding": _managed("`task: embed`"),
    "embeddings": _managed("`task: embed`"),
    "rerank": _managed("`task: rerank`"),
    "reranking": _managed("`task: rerank`"),
    "api_key": _managed("`secrets: [LLAMA_API_KEY]`"),
}

# It becomes part of the URL that health checks ask.
_PREFIX = {
    "api_prefix": Argument(
        pattern=r"(?:/[A-Za-z0-9._~-]{1,60}){1,8}", text="it must be a path such as `/v2`"
    )
}

_UNCOSTED = {
    "ssl_key_file": Argument(effect="unhealthy"),
    "ssl_cert_file": Argument(effect="unhealthy"),
    "mmproj_url": _uncosted(f"{_SOURCE} `mmproj`"),
    "mmproj_auto": _uncosted(f"{_SOURCE} `mmproj`"),
    "spec_draft_model": _uncosted(f"{_SOURCE} `model_draft`"),
    "spec_draft_hf": _uncosted(f"{_SOURCE} `model_draft`"),
    "hf_repo_draft": _uncosted(f"{_SOURCE} `model_draft`"),
    "device_draft": _uncosted("the draft goes where `tensor_split` sends its model's layers"),
    "spec_default": _uncosted("it stands for flags that change; write `spec_type`"),
    "lora_scaled": _uncosted(f"{_SOURCE} `lora`; a scale is set by POST /lora-adapters"),
    "control_vector": _uncosted(_OTHER_FILE),
    "control_vector_scaled": _uncosted(_OTHER_FILE),
    "model_vocoder": _uncosted(_OTHER_FILE),
    "override_kv": _uncosted("it changes the header from which the law computes"),
    "rpc": _uncosted("it adds devices of other hosts"),
    "direct_io": _uncosted("its buffers are not covered"),
    "no_host": _uncosted("it moves host weights out of pinned memory"),
    "backend_sampling": _uncosted("it adds several rows of logits a slot on the GPU"),
    "n_cpu_ffn": _uncosted("write the layers as `override_tensor`"),
    "lazy_mode": _uncosted("it reads host weights on demand"),
    "models_dir": _uncosted(_ROUTER),
    "models_preset": _uncosted(_ROUTER),
    "models_max": _uncosted(_ROUTER),
    "models_autoload": _uncosted(_ROUTER),
}

_PASSED_SWITCHES = (
    "cont_batching",
    "context_shift",
    "warmup",
    "jinja",
    "slots",
    "webui",
    "ui",
    "escape",
    "cache_prompt",
    "cache_idle_slots",
    "prefill_assistant",
    "repack",
    "perf",
    "metrics",
    "props",
    "log_disable",
    "log_prefix",
    "log_timestamps",
    "log_jsonl",
    "verbose",
    "check_tensors",
    "special",
    "ignore_eos",
    "spm_infill",
    "lora_init_without_apply",
    "skip_chat_parsing",
    "offline",
    "reasoning_preserve",
    "reuse_port",
    "cors_credentials",
)
_PASSED_INTEGERS = (
    "threads",
    "threads_batch",
    "threads_http",
    "prio",
    "prio_batch",
    "poll",
    "poll_batch",
    "timeout",
    "keep",
    "seed",
    "n_predict",
    "predict",
    "cache_reuse",
    "sleep_idle_seconds",
    "reasoning_budget",
    "top_k",
    "repeat_last_n",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "mirostat",
    "verbosity",
    "log_verbosity",
    "yarn_orig_ctx",
    "embd_normalize",
    "checkpoint_min_step",
    "sse_ping_interval",
)
_PASSED_NUMBERS = (
    "temp",
    "top_p",
    "min_p",
    "top_nsigma",
    "xtc_probability",
    "xtc_threshold",
    "typical",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "dry_multiplier",
    "dry_base",
    "dynatemp_range",
    "dynatemp_exp",
    "mirostat_lr",
    "mirostat_ent",
    "rope_scale",
    "rope_freq_base",
    "rope_freq_scale",
    "yarn_ext_factor",
    "yarn_attn_factor",
    "yarn_beta_slow",
    "yarn_beta_fast",
    "slot_prompt_similarity",
    "defrag_thold",
)
_PASSED_TEXTS = (
    "chat_template",
    "chat_template_file",
    "chat_template_kwargs",
    "reasoning",
    "reasoning_budget_message",
    "reasoning_effort",
    "reasoning_format",
    "api_key_file",
    "path",
    "slot_save_path",
    "numa",
    "cpu_mask",
    "cpu_range",
    "cpu_mask_batch",
    "cpu_range_batch",
    "log_file",
    "log_colors",
    "rope_scaling",
    "samplers",
    "sampler_seq",
    "grammar",
    "grammar_file",
    "json_schema",
    "json_schema_file",
    "logit_bias",
    "dry_sequence_breaker",
    "tags",
    "media_path",
    "tools",
    "cors_headers",
    "cors_methods",
    "cors_origins",
)

ARGUMENTS: Mapping[str, Argument] = MappingProxyType(
    {
        **dict.fromkeys(_PASSED_SWITCHES, Argument(kind="switch")),
        **dict.fromkeys(
            ("cpu_strict", "cpu_strict_batch"), Argument(kind="choice", choices=("0", "1"))
        ),
        **dict.fromkeys(_PASSED_INTEGERS, Argument(kind="integer")),
        **dict.fromkeys(_PASSED_NUMBERS, Argument(kind="number")),
        **dict.fromkeys(_PASSED_TEXTS, Argument()),
        **_PREFIX,
        **_UNCOSTED,
        **_MANAGED,
        **_COMPANIONS,
        **_COSTED,
    }
)

# What does the same in builds that lack one of them.
TWINS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mmap": ("load_mode",),
        "mlock": ("load_mode",),
        "load_mode": ("mmap", "mlock"),
        "ui": ("webui",),
        "webui": ("ui",),
        "reasoning": ("reasoning_budget",),
    }
)

# Short flags that people know better than the long ones.
SHORT = {
    "lv": "verbosity",
    "b": "batch_size",
    "ub": "ubatch_size",
    "c": "ctx_size",
    "np": "parallel",
    "ngl": "n_gpu_layers",
    "ts": "tensor_split",
    "sm": "split_mode",
    "mg": "main_gpu",
    "fa": "flash_attn",
    "ctk": "cache_type_k",
    "ctv": "cache_type_v",
    "ot": "override_tensor",
    "cmoe": "cpu_moe",
    "ncmoe": "n_cpu_moe",
    "kvo": "kv_offload",
    "cram": "cache_ram",
    "ctxcp": "ctx_checkpoints",
    "swa_checkpoints": "ctx_checkpoints",
    "lm": "load_mode",
    "t": "threads",
    "tb": "threads_batch",
    "a": "alias",
    "m": "model",
    "md": "model_draft",
    "mm": "mmproj",
    "draft": "spec_draft_n_max",
    "draft_max": "spec_draft_n_max",
    "draft_min": "spec_draft_n_min",
    "ngld": "gpu_layers_draft",
    "spec_draft_ngl": "gpu_layers_draft",
    "ctkd": "cache_type_k_draft",
    "ctvd": "cache_type_v_draft",
    "spec_draft_type_k": "cache_type_k_draft",
    "spec_draft_type_v": "cache_type_v_draft",
    "spec_draft_cpu_moe": "cpu_moe_draft",
    "spec_draft_n_cpu_moe": "n_cpu_moe_draft",
    "spec_draft_override_tensor": "override_tensor_draft",
    "draft_p_min": "spec_draft_p_min",
}
