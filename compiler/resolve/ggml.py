"""ggml's tensor types: names, block sizes and bytes."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from compiler.ir.ggml_types import TYPES


class TensorType(NamedTuple):
    """A ggml type: `block` elements take `bytes` bytes."""

    name: str
    block: int
    bytes: int


TENSOR_TYPES: dict[int, TensorType] = {number: TensorType(*each) for number, each in TYPES.items()}

# Numbers that were types once; llama.cpp refuses such files.
REMOVED_TENSOR_TYPES: dict[int, str] = {
    4: "q4_2",
    5: "q4_3",
    31: "q4_0_4_4",
    32: "q4_0_4_8",
    33: "q4_0_8_8",
    36: "iq4_nl_4_4",
    37: "iq4_nl_4_8",
    38: "iq4_nl_8_8",
}

TYPE_BY_NAME: dict[str, TensorType] = {entry.name: entry for entry in TENSOR_TYPES.values()}


def tensor_bytes(dtype: str, shape: list[int]) -> int:
    """Size of a tensor in the file; the innermost dimension is a whole number of blocks."""
    _, block, size = TYPE_BY_NAME[dtype]
    return prod(shape) // block * size
