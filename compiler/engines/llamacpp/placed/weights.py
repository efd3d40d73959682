"""Bytes of weights on each device, from what each layer brings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from compiler.engines.llamacpp.launch.options import Moves, Options, Override
from compiler.engines.llamacpp.model import quants
from compiler.engines.llamacpp.model.header import Weight
from compiler.engines.llamacpp.model.layer_kinds import Layer
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.layers import Layout
from compiler.ir.units import round_up

# Tensors that stay on the host (llama-model.cpp, `dev_input`).
_INPUTS = ("token_embd.weight", "token_types", "position_embd", "per_layer_token_embd")
# Tensors that are declared with layer 0.
_FIRST_LAYER = ("per_layer_model_proj", "per_layer_proj_norm")
# What --cpu-moe and --n-cpu-moe match (common/common.h, LLM_FFN_EXPS_REGEX).
_EXPERTS = r"\.ffn_(up|down|gate_up|gate)_(ch|)exps"
# Types that a CPU-only llama.cpp repacks on x86 (ggml-cpu/repack.cpp); a tied output of such a
# type is loaded twice even there.
_REPACKED = frozenset({"q4_0", "q4_K", "iq4_nl", "q2_K"})
_MATRIX = 2

HOST = -1
"""The target of an override that sends a tensor to the host."""

Span = tuple[int, int]
"""First and last byte of a range of the file."""
_NOTHING: Span = (1 << 62, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """What one layer brings, wherever it stands."""

    weights: tuple[tuple[Weight, int | None], ...]
    """Each with the device to which an override sends it, HOST, or None: it follows its layer."""
    gpu_bytes: int
    """Tensors that follow the layer, as a CUDA buffer holds them."""
    host_bytes: int
    """The same as a host buffer holds them."""
    moved: tuple[tuple[int, int], ...]
    """Target and bytes of tensors that do not follow."""
    span: Span
    moved_span: Span
    """The file range of what an override sends to the host."""
    quantized_row: int
    """Elements of the longest row of a quantized matrix that follows the layer."""
    plain_sides: int
    """Rows and columns of the largest other matrix."""
    like_on_gpu: int
    """The first layer that the allocator cannot tell from this one, on a GPU."""
    like_on_host: int
    """The same on the host, where the types of the weights matter too."""
    form: int
    """The first layer that differs by the types of its weights at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """All weights of a model under given overrides."""

    layers: tuple[LayerWeights, ...]
    outer: tuple[tuple[Weight, int | None], ...]
    tied_target: int | None
    """Where an override sends a tied output layer; None: to the output's device."""
    adapted: bool
    """Whether any weight has LoRA matrices beside it."""


@lru_cache(maxsize=512)
def loads(shape: Shape, moves: Moves) -> Loads:
    """What each layer of a model brings under given overrides (llama-model-loader.cpp)."""
    rules = _rules(moves)
    inside: list[list[tuple[Weight, int | None]]] = [[] for _ in shape.layers]
    outer = []
    for weight in shape.weights:
        target = _target(weight.name, rules)
        if weight.block is None:
            outer.append((weight, target))
        elif weight.block < len(inside):
            # A layer for next tokens is none of these (`next_weights`).
            inside[weight.block].append((weight, target))
    likes: dict[object, int] = {}
    return Loads(
        layers=tuple(
            _layer(index, layer, found, likes)
            for index, (layer, found) in enumerate(zip(shape.layers, inside, strict=True))
        ),
        outer=tuple(outer),
        tied_target=_target("token_embd.weight", rules),
        adapted=any(weight.adapters for weight in shape.weights),
    )


