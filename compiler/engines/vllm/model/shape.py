"""A model as the memory law sees it: typed and complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from compiler.engines.vllm.model.sections import Header

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
    index_topk: int = 0
    """Tokens that sparse attention reads; 0 without an indexer."""
    index_heads: int = 0
    """Heads of the sparse attention indexer; 0 without one."""
    index_dim: int = 0
    index_rotates: bool = False
    """The indexer rotates in another order than attention, from a cache of its own."""
    borrowing: frozenset[int] = frozenset()
    """Layers that read what an earlier indexer picked; from 0.22 on they have none of their own."""
    gated: bool = False
    """Kimi K3: outputs are gated head by head, by a projection of the hidden state."""
    expanded: bool = False
    """The class keeps whole heads in its cache instead of latent vectors."""

    def has_indexer(self, layer: int, *, by_layer: bool) -> bool:
        """Whether a layer has an indexer of its own; layers that draft always do."""
        return bool(self.index_heads) and not (by_layer and layer in self.borrowing)

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
class Compressed:
    """DeepSeek-V4's attention: a window of rows, and one row more for some number of tokens."""

    ratios: tuple[int, ...]
    """For each layer: tokens that one compressed row stands for; 1 with the window alone."""
    window: int
    head_dim: int
    query_rank: int
    output_rank: int
    output_groups: int
    index_heads: int
    index_dim: int
    streams: int
    """Residual streams (hyper-connections)."""
    hash_layers: int
    """First layers whose experts are looked up by token."""

    @property
    def least(self) -> int:
        """The smallest of the sizes that no such model has as zero."""
        known = all(ratio in {1, 4, 128} for ratio in self.ratios)
        return min(
            self.window, self.head_dim, self.query_rank, self.output_rank, self.output_groups,
            self.index_heads, self.index_dim, self.streams, int(known),
        )  # fmt: skip


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
    full_gate: bool = False
    """Kimi K3: the output's gate is one matrix, not two of low rank."""

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
    hidden: int = 0
    """Kimi K3: width between two projections in which experts work; 0 for the hidden size."""
    hidden_norm: bool = False
    """Their outputs are normed there."""
    beside_dense: bool = False
    """The layers have a dense MLP as well (Gemma 4)."""
    picture_width: int = 0
    """Width of as many experts again, for pictures (Ernie 4.5 VL)."""
    router_bias: bool
    layers: frozenset[int]

    @property
    def least(self) -> int:
        """The smallest of the sizes that no such model has as zero."""
        return min(self.count, self.active, self.width, self.shared_width + 1)


# No published tower comes near; a damaged or hostile config can say anything.
_MOST_LAYERS = 4096


@dataclass(frozen=True, slots=True)
class Part:
    """Parameters of one size in a tower or its projector."""

    numbers: int
    """Numbers of one parameter before it is cut."""
    copies: int = field(default=1, kw_only=True)
    cut: bool = field(default=False, kw_only=True)
    """Whether tensor parallel ranks share it."""
    heads: int = field(default=0, kw_only=True)
    """Ranks share it only if they divide these heads; 0 for all ranks."""
    number_bytes: int = field(default=2, kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """A vision tower with its projector."""

    family: Literal["qwen", "glm", "mistral", "other", "unknown"]
    """qwen and glm: pictures of any size on a grid; mistral: the class of Mistral's own format."""
    heads: int
    width: int
    layers: int
    inner: int
    patch: int
    merge: int = 1
    """Patches on a side that become one token."""
    tokens: int = 0
    """Tokens of the largest picture; 0 where config.json does not tell."""
    patches_a_token: int = 1
    frames: int = 1
    """Frames that share a patch; a picture stands for all of them."""
    deep_levels: int = 0
    """Layers of the language model that pictures reach, each by a buffer of its own."""
    cuts_heads: bool = True
    """Attention is cut by heads, and ranks must divide them."""
    parts: tuple[Part, ...] = ()
    grid: tuple[Part, ...] = ()
    """The cache of rotary positions, which versions before 0.12 did not keep."""

    @property
    def least(self) -> int:
        """The smallest of the sizes that no such model has as zero."""
        if self.layers > _MOST_LAYERS:
            return 0
        numbers = min((part.numbers for part in self.parts), default=1)
        return min(self.width, self.layers, self.inner, self.patch, self.merge, numbers + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """Cached cosines and sines: rows of `dim` numbers, all copies together."""

    positions: int
    dim: int
    number_bytes: int
    local_positions: int = 0
    """Rows of a second cache for sliding layers (Gemma 3)."""
    local_dim: int = 0
    """Numbers of a row there, where they are others than `dim` (Gemma 4)."""
    trained_positions: int = 0
    """Rows where versions keep those of the trained length of a dynamic scaling."""
    token_positions: int = 0
    """Rows where versions keep one a token and not four (Qwen3-VL)."""


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
    query_rank: int = 0
    """Step 3: queries come through a projection that wide, which every rank holds."""
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
    compressed: Compressed | None = None
    block_keys: int = 0
    """Numbers of the key by which a sparse layer picks blocks (MiniMax-M3); 0 without any."""
    block_key_heads: int = 0
    block_layers: frozenset[int] = frozenset()
    """Layers that pick blocks by such keys."""
    recurrent: Recurrent | None = None
    experts: Experts | None = None
    vision: Vision | None = None
    audio: tuple[Part, ...] = ()
    """Parameters of an audio tower."""
    rope: Rope
    quantization: Header | None = field(default=None, compare=False, hash=False)
    per_layer_width: int = 0
    """Width of the input that each layer has of its own (Gemma 4)."""
    per_layer_vocabulary: int = 0
    doubled_inner: bool = False
    """Layers that read the KV of others have an MLP twice as wide (Gemma 4)."""
    second_embedding: bool = False
    """The class has an embedding beside that of its language model (Phi-3.5-vision)."""
    residual_gates: bool = False
    """Kimi K3: each layer weighs earlier ones by two norms and two rows, the model by one."""
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
