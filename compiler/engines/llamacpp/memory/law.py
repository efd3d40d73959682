"""The memory law: bytes of a model under launch options, on each device and on the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from compiler.engines.llamacpp.flags.builds import Build, Era, eras_of
from compiler.engines.llamacpp.graphs import closed_form
from compiler.engines.llamacpp.graphs.job import telling_capabilities
from compiler.engines.llamacpp.launch.options import Options, ubatch_tokens
from compiler.engines.llamacpp.memory import bands, compute
from compiler.engines.llamacpp.memory.host import output_bytes
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.cache import CacheBytes, cache_bytes
from compiler.engines.llamacpp.placed.layers import Layout, lay_out
from compiler.engines.llamacpp.placed.weights import weight_bytes

# The graph code of older builds was read off logs, not off its source; on the logs at hand it is
# exact from 2025-03 on, and 5 % too high for one of January 2025.
OLDER_PERCENT = 2
OLDEST_PERCENT = 6
# Where it was not followed back: qwen2vl took 2.7 % more than the law says in a log of b6800.
UNFOLLOWED_PERCENT = 10
_OLDEST_LOGS = 4900
_NEVER = 1 << 30

STUDIED = (Era(),)

# What simulation of a neighbour's graph is worth: most families differ by a norm or a gate, which
# moves the buffer by a tenth at most, but encoders took up to twice their neighbour's buffer before
# their own graph was rebuilt.
NEIGHBOUR_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Bytes of one process, by device, host last."""

    layout: Layout
    weights: tuple[int, ...]
    weights_low: tuple[int, ...]
    weights_high: tuple[int, ...]
    cache: CacheBytes
    cache_low: tuple[int, ...]
    cache_high: tuple[int, ...]
    compute: tuple[int, ...]
    compute_low: tuple[int, ...]
    compute_high: tuple[int, ...]
    output: int
    how: str
    """How the compute buffers were found."""


def usage(shape: Shape, options: Options, build: Build) -> Usage:
    """What llama-server of a build allocates for a model under explicit options."""
    # Most often all kinds of GPU share one answer.
    capabilities = telling_capabilities(shape, options)
    if capabilities != options.capabilities:
        options = replace(options, capabilities=capabilities)
    return _usage(shape, options, build)


@lru_cache(maxsize=8192)
def _usage(shape: Shape, options: Options, build: Build) -> Usage:
    eras = eras_of(build.number)
    layouts = [lay_out(shape, options, output_counts=era.output_counts) for era in eras]
    under = list(zip(layouts, eras, strict=True))
    found = [compute.compute_bytes(shape, options, layout, era) for layout, era in under]
    caches = [cache_bytes(shape, options, layout, era) for layout, era in under]
    sizes = [each.sizes for each in found]
    highest = _largest(sizes)
    lowest = tuple(map(min, zip(*sizes, strict=True)))
    percent = _band_percent(shape, build, simulated=all(each.simulated for each in found))
    extra = _newer_bytes(shape, options) if build.newer else 0
    extra += bands.scores_bytes(shape, options) + bands.rollback_bytes(shape, options)
    weights = _largest([weight_bytes(shape, options, layout) for layout in set(layouts)])
    weights_low, weights_high = bands.weights_band(shape, weights)
    cache = CacheBytes(
        kv=_largest([each.kv for each in caches]),
        state=_largest([each.state for each in caches]),
        latent_values=any(each.latent_values for each in caches),
        next_layers=any(each.next_layers for each in caches),
    )
    cache_low, cache_high = bands.cache_band(shape, options, layouts[-1], cache)
    return Usage(
        layout=layouts[-1],
        weights=weights,
        weights_low=weights_low,
        weights_high=weights_high,
        cache=cache,
        cache_low=cache_low,
        cache_high=cache_high,
        compute=highest,
        compute_low=tuple(size * max(0, 100 - percent) // 100 for size in lowest),
        compute_high=tuple(
            size + size * percent // 100 + (extra if size else 0) for size in highest
        ),
        output=output_bytes(shape, options),
        how=_how(percent, simulated=all(each.simulated for each in found)),
    )


def _largest(sizes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The larger of each device, where a build lies between two eras."""
    return tuple(map(max, zip(*sizes, strict=True)))


def _band_percent(shape: Shape, build: Build, *, simulated: bool) -> int:
    if not shape.exact:
        return NEIGHBOUR_PERCENT
    if not simulated:
        return closed_form.BAND_PERCENT
    if eras_of(build.number) == STUDIED:
        return 0
    if shape.family.rewritten_percent:
        return shape.family.rewritten_percent
    since = shape.family.followed_since or _NEVER
    if shape.family.proven != "followed" and build.number < since:
        return UNFOLLOWED_PERCENT
    return OLDEST_PERCENT if build.number < _OLDEST_LOGS else OLDER_PERCENT


def _how(percent: int, *, simulated: bool) -> str:
    how = "simulated graph and allocator" if simulated else "by formula"
    return f"{how}, +-{percent} %" if percent else how


def _newer_bytes(shape: Shape, options: Options) -> int:
    """What b11501 takes beyond the studied source: up to two more activations of a ubatch."""
    return 2 * 4 * shape.width * ubatch_tokens(options, causal=shape.causal)
