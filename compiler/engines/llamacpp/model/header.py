"""Reading GGUF facts: header values with type and bound, and tensors with their place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from compiler.ir.facts import HeaderValue, ModelFacts, TensorGroup
from compiler.ir.units import round_up

# Bounds far above any model there is: beyond them a header is damaged or hostile, and a simulation
# over it would not end.
MAX_LAYERS = 512
MAX_WIDTH = 1 << 20
MAX_TENSORS = 40_000
MAX_NUMBER = 1 << 31
MAX_TENSOR_BYTES = 1 << 45
MAX_DIMENSIONS = 4  # GGML_MAX_DIMS

_BLOCK = re.compile(r"((?:enc\.|dec\.)?)blk\.(\d{1,4})\.(.+)")
_RANGES = re.compile(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*")


class FactsError(ValueError):
    """The facts of a model contradict themselves, or lack what the law needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One tensor of the file.

    `block` is the layer it belongs to; `suffix` its name within it, `enc.` and `dec.` included.
    """

    name: str
    ne: tuple[int, ...]
    dtype: str
    size_bytes: int
    offset_bytes: int | None
    block: int | None
    suffix: str
    adapters: tuple[Adapter, ...] = ()
    """LoRA matrices that are loaded beside it, on the same device."""


class Adapter(NamedTuple):
    """The two matrices that a LoRA adapter adds to a weight."""

    a: Weight
    b: Weight
    applied: bool
    """Whether the graph of the architecture uses them; they are loaded all the same."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of GGUF facts, read with a type and a bound."""

    facts: ModelFacts

    def integer(self, key: str, default: int = 0) -> int:
        """One whole number; of a list, the largest."""
        found = self.facts.value(key)
        if isinstance(found, list):
            return max((_number(key, item) for item in found), default=default)
        return default if found is None else _number(key, found)

    def per_layer(self, key: str, layers: int, default: int | None = 0) -> tuple[int | None, ...]:
        """One number a layer: the header gives one for all, or a list."""
        found = self.facts.value(key)
        if isinstance(found, list):
            listed = [_number(key, item) for item in found[:layers]]
            return tuple(listed + [0] * (layers - len(listed)))
        value = default if found is None else _number(key, found)
        return (value,) * layers

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A truth value."""
        found = self.facts.value(key)
        return default if found is None else bool(found)

    def real(self, key: str) -> float:
        """A real number; 0 when there is none."""
        found = self.facts.value(key)
        return float(found) if isinstance(found, int | float) else 0.0

    def flags(self, key: str, layers: int) -> tuple[bool, ...] | None:
        """One truth value a layer, when the header gives a list of them."""
        found = self.facts.value(key)
        if not isinstance(found, list):
            return None
        listed = [bool(item) for item in found[:layers]]
        return tuple(listed + [False] * (layers - len(listed)))

    def has(self, key: str) -> bool:
        """Whether the header names a value that is not zero."""
        return bool(self.facts.value(key))


def read_weights(facts: ModelFacts) -> tuple[Weight, ...]:
    """The tensors in file order, with offsets where the facts say that they lie back to back."""
    _check_groups(facts.tensors)
    weights: list[Weight] = []
    offset = 0
    alignment = facts.alignment if 0 < facts.alignment <= 1 << 20 else 32
    for tensor in facts.expand():
        match = _BLOCK.fullmatch(tensor.name)
        weights.append(
            Weight(
                name=tensor.name,
                ne=tuple(tensor.shape),
                dtype=tensor.dtype,
                size_bytes=tensor.bytes,
                offset_bytes=offset if facts.sequential else None,
                block=int(match[2]) if match else None,
                suffix=match[1] + match[3] if match else tensor.name,
            )
        )
        offset += round_up(tensor.bytes, alignment)
    return tuple(weights)


def _number(key: str, value: HeaderValue) -> int:
    if not isinstance(value, int | float) or value != value or abs(value) > MAX_NUMBER:  # noqa: PLR0124
        message = f"`{key}` is no usable number"
        raise FactsError(message)
    number = int(value)
    if number < 0:
        message = f"`{key}` is negative"
        raise FactsError(message)
    return number


def _check_groups(groups: list[TensorGroup]) -> None:
    total = 0
    for group in groups:
        if group.name.count("*") != len(group.index):
            raise FactsError(f"tensor `{group.name[:80]}` and its numbers do not match")
        total += _group_count(group)
        if total > MAX_TENSORS:
            raise FactsError(f"there are more than {MAX_TENSORS:,} tensors")
        shape_ok = 0 < len(group.shape) <= MAX_DIMENSIONS and all(
            0 < size <= MAX_NUMBER for size in group.shape
        )
        if not shape_ok or not 0 <= group.bytes <= MAX_TENSOR_BYTES:
            raise FactsError(f"tensor `{group.name[:80]}` has no usable shape or size")


def _group_count(group: TensorGroup) -> int:
    """Tensors in a group, counted without expanding ranges that may be absurd."""
    total = 1
    for text in group.index:
        if not _RANGES.fullmatch(text):
            raise FactsError(f"tensor `{group.name[:80]}` has unreadable numbers")
        numbers = 0
        for part in text.split(","):
            first, _, last = part.partition("-")
            numbers += max(0, int(last or first) - int(first) + 1)
        total *= numbers
    return total
