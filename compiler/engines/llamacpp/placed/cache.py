"""Bytes of the KV cache and the recurrent state on each device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from compiler.engines.llamacpp.flags.builds import Era
from compiler.engines.llamacpp.launch.options import CELL_PADDING, Options, batch_sizes
from compiler.engines.llamacpp.model import quants
from compiler.engines.llamacpp.model.layer_kinds import Layer
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed import compressed
from compiler.engines.llamacpp.placed.layers import Layout
from compiler.ir.units import round_up


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheBytes:
    """KV and state of each device, host last."""

    kv: tuple[int, ...]
    state: tuple[int, ...]
    latent_values: bool = False
    """Whether each latent row has its V beside it, as in older builds."""
    next_layers: bool = False
    """Whether layers that do not run have a cache, as in some builds."""

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


def has_cache(shape: Shape, era: Era) -> bool:
    """Whether llama.cpp makes a cache for this model at all (llama-model.cpp `create_memory`)."""
    return not shape.encoder or era.encoder_cache


def cached_layers(shape: Shape, era: Era) -> tuple[Layer, ...]:
    """The layers that a cache is made for: those that run, and in some builds all of the file."""
    return shape.layers + (shape.next_layers if era.caches_next(shape.arch) else ())


def cache_bytes(shape: Shape, options: Options, layout: Layout, era: Era) -> CacheBytes:
    """KV cache and recurrent state (llama-kv-cache.cpp, llama-memory-recurrent.cpp)."""
    host = layout.host
    kv, state = [0] * (host + 1), [0] * (host + 1)
    anywhere = _anywhere(options)
    on_gpu = _layer_cache(shape, anywhere, era, on_gpu=True)
    on_host = _layer_cache(shape, anywhere, era, on_gpu=False)
    homes = layout.layers + layout.next_layers if options.kv_on_gpu else (host,) * len(on_gpu)
    for device, gpu_bytes, host_bytes in zip(homes, on_gpu, on_host, strict=False):
        layer_kv, layer_state = host_bytes if device == host else gpu_bytes
        kv[device] += layer_kv
        state[device] += layer_state
    latent_values = shape.latent.absorbed and not era.latent_rows
    return CacheBytes(
        kv=tuple(kv),
        state=tuple(state),
        latent_values=latent_values,
        next_layers=len(on_gpu) > len(shape.layers),
    )


def layer_cache(
    shape: Shape, options: Options, era: Era, *, on_gpu: bool
) -> tuple[tuple[int, int], ...]:
    """KV and state bytes of each cached layer, were it on a GPU or on the host."""
    return _layer_cache(shape, _anywhere(options), era, on_gpu=on_gpu)


def _anywhere(options: Options) -> Options:
    """The options whatever the places of the layers: all rungs of a ladder share one answer."""
    return replace(options, gpu_layers=0, tensor_split=(), gpus=0, main_gpu=0)


@lru_cache(maxsize=4096)
def _layer_cache(
    shape: Shape, options: Options, era: Era, *, on_gpu: bool
) -> tuple[tuple[int, int], ...]:
    if not has_cache(shape, era):
        return ((0, 0),) * len(shape.layers)
    if shape.family.compressed:
        return compressed.layer_cache(shape, options, on_gpu=on_gpu)
    layers = cached_layers(shape, era)
    widest = max((layer.v_width for layer in layers), default=0)
    has_values = not (shape.latent.absorbed and era.latent_rows)
    windowed = sliding_cells(shape, options)
    found = []
    for index, layer in enumerate(layers):
        kv = 0
        state = state_bytes(shape, options, on_gpu=on_gpu) if layer.recurrent else 0
        if layer.history:
            state += _state_size(layer.history, options.slots, on_gpu=on_gpu)
        if layer.attention and layer.cache_of == index:
            cells = windowed if layer.sliding and era.sliding_cache else options.cells_per_stream
            v_width = layer.v_width if options.flash_attention else widest
            for dtype, width in _rows(options, layer, v_width if has_values else 0):
                size = quants.row_bytes(dtype, width) * cells * options.streams
                kv += quants.padded_row_bytes(size, dtype, width, on_gpu=on_gpu)
        found.append((kv, state))
    return tuple(found)


def state_bytes(shape: Shape, options: Options, *, on_gpu: bool) -> int:
    """State of one layer: f32, and one copy a slot even when the KV cache is unified."""
    elements = (shape.state.conv_elements, shape.state.state_elements)
    # llama-memory-recurrent.cpp: rows to return to stand beside each slot's own.
    rows = options.slots * (1 + options.rollbacks)
    return sum(_state_size(count, rows, on_gpu=on_gpu) for count in elements)


def _state_size(elements: int, slots: int, *, on_gpu: bool) -> int:
    align = quants.CUDA_ALIGNMENT if on_gpu else quants.CPU_ALIGNMENT
    return round_up(elements * 4 * slots, align)


def _rows(options: Options, layer: Layer, v_width: int) -> list[tuple[str, int]]:
    rows = [(options.cache_type_k, layer.k_width)]
    if v_width:
        rows.append((options.cache_type_v, v_width))
    if layer.indexer:
        rows.append((options.cache_type_k, layer.indexer))
    if layer.indexer_value:
        rows.append((options.cache_type_v, layer.indexer_value))
    return rows
