"""What llama-server loads beside its model: a draft model, a projector, LoRA adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from compiler.engines.llamacpp.flags import builds
from compiler.engines.llamacpp.flags.builds import Build
from compiler.engines.llamacpp.flags.check import positive
from compiler.engines.llamacpp.launch.draft import (
    DRAFTING,
    NEXT_TOKENS,
    OTHER_GRAPHS,
    SPEC_TYPES,
    VOCABULARY_DIFFERENCE,
    spec_types,
)
from compiler.engines.llamacpp.launch.projector import projector_problems
from compiler.engines.llamacpp.launch.values import override_problems
from compiler.engines.llamacpp.model.header import FactsError
from compiler.engines.llamacpp.model.lora import adapted, misfits
from compiler.engines.llamacpp.model.projector import read_projector
from compiler.engines.llamacpp.model.shape import Identity, Shape, read_shape
from compiler.ir.demand import ArgumentProblem, Request
from compiler.ir.facts import ModelFacts, ModelRole
from compiler.ir.spec import ArgValue

# Arguments whose value is a model source, and what must lie there.
COMPANIONS: Mapping[str, ModelRole] = MappingProxyType(
    {"model_draft": "model", "mmproj": "mmproj", "lora": "adapter"}
)
ROLE_WORDS: Mapping[ModelRole, str] = MappingProxyType(
    {"model": "a model", "mmproj": "a projector (mmproj)", "adapter": "a LoRA adapter"}
)
# Arguments that say nothing without another.
_NEEDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("gpu_layers_draft", "cpu_moe_draft", "n_cpu_moe_draft"),
                "override_tensor_draft",
            ),
            "model_draft",
        ),
        **dict.fromkeys(
            (
                *("mmproj_offload", "mmproj_device", "mtmd_batch_max_tokens"),
                *("image_min_tokens", "image_max_tokens"),
            ),
            "mmproj",
        ),
    }
)


def named_companions(args: Mapping[str, ArgValue]) -> dict[str, tuple[str, ...]]:
    """Sources that arguments name, by argument, in their order; other values are left out."""
    found = {}
    for argument in sorted(COMPANIONS.keys() & args.keys()):
        value = args[argument]
        items = value if isinstance(value, list) else [value]
        sources = tuple(dict.fromkeys(item for item in items if isinstance(item, str) and item))
        if sources:
            found[argument] = sources
    return found


def loaded(request: Request) -> Shape:
    """The model with all that is loaded beside it. Raises FactsError where the facts are unfit."""
    return _loaded(
        Identity(request.facts),
        tuple(
            (argument, tuple(Identity(facts) for facts in request.companions.get(argument, ())))
            for argument in COMPANIONS
        ),
    )


@lru_cache(maxsize=256)
def _loaded(identity: Identity, companions: tuple[tuple[str, tuple[Identity, ...]], ...]) -> Shape:
    shape = read_shape(identity.facts)
    facts = {argument: tuple(each.facts for each in found) for argument, found in companions}
    faults = [fault for each in facts["lora"] for fault in misfits(shape, each)]
    if faults:
        raise FactsError(f"`lora`: {faults[0]}")
    if facts["lora"]:
        shape = adapted(shape, facts["lora"])
    for each in facts["model_draft"]:
        shape = replace(shape, draft=read_shape(each))
    for each in facts["mmproj"]:
        shape = replace(shape, projector=read_projector(each))
    return shape


def check_companions(request: Request, shape: Shape, build: Build) -> list[ArgumentProblem]:
    """Companions that are missing, of the wrong kind, or unfit for the model of a request."""
    args = dict(positive(name, value) for name, value in request.args.items())
    problems = [*_lonely(args), *_sources(request, args)]
    if not problems:
        problems = [
            *_adapters(request, shape),
            *_speculation(request, args, shape, build),
            *_projectors(request, args, shape, build),
        ]
    return problems


def _lonely(args: Mapping[str, ArgValue]) -> Iterator[ArgumentProblem]:
    for argument, needed in sorted(_NEEDS.items()):
        if argument in args and needed not in args:
            yield _wrong(argument, f"`{argument}` says nothing without `{needed}`")
    drafts = "model_draft" in args or NEXT_TOKENS in spec_types(args)
    for argument in ("cache_type_k_draft", "cache_type_v_draft"):
        if argument in args and not drafts:
            detail = f"`{argument}` says nothing without `model_draft` or `{NEXT_TOKENS}`"
            yield _wrong(argument, detail)


def _sources(request: Request, args: Mapping[str, ArgValue]) -> Iterator[ArgumentProblem]:
    for argument, role in sorted(COMPANIONS.items()):
        if argument not in args:
            continue
        found = request.companions.get(argument, ())
        if not found:
            yield _wrong(argument, f"`{argument}` names no source of {ROLE_WORDS[role]}")
        if len(found) > 1 and argument != "lora":
            yield _wrong(argument, f"llama-server takes one `{argument}`, not {len(found)}")
        for facts in found:
            if facts.format != "gguf":
                yield _format(argument, f"it is `{facts.format}`, and llama.cpp reads GGUF files")
            elif facts.role != role:
                yield _format(
                    argument, f"it is {ROLE_WORDS[facts.role]}, and must be {ROLE_WORDS[role]}"
                )


def _adapters(request: Request, shape: Shape) -> Iterator[ArgumentProblem]:
    for source, facts in zip(
        named_companions(request.args).get("lora", ()),
        request.companions.get("lora", ()),
        strict=False,
    ):
        for fault in misfits(shape, facts):
            yield _format("lora", f"`{source}` does not fit the model: {fault}")


def _speculation(
    request: Request, args: Mapping[str, ArgValue], shape: Shape, build: Build
) -> Iterator[ArgumentProblem]:
    kinds = spec_types(args)
    if not kinds:
        return
    argument = "model_draft" if "model_draft" in args else "spec_type"
    if request.task != "generate":
        detail = f"nothing is drafted for a service that is to {request.task}"
        yield _wrong(argument, detail, code="task-mismatch")
        return
    if build.number < builds.DRAFT_CONTEXT:
        detail = (
            f"llama.cpp {build.text} makes one draft context for each slot; the memory law covers "
            f"speculative decoding from b{builds.DRAFT_CONTEXT} on"
        )
        yield ArgumentProblem(code="unsupported-argument", argument=argument, detail=detail)
        return
    for kind in kinds:
        if kind in OTHER_GRAPHS:
            detail = f"`{kind}` runs a graph of its own, which the memory law does not cover"
            yield ArgumentProblem(code="unsupported-argument", argument="spec_type", detail=detail)
        elif kind not in SPEC_TYPES:
            detail = f"llama-server knows no kind of speculation `{kind[:40]}`"
            yield _wrong("spec_type", detail, hint=f"Choose of {', '.join(SPEC_TYPES)}")
    yield from _next_tokens(args, shape)
    if (DRAFTING in kinds) != ("model_draft" in args):
        detail = f"`{DRAFTING}` and `model_draft` go together: one drafts with the other"
        yield _wrong(argument, detail)
    yield from override_problems("override_tensor_draft", args.get("override_tensor_draft", []))
    for facts in request.companions.get("model_draft", ()):
        yield from _draft_misfits(facts, shape)


def _next_tokens(args: Mapping[str, ArgValue], shape: Shape) -> Iterator[ArgumentProblem]:
    """What stands against drafting with the model's own layers for next tokens."""
    if NEXT_TOKENS not in spec_types(args):
        return
    if "model_draft" in args:
        detail = f"`{NEXT_TOKENS}` from a file of its own is not covered by the memory law"
        yield ArgumentProblem(code="unsupported-argument", argument="spec_type", detail=detail)
    elif not shape.drafts_itself:
        detail = (
            "the file has no layers for next tokens (`nextn`), with which a model drafts itself; "
            "files named MTP have them"
        )
        yield _wrong("spec_type", detail, code="engine-format")
    elif not shape.family.drafts_itself:
        detail = f"llama.cpp has no graph for the next tokens of `{shape.arch}`, or none is known"
        yield ArgumentProblem(code="unsupported-argument", argument="spec_type", detail=detail)


