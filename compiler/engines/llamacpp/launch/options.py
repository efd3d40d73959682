"""The launch options that decide memory, every one explicit: what is costed is what is emitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["generate", "embed", "rerank"]
SplitMode = Literal["layer", "none"]

# Cells are padded to this many (llama-context.cpp, GGML_PAD(n_ctx, 256)).
CELL_PADDING = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A tensor override: names that match `pattern` go to GPU `gpu`, or to the host (None)."""

    pattern: str
    gpu: int | None

    @property
    def text(self) -> str:
        """As llama-server takes it."""
        return f"{self.pattern}={'CPU' if self.gpu is None else f'CUDA{self.gpu}'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """What sends tensors away from their layer's device."""

    cpu_moe: bool = False
    """--cpu-moe: the experts of every layer stay on the host."""
    cpu_moe_layers: int = 0
    """--n-cpu-moe: the experts of the first N layers stay on the host."""
    overrides: tuple[Override, ...] = ()
    """--override-tensor, in order."""


NO_MOVES = Moves()


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftOptions:
    """What the draft model has of its own; the rest is as for its model."""

    gpu_layers: int
    """--gpu-layers-draft; at most one more than the draft's file has layers."""
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    moves: Moves = NO_MOVES


@dataclass(frozen=True, slots=True, kw_only=True)
class NextOptions:
    """The context that drafts with the model's own layers for next tokens (draft-mtp)."""

    cache_type_k: str = "f16"
    cache_type_v: str = "f16"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectorOptions:
    """Where and how large pictures and sound are turned into tokens."""

    gpu: int | None
    """--mmproj-device; None: the host."""
    min_tokens: int | None = None
    """--image-min-tokens; None leaves it to the file."""
    max_tokens: int | None = None
    """--image-max-tokens; None leaves it to the file."""
    batch_tokens: int = 1024
    """--mtmd-batch-max-tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """llama-server's launch options as far as they touch memory."""

    cells: int
    """-c: cells of all slots together."""
    slots: int
    """-np."""
    unified: bool
    """--kv-unified: the slots share the cells."""
    batch: int
    ubatch: int
    gpu_layers: int
    """-ngl; at most one more than the file has layers."""
    gpus: int
    """GPUs that llama.cpp sees."""
    capabilities: tuple[int, ...] = ()
    """Compute capability of each GPU, times ten; empty stands for Ada's."""
    tensor_split: tuple[int, ...] = ()
    """-ts: one number a GPU, empty for one GPU."""
    split_mode: SplitMode = "layer"
    main_gpu: int = 0
    flash_attention: bool = True
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    sliding_full: bool = False
    """--swa-full: sliding layers keep the whole context."""
    kv_on_gpu: bool = True
    """--kv-offload."""
    op_offload: bool = True
    """Large products over host weights are computed on the GPU."""
    moves: Moves = NO_MOVES
    mode: Mode = "generate"
    pooling: int | None = None
    """--pooling; None leaves it to the model."""
    memory_map: bool = False
    """Host weights are mapped from the file, instead of read into RAM."""
    prompt_cache_bytes: int = 0
    """--cache-ram."""
    checkpoints: int = 0
    """--ctx-checkpoints, a slot."""
    output_rows: int | None = None
    """Tokens of a batch that give logits; None: as llama-server sets it."""
    drafted_tokens: int = 0
    """Tokens that a slot has checked at once beside its own (speculative decoding)."""
    draft: DraftOptions | None = None
    next_tokens: NextOptions | None = None
    """Layers for next tokens are loaded, and run in a context of their own."""
    rollbacks: int = 0
    """Recurrent states that a slot keeps beside its own, to return to (`n_rs_seq`)."""
    projector: ProjectorOptions | None = None

    @property
    def embeds(self) -> bool:
        """The context gives embeddings or scores instead of logits."""
        return self.mode != "generate"

    @property
    def cells_per_stream(self) -> int:
        """Cells that one stream of the cache has (llama-context.cpp, `n_ctx_seq`)."""
        if self.unified:
            return _pad(self.cells)
        return _pad(_pad(self.cells) // self.slots)

    @property
    def streams(self) -> int:
        """Caches side by side: one a slot, or one for all."""
        return 1 if self.unified else self.slots

    @property
    def all_cells(self) -> int:
        """Cells of all streams (llama-context.cpp, `n_ctx`)."""
        return self.cells_per_stream * self.streams


def _pad(cells: int) -> int:
    return -(-cells // CELL_PADDING) * CELL_PADDING


def batch_sizes(options: Options, *, causal: bool) -> tuple[int, int]:
    """n_batch and n_ubatch as llama-context.cpp bounds them."""
    batch = min(options.cells, options.batch) if causal else options.batch
    return batch, min(batch, options.ubatch)


def ubatch_tokens(options: Options, *, causal: bool) -> int:
    """Tokens of the worst graph (llama-context.cpp `sched_reserve`): a multiple of the slots."""
    tokens = min(options.all_cells, batch_sizes(options, causal=causal)[1])
    return -(-tokens // options.slots) * options.slots
