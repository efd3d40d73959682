"""The KV cache: its blocks, what a request needs of them, and how vLLM counts its tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from compiler.engines.vllm.launch.options import Options, uses_runner_v2
from compiler.engines.vllm.memory.caches import CacheKind, LayerCache, layer_caches, token_bytes
from compiler.engines.vllm.memory.compressed import (
    COMPRESSED_BLOCK,
    compressed_caches,
    packed_block_bytes,
    packed_groups,
)
from compiler.engines.vllm.model.shape import Compressed, Recurrent, Shape

# v1/attention/backends: the block size of every CUDA backend but FlashMLA.
_BLOCK = 16
# models/minimax_m3/common/sparse_attention.py: keys are picked by blocks of this many tokens.
_SPARSE_BLOCK = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Layers of one kind that take pages from the shared pool together."""

    kind: CacheKind
    block: int
    """Tokens in one block."""
    window: int = 0
    states: int = 1
    """States that a request holds."""
    batches: int = 1
    """Batches whose tokens a window keeps."""
    bytes: int = 0
    """Bytes of its part of a block, where groups share a block unequally."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the pool of one GPU is cut."""

    block_size: int
    block_bytes: int
    """One block of the pool on this GPU: the page of every layer of the widest group here."""
    groups: tuple[Group, ...]
    whole_block_bytes: int
    """The same with the layers of all pipeline stages."""

    tuple_bytes: int = 0
    """What a block of a request is counted as before start, where groups share it unequally."""

    @property
    def exists(self) -> bool:
        """Whether the model keeps a KV cache at all."""
        return bool(self.groups) and self.whole_block_bytes > 0


