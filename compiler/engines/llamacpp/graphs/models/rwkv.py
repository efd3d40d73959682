"""RWKV 6 and 7 as graphs: token shifts and a state instead of attention.

Transcribed from models/rwkv6-base.cpp, rwkv7-base.cpp, rwkv6.cpp, rwkv7.cpp, rwkv6qwen2.cpp and
arwkv7.cpp of llama.cpp (2026-10-01). Every few layers of version 6 are halved, in place.
"""

from __future__ import annotations

from collections.abc import Callable

from compiler.engines.llamacpp.ggml.tensor import (
    Tensor,
    apply,
    concat,
    cont,
    copy,
    matmul,
    new_input,
    permute,
    reshape,
    view,
)
from compiler.engines.llamacpp.graphs.builder import GraphBuilder, linear
from compiler.engines.llamacpp.graphs.feedforward import feed_forward
from compiler.engines.llamacpp.graphs.recurrent import read_state, state_tensor

_F32 = 4  # bytes
_MIXED = ("w", "k", "v", "r", "g")
_TimeMix = Callable[[GraphBuilder, Tensor, Tensor, int], Tensor]


def rwkv6(b: GraphBuilder) -> Tensor:
    """RWKV 6, or a Qwen 2 with its time mix; gives the embeddings, logits not yet made."""
    return _whole(b, _time_mix6)


def rwkv7(b: GraphBuilder) -> Tensor:
    """RWKV 7, or a Qwen 2 with its time mix; gives the embeddings, logits not yet made."""
    first: list[Tensor] = []
    return _whole(b, lambda b, x, before, at: _time_mix7(b, x, before, at, first))


def _whole(b: GraphBuilder, time_mix: _TimeMix) -> Tensor:
    x = b.embed()
    weight, bias = b.outer("token_embd_norm.weight"), b.outer("token_embd_norm.bias")
    if weight is not None:
        x = b.norm(x, weight, bias, at=0, op="norm")
    b.add_state_inputs()
    b.rows = new_input((b.job.rows,), "i32")
    last = len(b.job.blocks) - 1
    qwen = weight is None
    for at in range(len(b.job.blocks)):
        if qwen:
            x = _qwen_layer(b, x, at, time_mix, last=at == last)
        else:
            x = _layer(b, x, at, time_mix, last=at == last)
    op = "rms_norm" if qwen else "norm"
    return b.norm(x, b.outer("output_norm.weight"), b.outer("output_norm.bias"), op=op)


def _layer(b: GraphBuilder, x: Tensor, at: int, time_mix: _TimeMix, *, last: bool) -> Tensor:
    width, tokens, slots = b.job.shape.width, b.seq_tokens, b.job.slots
    x = reshape(x, width, tokens, slots)
    shift_state = state_tensor(b, at, b.job.shape.state.conv_elements)
    shifts = reshape(read_state(b, shift_state, shift_state.ne[0]), width, 2, slots)
    normed = b.norm(x, b.find(at, "attn_norm"), b.bias(at, "attn_norm"), at=at, op="norm")
    mixed = time_mix(b, normed, _before(b, shifts, normed), at)
    joined = apply("add", mixed, x)
    forward = b.norm(joined, b.find(at, "attn_norm_2"), b.bias(at, "attn_norm_2"), at=at, op="norm")
    before = _before(b, shifts, forward)
    ends = [view(part, (width, 1, slots), part.nb) for part in (normed, forward)]
    _store_shift(b, concat(ends[0], ends[1], 1), shift_state)
    joined, forward, before = (
        reshape(part, width, b.job.tokens) for part in (joined, forward, before)
    )
    if last:
        joined, forward, before = (b.select_rows(part) for part in (joined, forward, before))
    return apply("add", _channel_mix(b, forward, before, at), joined)


def _qwen_layer(b: GraphBuilder, x: Tensor, at: int, time_mix: _TimeMix, *, last: bool) -> Tensor:
    width, tokens, slots = b.job.shape.width, b.seq_tokens, b.job.slots
    x = reshape(x, width, tokens, slots)
    shift_state = state_tensor(b, at, b.job.shape.state.conv_elements)
    shift = reshape(read_state(b, shift_state, shift_state.ne[0]), width, 1, slots)
    normed = b.norm(x, b.find(at, "attn_norm"), b.bias(at, "attn_norm"), at=at)
    before = concat(shift, view(normed, (width, tokens - 1, slots), normed.nb), 1)
    mixed = time_mix(b, normed, before, at)
    _store_shift(b, view(normed, (width, 1, slots), normed.nb), shift_state)
    joined = reshape(apply("add", mixed, x), width, b.job.tokens)
    if last:
        joined = b.select_rows(joined)
    forward = b.norm(joined, b.find(at, "ffn_norm"), b.bias(at, "ffn_norm"), at=at)
    return apply("add", feed_forward(b, forward, at), joined)