def weight_bytes(shape: Shape, options: Options, layout: Layout) -> tuple[int, ...]:
    """Bytes of the model buffers, host last (llama-model.cpp `load_tensors`, ggml-alloc.c).

    A mapped host buffer is the range of the file from the first to the last tensor on the host.
    """
    found = loads(shape, options.moves)
    totals = [0] * (layout.host + 1)
    spans = []
    for device, layer in zip(layout.layers, found.layers, strict=True):
        on_host = device == layout.host
        totals[device] += layer.host_bytes if on_host else layer.gpu_bytes
        spans.append(layer.span if on_host else layer.moved_span)
        for target, size in layer.moved:
            totals[layout.host if target == HOST else target] += size
    for weight, device, tied in outer_weights(shape, options.gpus, options.moves, layout):
        on_gpu = device != layout.host
        totals[device] += padded_bytes(weight, on_gpu=on_gpu)
        if not on_gpu and not tied:
            spans.append(_span(weight))
    for weight, device in _loaded_next(shape, options, layout):
        totals[device] += padded_bytes(weight, on_gpu=device != layout.host)
        if device == layout.host:
            spans.append(_span(weight))
    if options.memory_map:
        # Adapters are read into buffers of their own.
        read = adapter_bytes_by_device(shape, options, layout)[layout.host]
        totals[layout.host] = read + _mapped_bytes(spans, totals[layout.host] - read)
    return tuple(totals)


def next_weights(shape: Shape, moves: Moves, layout: Layout) -> list[tuple[Weight, int]]:
    """The weights of layers for next tokens, each with its device."""
    rules = _rules(moves)
    found = []
    for number, device in enumerate(layout.next_layers, len(shape.layers)):
        for weight in shape.weights:
            if weight.block == number:
                target = _target(weight.name, rules)
                home = device if target is None else layout.host if target == HOST else target
                found.append((weight, home))
    return found


def _loaded_next(shape: Shape, options: Options, layout: Layout) -> list[tuple[Weight, int]]:
    """What is loaded of layers for next tokens.

    All of it for --spec-type draft-mtp. Without, models/glm-dsa.cpp gives the norm of their
    indexer's keys no flag to be skipped.
    """
    found = next_weights(shape, options.moves, layout)
    if options.next_tokens is not None:
        return found
    if shape.arch != "glm-dsa":
        return []
    return [each for each in found if each[0].suffix.startswith("indexer.k_norm.")]


def adapter_bytes_by_device(shape: Shape, options: Options, layout: Layout) -> tuple[int, ...]:
    """Of the weights, the LoRA matrices on each device, host last."""
    found = loads(shape, options.moves)
    totals = [0] * (layout.host + 1)
    if not found.adapted:
        return tuple(totals)
    placed = [
        (weight, device if target is None else target)
        for device, layer in zip(layout.layers, found.layers, strict=True)
        for weight, target in layer.weights
        if weight.adapters
    ]
    placed += [
        (weight, device)
        for weight, device, _ in outer_weights(shape, options.gpus, options.moves, layout)
        if weight.adapters
    ]
    for weight, target in placed:
        device = layout.host if target == HOST else target
        totals[device] += adapter_bytes(weight, on_gpu=device != layout.host)
    return tuple(totals)


def outer_weights(
    shape: Shape, gpus: int, moves: Moves, layout: Layout
) -> list[tuple[Weight, int, bool]]:
    """Copies of weights outside the layers: weight, device, and whether it is a tied output."""
    found = loads(shape, moves)
    copies = []
    for weight, target in found.outer:
        if weight.name.startswith("rope_"):
            homes = _rope_homes(shape, layout)
        elif target is not None:
            homes = [layout.host if target == HOST else target]
        else:
            homes = [_home(shape, weight.name, layout)]
        copies += [(weight, home, False) for home in homes]
    if shape.tied:
        weight = shape.by_name["token_embd.weight"]
        device = layout.output if found.tied_target is None else found.tied_target
        device = layout.host if device == HOST else device
        repacked = not gpus and weight.dtype in _REPACKED
        if device != layout.host or repacked or shape.family.output_first:
            copies.append((weight, device, True))
    return copies


def padded_bytes(weight: Weight, *, on_gpu: bool) -> int:
    """Bytes that a weight and its adapters take in a buffer.

    ggml-alloc.c; ggml-cuda.cu `ggml_backend_cuda_buffer_type_get_alloc_size`.
    """
    adapters = adapter_bytes(weight, on_gpu=on_gpu)
    if not on_gpu:
        return round_up(weight.size_bytes, quants.CPU_ALIGNMENT) + adapters
    padding = quants.cuda_padding_bytes(weight.dtype, weight.ne[0])
    return round_up(weight.size_bytes + padding, quants.CUDA_ALIGNMENT) + adapters


