"""DeepSeek-V4: attention over compressed rows, its weights and its pool of the KV cache.

models/deepseek_v4/ (attention.py, compressor.py), v1/attention/backends/mla/sparse_swa.py and
v1/core/kv_cache_utils.py, read in vLLM 0.25.1, 0.29 and 0.33.

Every layer keeps a window of rows. Most keep one more row for each 4 or 128 tokens, and the state
that makes it; those of 4 also have an indexer, which picks rows by keys of its own, compressed too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.mixers import Linear
from compiler.engines.vllm.memory.stages import stage_sizes
from compiler.engines.vllm.model.shape import Compressed, Shape
from compiler.ir.inventory import GpuKind
from compiler.ir.units import round_up

COMPRESSED_BLOCK = 256
"""Tokens of a block, which FlashMLA's sparse kernels ask for."""

_FLOAT_BYTES = 4
# fp8_ds_mla of DeepSeek-V4: 448 numbers in fp8, 64 in bf16, 8 scales. Pages are multiples of 576
# bytes, and of 512 where rows are plain.
_PACKED_ROW_BYTES = 584
_PACKED_PAGE_BYTES = 576
_PLAIN_PAGE_BYTES = 512
# Blocks in tokens of the windows, and of the states of compressors by what they compress.
_WINDOW_BLOCK = 64
_STATE_BLOCKS = {4: 4, 128: 8}
_OVERLAPPED = 4
"""Compressors of 4 tokens see each token twice, and their layers have an indexer."""
# An fp8 key has one 32-bit scale for 128 numbers.
_KEYS_A_SCALE = 128

