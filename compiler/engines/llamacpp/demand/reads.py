"""What a token reads, and how much of it lies in RAM: the cost of offload in thousandths."""

from __future__ import annotations

from functools import lru_cache

from compiler.engines.llamacpp.flags.builds import Era
from compiler.engines.llamacpp.launch.options import Moves, Options
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.cache import layer_cache
from compiler.engines.llamacpp.placed.layers import Layout
from compiler.engines.llamacpp.placed.weights import HOST, loads, outer_weights

_WHOLE = 1000


def host_permille(shape: Shape, options: Options, layout: Layout, era: Era) -> int:
    """Of the bytes that a token reads, the thousandths in RAM; 1 to 999 where there are any.

    The speed of a decode step is that of the memory from which it reads its weights and its cache,
    and of a mixture it reads the experts in use alone: experts in RAM cost far less than their
    size. The cache counts as that of one full slot.
    """
    host, total = 0, 0
    cached = layer_cache(shape, options, era, on_gpu=True)
    rows = zip(layout.layers, _reads(shape, options.moves), cached, strict=False)
    for device, (own, moved), (kv, state) in rows:
        cache = (kv + state) // options.slots
        total += own + moved + cache
        host += own + moved if device == layout.host else moved
        host += cache if device == layout.host or not options.kv_on_gpu else 0
    for weight, device, tied in outer_weights(shape, options.gpus, options.moves, layout):
        if tied or weight.name == "output.weight":
            total += weight.size_bytes
            host += weight.size_bytes if device == layout.host else 0
    return min(max(host * _WHOLE // max(1, total), 1), _WHOLE - 1) if host else 0


def experts_on_host(shape: Shape, options: Options, layout: Layout) -> int:
    """Layers on GPUs whose experts lie in RAM."""
    layers = zip(layout.layers, loads(shape, options.moves).layers, strict=True)
    return sum(
        device != layout.host
        and any(target == HOST and is_expert(weight.suffix) for weight, target in layer.weights)
        for device, layer in layers
    )


def is_expert(suffix: str) -> bool:
    """Whether a tensor of a layer holds all experts, of which a token reads those in use."""
    return "_exps" in suffix or "_chexps" in suffix


@lru_cache(maxsize=512)
def _reads(shape: Shape, moves: Moves) -> tuple[tuple[int, int], ...]:
    """For each layer the bytes a token reads of what follows it, and of what is moved to RAM."""
    found = []
    for layer, known in zip(loads(shape, moves).layers, shape.layers, strict=True):
        sizes = [0, 0]
        for weight, target in layer.weights:
            size = weight.size_bytes
            if is_expert(weight.suffix) and shape.experts.count:
                size = size * known.experts_used // shape.experts.count
            sizes[target == HOST] += size
        found.append((sizes[0], sizes[1]))
    return tuple(found)
