"""LoRA adapters: what they bring to a model, and why one does not fit it (llama-adapter.cpp)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from compiler.engines.llamacpp.model.header import Adapter, FactsError, Weight, read_weights
from compiler.engines.llamacpp.model.shape import Shape
from compiler.ir.facts import ModelFacts

_A, _B = ".lora_a", ".lora_b"
# Adapters of norms are passed over (llama-adapter.cpp, "TODO: add support for norm vector").
_PASSED_OVER = "_norm.weight"
_EMBEDDING = "token_embd.weight"
_MATRIX = 2

# Products that the graph of a family makes without `build_lora_mm`, by the part of the name behind
# the block: adapters of these weights are loaded and never applied (models/*.cpp, 2026-10-01).
_UNAPPLIED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "deepseek2": frozenset(
            f"{name}.weight"
            for name in (
                *("attn_q", "attn_q_a", "attn_q_b", "attn_kv_a_mqa"),
                *("attn_k_b", "attn_v_b", "attn_kv_b", "output"),
            )
        ),
        "gemma3n": frozenset(
            f"{name}.weight" for name in ("altup_proj", "altup_unembd_proj", "altup_router")
        ),
    }
)


def adapted(shape: Shape, adapters: tuple[ModelFacts, ...]) -> Shape:
    """The model with its adapters beside its weights. They must fit: see `misfits`."""
    pairs: dict[str, list[Adapter]] = {}
    for facts in adapters:
        for name, (a, b) in sorted(_pairs(facts).items()):
            if a is not None and b is not None and name in shape.by_name:
                pair = Adapter(a=a, b=b, applied=_applied(shape, name))
                pairs.setdefault(name, []).append(pair)
    weights = tuple(
        replace(weight, adapters=tuple(pairs.get(weight.name, ()))) for weight in shape.weights
    )
    return replace(
        shape,
        weights=weights,
        by_name=MappingProxyType({weight.name: weight for weight in weights}),
    )


def misfits(shape: Shape, facts: ModelFacts) -> list[str]:
    """Why llama.cpp would refuse an adapter for this model; the first fault of each kind."""
    if facts.format != "gguf" or facts.role != "adapter":
        return ["it is no LoRA adapter in a GGUF file (convert_lora_to_gguf.py makes one)"]
    if facts.architecture != shape.arch:
        return [f"it is for models of architecture `{facts.architecture}`, not `{shape.arch}`"]
    kind = facts.value("adapter.type", "lora")
    if kind != "lora":
        return [f"it is an adapter of type `{str(kind)[:40]}`, and llama.cpp takes `lora` only"]
    try:
        return list(dict.fromkeys(_tensor_misfits(shape, facts)))[:1]
    except FactsError as error:
        return [str(error)]


def _tensor_misfits(shape: Shape, facts: ModelFacts) -> Iterator[str]:
    for weight in read_weights(facts):
        if not weight.name.endswith((_A, _B, _PASSED_OVER)):
            yield f"tensor `{weight.name[:80]}` is neither `{_A}` nor `{_B}` of a weight"
    for name, (a, b) in sorted(_pairs(facts).items()):
        shown, target = name[:80], shape.by_name.get(name)
        if a is None or b is None:
            yield f"`{shown}` has only one of `{_A}` and `{_B}`"
        elif target is None or (target.block is not None and target.block >= len(shape.layers)):
            yield f"it adapts `{shown}`, which the model does not have"
        elif name == _EMBEDDING and shape.tied:
            yield (
                f"it adapts `{shown}`, which is also the output layer of this model; "
                "llama.cpp cannot apply that"
            )
        elif not _fits(target, a, b):
            yield (
                f"it adapts `{shown}` of {_size(_adapted_shape(name, a, b))}, and the model's is "
                f"of {_size(target.ne)}"
            )


def _pairs(facts: ModelFacts) -> dict[str, tuple[Weight | None, Weight | None]]:
    """A and B by the name of the weight that they adapt."""
    found: dict[str, tuple[Weight | None, Weight | None]] = {}
    for weight in read_weights(facts):
        name = weight.name.removesuffix(_A).removesuffix(_B)
        a, b = found.get(name, (None, None))
        if weight.name.endswith(_A):
            found[name] = (weight, b)
        elif weight.name.endswith(_B):
            found[name] = (a, weight)
    return found


def _fits(weight: Weight, a: Weight, b: Weight) -> bool:
    if min(len(a.ne), len(b.ne), len(weight.ne)) < _MATRIX:
        return False
    ranks = a.ne[0] == b.ne[0] if weight.name == _EMBEDDING else a.ne[1] == b.ne[0]
    return ranks and _adapted_shape(weight.name, a, b)[:_MATRIX] == weight.ne[:_MATRIX]


def _adapted_shape(name: str, a: Weight, b: Weight) -> tuple[int, ...]:
    """Shape of the weight that a pair adapts; A and B change places for the embedding."""
    if name == _EMBEDDING:
        return (b.ne[-1], a.ne[-1])
    return (a.ne[0], b.ne[1] if len(b.ne) > 1 else 1)


def _applied(shape: Shape, name: str) -> bool:
    suffix = shape.by_name[name].suffix
    return suffix not in _UNAPPLIED.get(shape.arch, ())


def _size(ne: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in ne)