Kind = Literal["rows", "window"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """What one layer keeps under one block table."""

    kind: Kind
    block: int
    window: int
    page_bytes: int
    stage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedGroup:
    """Layers that share a block table: pages by size."""

    kind: Kind
    block: int
    window: int
    pages: tuple[tuple[int, int, int], ...]
    """(bytes of a page, layers with such pages, of them on this stage)."""

    @property
    def bytes(self) -> int:
        """Bytes of one block over all layers."""
        return sum(size * count for size, count, _ in self.pages)

    @property
    def bytes_here(self) -> int:
        """Bytes of one block over the layers of this stage."""
        return sum(size * count for size, _, count in self.pages)


def compressed_caches(shape: Shape, own: Compressed, options: Options) -> tuple[Cache, ...]:
    """The caches of every layer, those that draft behind the last."""
    stages = [
        stage
        for stage, size in enumerate(stage_sizes(shape.layers, options.pipeline_parallel))
        for _ in range(size)
    ]
    drafts = [options.pipeline_parallel - 1] * options.draft_layers
    ratios = (*own.ratios[: shape.layers], *[1] * options.draft_layers)
    return tuple(
        cache
        for ratio, stage in zip(ratios, (*stages, *drafts), strict=False)
        for cache in _of_layer(own, options, ratio, stage)
    )


def _of_layer(own: Compressed, options: Options, ratio: int, stage: int) -> Iterator[Cache]:
    yield Cache(
        kind="window", block=_WINDOW_BLOCK, window=own.window, stage=stage,
        page_bytes=_rows(own.head_dim, _WINDOW_BLOCK, options),
    )  # fmt: skip
    if ratio <= 1:
        return
    yield Cache(
        kind="rows", block=COMPRESSED_BLOCK, window=0, stage=stage,
        page_bytes=_rows(own.head_dim, COMPRESSED_BLOCK // ratio, options),
    )  # fmt: skip
    yield _state(own.head_dim, ratio, options, stage)
    if ratio == _OVERLAPPED and own.index_dim:
        key_bytes = own.index_dim + -(-own.index_dim // _KEYS_A_SCALE) * _FLOAT_BYTES
        size = round_up(COMPRESSED_BLOCK // ratio * key_bytes, _page_step(options))
        yield Cache(kind="rows", block=COMPRESSED_BLOCK, window=0, page_bytes=size, stage=stage)
        yield _state(own.index_dim, ratio, options, stage)


def _rows(head_dim: int, rows: int, options: Options) -> int:
    """A page of latent rows; fp8 means the packed layout, which is what `auto` means too."""
    if _is_packed(options):
        return round_up(rows * _PACKED_ROW_BYTES, _PACKED_PAGE_BYTES)
    return round_up(rows * head_dim * 2, _PLAIN_PAGE_BYTES)


def _state(width: int, ratio: int, options: Options, stage: int) -> Cache:
    """What the compressor has of the tokens that are not yet a row: values and scores."""
    overlap = 2 if ratio == _OVERLAPPED else 1
    block = _STATE_BLOCKS.get(ratio, 8)
    size = round_up(block * 2 * overlap * width * _FLOAT_BYTES, _page_step(options))
    return Cache(
        kind="window", block=block, window=overlap * ratio, page_bytes=size, stage=stage
    )  # fmt: skip


def _is_packed(options: Options) -> bool:
    return options.kv_dtype in {"auto", "fp8", "fp8_e4m3", "fp8_ds_mla"}


def _page_step(options: Options) -> int:
    return _PACKED_PAGE_BYTES if _is_packed(options) else _PLAIN_PAGE_BYTES


def packed_groups(caches: Sequence[Cache], options: Options) -> tuple[PackedGroup, ...]:
    """Groups of layers under one block table, rows first (`_get_packed_kv_cache_groups`)."""
    buckets: dict[tuple[Kind, int, int], list[Cache]] = {}
    for cache in caches:
        buckets.setdefault((cache.kind, cache.block, cache.window), []).append(cache)
    ordered = sorted(buckets.values(), key=lambda bucket: bucket[0].kind != "rows")
    rows = [bucket for bucket in ordered if bucket[0].kind == "rows"]
    sizes = sorted({cache.page_bytes for bucket in rows for cache in bucket})
    if sizes and not options.rules.packs_largest_group:
        # Until 0.28 a page of a window takes the room of the next larger page of rows.
        ordered = [[_padded(cache, sizes) for cache in bucket] for bucket in ordered]
    repeats = _repeats(ordered, options)
    groups: list[PackedGroup] = []
    for bucket in ordered:
        parts = 1 if bucket[0].kind == "rows" else -(-_most_of_a_size(bucket) // repeats)
        groups += [_group(bucket, part, parts, options) for part in range(parts)]
    return tuple(groups)


def _padded(cache: Cache, sizes: Sequence[int]) -> Cache:
    size = next((size for size in sizes if size >= cache.page_bytes), cache.page_bytes)
    return Cache(
        kind=cache.kind, block=cache.block, window=cache.window, page_bytes=size, stage=cache.stage
    )  # fmt: skip


def _repeats(buckets: Sequence[Sequence[Cache]], options: Options) -> int:
    """Layers of one page size in a group: what wastes least (`_approximate_gcd`)."""
    counts = [_most_of_a_size(bucket) for bucket in buckets]
    if options.rules.packs_largest_group:
        balanced = [bucket for bucket in buckets if _is_balanced(bucket)]
        counts = [_most_of_a_size(bucket) for bucket in balanced]
        least = max(
            (_most_of_a_size(each) for each in balanced if len(_by_size(each)) > 1), default=0
        )
    else:
        least = counts[0] if counts else 0
    if not least:
        return max(counts, default=1)
    wasted = {
        size: sum(-count % size for count in counts) for size in range(least, max(counts) + 1)
    }
    return min(wasted, key=lambda size: (wasted[size], -size))


def _is_balanced(bucket: Sequence[Cache]) -> bool:
    return len(set(_by_size(bucket).values())) == 1


def _by_size(bucket: Sequence[Cache]) -> Counter[int]:
    return Counter(cache.page_bytes for cache in bucket)


def _most_of_a_size(bucket: Sequence[Cache]) -> int:
    return max(_by_size(bucket).values())


def _group(bucket: Sequence[Cache], part: int, parts: int, options: Options) -> PackedGroup:
    """Every so-manieth layer of each page size."""
    pages = []
    for size in sorted(_by_size(bucket), reverse=True):
        chosen = [cache for cache in bucket if cache.page_bytes == size][part::parts]
        here = sum(1 for cache in chosen if cache.stage == options.stage)
        pages.append((size, len(chosen), here))
    first = bucket[0]
    return PackedGroup(kind=first.kind, block=first.block, window=first.window, pages=tuple(pages))


def packed_block_bytes(groups: Sequence[PackedGroup], options: Options, *, here: bool) -> int:
    """One block of the pool: all groups share it, each from its start."""
    if options.rules.packs_largest_group:
        # `_get_kv_cache_bytes_per_block`, from 0.29 on.
        return max(group.bytes_here if here else group.bytes for group in groups)
    widest: dict[int, int] = {}
    for group in groups:
        for size, count, count_here in group.pages:
            widest[size] = max(widest.get(size, 0), count_here if here else count)
    return sum(size * count for size, count in widest.items())


# RTX cards of Blackwell: a log of Flash on two of them has this projection in 16 bits.
_WIDE_OUTPUT = 12


def compressed_sizes(
    shape: Shape,
    own: Compressed,
    options: Options,
    linear: Linear,
    layer: int,
    kind: GpuKind | None,
) -> Iterator[int]:
    """Bytes of each parameter of one layer's attention on one rank."""
    number, hidden, ranks = shape.dtype_bytes, shape.hidden, options.tensor_parallel
    heads_width = shape.heads * own.head_dim
    yield from linear("self_attn.fused_wqa_wkv", own.query_rank + own.head_dim, hidden)
    yield from (own.query_rank * number, own.head_dim * number)
    yield from linear("self_attn.wq_b", heads_width // ranks, own.query_rank)
    outputs = own.output_groups * own.output_rank // ranks
    inputs = heads_width // own.output_groups
    if kind is not None and kind.compute[0] == _WIDE_OUTPUT:
        yield outputs * inputs * number
    else:
        yield from linear("self_attn.wo_a", outputs, inputs)
    yield from linear("self_attn.wo_b", hidden, outputs)
    yield shape.heads // ranks * _FLOAT_BYTES
    ratio = own.ratios[layer] if layer < len(own.ratios) and layer < shape.layers else 1
    if ratio > 1:
        yield from _compressor(own.head_dim, ratio, hidden, number)
    if ratio == _OVERLAPPED and own.index_dim:
        yield from linear("self_attn.indexer.wq_b", own.index_heads * own.index_dim, own.query_rank)
        yield own.index_heads * hidden * number
        yield from _compressor(own.index_dim, ratio, hidden, number)
    # Hyper-connections mix the streams before attention and before the MLP, in 32 bits.
    mixes = (2 + own.streams) * own.streams
    for _ in range(2):
        yield mixes * own.streams * hidden * _FLOAT_BYTES
        yield mixes * _FLOAT_BYTES
    if layer < own.hash_layers:
        # The first layers look their experts up by token.
        active = shape.experts.active if shape.experts else 0
        yield shape.vocabulary * active * _FLOAT_BYTES


def draft_sizes(shape: Shape, options: Options) -> Iterator[int]:
    """What a prediction layer has beside its block: an embedding and an output of its own.

    models/deepseek_v4/nvidia/mtp.py, 0.25: the log of one launch counts both.
    """
    rows = round_up(shape.vocabulary, 64 * options.tensor_parallel) // options.tensor_parallel
    yield from [rows * shape.hidden * shape.dtype_bytes] * 2


def _compressor(width: int, ratio: int, hidden: int, number: int) -> Iterator[int]:
    overlap = 2 if ratio == _OVERLAPPED else 1
    yield ratio * overlap * width * _FLOAT_BYTES
    yield 2 * overlap * width * hidden * number
    yield width * number
