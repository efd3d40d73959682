"""The layer for next tokens as a graph of its own (models/*.cpp `graph_mtp`, 2026-10-01).

It joins the hidden state of each token with the embedding of the next one, and is a layer of its
model behind that, with the model's embedding and output unless it brings its own.
"""

from __future__ import annotations

from compiler.engines.llamacpp.ggml.tensor import Tensor, get_rows, matmul, new_input
from compiler.engines.llamacpp.graphs.builder import GraphBuilder, GraphError
from compiler.engines.llamacpp.graphs.models.decoder import add_inputs, layer_alone


def next_tokens(b: GraphBuilder) -> Tensor:
    """One draft; of several layers one runs at a time."""
    width, tokens = b.job.shape.width, b.job.tokens
    table = b.find(0, "nextn.embed_tokens") or b.outer("token_embd.weight")
    if table is None:
        raise GraphError("token_embd")
    embedded = get_rows(table, new_input((tokens,), "i32"))
    hidden = new_input((width, tokens))
    add_inputs(b)
    parts = (
        b.norm(embedded, b.get(0, "nextn.enorm"), at=0),
        b.norm(hidden, b.get(0, "nextn.hnorm"), at=0),
    )
    joined = Tensor((2 * width, tokens), "f32", "concat", parts)
    rows = b.job.shape.family.next_rows
    inside, before = rows == "inside", rows == "before-norm"
    x = layer_alone(b, matmul(b.get(0, "nextn.eh_proj"), joined), chooses_rows=inside)
    if before:
        x = b.select_rows(x)
        x.is_output = True
    norm = b.find(0, "nextn.shared_head_norm") or b.outer("output_norm.weight")
    x = b.norm(x, norm)
    if not before:
        x.is_output = True
        x = x if inside else b.select_rows(x)
    head = b.find(0, "nextn.shared_head_head") or b.outer("output.weight")
    if head is None:
        raise GraphError("output")
    y = matmul(head, x)
    y.is_output = True
    b.graph.expand(y)
    return x
