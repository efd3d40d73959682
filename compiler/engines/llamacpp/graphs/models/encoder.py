"""Encoders of the BERT family, which normalize what comes out of a layer (models/bert.cpp).

Those that normalize what goes in are decoders without a cache.
"""

from __future__ import annotations

from compiler.engines.llamacpp.ggml.tensor import Tensor, apply, get_rows, new_input, reshape, view
from compiler.engines.llamacpp.graphs.attention import attend, project
from compiler.engines.llamacpp.graphs.builder import GraphBuilder, linear
from compiler.engines.llamacpp.graphs.feedforward import Router, feed_forward, mixture

_ROUTER = Router(gating="softmax", normalize=False, scale=False)


def encoder(b: GraphBuilder) -> Tensor:
    """The whole encoder; gives the embeddings of all tokens."""
    job = b.job
    b.positions = new_input((job.tokens,), "i32")
    x = _embed(b)
    b.add_cache_inputs()
    b.rows = new_input((job.rows,), "i32")
    last = len(job.blocks) - 1
    for at in range(len(job.blocks)):
        x = _layer(b, x, at, last=at == last)
    x.is_output = True
    b.graph.expand(x)
    return x


def _embed(b: GraphBuilder) -> Tensor:
    x = b.embed()
    types = b.outer("token_types.weight")
    if types is not None:
        x = apply("add", x, view(types, (b.job.shape.width,), types.nb))
    positions = b.outer("position_embd.weight")
    if positions is not None and b.job.shape.family.learned_positions:
        x = Tensor(x.ne, "f32", "add", (get_rows(positions, b.positions), x))
    weight, bias = b.outer("token_embd_norm.weight"), b.outer("token_embd_norm.bias")
    return b.norm(x, weight, bias, at=0, op="norm")


def _layer(b: GraphBuilder, x: Tensor, at: int, *, last: bool) -> Tensor:
    q, k, v = project(b, x, at)
    q, k = _normalized(b, q, at, "attn_q_norm"), _normalized(b, k, at, "attn_k_norm")
    if b.job.shape.family.rotary:
        q, k = apply("rope", q, b.positions), apply("rope", k, b.positions)
    y = attend(b, (q, k, v), at)
    y = linear(y, b.get(at, "attn_output"), b.bias(at, "attn_output"))
    if last:
        y, x = b.select_rows(y), b.select_rows(x)
    y = _norm(b, apply("add", y, x), at, "attn_output_norm")
    if b.find(at, "attn_norm_2") is not None:
        y = _norm(b, apply("add", y, x), at, "attn_norm_2")
    forward = apply("add", _forward(b, y, at), y)
    return _norm(b, forward, at, "layer_output_norm")


def _forward(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    if b.find(at, "ffn_gate_inp") is not None:
        return mixture(b, x, at, _ROUTER)
    halved = b.find(at, "ffn_gate") is None and (
        b.get(at, "ffn_up").ne[1] == 2 * b.get(at, "ffn_down").ne[0]
    )
    return feed_forward(b, x, at, halved=halved)


def _normalized(b: GraphBuilder, x: Tensor, at: int, name: str) -> Tensor:
    """Q or K normalized over all heads at once."""
    if b.find(at, name) is None:
        return x
    flat = _norm(b, reshape(x, x.ne[0] * x.ne[1], x.ne[2]), at, name)
    return reshape(flat, *x.ne)


def _norm(b: GraphBuilder, x: Tensor, at: int, name: str) -> Tensor:
    return b.norm(x, b.find(at, name), b.bias(at, name), at=at, op="norm")
