"""Parameters of vision and audio towers and of the projectors behind them, as vLLM cuts them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from compiler.engines.vllm.model.shape import Part

Cut = Literal["rows", "columns"] | None
"""Column parallel layers cut the rows of their matrix (and the bias), row parallel ones its
columns; a replicated layer is not cut."""

# Rows of the cache of rotary positions: the largest grid (`get_rope` in models/qwen2_vl.py,
# qwen2_5_vl.py, qwen3_vl.py and glm4_1v.py).
_GRID_ROWS = 8192
_POSITION_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """A vision transformer: its sizes, and what its blocks have beside the matrices.

    Norms scale by a vector (RMS), or scale and shift by two.
    """

    width: int
    layers: int
    inner: int
    heads: int
    patch_numbers: int
    """Numbers of a patch: colours x frames x height x width."""
    patch_bias: bool = True
    patch_cut: bool = False
    gated: bool = False
    vectors_a_norm: Literal[1, 2] = 2
    qkv_bias: bool = True
    bias: bool = True
    """Of the projection behind attention and of the MLP."""
    cuts_attention: bool = True
    may_stay_whole: bool = False
    """Ranks that do not divide the heads hold attention whole; elsewhere they are an error."""
    vectors: int = 0
    """More vectors of the width in a block: scales of its layers, norms of queries and keys."""
    positions: int = 0
    """Learnt positions."""
    numbered: bool = False
    """The positions' numbers are kept, in 64 bits."""
    outer_vectors: int = 0
    """Vectors of the width round the blocks: class token, norms before and behind them."""
    head_dim: int = 0
    """Size of a head where it is not the width over the heads."""


def tower_parts(tower: Tower) -> Iterator[Part]:
    """Every parameter of the tower."""
    width, inner, copies = tower.width, tower.inner, tower.layers
    patch: Cut = "rows" if tower.patch_cut else None
    yield from linear(width, tower.patch_numbers, cut=patch, bias=tower.patch_bias)
    if tower.positions:
        yield Part(tower.positions * width)
    if tower.numbered:
        yield Part(tower.positions, number_bytes=_POSITION_BYTES)
    yield Part(width, copies=tower.outer_vectors)
    into: Cut = "rows" if tower.cuts_attention else None
    out: Cut = "columns" if tower.cuts_attention else None
    attention = tower.heads * tower.head_dim or width
    heads = tower.heads if tower.may_stay_whole else 0
    for part in (
        *linear(3 * attention, width, cut=into, bias=tower.qkv_bias, copies=copies),
        *linear(width, attention, cut=out, bias=tower.bias, copies=copies),
    ):
        yield replace(part, heads=heads)
    ups = 2 if tower.gated else 1
    yield from linear(ups * inner, width, cut="rows", bias=tower.bias, copies=copies)
    yield from linear(width, inner, cut="columns", bias=tower.bias, copies=copies)
    yield Part(width, copies=copies * (2 * tower.vectors_a_norm + tower.vectors))


def linear(
    rows: int, columns: int, *, cut: Cut = None, bias: bool = True, copies: int = 1
) -> Iterator[Part]:
    """A matrix of so many outputs and inputs, with its bias."""
    yield Part(rows * columns, copies=copies, cut=cut is not None)
    if bias:
        yield Part(rows, copies=copies, cut=cut == "rows")


def grid_parts(tower: Tower) -> Iterator[Part]:
    """The cache of rotary positions of the grid: half of each head, for height and width."""
    half = tower.width // tower.heads // 2 if tower.heads else 0
    yield Part(_GRID_ROWS * half)


def two_layers(
    inputs: int, hidden: int, outputs: int, *, cut: bool, bias: bool = True
) -> Iterator[Part]:
    """The projector of most models: one matrix, an activation, another matrix."""
    yield from linear(hidden, inputs, cut="rows" if cut else None, bias=bias)
    yield from linear(outputs, hidden, cut="columns" if cut else None, bias=bias)


def pooled_attention(width: int) -> Iterator[Part]:
    """torch.nn.MultiheadAttention, which is never cut."""
    yield from linear(3 * width, width)
    yield from linear(width, width)
