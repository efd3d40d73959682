"""MiniMax 01 as a graph: lightning attention with a state between layers of full attention.

Transcribed from models/minimax-01.cpp of llama.cpp (2026-10-01).
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.engines.llamacpp.ggml.tensor import (
    Tensor,
    apply,
    cont,
    copy,
    matmul,
    new_input,
    permute,
    reshape,
    view,
)
from compiler.engines.llamacpp.graphs.attention import attend, project
from compiler.engines.llamacpp.graphs.builder import GraphBuilder, linear
from compiler.engines.llamacpp.graphs.feedforward import Router, mixture
from compiler.engines.llamacpp.graphs.recurrent import read_state, state_tensor

_F32 = 4  # bytes


@dataclass(frozen=True, slots=True)
class _Decay:
    """Inputs of lightning attention: how much of the past each head forgets."""

    slopes: Tensor
    query: Tensor
    key: Tensor
    diagonal: Tensor


def minimax01(b: GraphBuilder) -> Tensor:
    """MiniMax 01; gives the embeddings, logits not yet made."""
    x = b.embed()
    b.add_cache_inputs()
    b.add_state_inputs()
    b.positions = new_input((b.job.tokens,), "i32")
    b.rows = new_input((b.job.rows,), "i32")
    decay = _decay_inputs(b)
    last = len(b.job.blocks) - 1
    for at in range(len(b.job.blocks)):
        x = _layer(b, x, at, decay, last=at == last)
    return b.norm(x, b.outer("output_norm.weight"))


def _decay_inputs(b: GraphBuilder) -> _Decay:
    heads, tokens, slots = b.job.shape.layers[0].heads, b.seq_tokens, b.job.sequences
    return _Decay(
        slopes=new_input((heads,)),
        query=new_input((1, heads, tokens, slots)),
        key=new_input((1, heads, tokens, slots)),
        diagonal=new_input((tokens, tokens, heads, slots)),
    )


def _layer(b: GraphBuilder, x: Tensor, at: int, decay: _Decay, *, last: bool) -> Tensor:
    """The residual is what was normalized, not what came in."""
    normed = b.norm(x, b.find(at, "attn_norm"), at=at)
    mixed = _lightning(b, normed, at, decay) if b.layer(at).recurrent else _full(b, normed, at)
    if last:
        mixed, normed = b.select_rows(mixed), b.select_rows(normed)
    joined = apply("add", mixed, apply("scale", normed))
    normed = b.norm(joined, b.find(at, "ffn_norm"), at=at)
    router = Router(gating="softmax", normalize=True, scale=b.job.shape.experts.scaled)
    return apply("add", mixture(b, normed, at, router), apply("scale", normed))


def _full(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    q, k, v = project(b, x, at)
    q, k = apply("rope", q, b.positions), apply("rope", k, b.positions)
    return linear(attend(b, (q, k, v), at), b.get(at, "attn_output"))


def _lightning(b: GraphBuilder, x: Tensor, at: int, decay: _Decay) -> Tensor:
    layer, sizes, tokens, slots = b.layer(at), b.job.shape.state, b.seq_tokens, b.job.sequences
    head, heads = layer.head_k, layer.heads
    # The model has no convolution, and its empty state is read all the same.
    read_state(b, state_tensor(b, at, 0), 0)
    rate = apply("scale", decay.slopes)
    x = reshape(x, x.ne[0], tokens, 1, slots)
    mixed = apply("unary", matmul(b.get(at, "attn_qkv"), x))
    mixed = reshape(mixed, 3 * head, heads, tokens, slots)
    q, k, v = (view(mixed, (head, heads, tokens, slots), mixed.nb) for _ in range(3))
    state = state_tensor(b, at, sizes.state_elements)
    past = reshape(read_state(b, state, sizes.state_elements), head, head, heads, slots)
    q_decay, k_decay, diagonal = (
        apply("unary", apply("scale", part)) for part in (decay.query, decay.key, decay.diagonal)
    )
    older = matmul(past, permute(apply("mul", q, q_decay), 0, 2, 1, 3))
    scores = matmul(permute(k, 0, 2, 1, 3), permute(q, 0, 2, 1, 3))
    columns = _columns(v)
    newer = matmul(columns, apply("mul", scores, diagonal))
    y = apply("add", older, newer)
    b.graph.expand(y)
    faded = reshape(apply("unary", apply("scale", rate)), 1, 1, heads)
    kept = apply("mul", past, faded)
    added = matmul(_columns(apply("mul", k, k_decay)), columns)
    total = sizes.state_elements * slots
    target = view(state, (total,), (_F32, total * _F32))
    b.graph.expand(copy(apply("add", kept, added), target))
    y = cont(permute(y, 0, 2, 1, 3))
    y = b.norm(reshape(y, head * heads, tokens, 1, slots), b.find(at, "attn_norm_2"), at=at)
    gate = apply("unary", matmul(b.get(at, "attn_gate"), x))
    y = matmul(b.get(at, "attn_output"), apply("mul", gate, y))
    return reshape(y, y.ne[0], b.job.tokens)


def _columns(x: Tensor) -> Tensor:
    return cont(permute(x, 1, 2, 0, 3))
