"""The memory law: bytes of a model under launch options, on each device and on the host."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from compiler.engines.llamacpp import closed_form, compute, families
from compiler.engines.llamacpp.builds import Build, Graph, graphs
from compiler.engines.llamacpp.cache import CacheBytes, cache_bytes
from compiler.engines.llamacpp.host import output_bytes
from compiler.engines.llamacpp.layers import Layout, lay_out
from compiler.engines.llamacpp.options import Options, ubatch_tokens
from compiler.engines.llamacpp.shape import Shape
from compiler.engines.llamacpp.weights import weight_bytes

# The graph code of older builds was read off logs, not off its source; on the logs at hand it is
# exact from 2025-03 on, and 5 % too high for one of January 2025.
OLDER_PERCENT = 2
OLDEST_PERCENT = 6
# Where it was not followed back: qwen2vl took 2.7 % more than the law says in a log of b6800.
UNFOLLOWED_PERCENT = 10
_OLDEST_LOGS = 4900

# What simulation of a neighbour's graph is worth: most families differ by a norm or a gate, which
# moves the buffer by a tenth at most, but encoders took up to twice their neighbour's buffer before
# their own graph was rebuilt.
NEIGHBOUR_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Bytes of one process, by device, host last."""

    layout: Layout
    weights: tuple[int, ...]
    cache: CacheBytes
    compute: tuple[int, ...]
    compute_low: tuple[int, ...]
    compute_high: tuple[int, ...]
    output: int
    how: str
    """How the compute buffers were found."""


@lru_cache(maxsize=8192)
def usage(shape: Shape, options: Options, build: Build) -> Usage:
    """What llama-server of a build allocates for a model under explicit options."""
    eras = graphs(build.number)
    graph = eras[-1]
    layout = lay_out(shape, options, output_counts=graph.output_counts)
    found = [compute.compute_bytes(shape, options, layout, era) for era in eras]
    sizes = [each.sizes for each in found]
    highest = tuple(map(max, zip(*sizes, strict=True)))
    lowest = tuple(map(min, zip(*sizes, strict=True)))
    percent = _band_percent(shape, build, simulated=all(each.simulated for each in found))
    extra = _newer_bytes(shape, options) if build.newer else 0
    return Usage(
        layout=layout,
        weights=weight_bytes(shape, options, layout),
        cache=cache_bytes(shape, options, layout, graph),
        compute=highest,
        compute_low=tuple(size * max(0, 100 - percent) // 100 for size in lowest),
        compute_high=tuple(
            size + size * percent // 100 + (extra if size else 0) for size in highest
        ),
        output=output_bytes(shape, options),
        how=_how(percent, simulated=all(each.simulated for each in found)),
    )


def _band_percent(shape: Shape, build: Build, *, simulated: bool) -> int:
    if not simulated:
        return closed_form.BAND_PERCENT
    if not shape.exact:
        return NEIGHBOUR_PERCENT
    if graphs(build.number) == (Graph(),):
        return 0
    if shape.arch not in families.FOLLOWED:
        return UNFOLLOWED_PERCENT
    return OLDEST_PERCENT if build.number < _OLDEST_LOGS else OLDER_PERCENT


def _how(percent: int, *, simulated: bool) -> str:
    how = "simulated graph and allocator" if simulated else "by formula"
    return f"{how}, +-{percent} %" if percent else how


def _newer_bytes(shape: Shape, options: Options) -> int:
    """What b11501 takes beyond the studied source: up to two more activations of a ubatch."""
    return 2 * 4 * shape.width * ubatch_tokens(options, causal=shape.causal)
