"""A model as the memory law sees it: typed and complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from compiler.engines.vllm.sections import Header

Attention = Literal["full", "sliding", "linear", "mamba", "both", "none"]
"""What a layer keeps of the past; `both` is attention beside a recurrent mixer."""
RecurrentKind = Literal["gdn", "kda", "lightning", "mamba", "mamba2", "conv"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mla:
    """Multi-head latent attention: sizes of the compressed projections."""

    query_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    index_heads: int = 0
    """Heads of the sparse attention indexer; 0 without one."""
    index_dim: int = 0
    expanded: bool = False
    """The class keeps whole heads in its cache instead of latent vectors."""

    @property
    def least(self) -> int:
        """The smallest of the sizes that no such model has as zero."""
        return min(
            self.kv_rank,
            self.nope_dim,
            self.rope_dim,
            self.value_dim,
            self.query_rank + 1,
            self.index_heads + 1,
            self.index_dim + 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrent:
    """Layers that keep a state of fixed size a request instead of keys and values.

    gdn: gated delta net; kda: Kimi delta attention; lightning: MiniMax; conv: short convolution.
    mamba2: `value_heads` x `value_dim` inner width, `key_heads` groups of `key_dim` state.
    mamba: `value_heads` inner width, `value_dim` 1, `key_dim` state; conv: the same without state.
    """

    kind: RecurrentKind = "gdn"
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int
    state_bytes: int
    """Bytes of one number of the recurrent state; 0 as the version decides."""
    rank: int = 0
    """Mamba: rank of the time step's projection."""
    chunk: int = 2048
    """Tokens of a chunk of the state space kernels; Mamba has none and takes this."""
    norms: bool = False
    """Jamba: norms of time step, B and C."""

    @property
    def inner(self) -> int:
        """Width of the mixer."""
        return self.value_heads * self.value_dim

    @property
    def least(self) -> int:
        """The smallest of the sizes that no such model has as zero."""
        return min(self.key_heads + 1, self.value_heads, self.key_dim, self.value_dim, self.kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture of experts."""

    count: int
    active: int
    width: int
    shared_width: int
    shared_gate: bool
    router_bias: bool
    layers: frozenset[int]

    @property
    def least(self) -> int:
        """The smallest of the sizes that no such model has as zero."""
        return min(self.count, self.active, self.width, self.shared_width + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """A vision tower with its projector."""

    family: Literal["qwen", "pixtral", "clip"]
    gated: bool
    width: int
    layers: int
    inner: int
    patch: int
    temporal_patch: int = 1
    merge: int = 1
    """Patches on a side that become one token."""
    out: int
    mergers: int = 1
    positions: int = 0
    """Learnt positions; 0 for rotary ones."""
    projector_hidden: bool = False

    @property
    def least(self) -> int:
        """The smallest of the sizes that no such model has as zero."""
        return min(
            self.width,
            self.layers,
            self.inner,
            self.patch,
            self.temporal_patch,
            self.merge,
            self.out,
            self.positions + 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """Cached cosines and sines: rows of `dim` numbers, all copies together."""

    positions: int
    dim: int
    number_bytes: int
    local_positions: int = 0
    """Rows of a second cache for sliding layers (Gemma 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One model."""

    architecture: str
    model_type: str
    hidden: int
    layers: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    positions: int
    position_limit: int
    """Longest context that vLLM derives from the config; 0 when the config does not say."""
    tied: bool
    dtype: str
    dtype_bytes: int
    encoder: bool
    gated: bool
    qkv_bias: bool
    out_bias: bool
    qk_norm: bool
    sinks: bool
    query_gate: bool
    norms: int
    attention: tuple[Attention, ...]
    window: int
    global_heads: int = 0
    """KV heads of full layers when they differ from those of sliding ones (Gemma 4)."""
    global_dim: int = 0
    kv_shared_layers: int = 0
    """Last layers that read the KV of earlier ones (Gemma 3n, Gemma 4)."""
    type_vocabulary: int = 0
    learnt_positions: int = 0
    """Rows of a position table; 0 for rotary positions."""
    mla: Mla | None = None
    recurrent: Recurrent | None = None
    experts: Experts | None = None
    vision: Vision | None = None
    rope: Rope
    quantization: Header | None = field(default=None, compare=False, hash=False)
    shared_blocks: int = 0
    """Zamba2: attention blocks with an MLP that its hybrid layers share in turn."""
    adapter_rank: int = 0
    """Zamba2: rank of the adapters that each hybrid layer has for a shared block."""
    draft_layers: int = 0
    """Multi-token prediction layers in the checkpoint, loaded only for speculative decoding."""
    multimodal: bool = False
    cross_attention: bool = False
    """An encoder and a decoder, as in Whisper and T5."""

    def count(self, kind: Attention) -> int:
        """Number of layers of one kind of attention."""
        return self.attention.count(kind)