def _before(b: GraphBuilder, shifts: Tensor, x: Tensor) -> Tensor:
    """Each token's predecessor; that of the first is kept in the state."""
    width, tokens, slots = b.job.shape.width, b.seq_tokens, b.job.slots
    kept = view(shifts, (width, 1, slots), shifts.nb)
    return concat(kept, view(x, (width, tokens - 1, slots), x.nb), 1)


def _store_shift(b: GraphBuilder, shift: Tensor, state: Tensor) -> None:
    count = shift.elements
    span = (_F32, count * _F32)
    b.graph.expand(copy(view(shift, (count,), span), view(state, (count,), span)))


def _channel_mix(b: GraphBuilder, x: Tensor, before: Tensor, at: int) -> Tensor:
    change = apply("sub", before, x)

    def moved(name: str) -> Tensor:
        return apply("add", apply("mul", change, b.get(at, f"channel_mix_lerp_{name}")), x)

    key = matmul(b.get(at, "channel_mix_key"), moved("k"))
    value = matmul(b.get(at, "channel_mix_value"), apply("sqr", apply("unary", key)))
    gate = b.find(at, "channel_mix_receptance")
    if gate is None:
        return value
    return apply("mul", apply("unary", matmul(gate, moved("r"))), value)


def _time_mix6(b: GraphBuilder, x: Tensor, before: Tensor, at: int) -> Tensor:
    width, tokens, head = b.job.shape.width, b.job.tokens, b.job.shape.state.wkv_head
    heads = width // head
    gated = b.find(at, "time_mix_first") is None
    change = reshape(apply("sub", before, x), width, tokens)
    parts = _mixed6(b, change, reshape(x, width, tokens), at)
    r, k, v = (
        linear(parts[part], b.get(at, f"time_mix_{name}"), b.bias(at, f"time_mix_{name}"))
        for part, name in (("r", "receptance"), ("k", "key"), ("v", "value"))
    )
    gate = apply("unary", matmul(b.get(at, "time_mix_gate"), parts["g"]))
    heads_kv = b.layer(at).heads_kv
    if heads_kv not in (0, heads):
        k, v = (_repeated(part, head, heads, heads_kv, tokens) for part in (k, v))
    r, k, v = (reshape(part, head, heads, tokens) for part in (r, k, v))
    low = apply("unary", matmul(b.get(at, "time_mix_decay_w1"), parts["w"]))
    w = apply("add", matmul(b.get(at, "time_mix_decay_w2"), low), b.get(at, "time_mix_decay"))
    for _ in range(3):  # exp, neg, exp
        w = apply("unary", w)
    w = reshape(w, head, heads, tokens)
    sources: tuple[Tensor, ...]
    if gated:
        sources = (apply("sub", k, apply("mul", k, w)), v, r, w)
    else:
        sources = (k, v, r, b.get(at, "time_mix_first"), w)
    y = _scan(b, at, "gla" if gated else "wkv", sources)
    y = reshape(y, width, tokens) if gated else _group_norm(b, y, at)
    y = matmul(b.get(at, "time_mix_output"), apply("mul", y, gate))
    return reshape(y, width, b.seq_tokens, b.job.slots)


