"""The KV cache: its blocks, what a request needs of them, and how vLLM counts its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compiler.engines.vllm.options import Options, layers_on_rank
from compiler.engines.vllm.shape import Attention, Recurrent, Shape
from compiler.engines.vllm.weights import kv_heads_and_dim

GroupKind = Literal["full", "sliding", "state"]

# v1/attention/backends: the block size of every CUDA backend but FlashMLA.
_BLOCK = 16
# One token in DeepSeek's packed fp8 layout (fp8_ds_mla): 512 values, 4 fp32 scales, 64 bf16.
_PACKED_MLA_BYTES = 656
# The sparse indexer keeps an fp8 key and one fp32 scale a token.
_INDEX_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Layers of one kind that take pages from the shared pool together."""

    kind: GroupKind
    block: int
    """Tokens in one block."""
    window: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the pool of one GPU is cut."""

    block_size: int
    block_bytes: int
    """One block of the pool on one GPU: the page of every layer of a group."""
    groups: tuple[Group, ...]

    @property
    def exists(self) -> bool:
        """Whether the model keeps a KV cache at all."""
        return bool(self.groups) and self.block_bytes > 0


NO_CACHE = Layout(block_size=_BLOCK, block_bytes=0, groups=())


def layout_of(shape: Shape, options: Options) -> Layout:
    """The layout of the KV cache on one GPU (v1/core/kv_cache_utils.py, vLLM 0.8 to 0.33)."""
    if shape.encoder:
        return NO_CACHE
    if shape.mla:
        return _mla_layout(shape, options)
    full_attention: Attention = "full"
    drafts = (full_attention,) * options.draft_layers
    kinds = shape.attention[: layers_on_rank(shape, options)] + drafts
    own = len(kinds) - shape.kv_shared_layers
    kinds = kinds[:own] if shape.kv_shared_layers else kinds
    full, sliding = kinds.count("full"), kinds.count("sliding")
    state = kinds.count("linear") + kinds.count("mamba")
    if state and shape.recurrent:
        return _state_layout(shape, shape.recurrent, options, full=full, state=state)
    return _attention_layout(shape, options, full=full, sliding=sliding)


def kv_number_bytes(options: Options) -> int:
    """Bytes of one number in the cache."""
    return 1 if options.kv_dtype.startswith(("fp8", "int8")) else 2


def request_blocks(layout: Layout, options: Options, tokens: int | None = None) -> int:
    """Blocks that one request of full length takes (v1/kv_cache_interface.py, max_memory_usage)."""
    length = options.context if tokens is None else tokens
    return sum(_group_blocks(group, options, length) for group in layout.groups)


def blocks_for(layout: Layout, options: Options, tokens: int) -> int:
    """Blocks of a pool that holds this many tokens, one request of full length at least."""
    one = request_blocks(layout, options)
    wanted = -(-one * tokens // options.context)
    return max(one, wanted) + reserved_blocks(options)


def reserved_blocks(options: Options) -> int:
    """The null block, which vLLM >= 0.30 sets aside before it checks that a request fits."""
    return 1 if options.rules.null_block else 0


def logged_tokens(layout: Layout, options: Options, kv_bytes: int) -> int:
    """The number that vLLM logs as `GPU KV cache size` for this much memory on each GPU."""
    if not layout.exists:
        return 0
    blocks = max(0, kv_bytes) // layout.block_bytes
    match options.rules.logged_tokens:
        case "blocks":
            return blocks * layout.block_size
        case "groups":
            return blocks // len(layout.groups) * layout.block_size
        case "concurrency":
            # int(max_concurrency * max_model_len), where max_concurrency is a float there.
            return blocks * options.context // request_blocks(layout, options)


def _group_blocks(group: Group, options: Options, length: int) -> int:
    match group.kind:
        case "full":
            return -(-length // group.block)
        case "sliding":
            batches = 1
            if options.rules.async_batches:
                batches = options.pipeline_parallel + int(options.async_scheduling)
            in_flight = options.batched_tokens * batches
            return -(-min(group.window - 1 + in_flight, length) // group.block) + 1
        case "state":
            aligned = options.rules.mamba_align and options.prefix_caching
            return (2 if aligned else 1) + options.draft_tokens


def _mla_layout(shape: Shape, options: Options) -> Layout:
    """One latent vector a token, the same on every rank of a tensor parallel group."""
    mla = shape.mla
    if mla is None:
        return NO_CACHE
    layers = layers_on_rank(shape, options) + options.draft_layers
    block = options.block_size or options.rules.mla_block
    token_bytes = (mla.kv_rank + mla.rope_dim) * kv_number_bytes(options)
    if options.kv_dtype == "fp8_ds_mla":
        token_bytes = _PACKED_MLA_BYTES
    if mla.index_heads:
        token_bytes += mla.index_dim + _INDEX_SCALE_BYTES
    return Layout(
        block_size=block,
        block_bytes=block * token_bytes * layers,
        groups=(Group(kind="full", block=block),),
    )


def _attention_layout(shape: Shape, options: Options, *, full: int, sliding: int) -> Layout:
    """Full and sliding layers: one group a kind, or groups of equal size that share pages."""
    block = options.block_size or _BLOCK
    full_bytes = _token_bytes(shape, options, is_full=True)
    sliding_bytes = _token_bytes(shape, options, is_full=False)
    hybrid = options.hybrid_kv and options.rules.hybrid_groups
    if sliding and not full and hybrid:
        group = Group(kind="sliding", block=block, window=shape.window)
        return Layout(
            block_size=block, block_bytes=block * sliding_bytes * sliding, groups=(group,)
        )
    if sliding and full and hybrid:
        size = _group_size(full, sliding, options)
        page_bytes = block * max(full_bytes, sliding_bytes)
        groups = (
            *[Group(kind="full", block=page_bytes // full_bytes)] * -(-full // size),
            *[Group(kind="sliding", block=page_bytes // sliding_bytes, window=shape.window)]
            * -(-sliding // size),
        )
        return Layout(block_size=block, block_bytes=page_bytes * size, groups=groups)
    return Layout(
        block_size=block,
        block_bytes=block * (full_bytes * full + sliding_bytes * sliding),
        groups=(Group(kind="full", block=block),),
    )


def _group_size(full: int, sliding: int, options: Options) -> int:
    """Layers in a group: the smaller count, or the larger when that wastes less than half."""
    small, large = min(full, sliding), max(full, sliding)
    if small == large or (options.rules.hybrid_uneven and 2 * large < 3 * small):
        return large
    return small


def _token_bytes(shape: Shape, options: Options, *, is_full: bool) -> int:
    heads, head_dim = kv_heads_and_dim(shape, options.tensor_parallel, is_full=is_full)
    return 2 * heads * head_dim * kv_number_bytes(options)


def _state_layout(
    shape: Shape, recurrent: Recurrent, options: Options, *, full: int, state: int
) -> Layout:
    """Attention pages grow until one holds a recurrent state (models/config.py, 0.10 to 0.33)."""
    state_bytes = recurrent_state_bytes(recurrent, options)
    if not full:
        return Layout(
            block_size=_BLOCK,
            block_bytes=state_bytes * state,
            groups=(Group(kind="state", block=_BLOCK),),
        )
    token_bytes = _token_bytes(shape, options, is_full=True)
    block = _BLOCK * -(-state_bytes // (_BLOCK * token_bytes))
    size = min(full, state)
    groups = (
        *[Group(kind="full", block=block)] * -(-full // size),
        *[Group(kind="state", block=block)] * -(-state // size),
    )
    return Layout(block_size=block, block_bytes=block * token_bytes * size, groups=groups)


def recurrent_state_bytes(recurrent: Recurrent, options: Options) -> int:
    """Convolution window and recurrent state of one request in one layer on one GPU.

    model_executor/layers/mamba/mamba_utils.py, MambaStateShapeCalculator.
    """
    ranks = options.tensor_parallel
    number = options.ssm_dtype_bytes or recurrent.state_bytes
    if recurrent.mamba:
        inner = recurrent.value_heads * recurrent.value_dim
        width = inner + 2 * max(recurrent.key_heads, ranks) * recurrent.key_dim
        cells = inner // ranks * recurrent.key_dim
    else:
        keys = recurrent.key_heads * recurrent.key_dim
        width = 2 * keys + recurrent.value_heads * recurrent.value_dim
        cells = recurrent.value_heads // ranks * recurrent.key_dim * recurrent.value_dim
    return width // ranks * (recurrent.kernel - 1 + options.draft_tokens) * 2 + cells * number
