"""Values of the user's vLLM flags: their kinds, ranges, and those the memory law does not cover."""

from __future__ import annotations

import json
from collections.abc import Mapping

from compiler.engines.vllm.flags.rules import WAYS_OUT
from compiler.engines.vllm.flags.table import FlagKind
from compiler.ir.spec import ArgValue

HINTS: dict[str, str] = {
    "mm_processor_kwargs": (
        "Write `max_pixels` to cap pictures, or `limit_mm_per_prompt` to cap their number."
    ),
    "spec_method": "Write `speculative_config: {method: ..., num_speculative_tokens: ...}`.",
    "spec_tokens": "Write `speculative_config: {method: ..., num_speculative_tokens: ...}`.",
    "speculative_config": (
        "Covered are `ngram`, `mtp`, and with a `model` `draft_model`, `eagle`, `eagle3`, `medusa`."
    ),
}
_KIND_NAMES: dict[FlagKind, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "text": "a text",
    "list": "a list",
    "json": "a mapping",
}
LIKE_TRITON = frozenset({"cutlass", "deep_gemm", "flashinfer_cutlass", "flashinfer_trtllm"})
"""Kernels of experts that hold weights in as many bytes as Triton's; their workspaces are taken
for its."""
# Values that the law has a formula for.
_COVERED: dict[str, frozenset[str]] = {
    "kv_cache_dtype": frozenset(
        {"auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla", "nvfp4"}
        | {"fp8_per_token_head", "int8_per_token_head"}
    ),
    "quantization": frozenset(
        {"fp8", "bitsandbytes", "awq", "awq_marlin", "gptq", "gptq_marlin", "compressed-tensors"}
        | {"modelopt", "modelopt_fp4", "mxfp4", "gguf", "auto-round", "fbgemm_fp8"}
    ),
    "lora_dtype": frozenset({"auto", "float16", "bfloat16"}),
    "moe_backend": frozenset({"auto", "triton", "marlin"} | LIKE_TRITON),
}
# Values that it has none for, and why.
_UNCOVERED: dict[str, dict[str, str]] = {
    "model_impl": {"transformers": "weights are not fused in the Transformers implementation"},
    "distributed_executor_backend": {"ray": "Ray keeps an object store of its own"},
    "performance_mode": {"interactivity": "other CUDA graphs are captured"},
    "dtype": {
        "float": "32-bit weights have no formula yet",
        "float32": "32-bit weights have no formula yet",
    },
}
_LEAST = {
    "api_server_count": 1,
    "block_size": 1,
    "cpu_offload_gb": 0,
    "data_parallel_size": 1,
    "kv_offloading_size": 0,
    "max_loras": 1,
    "max_num_batched_tokens": 1,
    "mm_processor_cache_gb": 0,
    "optimization_level": 0,
    "pipeline_parallel_size": 1,
}
_HIGHEST_LEVEL = 3
_LINE = 60
# Keys of --compilation-config that leave memory alone, beside those the law reads.
_COMPILATION_KEYS = frozenset(
    {"cudagraph_mode", "cudagraph_capture_sizes", "max_cudagraph_capture_size", "max_capture_size"}
    | {"cache_dir", "debug_dump_path", "custom_ops", "compile_cache_save_format", "level", "mode"}
    | {"cudagraph_num_of_warmups", "full_cuda_graph", "use_cudagraph"}
)
# What caps pictures: pixels of the largest, and what does not make them larger.
_PICTURE_KEYS = frozenset(
    {"max_pixels", "min_pixels", "use_fast", "do_rescale", "rescale_factor", "do_normalize"}
    | {"image_mean", "image_std", "do_convert_rgb"}
)
_DRAFTLESS = frozenset({"ngram", "suffix", "mtp"})
DRAFTING = frozenset({"draft_model", "eagle", "eagle3", "medusa"})
"""Methods with a model of their own."""
# Keys of --speculative-config that change what a draft model takes.
_SPECULATIVE_KEYS = frozenset({"quantization", "kv_cache_dtype", "moe_backend", "max_model_len"})


