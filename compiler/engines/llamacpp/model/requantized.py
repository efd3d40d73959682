"""A model as it would be with fewer bits: what a smaller quantization of the same shapes takes."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from compiler.engines.llamacpp.model.quants import block
from compiler.ir.facts import ModelFacts, TensorGroup

# Quantizations that publishers offer of nearly every model, largest first: the type of most
# matrices, and that of those which get more bits (llama-quant.cpp `llama_tensor_get_type_impl`).
_MIXES = {"Q6_K": ("q6_K", "q6_K"), "Q5_K_M": ("q5_K", "q6_K"), "Q4_K_M": ("q4_K", "q6_K")}
_FAVOURED = ("attn_v.weight", "ffn_down.weight", "ffn_down_exps.weight")
_MATRIX = 2


def smaller_quantizations(facts: ModelFacts) -> Iterator[tuple[str, ModelFacts]]:
    """The name and the facts of each quantization that takes less than the file, largest first."""
    total = _bytes(facts.tensors)
    untied = any(group.name == "output.weight" for group in facts.tensors)
    output = "output.weight" if untied else "token_embd.weight"
    for name, (most, favoured) in _MIXES.items():
        groups = [
            each
            for group in facts.tensors
            for each in (
                [_as(group, favoured)]
                if group.name == output
                else _packed(group, most, favoured, facts.layers)
            )
        ]
        if _bytes(groups) < total:
            yield name, facts.model_copy(update={"tensors": groups, "quantization": name})


def _packed(group: TensorGroup, most: str, favoured: str, layers: int) -> Iterator[TensorGroup]:
    """The group with fewer bits, in two where only some layers are favoured."""
    if not (group.name.startswith("blk.*.") and group.name.endswith(_FAVOURED)):
        yield _as(group, most)
    else:
        mine = group.indices()[0]
        for dtype, wanted in ((favoured, True), (most, False)):
            chosen = [layer for layer in mine if _gets_more(layer, layers) == wanted]
            if chosen:
                index = [",".join(map(str, chosen)), *group.index[1:]]
                yield _as(group.model_copy(update={"index": index}), dtype)


def _gets_more(layer: int, layers: int) -> bool:
    """llama-quant.cpp `use_more_bits`: the first and last eighth, and one in three between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2  # noqa: PLR2004


def _as(group: TensorGroup, dtype: str) -> TensorGroup:
    """The group in another type, if it is of matrices whose rows are whole blocks."""
    elements, size = block(dtype)
    if group.dtype == "f32" or len(group.shape) < _MATRIX or group.shape[0] % elements:
        return group
    packed = prod(group.shape) // elements * size
    return group.model_copy(update={"dtype": dtype, "bytes": packed})


def _bytes(groups: list[TensorGroup]) -> int:
    return sum(group.bytes * group.count() for group in groups)