def _draft_misfits(facts: ModelFacts, shape: Shape) -> Iterator[ArgumentProblem]:
    """speculative.cpp `common_speculative_are_compatible`, as far as headers tell."""
    try:
        draft = read_shape(facts)
    except FactsError as error:
        yield ArgumentProblem(code="facts-missing", argument="model_draft", detail=str(error))
        return
    if draft.family.drafts_from_hidden:
        detail = f"`{draft.arch}` drafts with a graph that the memory law does not cover"
        yield ArgumentProblem(code="unsupported-argument", argument="model_draft", detail=detail)
    elif draft.encoder or shape.encoder:
        arch = draft.arch if draft.encoder else shape.arch
        yield _format("model_draft", f"`{arch}` is an encoder and drafts no text")
    elif abs(draft.vocabulary - shape.vocabulary) > VOCABULARY_DIFFERENCE:
        yield _format(
            "model_draft",
            f"its vocabulary has {draft.vocabulary:,} tokens and the model's {shape.vocabulary:,}; "
            "llama-server drafts only with the vocabulary of the model",
        )


def _projectors(
    request: Request, args: Mapping[str, ArgValue], shape: Shape, build: Build
) -> Iterator[ArgumentProblem]:
    for facts in request.companions.get("mmproj", ()):
        if request.task != "generate":
            detail = f"the memory law covers no pictures of a service that is to {request.task}"
            yield ArgumentProblem(code="unsupported-argument", argument="mmproj", detail=detail)
            continue
        yield from projector_problems(facts, args, shape.width, build)


def _wrong(
    argument: str, detail: str, *, hint: str = "", code: str = "wrong-argument"
) -> ArgumentProblem:
    return ArgumentProblem(code=code, argument=argument, detail=detail, hint=hint)


def _format(argument: str, detail: str) -> ArgumentProblem:
    return ArgumentProblem(code="engine-format", argument=argument, detail=detail)