def mismatch(kind: FlagKind, name: str, value: ArgValue) -> str | None:
    """What a flag of this kind takes, when the value is of another kind."""
    ok = True
    match kind:
        case "bool":
            ok = isinstance(value, bool)
        case "int":
            ok = isinstance(value, int) and not isinstance(value, bool)
        case "float":
            ok = isinstance(value, int | float) and not isinstance(value, bool)
        case "text":
            ok = isinstance(value, str | int | float) and not isinstance(value, bool)
        case "list":
            ok = isinstance(value, list | str | int)
        case "json":
            ok = isinstance(value, dict) or _is_json_object(value)
    if name == "ssl_cert_reqs" or (name == "api_server_count" and value == "auto"):
        return None
    return None if ok else _KIND_NAMES[kind]


def out_of_range(name: str, value: ArgValue) -> str | None:
    """What a flag takes, when the value is of the right kind but the engine refuses it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    least = _LEAST.get(name)
    if least is not None and value < least:
        return f"a number from {least} upwards"
    if name == "block_size" and value % 8:
        return "a multiple of 8"
    if name == "optimization_level" and value > _HIGHEST_LEVEL:
        return f"a level up to {_HIGHEST_LEVEL}"
    return None


def uncovered(name: str, value: ArgValue) -> str | None:
    """Why the law does not cover this value of a flag that it otherwise covers."""
    if name in _COVERED and str(value) not in _COVERED[name]:
        return f"`{show(value)}` has no formula yet"
    if (reason := _UNCOVERED.get(name, {}).get(str(value))) is not None:
        return reason
    if name == "speculative_config":
        return _speculative(as_mapping(value))
    if name == "mm_processor_kwargs":
        unknown = sorted(set(as_mapping(value)) - _PICTURE_KEYS)
        return f"its key `{unknown[0]}` has no formula yet" if unknown else None
    if name == "kv_offloading_backend" and value != "native":
        return f"`{show(value)}` keeps buffers of its own"
    if name == "compilation_config":
        unknown = sorted(set(as_mapping(value)) - _COMPILATION_KEYS)
        return f"its key `{unknown[0]}` has no formula yet" if unknown else None
    return None


def hint_for(name: str, value: ArgValue) -> str:
    """The way out of an argument that is refused, where there is one."""
    if name == "kv_cache_dtype":
        return "Write `kv_cache_dtype: fp8`, or `nvfp4` on data centre Blackwell."
    if name == "moe_backend":
        return "Leave it out, or write `triton`, `marlin` or `cutlass`."
    if name == "speculative_config" and as_mapping(value).get("method") in {"dflash", "dspark"}:
        return "Its drafts are not costed yet; use `mtp`, `eagle3` or `ngram`."
    return HINTS.get(name, "") or WAYS_OUT.get(name, "")


def changes_nothing(name: str, value: ArgValue) -> bool:
    """Whether a refused flag stands at a value that leaves everything as it is."""
    if value is False:
        return True
    return value == 1 and (name.endswith("_size") or name == "nnodes")


def as_mapping(value: ArgValue) -> Mapping[str, ArgValue]:
    """A mapping argument, written as YAML or as JSON in a text; empty for anything else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}
    return {}


def show(value: ArgValue) -> str:
    """A value as the user would write it, cut to a line."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= _LINE else f"{text[: _LINE - 3]}..."


def _is_json_object(value: ArgValue) -> bool:
    return isinstance(value, str) and bool(as_mapping(value) or value.strip() == "{}")


def _speculative(config: Mapping[str, ArgValue]) -> str | None:
    method = str(config.get("method") or "")
    known = method in _DRAFTLESS | DRAFTING or method.endswith("_mtp")
    # Without a method vLLM tells it by the draft model, and so does the law.
    if not (known or (not method and config.get("model"))):
        return f"the method `{method}` has no formula yet"
    if method in DRAFTING and not config.get("model"):
        return f"`{method}` needs the `model` that drafts"
    unknown = sorted(set(config) & _SPECULATIVE_KEYS)
    if unknown:
        return f"its key `{unknown[0]}` has no formula yet"
    tokens = config.get("num_speculative_tokens")
    if not isinstance(tokens, int) or tokens < 1:
        return "`num_speculative_tokens` is not said"
    return None