def _mixed6(b: GraphBuilder, change: Tensor, x: Tensor, at: int) -> dict[str, Tensor]:
    """Five mixes of each token with its predecessor."""
    width, tokens = b.job.shape.width, b.job.tokens
    first, second = b.get(at, "time_mix_w1"), b.get(at, "time_mix_w2")
    low = apply("add", apply("mul", change, b.get(at, "time_mix_lerp_x")), x)
    low = reshape(apply("unary", matmul(first, low)), first.ne[1] // 5, 1, 5, tokens)
    low = cont(permute(low, 0, 1, 3, 2))
    mixes = matmul(reshape(second, second.ne[0], second.ne[1], 1, 5), low)
    fused = b.find(at, "time_mix_lerp_fused")
    if fused is not None:
        change, x = reshape(change, width, 1, tokens), reshape(x, width, 1, tokens)
        mixes = apply("add", apply("mul", apply("add", mixes, fused), change), x)
    parts = {name: view(mixes, (width, tokens), mixes.nb) for name in _MIXED}
    if fused is not None:
        return parts
    return {
        name: apply(
            "add", apply("mul", apply("add", part, b.get(at, f"time_mix_lerp_{name}")), change), x
        )
        for name, part in parts.items()
    }


def _repeated(x: Tensor, head: int, heads: int, heads_kv: int, tokens: int) -> Tensor:
    one = reshape(x, head, 1, heads_kv, tokens)
    return Tensor((head, heads // heads_kv, heads_kv, tokens), "f32", "repeat", (one,))


def _time_mix7(b: GraphBuilder, x: Tensor, before: Tensor, at: int, first: list[Tensor]) -> Tensor:
    width, tokens, head = b.job.shape.width, b.job.tokens, b.job.shape.state.wkv_head
    heads = width // head
    gated = b.find(at, "time_mix_g1") is not None and b.find(at, "time_mix_g2") is not None
    ne = (width, b.seq_tokens, b.job.slots, 6 if gated else 5)
    change = Tensor(ne, "f32", "repeat", (apply("sub", before, x),))
    mixes = apply("add", apply("mul", change, b.get(at, "time_mix_lerp_fused")), x)
    names = ("r", "w", "k", "v", "a", "g")[: ne[3]]
    parts = {name: view(mixes, (width, tokens), mixes.nb) for name in names}
    r = matmul(b.get(at, "time_mix_receptance"), parts["r"])
    low = apply("unary", matmul(b.get(at, "time_mix_w1"), parts["w"]))
    w = apply("add", matmul(b.get(at, "time_mix_w2"), low), b.get(at, "time_mix_w0"))
    w = apply("unary", apply("scale", apply("unary", w)))
    k = matmul(b.get(at, "time_mix_key"), parts["k"])
    v = _value7(b, parts["v"], at, first)
    gate = None
    if gated:
        low = apply("unary", matmul(b.get(at, "time_mix_g1"), parts["g"]))
        gate = matmul(b.get(at, "time_mix_g2"), low)
    a = apply("unary", _low_rank(b, parts["a"], at, "a"))
    normed = reshape(apply("mul", k, b.get(at, "time_mix_k_k")), head, heads, tokens)
    normed = Tensor(normed.ne, "f32", "l2_norm", (normed,))
    scaled = apply("mul", k, b.get(at, "time_mix_k_a"))
    k = apply("add", k, apply("sub", apply("mul", a, scaled), scaled))
    r, w, k, v, a = (reshape(part, head, heads, tokens) for part in (r, w, k, v, a))
    y = _scan(b, at, "wkv", (r, w, k, v, apply("unary", normed), apply("mul", normed, a)))
    y = (
        _group_norm(b, y, at)
        if b.find(at, "time_mix_ln") is not None
        else reshape(y, width, tokens)
    )
    bonus = apply("mul", apply("mul", k, r), reshape(b.get(at, "time_mix_r_k"), head, heads))
    bonus = Tensor((1, heads, tokens), "f32", "sum_rows", (bonus,))
    y = apply("add", y, reshape(apply("mul", v, bonus), width, tokens))
    y = apply("mul", y, gate) if gate is not None else y
    return reshape(matmul(b.get(at, "time_mix_output"), y), width, b.seq_tokens, b.job.slots)


def _value7(b: GraphBuilder, x: Tensor, at: int, first: list[Tensor]) -> Tensor:
    """The value, drawn towards that of the first layer."""
    v = matmul(b.get(at, "time_mix_value"), x)
    if not first:
        first.append(v)
        return v
    pull = apply("unary", _low_rank(b, x, at, "v"))
    return apply("add", v, apply("mul", apply("sub", first[0], v), pull))


def _low_rank(b: GraphBuilder, x: Tensor, at: int, name: str) -> Tensor:
    low = matmul(b.get(at, f"time_mix_{name}1"), x)
    return apply("add", matmul(b.get(at, f"time_mix_{name}2"), low), b.get(at, f"time_mix_{name}0"))


def _scan(b: GraphBuilder, at: int, op: str, sources: tuple[Tensor, ...]) -> Tensor:
    """The state's pass over the tokens."""
    width, tokens, slots = b.job.shape.width, b.job.tokens, b.job.slots
    elements = b.job.shape.state.state_elements
    state = state_tensor(b, at, elements)
    current = read_state(b, state, elements)
    rows = tokens + b.job.shape.state.wkv_head * slots
    result = Tensor((width, rows), "f32", op, (*sources, current))
    count, total = width * tokens, elements * slots
    y = view(result, (count,), (_F32, count * _F32))
    after = view(result, (total,), (_F32, total * _F32))
    b.graph.expand(copy(after, view(state, (total,), (_F32, total * _F32))))
    return y


def _group_norm(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    width, tokens, head = b.job.shape.width, b.job.tokens, b.job.shape.state.wkv_head
    x = apply("norm", reshape(x, head, width // head, tokens))
    x = apply("mul", reshape(x, width, tokens), b.get(at, "time_mix_ln"))
    bias = b.bias(at, "time_mix_ln")
    return apply("add", x, bias) if bias is not None else x
