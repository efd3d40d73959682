"""From token embeddings to one vector or score a sequence (llama-graph.cpp `build_pooling`)."""

from __future__ import annotations

from compiler.engines.llamacpp.ggml.tensor import (
    Tensor,
    apply,
    cont,
    get_rows,
    matmul,
    new_input,
    transpose,
)
from compiler.engines.llamacpp.graphs.builder import GraphBuilder, linear

_NONE, _MEAN, _RANK = 0, 1, 4  # llama.h `llama_pooling_type`


def pool(b: GraphBuilder, x: Tensor) -> None:
    """Expand the pooled result of a sequence."""
    kind = b.job.pooling
    y = x
    if kind == _MEAN or (kind == _RANK and b.job.shape.scores_mean):
        mean = new_input((b.job.tokens, b.job.sequences))
        y = matmul(cont(transpose(x)), mean)
    elif kind != _NONE:
        chosen = new_input((b.job.sequences,), "i32")
        y = get_rows(x, chosen)
    if kind == _RANK:
        y = _score(b, y)
    b.graph.expand(y)
    y = _widen(b, y)
    y.is_output = True
    b.graph.expand(y)


def _score(b: GraphBuilder, y: Tensor) -> Tensor:
    dense = b.outer("cls.weight")
    if dense is not None:
        y = apply("unary", linear(y, dense, b.outer("cls.bias")))
        norm = b.outer("cls.norm.weight")
        if norm is not None:
            y = b.norm(y, norm, op="norm")
    output = b.outer("cls.output.weight")
    if output is not None:
        y = linear(y, output, b.outer("cls.output.bias"))
    return apply("soft_max", y) if b.job.shape.family.softmax_scores else y


def _widen(b: GraphBuilder, y: Tensor) -> Tensor:
    """Dense layers of a sentence transformer behind the pooling (`build_dense_out`)."""
    second, bias, third = (
        b.outer(name) for name in ("dense_2.weight", "dense_2.bias", "dense_3.weight")
    )
    if second is not None:
        y = linear(y, second, bias)
    return matmul(third, y) if third is not None else y
