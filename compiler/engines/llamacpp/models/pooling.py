"""From token embeddings to one vector or score a sequence (llama-graph.cpp `build_pooling`)."""

from __future__ import annotations

from compiler.engines.llamacpp.build import Build, linear
from compiler.engines.llamacpp.tensor import (
    Tensor,
    apply,
    cont,
    get_rows,
    matmul,
    new_input,
    transpose,
)

_NONE, _MEAN, _RANK = 0, 1, 4  # llama.h `llama_pooling_type`


def pool(b: Build, x: Tensor) -> None:
    """Expand the pooled result of a sequence."""
    kind = b.job.pooling
    if kind == _NONE:
        return
    if kind == _MEAN:
        mean = new_input((b.job.tokens, b.job.slots))
        y = matmul(cont(transpose(x)), mean)
    else:
        chosen = new_input((b.job.slots,), "i32")
        y = get_rows(x, chosen)
        if kind == _RANK:
            y = _score(b, y)
    y.is_output = True
    b.graph.expand(y)


def _score(b: Build, y: Tensor) -> Tensor:
    dense = b.outer("cls.weight")
    if dense is not None:
        y = apply("unary", linear(y, dense, b.outer("cls.bias")))
    output = b.outer("cls.output.weight")
    if output is not None:
        y = linear(y, output, b.outer("cls.output.bias"))
    return y
