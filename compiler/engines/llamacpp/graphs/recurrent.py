"""Recurrent layers, as nodes: gated delta net, short convolution, Mamba 2 (models/*.cpp)."""

from __future__ import annotations

from collections.abc import Callable

from compiler.engines.llamacpp.ggml.tensor import (
    Tensor,
    apply,
    concat,
    cont,
    copy,
    get_rows,
    matmul,
    reshape,
    resident,
    transpose,
    view,
)
from compiler.engines.llamacpp.graphs.attention import attend, project_flat
from compiler.engines.llamacpp.graphs.builder import GraphBuilder

_F32 = 4  # bytes


def state_tensor(b: GraphBuilder, at: int, elements: int) -> Tensor:
    """The state of a layer, one row a slot, in its cache buffer."""
    device = b.device_of_state(at)
    return resident((elements, b.job.slots), "f32", device, weight=False)


def read_state(
    b: GraphBuilder, state: Tensor, size: int, read: Callable[[Tensor, Tensor], Tensor] = get_rows
) -> Tensor:
    """The states of the batch's sequences; the others are moved (`build_rs`)."""
    rows = reshape(state, size, state.ne[1])
    cleared = view(rows, (0,), rows.nb)
    b.graph.expand(Tensor(cleared.ne, cleared.dtype, "scale", (cleared,), cleared, cleared.nb))
    found = read(rows, b.state_main)
    b.graph.expand(found)
    extra = get_rows(rows, b.state_extra)
    target = view(state, (size, b.state_extra.ne[0]), state.nb)
    b.graph.expand(copy(extra, target))
    return found


def _convolve(b: GraphBuilder, x: Tensor, taps: int, channels: int, state: Tensor) -> Tensor:
    """The convolution's window: the kept state before the new columns, and the state anew."""
    slots = b.job.slots
    kept = reshape(read_state(b, state, taps * channels), taps, channels, slots)
    joined = concat(kept, x, 0)
    for _ in range(1 + b.job.rollbacks):
        tail = view(joined, (taps, channels, slots), joined.nb)
        b.graph.expand(copy(tail, view(state, (taps * channels, slots), state.nb)))
    return joined


