"""Speculative decoding: the draft model, its context, and what it changes in its model's.

llama-server makes the draft's context from the flags of its model (common/speculative.cpp
`common_base_params_to_speculative`, `common_speculative_init_result`, 2026-10-01): the same
context, slots, batches, split and loading, with layers and cache types of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from compiler.engines.llamacpp.launch.options import DraftOptions, Moves, NextOptions, Options
from compiler.engines.llamacpp.launch.values import integer_of, overrides_of
from compiler.engines.llamacpp.model.shape import Shape
from compiler.ir.demand import Located
from compiler.ir.spec import ArgValue

# Tokens that each kind of speculation drafts at most, by the flag that says so and its default
# (common/common.h `common_params_speculative`); ngram-cache has no flag (speculative.cpp).
_DRAFTED: Mapping[str, tuple[str, int]] = {
    "draft-simple": ("spec_draft_n_max", 3),
    "draft-mtp": ("spec_draft_n_max", 3),
    "ngram-mod": ("spec_ngram_mod_n_max", 64),
    "ngram-simple": ("spec_ngram_simple_size_m", 48),
    "ngram-map-k": ("spec_ngram_map_k_size_m", 48),
    "ngram-map-k4v": ("spec_ngram_map_k4v_size_m", 48),
    "ngram-cache": ("", 8),
}
SPEC_TYPES = tuple(sorted(_DRAFTED))
DRAFTING = "draft-simple"
# The model's own layers for next tokens draft, in a second context on the same weights.
NEXT_TOKENS = "draft-mtp"
# Kinds whose draft runs a graph of its own beside the model's.
OTHER_GRAPHS = ("draft-eagle3", "draft-dflash", "draft-dspark")
# What speculative.cpp SPEC_VOCAB_MAX_SIZE_DIFFERENCE allows.
VOCABULARY_DIFFERENCE = 128


def spec_types(args: Mapping[str, ArgValue]) -> tuple[str, ...]:
    """Kinds of speculation asked for; a draft model alone stands for the first."""
    value = args.get("spec_type")
    items = value if isinstance(value, list) else [value]
    named = [part for item in items if isinstance(item, str) for part in item.split(",")]
    found = tuple(dict.fromkeys(part for part in named if part != "none"))
    return found or ((DRAFTING,) if "model_draft" in args else ())


def drafted_tokens(args: Mapping[str, ArgValue]) -> int:
    """Tokens that a slot can have checked beside its own (`common_speculative_n_max`)."""
    most = 0
    for kind in spec_types(args):
        if kind in _DRAFTED:
            flag, default = _DRAFTED[kind]
            most = max(most, integer_of(args, flag, default))
    return most


def draft_part(args: Mapping[str, ArgValue], draft: Shape | None, gpus: int) -> DraftOptions | None:
    """What the draft model's flags ask for; None without one."""
    if draft is None:
        return None
    most = draft.layers_in_file + 1
    return DraftOptions(
        gpu_layers=min(integer_of(args, "gpu_layers_draft", most), most) if gpus else 0,
        cache_type_k=str(args.get("cache_type_k_draft", "f16")),
        cache_type_v=str(args.get("cache_type_v_draft", "f16")),
        moves=Moves(
            cpu_moe=args.get("cpu_moe_draft") is True,
            cpu_moe_layers=min(integer_of(args, "n_cpu_moe_draft", 0), len(draft.layers)),
            overrides=tuple(overrides_of(args.get("override_tensor_draft", []))),
        ),
    )


def next_part(args: Mapping[str, ArgValue], shape: Shape) -> NextOptions | None:
    """What the flags ask of the model's layers for next tokens; None where they do not draft."""
    if NEXT_TOKENS not in spec_types(args) or not shape.next_layers:
        return None
    return NextOptions(
        cache_type_k=str(args.get("cache_type_k_draft", "f16")),
        cache_type_v=str(args.get("cache_type_v_draft", "f16")),
    )


def rollbacks_of(args: Mapping[str, ArgValue], shape: Shape) -> int:
    """States that are kept for what may be refused (common.h `need_n_rs_seq`)."""
    if NEXT_TOKENS not in spec_types(args) or not shape.family.rolls_back:
        return 0
    return integer_of(args, *_DRAFTED[NEXT_TOKENS])


def options_of_draft(options: Options) -> Options | None:
    """The options under which the draft's context is made; None without a draft."""
    draft = options.draft
    if draft is None:
        return None
    return replace(
        options,
        cells=options.all_cells,
        gpu_layers=draft.gpu_layers if options.gpus else 0,
        cache_type_k=draft.cache_type_k,
        cache_type_v=draft.cache_type_v,
        moves=draft.moves,
        prompt_cache_bytes=0,
        output_rows=None,
        drafted_tokens=0,
        draft=None,
        next_tokens=None,
        rollbacks=0,
        projector=None,
    )


def draft_flags(options: Options, args: Mapping[str, ArgValue], found: Located | None) -> list[str]:
    """Flags of speculation, every size spelt out."""
    kinds = spec_types(args)
    flags = ["--spec-type", ",".join(kinds)] if kinds else []
    for kind in kinds:
        name, default = _DRAFTED.get(kind, ("", 0))
        if name:
            flags += [f"--{name.replace('_', '-')}", str(integer_of(args, name, default))]
    if options.next_tokens is not None:
        flags += ["--cache-type-k-draft", options.next_tokens.cache_type_k]
        flags += ["--cache-type-v-draft", options.next_tokens.cache_type_v]
    draft = options.draft
    if draft is None or found is None:
        return flags
    flags += ["--model-draft", found.path, "--gpu-layers-draft", str(draft.gpu_layers)]
    flags += ["--cache-type-k-draft", draft.cache_type_k]
    flags += ["--cache-type-v-draft", draft.cache_type_v]
    if draft.moves.cpu_moe:
        flags.append("--cpu-moe-draft")
    if draft.moves.cpu_moe_layers:
        flags += ["--n-cpu-moe-draft", str(draft.moves.cpu_moe_layers)]
    if draft.moves.overrides:
        rules = ",".join(rule.text for rule in draft.moves.overrides)
        flags += ["--override-tensor-draft", rules]
    return flags
