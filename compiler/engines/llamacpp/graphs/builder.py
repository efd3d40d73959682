"""The graph under construction: inputs, weights and the pieces that all models share.

Transcribed from src/llama-graph.cpp of llama.cpp (2026-10-01); older builds by builds.Graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from compiler.engines.llamacpp.ggml.tensor import (
    Graph,
    Tensor,
    apply,
    cast,
    get_rows,
    matmul,
    new_input,
    resident,
    view,
)
from compiler.engines.llamacpp.graphs.job import Job
from compiler.engines.llamacpp.launch.options import Moves
from compiler.engines.llamacpp.model.header import Weight
from compiler.engines.llamacpp.model.layer_kinds import Layer
from compiler.engines.llamacpp.model.quants import is_quantized
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.layers import Layout
from compiler.engines.llamacpp.placed.weights import HOST, loads, outer_weights

# The smallest Hadamard matrix with which a quantized cache is rotated.
_ROTATION = 64
# A graph of fewer tokens is a decode step, in which norms are pinned to their layer's device.
_DECODE_TOKENS = 32


class GraphError(Exception):
    """The model lacks a tensor that the graph of its family needs."""


@dataclass(slots=True, kw_only=True)
class CacheInputs:
    """Inputs of one kind of KV cache: where to write, what to see, how to rotate."""

    k_ids: Tensor | None
    v_ids: Tensor | None
    mask: Tensor
    cells: int
    k_rotation: Tensor | None = None
    v_rotation: Tensor | None = None


@dataclass(slots=True, kw_only=True)
class IndexerInputs:
    """Inputs of a lightning indexer (`build_attn_inp_k_dsa`), and what it chose last."""

    ids: Tensor
    mask: Tensor
    rotation: Tensor
    chosen: Tensor | None = None


class GraphBuilder:
    """A graph being built for a job. Mutable: tensors are added as the model's code would."""

    __slots__ = (
        "_blocks",
        "_freqs",
        "_layers",
        "_outer",
        "attention_scale",
        "cache",
        "graph",
        "indexer",
        "job",
        "positions",
        "rows",
        "second_mask",
        "seq_tokens",
        "sliding",
        "stacked",
        "starts",
        "state_copy",
        "state_extra",
        "state_main",
    )

    def __init__(self, job: Job) -> None:
        self.job = job
        self.graph = Graph()
        self.starts: list[int] = []
        """The number of nodes that stood before each block."""
        self.seq_tokens = job.tokens // job.sequences
        self._layers = [job.shape.layers[block.like] for block in job.blocks]
        self._blocks = [_block_weights(job, at) for at in range(len(job.blocks))]
        self._outer = _outer_weights(job)
        self._freqs: dict[int, Tensor] = {}
        self.positions: Tensor
        self.attention_scale: Tensor
        self.rows: Tensor
        self.cache: CacheInputs
        self.indexer: IndexerInputs
        self.sliding: CacheInputs | None = None
        self.stacked: Tensor
        self.second_mask: Tensor | None = None
        self.state_copy: Tensor
        self.state_main: Tensor
        self.state_extra: Tensor

    def layer(self, at: int) -> Layer:
        """The layer at a position."""
        return self._layers[at]

    def shares_cache(self, at: int) -> bool:
        """Whether the layer at a position reads the cache of an earlier one."""
        return self._layers[at].cache_of != self.job.blocks[at].like

    def find(self, at: int, name: str) -> Tensor | None:
        """A weight of a block, if it has it: `attn_q` stands for `attn_q.weight`."""
        if at == len(self.starts):
            self.starts.append(len(self.graph.nodes))
        weights = self._blocks[at]
        return weights.get(name + ".weight") or weights.get(name)

    def get(self, at: int, name: str) -> Tensor:
        """A weight that the graph cannot do without."""
        found = self.find(at, name)
        if found is None:
            raise GraphError(name)
        return found

    def bias(self, at: int, name: str) -> Tensor | None:
        """The bias beside a weight."""
        return self._blocks[at].get(name + ".bias")

    def outer(self, name: str) -> Tensor | None:
        """A weight outside the blocks, by its full name."""
        return self._outer.get(name)

    def freqs(self, at: int) -> tuple[Tensor, ...]:
        """The rope factors, of which every device that holds a layer has a copy.

        LongRoPE has two sets, and the context chooses one (llama-model.cpp `get_rope_factors`).
        """
        names = self.job.shape.by_name
        original = self.job.shape.original_context
        length = "long" if self.job.cells > original else "short"
        factors = names.get("rope_freqs.weight") or names.get(f"rope_factors_{length}.weight")
        if factors is None:
            return ()
        device = self.job.blocks[at].device
        if device not in self._freqs:
            self._freqs[device] = resident(factors.ne, factors.dtype, device, weight=True)
        return (self._freqs[device],)

    def device_of_state(self, at: int) -> int:
        """Where the cache of a block lies; that of a block that shares one, with its owner."""
        block = self.job.blocks[at]
        own = block.device if block.cache_device == -1 else block.cache_device
        return own if self.job.kv_on_gpu else self.job.host

    def norm(
        self,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None = None,
        *,
        at: int | None = None,
        op: str = "rms_norm",
    ) -> Tensor:
        """A norm (llama-graph.cpp `build_norm`), pinned to its layer where llama.cpp pins it."""
        x = apply(op, x)
        scaled = weight is not None or bias is not None
        pinned = self.job.tokens < _DECODE_TOKENS or self.job.whole
        if scaled and at is not None and self.job.gpus and pinned:
            # llama-context.cpp `graph_get_cb`.
            x.device = self.job.blocks[at].device
        if weight is not None:
            x = apply("mul", x, weight)
        if bias is not None:
            x = apply("add", x, bias)
        return x

    def embed(self) -> Tensor:
        """Token embedding; llama.cpp keeps the alternative, given embeddings, in the graph."""
        table = self.outer("token_embd.weight")
        if table is None:
            raise GraphError("token_embd")
        tokens = new_input((self.job.tokens,), "i32")
        width = self.job.shape.width * (1 + self.job.shape.deepstack)
        given = new_input((width, self.job.tokens))
        x = get_rows(table, tokens)
        if width != x.ne[0]:
            x = self.stacked = Tensor((width, *x.ne[1:]), "f32", "pad", (x,))
            x = view(x, (self.job.shape.width, self.job.tokens), x.nb)
        for a, b in table.adapters:
            # A and B change places: `a` is a table of rows, too (llama-graph.cpp
            # `build_inp_embd`).
            x = apply("add", x, apply("scale", matmul(b, get_rows(a, tokens))))
        if self.job.shape.embedding_scale:
            x = apply("scale", x)
        self.graph.expand(x)
        if self.job.era.embedding_input:
            self.graph.expand(given)
        return x

    def add_cache_inputs(self) -> None:
        """Inputs of the KV caches (llama-graph.cpp `build_attn_inp_kv`)."""
        job = self.job
        windowed = any(layer.sliding for layer in self._layers)
        if job.shape.attends_batch:
            self.cache = self._no_cache_inputs()
            self.sliding = self._no_cache_inputs() if windowed else None
            return
        self.cache = self._cache_inputs(job.cells)
        if windowed and not job.era.sliding_cache:
            self.second_mask = self._mask(job.cells)
        if windowed and job.era.sliding_cache:
            self.sliding = self._cache_inputs(job.sliding_cells)
        self._add_rotations(self.cache, sliding=False)
        if self.sliding is not None:
            self._add_rotations(self.sliding, sliding=True)

    def _no_cache_inputs(self) -> CacheInputs:
        """The mask of tokens that see each other (`build_attn_inp_no_cache`)."""
        tokens = self.job.tokens
        mask = new_input((tokens, tokens), "f16" if self.job.flash_attention else "f32")
        return CacheInputs(k_ids=None, v_ids=None, mask=mask, cells=tokens)

    def _cache_inputs(self, cells: int) -> CacheInputs:
        job = self.job
        k_ids = v_ids = None
        if job.era.row_indices:
            k_ids = new_input((job.tokens,), "i64")
            if not (job.shape.latent.absorbed and job.era.latent_rows):
                count = 1 if job.flash_attention else self.widest_v()
                v_ids = new_input((job.tokens * count,), "i64")
        return CacheInputs(k_ids=k_ids, v_ids=v_ids, mask=self._mask(cells), cells=cells)

    def add_indexer_inputs(self) -> None:
        """Inputs of the cache of indexer keys, whose mask is always f16."""
        streams = 1 if self.job.streams == 1 else self.job.sequences
        ne = (self.job.cells, self.job.tokens // streams, 1, streams)
        size = self.job.shape.indexer.size
        self.indexer = IndexerInputs(
            ids=new_input((self.job.tokens,), "i64"),
            mask=new_input(ne, "f16"),
            rotation=new_input((_rotation_size(size, grows=True),) * 2),
        )

    def _mask(self, cells: int) -> Tensor:
        job = self.job
        half = job.flash_attention and job.era.half_mask
        streams = 1 if job.streams == 1 else job.sequences
        ne = (cells, job.tokens // streams, 1, streams)
        mask = new_input(ne, "f16" if half else "f32")
        return cast(mask, "f16") if job.flash_attention and not half else mask

    def _add_rotations(self, inputs: CacheInputs, *, sliding: bool) -> None:
        job = self.job
        layers = [layer for layer in self._layers if layer.attention]
        own = [layer for layer in layers if layer.sliding == sliding] or layers
        if not own or not job.era.rotation or job.shape.latent.absorbed:
            return
        inputs.k_rotation = _rotation(job.type_k, own[0].head_k, grows=True)
        inputs.v_rotation = _rotation(job.type_v, own[0].head_v, grows=False)

    def widest_v(self) -> int:
        """Elements of the widest V row: without flash attention every layer is padded to it."""
        return max((layer.v_width for layer in self.job.shape.layers), default=0)

    def add_state_inputs(self) -> None:
        """Inputs of recurrent states (llama-graph.cpp `build_rs_inp`)."""
        slots, sequences = self.job.slots, self.job.sequences
        self.state_copy = new_input((slots,), "i32")
        self.state_main = view(self.state_copy, (sequences,), self.state_copy.nb)
        self.state_extra = view(self.state_copy, (slots - sequences,), self.state_copy.nb)
        self.state_main.lasts = self.state_extra.lasts = True

    def select_rows(self, x: Tensor) -> Tensor:
        """The rows that give logits."""
        return get_rows(x, self.rows)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A product and its bias (llama-graph.cpp `build_lora_mm`)."""
    x = matmul(weight, x)
    return apply("add", x, bias) if bias is not None else x


@lru_cache(maxsize=4096)
def weight_of(shape: Shape, moves: Moves, like: int, name: str) -> Tensor:
    """The weight of a layer; one that the layer does not have is a KeyError."""
    found = {weight.suffix: weight for weight, _ in loads(shape, moves).layers[like].weights}
    return Tensor(found[name].ne, found[name].dtype)


def _block_weights(job: Job, at: int) -> dict[str, Tensor]:
    block = job.blocks[at]
    weights = {}
    for weight, target in loads(job.shape, job.moves).layers[block.like].weights:
        tensor = _resident(weight, _device(job, target, block.device))
        tensor.origin = (at, weight.suffix)
        weights[weight.suffix] = tensor
    return weights


def _outer_weights(job: Job) -> dict[str, Tensor]:
    layout = Layout(host=job.host, layers=(job.first_device,), output=job.output_device)
    weights = {}
    for weight, device, tied in outer_weights(job.shape, job.gpus, job.moves, layout):
        weights["output.weight" if tied else weight.name] = _resident(weight, device)
    if "output.weight" not in weights and not job.shape.family.encoder:
        weights["output.weight"] = weights["token_embd.weight"]
    return weights


def _device(job: Job, target: int | None, own: int) -> int:
    if target is None:
        return own
    return job.host if target == HOST else target


def _resident(weight: Weight, device: int) -> Tensor:
    tensor = resident(weight.ne, weight.dtype, device, weight=True)
    # llama-adapter.cpp does not mark its buffers as weights: the scheduler takes them for data.
    tensor.adapters = tuple(
        (
            resident(pair.a.ne, pair.a.dtype, device, weight=False),
            resident(pair.b.ne, pair.b.dtype, device, weight=False),
        )
        for pair in weight.adapters
        if pair.applied
    )
    return tensor


def _rotation(dtype: str, head: int, *, grows: bool) -> Tensor | None:
    """The Hadamard matrix for a quantized cache (llama-kv-cache.cpp, `attn_rot`)."""
    if not is_quantized(dtype) or head % _ROTATION:
        return None
    size = _rotation_size(head, grows=grows)
    return new_input((size, size))


def _rotation_size(head: int, *, grows: bool) -> int:
    if head < 1:
        # A header that does not tell the size of its heads; every power of two divides 0.
        raise GraphError("attention.key_length")
    size = _ROTATION
    while grows and head % (2 * size) == 0:
        size *= 2
    return size
