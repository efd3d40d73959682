"""Encoders of the BERT family as graphs (models/bert.cpp)."""

from __future__ import annotations

from compiler.engines.llamacpp.attention import attention, project
from compiler.engines.llamacpp.build import Build, linear
from compiler.engines.llamacpp.feedforward import feed_forward
from compiler.engines.llamacpp.tensor import Tensor, apply, get_rows, new_input, view

_LEARNED_POSITIONS = frozenset({"bert"})


def encoder(b: Build) -> Tensor:
    """The whole encoder; gives the embeddings of all tokens."""
    job = b.job
    b.positions = new_input((job.tokens,), "i32")
    x = _embed(b)
    mask = new_input((job.tokens, job.tokens), "f16" if job.flash_attention else "f32")
    b.rows = new_input((job.rows,), "i32")
    last = len(job.blocks) - 1
    for at in range(len(job.blocks)):
        x = _layer(b, x, at, mask, last=at == last)
    x.is_output = True
    b.graph.expand(x)
    return x


def _embed(b: Build) -> Tensor:
    x = b.embed()
    types = b.outer("token_types.weight")
    if types is not None:
        x = apply("add", x, view(types, (b.job.shape.width,), types.nb))
    positions = b.outer("position_embd.weight")
    if positions is not None and b.job.shape.arch in _LEARNED_POSITIONS:
        x = Tensor(x.ne, "f32", "add", (get_rows(positions, b.positions), x))
    weight, bias = b.outer("token_embd_norm.weight"), b.outer("token_embd_norm.bias")
    return b.norm(x, weight, bias, at=0, op="norm")


def _layer(b: Build, x: Tensor, at: int, mask: Tensor, *, last: bool) -> Tensor:
    q, k, v = project(b, x, at)
    if b.job.shape.arch not in _LEARNED_POSITIONS:
        q, k = apply("rope", q, b.positions), apply("rope", k, b.positions)
    for part in (q, k, v):
        b.graph.expand(part)
    y = linear(attention(b, (q, k, v), mask), b.get(at, "attn_output"), b.bias(at, "attn_output"))
    if last:
        y, x = b.select_rows(y), b.select_rows(x)
    y = _norm(b, apply("add", y, x), at, "attn_output_norm")
    forward = apply("add", feed_forward(b, y, at), y)
    return _norm(b, forward, at, "layer_output_norm")


def _norm(b: Build, x: Tensor, at: int, name: str) -> Tensor:
    return b.norm(x, b.find(at, name), b.bias(at, name), at=at, op="norm")
