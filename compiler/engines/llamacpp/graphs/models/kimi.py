"""The layers of Kimi Linear: delta attention with a state, latent attention without rope.

Transcribed from models/kimi-linear.cpp of llama.cpp (2026-10-01); the rest is a common decoder.
"""

from __future__ import annotations

from compiler.engines.llamacpp.ggml.tensor import (
    Tensor,
    apply,
    concat,
    cont,
    copy,
    matmul,
    permute,
    reshape,
    transpose,
    view,
)
from compiler.engines.llamacpp.graphs.attention import Extras, attend
from compiler.engines.llamacpp.graphs.builder import GraphBuilder
from compiler.engines.llamacpp.graphs.recurrent import read_state, state_tensor

_F32 = 4  # bytes
_PARTS = ("q", "k", "v")


def delta_attention(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """Kimi delta attention: a delta net whose decay differs from channel to channel."""
    sizes, tokens, slots = b.job.shape.state, b.seq_tokens, b.job.sequences
    head, heads = sizes.delta_head, sizes.delta_heads
    conv_state = state_tensor(b, at, sizes.conv_elements)
    kept = read_state(b, conv_state, sizes.conv_elements)
    q, k, v = (_convolved(b, x, at, part, (conv_state, kept)) for part in _PARTS)
    decay = matmul(b.get(at, "ssm_f_b"), matmul(b.get(at, "ssm_f_a"), x))
    decay = apply("unary", apply("add", decay, b.bias(at, "ssm_dt") or b.get(at, "ssm_dt")))
    decay = apply("mul", reshape(decay, head, heads, b.job.tokens), _decay_scale(b, at, heads))
    decay = reshape(decay, head, heads, tokens, slots)
    beta = reshape(matmul(b.get(at, "ssm_beta"), x), 1, heads, tokens, slots)
    beta = apply("unary", beta)
    wide = reshape(x, x.ne[0], tokens, slots)
    state = state_tensor(b, at, sizes.state_elements)
    current = reshape(read_state(b, state, sizes.state_elements), head, head, heads, slots)
    q, k = (apply("scale", apply("rms_norm", part)) for part in (q, k))
    rows = b.job.tokens + head * slots
    result = Tensor((head * heads, rows), "f32", "gdn", (q, k, v, decay, beta, current))
    row, square = head * heads * _F32, head * head * _F32
    out = view(result, (head, heads, tokens, slots), (_F32, head * _F32, row, row * tokens))
    after = view(result, (head, head, heads, slots), (_F32, head * _F32, square, square * heads))
    out = cont(out)
    total = sizes.state_elements * slots
    b.graph.expand(copy(after, view(state, (total,), (_F32, total * _F32))))
    return _gated_output(b, at, out, wide)


def _decay_scale(b: GraphBuilder, at: int, heads: int) -> Tensor:
    return reshape(b.get(at, "ssm_a"), 1, heads, 1)


def _convolved(
    b: GraphBuilder, x: Tensor, at: int, part: str, states: tuple[Tensor, Tensor]
) -> Tensor:
    """Q, K or V behind its own convolution; each has a third of the state (`causal_conv1d`)."""
    sizes, tokens, slots = b.job.shape.state, b.seq_tokens, b.job.sequences
    taps, inner = sizes.conv - 1, sizes.delta_head * sizes.delta_heads
    rows, whole = taps * _F32, sizes.conv_elements * _F32
    conv_state, kept = states
    own = view(kept, (taps, inner, slots), (_F32, rows, whole))
    columns = reshape(matmul(b.get(at, f"attn_{part}"), x), inner, tokens, slots)
    window = concat(own, transpose(columns), 0)
    tail = view(window, (taps, inner, slots), window.nb)
    b.graph.expand(copy(tail, view(conv_state, (taps, inner, slots), (_F32, rows, whole))))
    weight = reshape(b.get(at, f"ssm_conv1d_{part}"), sizes.conv, inner)
    y = Tensor((inner, tokens, slots), "f32", "ssm_conv", (window, weight))
    y = apply("unary", reshape(y, inner, b.job.tokens))
    return reshape(y, sizes.delta_head, sizes.delta_heads, tokens, slots)


def _gated_output(b: GraphBuilder, at: int, out: Tensor, x: Tensor) -> Tensor:
    sizes, tokens = b.job.shape.state, b.job.tokens
    head, heads = sizes.delta_head, sizes.delta_heads
    flat = reshape(x, x.ne[0], tokens)
    gate = matmul(b.get(at, "ssm_g_b"), matmul(b.get(at, "ssm_g_a"), flat))
    gate = reshape(gate, head, heads, tokens)
    normed = b.norm(reshape(out, head, heads, tokens), b.find(at, "ssm_norm"), at=at)
    gated = apply("mul", normed, apply("unary", gate))
    return matmul(b.get(at, "attn_output"), cont(gated, head * heads, tokens))


def latent_attention(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """Latent attention with absorbed matrices; positions come from the delta layers."""
    shape, heads, tokens = b.job.shape, b.layer(at).heads, b.job.tokens
    rank, rope, head = shape.latent.rank, shape.rotary, shape.latent.key_length
    q = matmul(b.get(at, "attn_q"), x)
    kv = matmul(b.get(at, "attn_kv_a_mqa"), x)
    compressed = view(kv, (rank, tokens), kv.nb)
    k_rest = view(kv, (rope, 1, tokens), (_F32, kv.nb[1], kv.nb[1]))
    compressed = b.norm(compressed, b.find(at, "attn_kv_a_norm"), at=at)
    steps = (_F32, head * _F32, head * heads * _F32)
    q_plain = permute(view(q, (head - rope, heads, tokens), steps), 0, 2, 1, 3)
    q_rest = view(q, (rope, heads, tokens), steps)
    absorbed = permute(matmul(b.get(at, "attn_k_b"), q_plain), 0, 2, 1, 3)
    query = concat(absorbed, q_rest, 0)
    compressed = reshape(compressed, rank, 1, tokens)
    key = concat(compressed, k_rest, 0)
    extras = Extras(v_expand=b.get(at, "attn_v_b"))
    return matmul(b.get(at, "attn_output"), attend(b, (query, key, compressed), at, extras))
