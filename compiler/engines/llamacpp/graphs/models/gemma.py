"""Gemma 3n and Gemma 4 as graphs: embeddings for each layer, shared caches, stacked streams.

Transcribed from models/gemma3n.cpp and models/gemma4.cpp of llama.cpp (2026).
"""

from __future__ import annotations

from compiler.engines.llamacpp.ggml.tensor import (
    Tensor,
    apply,
    concat,
    cont,
    get_rows,
    matmul,
    new_input,
    permute,
    reshape,
    transpose,
    view,
)
from compiler.engines.llamacpp.graphs.attention import attend
from compiler.engines.llamacpp.graphs.builder import GraphBuilder, GraphError, linear
from compiler.engines.llamacpp.graphs.feedforward import Router, feed_forward, mixture

ROUTER = Router(gating="softmax", normalize=True, scale=False)
_F32 = 4  # bytes


def gemma4(b: GraphBuilder) -> Tensor:
    """Gemma 4; gives the embeddings, logits not yet made."""
    x = apply("scale", b.embed())
    b.positions = new_input((b.job.tokens,), "i32")
    b.add_cache_inputs()
    b.rows = new_input((b.job.rows,), "i32")
    given = _layer_inputs(b, x) if b.outer("per_layer_token_embd.weight") is not None else None
    late = b.job.era.keeps_hidden("gemma4")
    for at in range(len(b.job.blocks)):
        x = _gemma4_layer(b, x, at, given, cut=at == len(b.job.blocks) - 1 and not late)
    x = b.norm(x, b.outer("output_norm.weight"))
    if not late:
        return x
    x.is_output = True
    return b.select_rows(x)


def _layer_inputs(b: GraphBuilder, x: Tensor) -> Tensor:
    """An embedding of every token for every layer (`project_per_layer_inputs`)."""
    table, projection = _outer(b, "per_layer_token_embd"), _outer(b, "per_layer_model_proj")
    layers, tokens = len(b.job.shape.layers), b.job.tokens
    width = table.ne[0] // layers
    rows = get_rows(table, new_input((tokens,), "i32"))
    rows = apply("scale", reshape(rows, width, layers, tokens))
    b.graph.expand(rows)
    own = reshape(apply("scale", matmul(projection, x)), width, layers, tokens)
    own = b.norm(own, b.outer("per_layer_proj_norm.weight"))
    joined = apply("scale", apply("add", own, rows))
    given = cont(permute(joined, 0, 2, 1, 3))
    given.lasts = True
    return given


def _outer(b: GraphBuilder, name: str) -> Tensor:
    found = b.outer(f"{name}.weight")
    if found is None:
        raise GraphError(name)
    return found


def _gemma4_layer(
    b: GraphBuilder, x: Tensor, at: int, given: Tensor | None, *, cut: bool
) -> Tensor:
    """One layer; `cut` is whether only the rows that give logits go on behind its attention."""
    normed = b.norm(x, b.find(at, "attn_norm"), at=at)
    freqs = () if b.layer(at).sliding else b.freqs(at)
    y = _attention(b, normed, at, freqs)
    if cut:
        y, x = b.select_rows(y), b.select_rows(x)
    after = apply("add", b.norm(y, b.find(at, "post_attention_norm"), at=at), x)
    if b.find(at, "ffn_gate_inp") is not None:
        y = _experts(b, after, at)
    else:
        y = feed_forward(b, b.norm(after, b.find(at, "ffn_norm"), at=at), at)
    y = apply("add", b.norm(y, b.find(at, "post_ffw_norm")), after)
    if given is not None:
        gate = apply("unary", matmul(b.get(at, "inp_gate"), y))
        own = b.select_rows(_slice(given)) if cut else _slice(given)
        mixed = matmul(b.get(at, "proj"), apply("mul", gate, own))
        y = apply("add", y, b.norm(mixed, b.find(at, "post_norm"), at=at))
    scale = b.find(at, "layer_output_scale")
    return apply("mul", y, scale) if scale is not None else y


