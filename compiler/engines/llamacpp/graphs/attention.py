"""Attention over a KV cache, as nodes (llama-graph.cpp `build_attn`, `build_attn_mha`)."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.engines.llamacpp.ggml.tensor import (
    Tensor,
    apply,
    cast,
    concat,
    cont,
    copy,
    matmul,
    permute,
    reshape,
    resident,
    set_rows,
    transpose,
    view,
)
from compiler.engines.llamacpp.graphs.builder import CacheInputs, GraphBuilder, linear
from compiler.engines.llamacpp.model.quants import block, row_bytes

_F32 = 4  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What an architecture adds to plain attention."""

    softcap: bool = False
    sinks: Tensor | None = None
    v_expand: Tensor | None = None
    """Latent attention: the matrix that widens the result again."""
    bias: Tensor | None = None
    """Added to the scores (T5); there is no fused kernel for it."""
    mask: Tensor | None = None
    """What is seen, when it is not all that the cache's mask shows (sparse attention)."""


PLAIN = Extras()


def project(
    b: GraphBuilder, x: Tensor, at: int, query_head: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Q, K and V of a block, by head (llama-graph.cpp `build_qkv`)."""
    layer = b.layer(at)
    tokens = b.job.tokens
    sizes = (
        (query_head or layer.head_k, layer.heads),
        (layer.head_k, layer.heads_kv),
        (layer.head_v, layer.heads_kv),
    )
    fused = b.find(at, "attn_qkv")
    if fused is not None:
        y = linear(x, fused, b.bias(at, "attn_qkv"))
        q, k, v = (_head_view(b, y, head, heads) for head, heads in sizes)
        return q, k, v
    q, k, v = project_flat(b, x, at)
    return (
        reshape(q, *sizes[0], tokens),
        reshape(k, *sizes[1], tokens),
        reshape(v, *sizes[2], tokens),
    )


def project_flat(b: GraphBuilder, x: Tensor, at: int) -> tuple[Tensor, Tensor, Tensor]:
    """Q, K and V of a block as rows; a model without V uses K."""
    q = linear(x, b.get(at, "attn_q"), b.bias(at, "attn_q"))
    k = linear(x, b.get(at, "attn_k"), b.bias(at, "attn_k"))
    weight = b.find(at, "attn_v")
    v = linear(x, weight, b.bias(at, "attn_v")) if weight is not None else k
    return q, k, v


def project_normed(
    b: GraphBuilder, x: Tensor, at: int, norms: tuple[Tensor, Tensor | None]
) -> tuple[Tensor, Tensor, Tensor]:
    """Q, K and V of a block, by head, where Q and K are normalized over all heads."""
    layer, tokens = b.layer(at), b.job.tokens
    q, k, v = project_flat(b, x, at)
    q, k = b.norm(q, norms[0], at=at), b.norm(k, norms[1], at=at)
    return (
        reshape(q, layer.head_k, layer.heads, tokens),
        reshape(k, layer.head_k, layer.heads_kv, tokens),
        reshape(v, layer.head_v, layer.heads_kv, tokens),
    )


def _head_view(b: GraphBuilder, y: Tensor, head: int, heads: int) -> Tensor:
    tokens = b.job.tokens
    part = view(y, (head, heads, tokens), (_F32, _F32 * head, y.nb[1], y.nb[1] * tokens))
    if b.job.era.fused_qkv_views:
        return part
    return reshape(cont(part, head * heads, tokens), head, heads, tokens)


def attend(
    b: GraphBuilder,
    qkv: tuple[Tensor, Tensor | None, Tensor | None],
    at: int,
    extras: Extras = PLAIN,
) -> Tensor:
    """Write K and V to the cache of a block and attend over it."""
    q, k, v = qkv
    layer = b.layer(at)
    windowed = layer.sliding and b.sliding is not None
    inputs = b.sliding if windowed and b.sliding is not None else b.cache
    if b.job.shape.attends_batch and k is not None and v is not None:
        for part in (q, k, v):
            b.graph.expand(part)
        return attention(b, (q, k, v), inputs.mask, extras)
    if inputs.k_rotation is not None:
        q = _rotate(q, inputs.k_rotation)
        k = _rotate(k, inputs.k_rotation) if k is not None else None
    if inputs.v_rotation is not None and v is not None:
        v = _rotate(v, inputs.v_rotation)
    b.graph.expand(q)
    k_cache, v_cache = _caches(b, at, inputs.cells)
    if k is not None and v is not None and not b.shares_cache(at):
        _write(b, inputs, (k, v), (k_cache, v_cache))
    mask = inputs.mask if extras.mask is None else extras.mask
    if b.second_mask is not None and layer.sliding:
        mask = b.second_mask
    key, value = _cache_views(b, at, inputs.cells, k_cache, v_cache)
    x = attention(b, (q, key, value), mask, extras)
    if inputs.v_rotation is not None:
        x = _rotate(x, inputs.v_rotation)
    return x


def attention(
    b: GraphBuilder, qkv: tuple[Tensor, Tensor, Tensor], mask: Tensor, extras: Extras = PLAIN
) -> Tensor:
    """Scores, softmax and the weighted sum, fused or not (`build_attn_mha`)."""
    q, k, v = qkv
    streams = k.ne[3]
    transposed = v.nb[1] > v.nb[2]
    per_stream = q.ne[2] // streams
    q = view(
        q,
        (q.ne[0], q.ne[1], per_stream, streams),
        (q.nb[0], q.nb[1], q.nb[2], q.nb[2] * per_stream),
    )
    q, k, v = (permute(part, 0, 2, 1, 3) for part in (q, k, v))
    if b.job.flash_attention and extras.bias is None:
        x = _fused(q, k, transpose(v) if transposed else v, mask, extras)
    else:
        x = _unfused(q, k, v if transposed else cont(transpose(v)), mask, extras)
        if not b.job.kv_on_gpu:
            x.device = b.job.host
    b.graph.expand(x)
    return x


def _fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, extras: Extras) -> Tensor:
    k = cast(k, "f16") if k.dtype == "f32" else k
    v = cast(v, "f16") if v.dtype == "f32" else v
    sinks = (extras.sinks,) if extras.sinks is not None else ()
    x = Tensor((v.ne[0], q.ne[2], q.ne[1], q.ne[3]), "f32", "flash_attn", (q, k, v, mask, *sinks))
    if extras.v_expand is not None:
        x = matmul(extras.v_expand, permute(x, 0, 2, 1, 3))
        x = cont(permute(x, 0, 2, 1, 3))
    return reshape(x, x.ne[0] * x.ne[1], x.ne[2] * x.ne[3])


def _unfused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, extras: Extras) -> Tensor:
    scores = matmul(k, q)
    if extras.softcap:
        scores = apply("scale", apply("unary", apply("scale", scores)))
    if extras.bias is not None:
        scores = apply("add", scores, extras.bias)
    sinks = (extras.sinks,) if extras.sinks is not None else ()
    scores = apply("soft_max", scores, mask, *sinks)
    x = matmul(v, scores)
    if extras.v_expand is not None:
        x = matmul(extras.v_expand, x)
    x = permute(x, 0, 2, 1, 3)
    return cont(x, x.ne[0] * x.ne[1], x.ne[2] * x.ne[3])


def _rotate(x: Tensor, rotation: Tensor) -> Tensor:
    size = rotation.ne[0]
    rows = x.elements // size
    flat = reshape(x, size, rows) if x.contiguous() else cont(x, size, rows)
    return reshape(matmul(rotation, flat), *x.ne)


def _caches(b: GraphBuilder, at: int, cells: int) -> tuple[Tensor, Tensor | None]:
    job = b.job
    layer = b.layer(at)
    device = b.device_of_state(at)
    key = resident((layer.k_width, cells, job.streams), job.type_k, device, weight=False)
    if job.shape.latent.absorbed and job.era.latent_rows:
        return key, None
    width = layer.v_width if job.flash_attention else b.widest_v()
    return key, resident((width, cells, job.streams), job.type_v, device, weight=False)


def _write(
    b: GraphBuilder,
    inputs: CacheInputs,
    values: tuple[Tensor, Tensor],
    caches: tuple[Tensor, Tensor | None],
) -> None:
    (k, v), (k_cache, v_cache) = values, caches
    # Two caches (`llm_graph_input_attn_kv_iswa`) take K first, one cache takes V first.
    for part in (k, v) if b.sliding is not None else (v, k):
        b.graph.expand(part)
    if inputs.k_ids is None:
        _write_by_copy(b, k, k_cache)
        if v_cache is not None:
            _write_by_copy(b, v, v_cache)
        return
    write_key(b, k, k_cache, inputs.k_ids)
    if v_cache is None or inputs.v_ids is None:
        return
    if b.job.flash_attention:
        b.graph.expand(set_rows(_flat(v_cache), _row_view(v), inputs.v_ids))
        return
    width = v.ne[0] * v.ne[1]
    rows = v.nb[2] == width * _F32
    flat = reshape(v, width, b.job.tokens) if rows else cont(v, width, b.job.tokens)
    if width < v_cache.ne[0]:
        flat = Tensor((v_cache.ne[0], b.job.tokens), "f32", "pad", (flat,))
    column = reshape(v_cache, 1, v_cache.elements)
    b.graph.expand(set_rows(column, reshape(flat, 1, flat.elements), inputs.v_ids))


def write_key(b: GraphBuilder, key: Tensor, cache: Tensor, ids: Tensor) -> None:
    """Keys written to the rows of a cache (`cpy_k`)."""
    b.graph.expand(set_rows(_flat(cache), _row_view(key), ids))


def _write_by_copy(b: GraphBuilder, value: Tensor, cache: Tensor) -> None:
    """Until August 2025 K and V were copied to a view of the cache."""
    count = value.ne[0] * value.ne[1] * b.job.tokens
    span = row_bytes(cache.dtype, count)
    part = view(cache, (count,), (block(cache.dtype)[1], span, span, span))
    b.graph.expand(copy(value, part))


def _flat(cache: Tensor) -> Tensor:
    if cache.ne[2] == 1:
        return cache
    return reshape(cache, cache.ne[0], cache.ne[1] * cache.ne[2])


def _row_view(value: Tensor) -> Tensor:
    ne = (value.ne[0] * value.ne[1], value.ne[2])
    end = value.nb[2] * value.ne[2]
    return view(value, ne, (value.nb[0], value.nb[2], end, end))


def _cache_views(
    b: GraphBuilder, at: int, cells: int, k_cache: Tensor, v_cache: Tensor | None
) -> tuple[Tensor, Tensor]:
    job = b.job
    layer = b.layer(at)
    heads, streams = layer.heads_kv, job.streams
    k_row = row_bytes(job.type_k, k_cache.ne[0])
    key = view(
        k_cache,
        (layer.head_k, heads, cells, streams),
        (block(job.type_k)[1], row_bytes(job.type_k, layer.head_k), k_row, k_row * cells),
    )
    if v_cache is None:
        return key, view(key, (layer.head_v, heads, cells, streams), key.nb)
    unit = block(job.type_v)[1]
    v_row = row_bytes(job.type_v, v_cache.ne[0])
    if job.flash_attention:
        nb = (unit, row_bytes(job.type_v, layer.head_v), v_row, v_row * cells)
        return key, view(v_cache, (layer.head_v, heads, cells, streams), nb)
    nb = (
        unit,
        row_bytes(job.type_v, cells * layer.head_v),
        row_bytes(job.type_v, cells),
        row_bytes(job.type_v, cells * v_cache.ne[0]),
    )
    return key, view(v_cache, (cells, heads, layer.head_v, streams), nb)


def latent(
    b: GraphBuilder, x: Tensor, at: int, *, low: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Multi-head latent attention with absorbed matrices (models/deepseek2.cpp).

    `low` is Q of low rank, where the caller needs it, too; `mask` what is seen, if not all.
    """
    shape = b.job.shape
    layer = b.layer(at)
    heads, tokens, rank, rope = layer.heads, b.job.tokens, shape.latent.rank, shape.rotary
    head = shape.latent.key_length
    plain = head - rope
    if b.find(at, "attn_q") is not None:
        q = matmul(b.get(at, "attn_q"), x)
    else:
        q = matmul(b.get(at, "attn_q_b"), low_rank_query(b, x, at) if low is None else low)
    q = reshape(q, head, heads, tokens)
    kv = matmul(b.get(at, "attn_kv_a_mqa"), x)
    compressed = view(kv, (rank, tokens), kv.nb)
    rows = kv.nb[1]
    k_rope = apply(
        "rope", view(kv, (rope, 1, tokens), (_F32, rows, rows, rows * tokens)), b.positions
    )
    compressed = b.norm(compressed, b.find(at, "attn_kv_a_norm"), at=at)
    q_plain = view(q, (plain, heads, tokens), q.nb)
    q_rope = apply("rope", view(q, (rope, heads, tokens), q.nb), b.positions)
    absorbed = matmul(b.get(at, "attn_k_b"), permute(q_plain, 0, 2, 1, 3))
    query = _tempered(b, concat(permute(absorbed, 0, 2, 1, 3), q_rope, 0))
    compressed = reshape(compressed, rank, 1, tokens)
    key = concat(compressed, k_rope, 0)
    extras = Extras(v_expand=b.get(at, "attn_v_b"), mask=mask)
    return matmul(b.get(at, "attn_output"), attend(b, (query, key, compressed), at, extras))


def _tempered(b: GraphBuilder, q: Tensor) -> Tensor:
    return apply("mul", q, b.attention_scale) if b.job.shape.temperature else q


def low_rank_query(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """Q before it is widened."""
    return b.norm(matmul(b.get(at, "attn_q_a"), x), b.find(at, "attn_q_a_norm"), at=at)


def expanded_latent(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """Latent attention whose K and V are written out (models/deepseek2.cpp, not `is_mla`)."""
    shape, layer = b.job.shape, b.layer(at)
    heads, tokens, rank, rope = layer.heads, b.job.tokens, shape.latent.rank, shape.rotary
    plain = layer.head_k - rope
    if b.find(at, "attn_q_a") is None:
        q = matmul(b.get(at, "attn_q"), x)
    else:
        q = matmul(b.get(at, "attn_q_b"), low_rank_query(b, x, at))
    # The rope turns the end of each head in place of a cut and a join (`ggml_rope_set_offset`).
    freqs = b.freqs(at)
    query = apply("rope", reshape(q, layer.head_k, heads, tokens), b.positions, *freqs)
    query = _tempered(b, query)
    kv = matmul(b.get(at, "attn_kv_a_mqa"), x)
    rows = kv.nb[1]
    compressed = view(kv, (rank, tokens), kv.nb)
    k_rope = view(kv, (rope, 1, tokens), (_F32, rows, rows, rows * tokens))
    k_rope = apply("rope", k_rope, b.positions, *freqs)
    compressed = b.norm(compressed, b.find(at, "attn_kv_a_norm"), at=at)
    wide = matmul(b.get(at, "attn_kv_b"), compressed)
    both = _F32 * (plain + layer.head_v)
    steps = (_F32, both, both * heads, both * heads * tokens)
    k_plain = view(wide, (plain, heads, tokens), steps)
    value = cont(view(wide, (layer.head_v, heads, tokens), steps))
    repeated = Tensor((rope, heads, tokens), "f32", "repeat", (k_rope,))
    key = concat(k_plain, repeated, 0)
    return matmul(b.get(at, "attn_output"), attend(b, (query, key, value), at))
