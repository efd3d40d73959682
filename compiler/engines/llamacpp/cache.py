"""Bytes of the KV cache and the recurrent state on each device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from compiler.engines.llamacpp import quants
from compiler.engines.llamacpp.builds import Graph
from compiler.engines.llamacpp.layer_kinds import Layer
from compiler.engines.llamacpp.layers import Layout
from compiler.engines.llamacpp.options import CELL_PADDING, Options, batch_sizes
from compiler.engines.llamacpp.shape import Shape
from compiler.ir.units import round_up


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheBytes:
    """KV and state of each device, host last."""

    kv: tuple[int, ...]
    state: tuple[int, ...]

    def total(self, device: int) -> int:
        """Both on one device."""
        return self.kv[device] + self.state[device]


def sliding_cells(shape: Shape, options: Options) -> int:
    """Cells of one stream in layers with a window (llama-kv-cache-iswa.cpp)."""
    if options.sliding_full:
        return options.cells_per_stream
    ubatch = batch_sizes(options, causal=shape.causal)[1]
    windows = options.slots if options.unified else 1
    cells = min(options.cells_per_stream, shape.window * windows + ubatch)
    return round_up(cells, CELL_PADDING)


def has_cache(shape: Shape, graph: Graph) -> bool:
    """Whether llama.cpp makes a cache for this model at all (llama-model.cpp `create_memory`)."""
    return not shape.encoder or graph.encoder_cache


def cache_bytes(shape: Shape, options: Options, layout: Layout, graph: Graph) -> CacheBytes:
    """KV cache and recurrent state (llama-kv-cache.cpp, llama-memory-recurrent.cpp)."""
    host = layout.host
    kv, state = [0] * (host + 1), [0] * (host + 1)
    on_gpu = layer_cache(shape, options, graph, on_gpu=True)
    on_host = layer_cache(shape, options, graph, on_gpu=False)
    homes = layout.layers if options.kv_on_gpu else (host,) * len(shape.layers)
    for device, *own in zip(homes, on_gpu, on_host, strict=True):
        layer_kv, layer_state = own[device == host]
        kv[device] += layer_kv
        state[device] += layer_state
    return CacheBytes(kv=tuple(kv), state=tuple(state))


def layer_cache(
    shape: Shape, options: Options, graph: Graph, *, on_gpu: bool
) -> tuple[tuple[int, int], ...]:
    """KV and state bytes of each layer, were it on a GPU or on the host."""
    # Where the layers are does not matter here, so that all rungs of a ladder share one answer.
    plain = replace(options, gpu_layers=0, tensor_split=(), gpus=0, main_gpu=0)
    return _layer_cache(shape, plain, graph, on_gpu)


@lru_cache(maxsize=4096)
def _layer_cache(
    shape: Shape,
    options: Options,
    graph: Graph,
    on_gpu: bool,  # noqa: FBT001
) -> tuple[tuple[int, int], ...]:
    if not has_cache(shape, graph):
        return ((0, 0),) * len(shape.layers)
    widest = max((layer.v_width for layer in shape.layers), default=0)
    windowed = sliding_cells(shape, options)
    found = []
    for index, layer in enumerate(shape.layers):
        kv = 0
        state = state_bytes(shape, options, on_gpu=on_gpu) if layer.recurrent else 0
        if layer.attention and layer.cache_of == index:
            cells = windowed if layer.sliding and graph.sliding_cache else options.cells_per_stream
            v_width = layer.v_width if options.flash_attention else widest
            for dtype, width in _rows(shape, options, layer, v_width):
                size = quants.row_bytes(dtype, width) * cells * options.streams
                kv += _padded(size, dtype, width, on_gpu=on_gpu)
        found.append((kv, state))
    return tuple(found)


def state_bytes(shape: Shape, options: Options, *, on_gpu: bool) -> int:
    """State of one layer: f32, and one copy a slot even when the KV cache is unified."""
    align = quants.CUDA_ALIGNMENT if on_gpu else quants.CPU_ALIGNMENT
    elements = (shape.state.conv_elements, shape.state.state_elements)
    return sum(round_up(count * 4 * options.slots, align) for count in elements)


def _rows(shape: Shape, options: Options, layer: Layer, v_width: int) -> list[tuple[str, int]]:
    rows = [(options.cache_type_k, layer.k_width)]
    if not shape.latent.absorbed:
        rows.append((options.cache_type_v, v_width))
    if layer.indexer:
        rows.append((options.cache_type_k, layer.indexer))
    return rows


def _padded(size: int, dtype: str, width: int, *, on_gpu: bool) -> int:
    if not on_gpu:
        return round_up(size, quants.CPU_ALIGNMENT)
    return round_up(size + quants.cuda_padding_bytes(dtype, width), quants.CUDA_ALIGNMENT)
