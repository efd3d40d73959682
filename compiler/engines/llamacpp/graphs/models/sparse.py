"""Latent attention to chosen cells: DeepSeek 3.2 and GLM 5 (models/deepseek32.cpp, glm-dsa.cpp).

Transcribed from llama.cpp of 2026-10-01, which always uses the fused lightning indexer.
"""

from __future__ import annotations

from compiler.engines.llamacpp.ggml.tensor import (
    Tensor,
    apply,
    cont,
    matmul,
    reshape,
    resident,
    set_rows,
    view,
)
from compiler.engines.llamacpp.graphs.attention import latent, low_rank_query, write_key
from compiler.engines.llamacpp.graphs.builder import GraphBuilder
from compiler.engines.llamacpp.model.quants import block, row_bytes


def sparse_latent(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """Latent attention; a layer without an indexer sees what the one before it chose."""
    low = low_rank_query(b, x, at)
    if b.layer(at).indexer:
        b.indexer.chosen = _choose(b, x, low, at)
    chosen = b.indexer.chosen
    mask = None if chosen is None else _mask_of(b, chosen)
    return latent(b, x, at, low=low, mask=mask)


def _choose(b: GraphBuilder, x: Tensor, low: Tensor, at: int) -> Tensor:
    """The cells with the highest scores, of which the keys of all are kept in a cache."""
    job, sizes = b.job, b.job.shape.indexer
    tokens, streams = job.tokens, job.streams
    per_stream = tokens // streams
    query = reshape(matmul(b.get(at, "indexer.attn_q_b"), low), sizes.size, sizes.heads, tokens)
    query = matmul(b.indexer.rotation, apply("rope", query, b.positions))
    key = matmul(b.get(at, "indexer.attn_k"), x)
    weight, bias = b.find(at, "indexer.k_norm"), b.bias(at, "indexer.k_norm")
    key = reshape(b.norm(key, weight, bias, at=at, op="norm"), sizes.size, 1, tokens)
    key = matmul(b.indexer.rotation, apply("rope", key, b.positions))
    cache = _key_cache(b, at)
    write_key(b, key, cache, b.indexer.ids)
    weights = matmul(b.get(at, "indexer.proj"), x)
    row = row_bytes(job.type_k, sizes.size)
    nb = (block(job.type_k)[1], row, row, row * job.cells)
    keys = view(cache, (sizes.size, 1, job.cells, streams), nb)
    query = view(
        query,
        (sizes.size, sizes.heads, per_stream, streams),
        (*query.nb[:3], query.nb[3] // streams),
    )
    weights = view(
        weights,
        (sizes.heads, per_stream, 1, streams),
        (*weights.nb[:2], weights.nb[2] // streams, weights.nb[3] // streams),
    )
    sources = (query, keys, apply("scale", weights), b.indexer.mask)
    ne = (job.cells, per_stream, 1, streams)
    score = Tensor(ne, "f32", "lightning_indexer", sources)
    count = min(sizes.top, job.cells)
    return cont(Tensor((count, *ne[1:]), "i32", "top_k", (score,)))


def _key_cache(b: GraphBuilder, at: int) -> Tensor:
    job = b.job
    ne = (b.layer(at).indexer, job.cells, job.streams)
    return resident(ne, job.type_k, b.device_of_state(at), weight=False)


def _mask_of(b: GraphBuilder, chosen: Tensor) -> Tensor:
    """The cache's mask with all but the chosen cells hidden (`build_attn`, DSA)."""
    mask = b.cache.mask
    hidden = apply("fill", mask)
    cells, tokens, _, streams = hidden.ne
    rows = view(hidden, (1, cells, tokens, streams), (hidden.nb[0], *hidden.nb[:3]))
    top, per_stream, _, parts = chosen.ne
    ids = view(
        chosen,
        (top, per_stream, parts, 1),
        (chosen.nb[0], chosen.nb[1], chosen.nb[2], parts * chosen.nb[3]),
    )
    zeros = apply("fill", Tensor((1, top, per_stream, parts)))
    shown = set_rows(rows, zeros, ids)
    nb = (shown.nb[1], shown.nb[2], shown.nb[3], shown.nb[3])
    return apply("add", view(shown, (cells, tokens, 1, streams), nb), mask)