def adapter_bytes(weight: Weight, *, on_gpu: bool) -> int:
    """Bytes of the LoRA matrices beside a weight (llama-adapter.cpp)."""
    return sum(
        padded_bytes(each, on_gpu=on_gpu) for pair in weight.adapters for each in (pair.a, pair.b)
    )


def _rules(moves: Moves) -> list[tuple[re.Pattern[str], int]]:
    rules: list[Override] = []
    if moves.cpu_moe:
        rules.append(Override(pattern=_EXPERTS, gpu=None))
    rules += [
        Override(pattern=rf"blk\.{index}{_EXPERTS}", gpu=None)
        for index in range(moves.cpu_moe_layers)
    ]
    rules += moves.overrides
    return [(re.compile(rule.pattern), HOST if rule.gpu is None else rule.gpu) for rule in rules]


def _target(name: str, rules: Sequence[tuple[re.Pattern[str], int]]) -> int | None:
    """The first rule that matches wins."""
    return next((target for pattern, target in rules if pattern.search(name)), None)


def _layer(
    index: int,
    layer: Layer,
    found: Sequence[tuple[Weight, int | None]],
    likes: dict[object, int],
) -> LayerWeights:
    own = [weight for weight, target in found if target is None]
    moved = [(weight, target) for weight, target in found if target is not None]
    kind = (layer.like, layer.cache_of == index)
    names = tuple(
        (weight.suffix, weight.ne, target, _adapter_shapes(weight)) for weight, target in found
    )
    moved_types = tuple(weight.dtype for weight, _ in moved)
    types = tuple(weight.dtype for weight, _ in found)
    adapters = [each for weight in own for pair in weight.adapters for each in (pair.a, pair.b)]
    matrices = [weight for weight in (*own, *adapters) if len(weight.ne) >= _MATRIX]
    return LayerWeights(
        weights=tuple(found),
        gpu_bytes=sum(padded_bytes(weight, on_gpu=True) for weight in own),
        host_bytes=sum(padded_bytes(weight, on_gpu=False) for weight in own),
        moved=tuple(
            (target, padded_bytes(weight, on_gpu=target != HOST)) for weight, target in moved
        ),
        span=_join([_span(weight) for weight, target in found if target in (None, HOST)]),
        moved_span=_join([_span(weight) for weight, target in moved if target == HOST]),
        quantized_row=max(
            (weight.ne[0] for weight in matrices if quants.is_quantized(weight.dtype)), default=0
        ),
        plain_sides=max(
            (
                weight.ne[0] + weight.ne[1]
                for weight in matrices
                if weight.dtype != "f32" and not quants.is_quantized(weight.dtype)
            ),
            default=0,
        ),
        like_on_gpu=likes.setdefault((kind, names, moved_types), index),
        like_on_host=likes.setdefault((kind, names, types, "host"), index),
        form=likes.setdefault((kind, names, "form"), index),
    )


def _adapter_shapes(weight: Weight) -> tuple[object, ...]:
    return tuple((a.ne, a.dtype, b.ne, b.dtype) for a, b, applied in weight.adapters if applied)


def _rope_homes(shape: Shape, layout: Layout) -> list[int]:
    """Every device with a layer that uses the rope factors has a copy of them."""
    windowless = shape.arch == "gemma4"  # models/gemma4.cpp: full attention only.
    using = zip(layout.layers, shape.layers, strict=False)
    return list(dict.fromkeys(d for d, layer in using if not (windowless and layer.sliding)))


def _home(shape: Shape, name: str, layout: Layout) -> int:
    if name.startswith(_INPUTS):
        return layout.host
    if name.startswith("token_embd_norm") and not shape.arch.startswith("lfm2"):
        return layout.layers[0]
    if name.startswith(_FIRST_LAYER):
        return layout.layers[0]
    return layout.output


def _span(weight: Weight) -> Span:
    if weight.offset_bytes is None:
        return _NOTHING
    return weight.offset_bytes, weight.offset_bytes + weight.size_bytes


def _join(spans: Sequence[Span]) -> Span:
    return (
        min((first for first, _ in spans), default=_NOTHING[0]),
        max((last for _, last in spans), default=_NOTHING[1]),
    )


def _mapped_bytes(spans: Sequence[Span], total: int) -> int:
    first, last = _join(spans)
    return last - first if first < last else total