NO_CACHE = Layout(block_size=_BLOCK, block_bytes=0, groups=(), whole_block_bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """A layer with the pages that it takes from the pool."""

    layer: LayerCache
    block: int
    page_bytes: int


def layout_of(shape: Shape, options: Options) -> Layout:
    """The layout of the KV cache on one GPU (v1/core/kv_cache_utils.py, vLLM 0.8 to 0.33).

    Layers are grouped over the whole model, and each pipeline stage holds its part of every group.
    """
    if shape.compressed is not None:
        return _packed_layout(shape, shape.compressed, options)
    layers = _managed(layer_caches(shape, options), options)
    if not layers:
        return NO_CACHE
    block = _block_size(shape, options, layers)
    if not any(layer.kind == "state" for layer in layers) and _is_uniform(layers):
        return _uniform_layout(layers, shape, options, block)
    pages = _same_pages([_page(layer, block) for layer in layers], options)
    page_bytes = max(page.page_bytes for page in pages)
    buckets = _buckets(pages)
    size = _group_size([len(bucket) for bucket in buckets], options)
    groups: list[Group] = []
    widest = widest_here = 0
    for bucket in buckets:
        count = -(-len(bucket) // size)
        for part in (bucket[start::count] for start in range(count)):
            groups.append(_group(part[0], shape, options))
            here = sum(1 for page in part if page.layer.stage == options.stage)
            widest, widest_here = max(widest, len(part)), max(widest_here, here)
    return Layout(
        block_size=block,
        block_bytes=page_bytes * widest_here,
        groups=tuple(groups),
        whole_block_bytes=page_bytes * widest,
    )


def request_blocks(layout: Layout, options: Options, tokens: int | None = None) -> int:
    """Blocks that one request of full length takes (v1/kv_cache_interface.py, max_memory_usage)."""
    length = options.context if tokens is None else tokens
    blocks = [_group_blocks(group, options, length) for group in layout.groups]
    if not layout.tuple_bytes:
        return sum(blocks)
    # Until 0.28 each group counts by its bytes against the first (`get_max_concurrency_for_...`).
    parts = zip(blocks, layout.groups, strict=True)
    return -(-sum(count * group.bytes for count, group in parts) // layout.groups[0].bytes)


def needed_blocks(layout: Layout, options: Options) -> int:
    """Blocks that must be there before vLLM starts (`_max_memory_usage_bytes_from_groups`)."""
    one = request_blocks(layout, options)
    if not layout.tuple_bytes:
        return one
    blocks = sum(_group_blocks(group, options, options.context) for group in layout.groups)
    return max(one, -(-blocks * layout.tuple_bytes // layout.whole_block_bytes))


def blocks_for(layout: Layout, options: Options, tokens: int) -> int:
    """Blocks of a pool that holds this many tokens, one request of full length at least."""
    one = request_blocks(layout, options)
    wanted = -(-one * tokens // options.context)
    least = needed_blocks(layout, options)
    if options.rules.stages_hold_all and layout.block_bytes:
        # Its memory is compared with what the layers of all stages would take.
        least = -(-least * layout.whole_block_bytes // layout.block_bytes)
    return max(least, wanted) + reserved_blocks(options)


def reserved_blocks(options: Options) -> int:
    """The null block, which vLLM >= 0.30 sets aside before it checks that a request fits."""
    return 1 if options.rules.null_block else 0


def held_tokens(layout: Layout, options: Options, blocks: int) -> int:
    """Tokens of full-length requests that this many blocks hold.

    Where layers of several kinds share the pool, a request takes other numbers of blocks of each,
    and what versions before 0.20 log divides the blocks by the kinds alone.
    """
    if len(layout.groups) < 2:  # noqa: PLR2004, one kind of layers.
        return logged_tokens(layout, options, blocks)
    return blocks * options.context // request_blocks(layout, options)


def logged_tokens(layout: Layout, options: Options, blocks: int) -> int:
    """The number that vLLM logs as `GPU KV cache size` for this many blocks."""
    if not layout.exists:
        return 0
    match options.rules.logged_tokens:
        case "blocks":
            return blocks * layout.block_size
        case "groups":
            return blocks // len(layout.groups) * layout.block_size
        case "concurrency":
            # int(max_concurrency * max_model_len), where max_concurrency is a float there.
            return blocks * options.context // request_blocks(layout, options)


def _packed_layout(shape: Shape, own: Compressed, options: Options) -> Layout:
    """DeepSeek-V4: pages of several sizes lie side by side in one block."""
    groups = packed_groups(compressed_caches(shape, own, options), options)
    batches = _batches(shape, options)
    tuple_bytes = 0
    if not options.rules.packs_largest_group:
        sizes = [size for size, _, _ in groups[0].pages]
        tuple_bytes = sum(sizes) * max(count for group in groups for _, count, _ in group.pages)
    return Layout(
        block_size=COMPRESSED_BLOCK,
        block_bytes=packed_block_bytes(groups, options, here=True),
        groups=tuple(
            Group(
                kind="full" if group.kind == "rows" else "sliding",
                block=group.block, window=group.window, batches=batches, bytes=group.bytes,
            )
            for group in groups
        ),
        whole_block_bytes=packed_block_bytes(groups, options, here=False),
        tuple_bytes=tuple_bytes,
    )  # fmt: skip


def _managed(layers: tuple[LayerCache, ...], options: Options) -> tuple[LayerCache, ...]:
    """Windows are cached whole beside full layers where there is no hybrid cache manager."""
    if options.hybrid_kv and options.rules.hybrid_groups:
        return layers
    return tuple(
        replace(layer, kind="full", window=0) if layer.kind == "sliding" else layer
        for layer in layers
    )


def _block_size(shape: Shape, options: Options, layers: tuple[LayerCache, ...]) -> int:
    """Attention pages grow until one holds a recurrent state.

    models/config.py `HybridAttentionMambaModelConfig`, 0.10 to 0.18; platforms/interface.py
    `_align_hybrid_block_size`, 0.20 to 0.33.
    """
    rules = options.rules
    own = rules.mla_block if shape.mla and not shape.mla.expanded else _BLOCK
    block = options.block_size or (_SPARSE_BLOCK if shape.block_layers else own)
    states = [layer.size_bytes for layer in layers if layer.kind == "state"]
    if not states or all(layer.kind == "state" for layer in layers):
        return block
    step = max(block, rules.mla_state_block) if shape.mla else block
    if shape.recurrent is not None and _keeps_every_block(shape, shape.recurrent, options):
        step = math.lcm(step, shape.recurrent.chunk)
    page_bytes = step * token_bytes(shape, options, is_full=True)
    return step * -(-max(states) // page_bytes)


def _is_uniform(layers: tuple[LayerCache, ...]) -> bool:
    """Whether all layers need the same tokens, be they of different size."""
    return len({(layer.kind, layer.window) for layer in layers}) == 1


def _uniform_layout(
    layers: tuple[LayerCache, ...], shape: Shape, options: Options, block: int
) -> Layout:
    first, batches = layers[0], _batches(shape, options)
    here = sum(layer.size_bytes for layer in layers if layer.stage == options.stage)
    return Layout(
        block_size=block,
        block_bytes=block * here,
        groups=(Group(kind=first.kind, block=block, window=first.window, batches=batches),),
        whole_block_bytes=block * sum(layer.size_bytes for layer in layers),
    )


def _page(layer: LayerCache, block: int) -> _Page:
    if layer.kind == "state":
        return _Page(layer=layer, block=block, page_bytes=layer.size_bytes)
    return _Page(layer=layer, block=block, page_bytes=block * layer.size_bytes)


def _same_pages(pages: list[_Page], options: Options) -> list[_Page]:
    """Smaller pages hold more tokens, as far as that gives whole ones; the rest is padding."""
    largest = max(page.page_bytes for page in pages)
    result = []
    for page in pages:
        times = largest // page.page_bytes
        grows = page.layer.kind != "state" and largest % page.page_bytes == 0
        # Before pages could be padded there was no model whose pages do not divide.
        grows = grows or (page.layer.kind != "state" and not options.rules.pads_pages)
        block = page.block * times if grows else page.block
        result.append(replace(page, block=block, page_bytes=largest))
    return result


def _buckets(pages: list[_Page]) -> list[list[_Page]]:
    """Layers that may share a group: of one kind, window and block."""
    found: dict[tuple[CacheKind, int, int, int], list[_Page]] = {}
    for page in pages:
        layer = page.layer
        found.setdefault((layer.kind, layer.window, page.block, layer.size_bytes), []).append(page)
    return list(found.values())


def _group(page: _Page, shape: Shape, options: Options) -> Group:
    kind, window = page.layer.kind, page.layer.window
    if kind != "state" or shape.recurrent is None:
        batches = _batches(shape, options)
        return Group(kind=kind, block=page.block, window=window, batches=batches)
    if _keeps_every_block(shape, shape.recurrent, options):
        return Group(kind="full", block=page.block)
    return Group(kind=kind, block=page.block, states=_states(shape, shape.recurrent, options))


def _states(shape: Shape, recurrent: Recurrent, options: Options) -> int:
    """States that a request holds: with prefix caching one at the last block's end as well."""
    states = 1 + options.draft_tokens
    if _caches_prefixes(shape, options):
        states += 1
        if options.rules.mamba_checkpoints and recurrent.kind == "mamba2":
            states += 1
    return states


def _caches_prefixes(shape: Shape, options: Options) -> bool:
    """Models without attention cache prefixes only when told to (config/model.py)."""
    attends = "full" in shape.attention or "both" in shape.attention
    if options.prefix_caching is None:
        return options.rules.hybrid_prefixes and attends
    return options.prefix_caching


def _keeps_every_block(shape: Shape, recurrent: Recurrent, options: Options) -> bool:
    """Cache mode `all`: a state for each block, in models of state space layers until 0.27."""
    able = recurrent.kind in {"mamba", "mamba2"} and options.rules.mamba_every_block
    return able and not options.draft_tokens and _caches_prefixes(shape, options)


def _group_size(counts: list[int], options: Options) -> int:
    """Layers in a group: the smallest count, or the largest when that wastes less than half."""
    small, large = min(counts), max(counts)
    if small == large or (options.rules.hybrid_uneven and 2 * large < 3 * small):
        return large
    return small


def _group_blocks(group: Group, options: Options, length: int) -> int:
    match group.kind:
        case "full":
            return -(-length // group.block)
        case "sliding":
            in_flight = options.batched_tokens * group.batches
            return -(-min(group.window - 1 + in_flight, length) // group.block) + 1
        case "state":
            return group.states


def _batches(shape: Shape, options: Options) -> int:
    """Batches whose tokens a window keeps (config/vllm.py `max_concurrent_batches`, from 0.26).

    Runner V1 has no asynchronous scheduling over pipeline stages.
    """
    if not options.rules.async_batches:
        return 1
    stages = options.pipeline_parallel
    overlaps = options.async_scheduling and (stages == 1 or uses_runner_v2(shape, options))
    return stages + int(overlaps)