def _experts(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """A dense layer and routed experts side by side."""
    dense = feed_forward(b, b.norm(x, b.find(at, "ffn_norm"), at=at), at)
    dense = b.norm(dense, b.find(at, "post_ffw_norm_1"), at=at)
    routed = b.norm(x, b.find(at, "pre_ffw_norm_2"), at=at)
    scored = apply("scale", apply("rms_norm", x))
    scored = apply("mul", scored, b.get(at, "ffn_gate_inp.scale"))
    logits = matmul(b.get(at, "ffn_gate_inp"), scored)
    routed = mixture(b, routed, at, ROUTER, logits)
    return apply("add", dense, b.norm(routed, b.find(at, "post_ffw_norm_2"), at=at))


def _attention(b: GraphBuilder, x: Tensor, at: int, freqs: tuple[Tensor, ...]) -> Tensor:
    layer, tokens = b.layer(at), b.job.tokens
    q = reshape(matmul(b.get(at, "attn_q"), x), layer.head_k, layer.heads, tokens)
    q = b.norm(q, b.find(at, "attn_q_norm"), at=at)
    q = apply("rope", q, b.positions, *freqs)
    k = v = None
    if not b.shares_cache(at):
        k = matmul(b.get(at, "attn_k"), x)
        weight = b.find(at, "attn_v")
        v = matmul(weight, x) if weight is not None else k
        k = reshape(k, layer.head_k, layer.heads_kv, tokens)
        v = reshape(v, layer.head_v, layer.heads_kv, tokens)
        k = b.norm(k, b.find(at, "attn_k_norm"), at=at)
        v = apply("rms_norm", v)
        k = apply("rope", k, b.positions, *freqs)
    return matmul(b.get(at, "attn_output"), attend(b, (q, k, v), at))


def _slice(x: Tensor) -> Tensor:
    """One of the stacked matrices of a tensor; which one does not matter to memory."""
    plane = x.nb[1] * x.ne[1]
    return view(x, (x.ne[0], x.ne[1]), (_F32, x.nb[1], plane, plane))


def gemma3n(b: GraphBuilder) -> Tensor:
    """Gemma 3n; gives the embeddings, logits not yet made."""
    x = apply("scale", b.embed())
    b.positions = new_input((b.job.tokens,), "i32")
    b.add_cache_inputs()
    given = _layer_inputs(b, x)
    projection = _outer(b, "altup_proj")
    streams = projection.ne[2] + 1
    x = concat(x, _leveled(projection, _repeated(x, streams - 1), x), 2)
    for at in range(len(b.job.blocks)):
        x = _gemma3n_layer(b, x, at, given)
    last = _outer(b, "altup_unembd_proj")
    rest = _leveled(last, _rest(x), _slice(x))
    merged = _slice(x)
    for _ in range(streams - 1):
        merged = Tensor(merged.ne, "f32", "add", (merged, _slice(rest)))
    b.rows = new_input((b.job.rows,), "i32")
    x = b.select_rows(apply("scale", merged))
    return b.norm(x, b.outer("output_norm.weight"))


def _leveled(weight: Tensor, x: Tensor, like: Tensor) -> Tensor:
    """Streams projected and brought to the magnitude of another."""
    target = _magnitude(like)
    y = matmul(weight, x)
    return apply("div", apply("mul", y, target), _magnitude(y))


def _magnitude(x: Tensor) -> Tensor:
    squared = apply("sqr", x)
    return apply("sqrt", Tensor((1, *x.ne[1:]), "f32", "sum_rows", (squared,)))


def _repeated(x: Tensor, times: int) -> Tensor:
    return Tensor((x.ne[0], x.ne[1], times), "f32", "repeat", (x,))


def _rest(x: Tensor) -> Tensor:
    return view(x, (x.ne[0], x.ne[1], x.ne[2] - 1), x.nb)


def _gemma3n_layer(b: GraphBuilder, x: Tensor, at: int, given: Tensor) -> Tensor:
    predicted = _predict(b, x, at)
    active = _slice(predicted)
    normed = b.norm(active, b.find(at, "attn_norm"), at=at)
    laurel = linear(linear(normed, b.get(at, "laurel_l")), b.get(at, "laurel_r"))
    laurel = apply("add", b.norm(laurel, b.find(at, "laurel_post_norm"), at=at), normed)
    y = _attention(b, normed, at, ())
    y = apply("add", b.norm(y, b.find(at, "post_attention_norm"), at=at), active)
    joined = apply("scale", apply("add", y, laurel))
    y = _thin_forward(b, b.norm(joined, b.find(at, "ffn_norm"), at=at), at)
    y = apply("add", b.norm(y, b.find(at, "post_ffw_norm")), joined)
    corrected = _correct(b, predicted, y, at)
    first = apply("mul", _slice(corrected), b.get(at, "altup_correct_scale"))
    first = apply("unary", matmul(b.get(at, "inp_gate"), first))
    first = matmul(b.get(at, "proj"), apply("mul", first, _slice(given)))
    first = b.norm(first, b.find(at, "post_norm"), at=at)
    rest = _rest(corrected)
    return concat(_slice(corrected), Tensor(rest.ne, "f32", "add", (rest, first)), 2)


def _thin_forward(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    up, gate = linear(x, b.get(at, "ffn_up")), linear(x, b.get(at, "ffn_gate"))
    if b.layer(at).thinned:
        mean = Tensor((1, gate.ne[1]), "f32", "mean", (gate,))
        squared = apply("sqr", apply("sub", gate, mean))
        spread = Tensor((1, gate.ne[1]), "f32", "sum_rows", (squared,))
        spread = apply("sqrt", apply("scale", spread))
        cutoff = apply("add", mean, apply("scale", spread))
        gate = apply("unary", apply("sub", gate, cutoff))
    return linear(apply("mul", up, apply("unary", gate)), b.get(at, "ffn_down"))


def _modalities(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    routed = apply("scale", b.norm(x, b.find(at, "altup_router_norm"), at=at))
    return apply("unary", matmul(b.get(at, "altup_router"), routed))


def _predict(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """Every stream as a mix of all (`altup_predict`)."""
    streams, tokens = x.ne[2], b.job.tokens
    coefficients = matmul(b.get(at, "altup_predict_coef"), _modalities(b, _slice(x), at))
    coefficients = reshape(coefficients, streams, streams, tokens)
    mixed = matmul(cont(permute(x, 1, 2, 0, 3)), coefficients)
    mixed = cont(permute(mixed, 0, 2, 1, 3))
    return apply("add", mixed, x)


def _correct(b: GraphBuilder, predicted: Tensor, y: Tensor, at: int) -> Tensor:
    """The active stream's surprise spread over all (`altup_correct`)."""
    streams, tokens = predicted.ne[2], b.job.tokens
    modalities = _modalities(b, y, at)
    surprise = apply("sub", y, _slice(predicted))
    coefficients = apply("scale", matmul(b.get(at, "altup_correct_coef"), modalities))
    coefficients = cont(transpose(coefficients), 1, tokens, streams)
    spread = apply("mul", _repeated(surprise, streams), coefficients)
    return apply("add", spread, predicted)
