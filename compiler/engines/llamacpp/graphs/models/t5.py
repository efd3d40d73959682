"""The encoder of T5 as a graph: scores are biased by distance (models/t5encoder.cpp, t5.cpp)."""

from __future__ import annotations

from compiler.engines.llamacpp.ggml.tensor import (
    Tensor,
    apply,
    cont,
    get_rows,
    matmul,
    new_input,
    permute,
    reshape,
)
from compiler.engines.llamacpp.graphs.attention import Extras, attention
from compiler.engines.llamacpp.graphs.builder import GraphBuilder
from compiler.engines.llamacpp.graphs.feedforward import feed_forward


def t5_encoder(b: GraphBuilder) -> Tensor:
    """The whole encoder; gives the embeddings of all tokens."""
    job = b.job
    x = b.embed()
    buckets = new_input((job.tokens, job.tokens), "i32")
    mask = new_input((job.tokens, job.tokens), "f16" if job.flash_attention else "f32")
    b.rows = new_input((job.rows,), "i32")
    last = len(job.blocks) - 1
    for at in range(len(job.blocks)):
        x = _layer(b, x, at, (buckets, mask), last=at == last)
    x = b.norm(x, b.outer("enc.output_norm.weight"))
    x.is_output = True
    b.graph.expand(x)
    return x


def _layer(
    b: GraphBuilder, x: Tensor, at: int, inputs: tuple[Tensor, Tensor], *, last: bool
) -> Tensor:
    buckets, mask = inputs
    normed = b.norm(x, b.find(at, "enc.attn_norm"), at=at)
    y = _attention(b, normed, at, mask, _bias(b, buckets, at))
    if last:
        y, x = b.select_rows(y), b.select_rows(x)
    joined = apply("add", y, x)
    normed = b.norm(joined, b.find(at, "enc.ffn_norm"), at=at)
    return apply("add", feed_forward(b, normed, at, prefix="enc."), joined)


def _attention(b: GraphBuilder, x: Tensor, at: int, mask: Tensor, bias: Tensor) -> Tensor:
    layer, tokens = b.layer(at), b.job.tokens
    q, k, v = (
        reshape(matmul(b.get(at, f"enc.attn_{name}"), x), head, heads, tokens)
        for name, head, heads in (
            ("q", layer.head_k, layer.heads),
            ("k", layer.head_k, layer.heads_kv),
            ("v", layer.head_v, layer.heads_kv),
        )
    )
    for part in (q, k, v):
        b.graph.expand(part)
    y = attention(b, (q, k, v), mask, Extras(bias=bias))
    return matmul(b.get(at, "enc.attn_o"), y)


def _bias(b: GraphBuilder, buckets: Tensor, at: int) -> Tensor:
    """A bias for each pair of tokens and head; layers without a table use the first layer's."""
    table = b.find(at, "enc.attn_rel_b") or b.get(0, "enc.attn_rel_b")
    bias = get_rows(table, reshape(buckets, buckets.elements))
    bias = reshape(bias, bias.ne[0], *buckets.ne[:2])
    return cont(permute(bias, 2, 0, 1, 3))
