"""Arguments that are right by themselves and wrong for this model or this request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compiler.engines.vllm.flags.check import normalize_arguments
from compiler.engines.vllm.flags.values import DRAFTING, as_mapping, uncovered
from compiler.engines.vllm.launch.decide import (
    parallel_sizes,
    prefills_in_chunks,
    sequences_of,
    version_of,
)
from compiler.engines.vllm.launch.drafts import draft_of, method_of
from compiler.engines.vllm.model.config import ShapeError
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import rules_of, show_version
from compiler.ir.demand import ArgumentProblem, Request
from compiler.ir.spec import ArgValue

# config/model.py `_verify_quantization`: what --quantization may say of a checkpoint's method.
_SAME_METHOD: dict[str, frozenset[str]] = {
    "awq": frozenset({"awq", "awq_marlin"}),
    "gptq": frozenset({"gptq", "gptq_marlin"}),
    "fp8": frozenset({"fp8"}),
    "modelopt": frozenset({"modelopt", "modelopt_fp4"}),
}
# Methods that quantize 16-bit weights while loading them.
_WHILE_LOADING = frozenset({"fp8", "bitsandbytes"})


def conflict_problems(request: Request, shape: Shape) -> list[ArgumentProblem]:
    """Faults of arguments that only the model or the rest of the request shows."""
    found = (*_batch(request, shape), *_quantization(request, shape), *_model(request, shape))
    return [
        ArgumentProblem(code="wrong-argument", argument=argument, detail=detail, hint=hint)
        for argument, detail, hint in found
    ]


def _batch(request: Request, shape: Shape) -> Iterator[tuple[str, str, str]]:
    """A batch must hold every sequence and, where prompts are not cut, the longest of them."""
    own = request.args.get("max_num_batched_tokens")
    if not isinstance(own, int):
        return
    needed, reason = sequences_of(request), "one token for each of the requests in flight"
    if not prefills_in_chunks(request, shape, rules_of(version_of(request))):
        needed, reason = max(needed, request.context), "the longest request, which is not cut up"
    if own < needed:
        hint = f"Leave it out, or say at least {needed}."
        yield "max_num_batched_tokens", f"{own:,} tokens do not hold {reason}.", hint


def _quantization(request: Request, shape: Shape) -> Iterator[tuple[str, str, str]]:
    wanted = request.args.get("quantization")
    if not isinstance(wanted, str) or uncovered("quantization", wanted):
        return
    method = str((shape.quantization or {}).get("quant_method") or "").lower()
    if method and wanted not in _SAME_METHOD.get(method, frozenset({method})):
        detail = f"The checkpoint is quantized by `{method}`, not by `{wanted}`."
        yield "quantization", detail, "Leave it out: vLLM reads the method from the checkpoint."
    if not method and wanted not in _WHILE_LOADING:
        detail = f"The checkpoint is not quantized, and `{wanted}` cannot quantize while loading."
        yield "quantization", detail, "Use `fp8` or `bitsandbytes`, or a quantized checkpoint."


def _model(request: Request, shape: Shape) -> Iterator[tuple[str, str, str]]:
    args = normalize_arguments(request.args, version_of(request))
    if args.get("enable_expert_parallel") is True and shape.experts is None:
        yield "enable_expert_parallel", f"`{shape.architecture}` has no experts.", "Leave it out."
    if args.get("kv_cache_dtype") == "nvfp4" and (shape.mla or shape.compressed):
        # config/vllm.py `validate_nvfp4_kv_cache_with_mla`, 0.25 to 0.33.
        yield "kv_cache_dtype", "Latent attention has no KV in nvfp4.", "Write `fp8`."
    if args.get("kv_offloading_size") and len(set(shape.attention)) > 1:
        detail = f"How much KV of `{shape.architecture}` stays on the GPU is not known then: its "
        detail += "layers are of several kinds, and a connector may cache all of them whole."
        yield "kv_offloading_size", detail, "Leave it out for this model."
    stages, _ = parallel_sizes(args)
    if stages > 1 and not rules_of(version_of(request)).kv_bytes_flag:
        # Stages differ in size, and one utilization would size the caches of all.
        detail = "Pipeline stages need `--kv-cache-memory-bytes`, which vLLM has from 0.10.2 on."
        yield "pipeline_parallel_size", detail, "Use a newer vLLM, or tensor parallelism alone."
    config = as_mapping(args.get("speculative_config", {}))
    method = str(config.get("method") or "")
    if "mtp" in method and not shape.draft_layers:
        detail = f"`{shape.architecture}` has no layers that predict several tokens."
        yield "speculative_config", detail, "Use the method `ngram`."
    if config.get("model") and (not method or method in DRAFTING):
        for detail, hint in _draft(request, shape, config):
            yield "speculative_config", detail, hint


def _draft(
    request: Request, shape: Shape, config: Mapping[str, ArgValue]
) -> Iterator[tuple[str, str]]:
    """Why a draft model does not go with the model or the version."""
    companions = request.companions.get("speculative_config", ())
    if not companions:
        yield f"The draft model `{config['model']}` was not read.", "Run `modelc lock`."
        return
    version, facts = version_of(request), companions[0]
    method = method_of(config, facts)
    if method == "draft_model" and not rules_of(version).drafts_with_models:
        detail = f"vLLM {show_version(version)} drafts with no whole model; 0.15.0 does."
        yield detail, "Use an `eagle` or `eagle3` model, or `ngram`."
    if method == "medusa" and not rules_of(version).medusa:
        detail = f"vLLM {show_version(version)} no longer drafts with Medusa heads; 0.32.0 did."
        yield detail, "Use an `eagle` or `eagle3` model, or `ngram`."
    if facts.format == "gguf":
        yield "vLLM drafts with no GGUF files.", "Name the original repository."
        return
    try:
        draft = draft_of(config, facts, 1)
    except ShapeError as error:
        yield f"The draft model's {error}.", ""
        return
    own = draft.shape
    if own is not None and method == "draft_model" and own.vocabulary != shape.vocabulary:
        # config/speculative.py `verify_equal_vocab_size_if_draft_model`, 0.15 to 0.33.
        detail = f"The draft model has {own.vocabulary:,} tokens, the model {shape.vocabulary:,}."
        yield detail, "Use a smaller model of the same family."