def delta_net(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """A gated delta net (models/qwen3next.cpp, models/qwen35.cpp, models/delta-net-base.cpp)."""
    job, state = b.job, b.job.shape.state
    tokens, slots = b.seq_tokens, job.slots
    size, key_heads, value_heads = state.size, state.groups, state.rank
    head = state.inner // max(1, value_heads)
    channels = state.inner + 2 * key_heads * size
    mixed = matmul(b.get(at, "attn_qkv"), x)
    mixed = reshape(mixed, mixed.ne[0], tokens, slots)
    z = matmul(b.get(at, "attn_gate"), x)
    beta, decay = _delta_gates(b, x, at)
    conv_state = state_tensor(b, at, state.conv_elements)
    own_state = state_tensor(b, at, state.state_elements)
    window = _convolve(b, transpose(mixed), state.conv - 1, channels, conv_state)
    current = reshape(
        read_state(b, own_state, state.state_elements), head, head, value_heads, slots
    )
    mixed = Tensor((channels, tokens, slots), "f32", "ssm_conv", (window, b.get(at, "ssm_conv1d")))
    mixed = apply("unary", mixed)
    q, k = (_delta_heads(b, mixed, size, key_heads, channels) for _ in range(2))
    v = _channel_view(mixed, head, value_heads, tokens, slots)
    q, k = (apply("scale", apply("rms_norm", part)) for part in (q, k))
    if job.shape.arch == "qwen3next" and key_heads != value_heads:
        q, k = (_repeat_heads(b, part) for part in (q, k))
    # What may be refused leaves a state behind each token (`build_recurrent_attn`).
    rows = job.tokens + head * slots * (1 + job.rollbacks)
    result = Tensor((head * value_heads, rows), "f32", "gdn", (q, k, v, decay, beta, current))
    return _delta_output(b, at, result, own_state, z)


def _delta_gates(b: GraphBuilder, x: Tensor, at: int) -> tuple[Tensor, Tensor]:
    state, tokens, slots = b.job.shape.state, b.seq_tokens, b.job.slots
    value_heads = state.rank
    if b.job.shape.arch == "qwen3next":
        ratio = value_heads // max(1, state.groups)
        both = matmul(b.get(at, "ssm_ba"), x)
        both = reshape(both, 2 * ratio, state.groups, tokens, slots)
        part = (ratio, state.groups, tokens, slots)
        beta = apply("unary", cont(view(both, part, both.nb)))
        alpha = cont(view(both, part, both.nb), value_heads, tokens, slots)
    else:
        beta = matmul(b.get(at, "ssm_beta"), x)
        beta = apply("unary", reshape(beta, 1, value_heads, tokens, slots))
        alpha = reshape(matmul(b.get(at, "ssm_alpha"), x), value_heads, tokens, slots)
    bias = b.bias(at, "ssm_dt") or b.get(at, "ssm_dt")
    soft = apply("unary", apply("add", alpha, bias))
    decay = apply("mul", soft, b.get(at, "ssm_a"))
    if b.job.shape.arch == "qwen3next":
        beta = reshape(beta, 1, value_heads, tokens, slots)
    return beta, reshape(decay, 1, value_heads, tokens, slots)


def _channel_view(x: Tensor, head: int, heads: int, tokens: int, slots: int) -> Tensor:
    row = x.ne[0] * _F32
    return view(x, (head, heads, tokens, slots), (_F32, head * _F32, row, row * tokens))


def _delta_heads(b: GraphBuilder, mixed: Tensor, size: int, heads: int, channels: int) -> Tensor:
    row = channels * _F32
    ne = (size, heads, b.seq_tokens, b.job.slots)
    return view(mixed, ne, (_F32, size * _F32, row, row * b.seq_tokens))


def _repeat_heads(b: GraphBuilder, x: Tensor) -> Tensor:
    """Key heads repeated to the number of value heads."""
    state, tokens = b.job.shape.state, b.job.tokens
    factor = state.rank // max(1, state.groups)
    ne = (state.size, factor, state.groups, tokens)
    wide = Tensor(ne, "f32", "repeat", (reshape(x, state.size, 1, state.groups, tokens),))
    return reshape(wide, state.size, state.rank, b.seq_tokens, b.job.slots)


def _delta_output(b: GraphBuilder, at: int, result: Tensor, state: Tensor, z: Tensor) -> Tensor:
    sizes, tokens, slots = b.job.shape.state, b.seq_tokens, b.job.slots
    heads = sizes.rank
    head = sizes.inner // max(1, heads)
    row = head * heads * _F32
    out = view(result, (head, heads, tokens, slots), (_F32, head * _F32, row, row * tokens))
    square = head * head * _F32
    after = view(result, (head, head, heads, slots), (_F32, head * _F32, square, square * heads))
    b.graph.expand(copy(after, view(state, (sizes.state_elements, slots), state.nb)))
    z = reshape(z, head, heads, tokens, slots)
    y = b.norm(out, b.find(at, "ssm_norm"), at=at)
    y = apply("mul", y, apply("unary", z))
    y = matmul(b.get(at, "ssm_out"), reshape(y, head * heads, tokens, slots))
    return reshape(y, b.job.shape.width, b.job.tokens)


def gated_attention(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """The full attention layers between delta nets: Q carries a gate of its own size."""
    layer, tokens = b.layer(at), b.job.tokens
    heads, heads_kv, head = layer.heads, layer.heads_kv, layer.head_k
    both, k, v = project_flat(b, x, at)
    q_norm, k_norm = b.find(at, "attn_q_norm"), b.find(at, "attn_k_norm")
    next_generation = b.job.shape.arch == "qwen3next"
    if next_generation:
        both = reshape(both, 2 * head, heads, tokens, 1)
        q = view(both, (head, heads, tokens), both.nb)
        gate = view(both, (head, heads, tokens), both.nb)
        k, v = (reshape(part, head, heads_kv, tokens) for part in (k, v))
        q, k = b.norm(q, q_norm, at=at), b.norm(k, k_norm, at=at)
    else:
        row = 2 * _F32 * head
        nb = (_F32, row, row * heads, row * heads * tokens)
        q = b.norm(view(both, (head, heads, tokens), nb), q_norm, at=at)
        k = b.norm(reshape(k, head, heads_kv, tokens), k_norm, at=at)
        gate = cont(view(both, (head, heads, tokens), nb), head * heads, tokens)
        v = reshape(v, head, heads_kv, tokens)
    q, k = apply("rope", q, b.positions), apply("rope", k, b.positions)
    x = attend(b, (q, k, v), at)
    if next_generation:
        gate = cont(gate, head * heads, tokens)
    return matmul(b.get(at, "attn_output"), apply("mul", x, apply("unary", gate)))


def short_convolution(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """A gated short convolution (models/lfm2.cpp)."""
    shape, tokens, slots = b.job.shape, b.seq_tokens, b.job.slots
    width, taps = shape.width, shape.state.short_conv - 1
    x = reshape(x, width, tokens, slots)
    y = matmul(b.get(at, "shortconv.in_proj"), x)
    first, gate, last = (view(y, (width, y.ne[1], y.ne[2]), y.nb) for _ in range(3))
    product = transpose(apply("mul", first, last))
    state = state_tensor(b, at, shape.state.conv_elements)
    window = _convolve(b, product, taps, width, state)
    conv = Tensor((width, tokens, slots), "f32", "ssm_conv", (window, b.get(at, "shortconv.conv")))
    y = matmul(b.get(at, "shortconv.out_proj"), apply("mul", gate, conv))
    return reshape(y, width, b.job.tokens)


def mamba2(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """A Mamba 2 layer (models/mamba-base.cpp `build_mamba2_layer`)."""
    job, sizes = b.job, b.job.shape.state
    tokens, slots = b.seq_tokens, job.slots
    inner, size, heads, groups = sizes.inner, sizes.size, sizes.rank, sizes.groups
    head = inner // max(1, heads)
    channels = inner + 2 * groups * size
    conv_state = state_tensor(b, at, sizes.conv_elements)
    state = state_tensor(b, at, sizes.state_elements)
    taps = sizes.conv - 1
    kept = reshape(read_state(b, conv_state, taps * channels), taps, channels, slots)
    mixed = matmul(b.get(at, "ssm_in"), x)
    mixed = reshape(mixed, mixed.ne[0], tokens, slots)
    nb = mixed.nb
    z = view(mixed, (head, heads, tokens, slots), (_F32, head * _F32, nb[1], nb[2]))
    columns = view(mixed, (channels, tokens, slots), nb)
    dt = view(mixed, (heads, tokens, slots), nb)
    window = concat(kept, transpose(columns), 0)
    tail = view(window, (taps, channels, slots), window.nb)
    b.graph.expand(copy(tail, view(conv_state, (taps * channels, slots), conv_state.nb)))
    conv = Tensor((channels, tokens, slots), "f32", "ssm_conv", (window, b.get(at, "ssm_conv1d")))
    bias = b.bias(at, "ssm_conv1d")
    conv = apply("unary", conv if bias is None else apply("add", conv, bias))
    values = view(conv, (head, heads, tokens, slots), (_F32, head * _F32, conv.nb[1], conv.nb[2]))
    inputs, outputs = (
        view(conv, (size, groups, tokens, slots), (_F32, size * _F32, conv.nb[1], conv.nb[2]))
        for _ in range(2)
    )
    dt = apply("add", cont(dt), b.bias(at, "ssm_dt") or b.get(at, "ssm_dt"))
    decay = b.get(at, "ssm_a")

    def scan(states: Tensor, ids: Tensor) -> Tensor:
        current = reshape(states, size, head, heads, state.ne[1])
        count = values.elements + size * head * heads * slots
        return Tensor(
            (count,), "f32", "ssm_scan", (current, values, dt, decay, inputs, outputs, ids)
        )

    y = read_state(b, state, sizes.state_elements, scan)
    total = size * inner
    row = total * _F32
    after = view(y, (total, slots), (_F32, row, row * slots, row * slots))
    b.graph.expand(copy(after, view(state, (total, slots), state.nb)))
    return _mamba2_output(b, at, y, values, z)


def _mamba2_output(b: GraphBuilder, at: int, y: Tensor, values: Tensor, z: Tensor) -> Tensor:
    sizes, tokens, slots = b.job.shape.state, b.seq_tokens, b.job.slots
    inner, heads = sizes.inner, sizes.rank
    head = inner // max(1, heads)
    step = values.nb[1]
    nb = (_F32, step, heads * step, tokens * heads * step)
    y = view(y, (head, heads, tokens, slots), nb)
    skip = apply("mul", values, b.get(at, "ssm_d"))
    y = Tensor(y.ne, "f32", "add", (y, skip))
    y = Tensor(y.ne, "f32", "glu", (cont(z), y))
    norm = b.find(at, "ssm_norm")
    if norm is not None:
        groups = max(1, sizes.groups)
        y = b.norm(reshape(y, inner // groups, groups, tokens, slots), norm, at=at)
    return matmul(b.get(at, "ssm_out"), reshape(y, inner, b.job.tokens))


def mamba(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """A Mamba layer of the first kind (models/mamba-base.cpp `build_mamba_layer`)."""
    sizes, tokens, slots = b.job.shape.state, b.seq_tokens, b.job.slots
    inner, size, rank, taps = sizes.inner, sizes.size, sizes.rank, sizes.conv - 1
    conv_state = state_tensor(b, at, sizes.conv_elements)
    state = state_tensor(b, at, sizes.state_elements)
    kept = reshape(read_state(b, conv_state, taps * inner), taps, inner, slots)
    both = matmul(b.get(at, "ssm_in"), reshape(x, x.ne[0], tokens, slots))
    part = (inner, both.ne[1], both.ne[2])
    columns, z = view(both, part, both.nb), view(both, part, both.nb)
    window = concat(kept, transpose(columns), 0)
    tail = view(window, (taps, inner, slots), window.nb)
    b.graph.expand(copy(tail, view(conv_state, (taps * inner, slots), conv_state.nb)))
    conv = Tensor((inner, tokens, slots), "f32", "ssm_conv", (window, b.get(at, "ssm_conv1d")))
    bias = b.bias(at, "ssm_conv1d")
    conv = apply("unary", conv if bias is None else apply("add", conv, bias))
    mixed = matmul(b.get(at, "ssm_x"), conv)
    dt = view(mixed, (rank, tokens, slots), mixed.nb)
    group = (size, 1, tokens, slots)
    steps = (_F32, size * _F32, mixed.nb[1], mixed.nb[2])
    inputs, outputs = view(mixed, group, steps), view(mixed, group, steps)
    if b.find(at, "ssm_dt_norm") is not None:
        dt = b.norm(dt, b.find(at, "ssm_dt_norm"), at=at)
        inputs = b.norm(inputs, b.find(at, "ssm_b_norm"), at=at)
        outputs = b.norm(outputs, b.find(at, "ssm_c_norm"), at=at)
    dt = apply("add", matmul(b.get(at, "ssm_dt"), dt), b.bias(at, "ssm_dt") or b.get(at, "ssm_dt"))
    values = reshape(conv, 1, inner, tokens, slots)
    decay = b.get(at, "ssm_a")

    def scan(states: Tensor, ids: Tensor) -> Tensor:
        current = reshape(states, size, 1, inner, state.ne[1])
        count = values.elements + size * inner * slots
        return Tensor(
            (count,), "f32", "ssm_scan", (current, values, dt, decay, inputs, outputs, ids)
        )

    y = read_state(b, state, sizes.state_elements, scan)
    total = size * inner * _F32
    after = view(y, (size * inner, slots), (_F32, total, total * slots, total * slots))
    b.graph.expand(copy(after, view(state, (size * inner, slots), state.nb)))
    y = view(y, (inner, tokens, slots), (_F32, values.nb[2], values.nb[3], values.nb[3] * slots))
    y = Tensor(y.ne, "f32", "add", (y, apply("mul", conv, b.get(at, "ssm_d"))))
    y = Tensor(y.ne, "f32", "glu", (cont(z), y))
    y = matmul(b.get(at, "ssm_out"), y)
    return reshape(y, y.ne[0], b.job.tokens)
