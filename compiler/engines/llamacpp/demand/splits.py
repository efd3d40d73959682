"""How many layers each of several GPUs takes, so that none exceeds its budget where that can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compiler.engines.llamacpp.flags.builds import Build, eras_of
from compiler.engines.llamacpp.launch.options import Options
from compiler.engines.llamacpp.memory import runtime
from compiler.engines.llamacpp.memory.extras import extra_high_bytes, extras
from compiler.engines.llamacpp.memory.law import usage
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.cache import layer_cache
from compiler.engines.llamacpp.placed.layers import Layout
from compiler.engines.llamacpp.placed.weights import loads, outer_weights, padded_bytes
from compiler.ir.demand import Demand, Site

# Steps of the search for the smallest fill level: the largest GPU differs by 0.1 % at most.
_FULL = 1000
_MAX_LEVEL = 64 * _FULL
# Compute buffers depend on the split and the split on them; it settles in two rounds.
_ROUNDS = 3


def best_split(shape: Shape, options: Options, build: Build, site: Site) -> Options:
    """The same options with layers dealt out to even the fill of the GPUs' budgets.

    -ts is given as layers a GPU: llama.cpp then cuts exactly there, also in float32.
    """
    if options.gpus < 2 or options.split_mode == "none" or not options.gpu_layers:  # noqa: PLR2004
        return options
    budgets = budgets_of(site)
    costs = _layer_costs(shape, options, build)
    fixed = [0] * options.gpus
    best: tuple[int, Options] | None = None
    for _ in range(_ROUNDS):
        counts = _deal(costs, budgets, fixed)
        candidate = replace(options, tensor_split=counts)
        if best and candidate == best[1]:
            break
        fixed = _fixed(shape, candidate, build, site)
        level = _level(counts, costs, fixed, budgets)
        if best is None or level < best[0]:
            best = (level, candidate)
    return best[1] if best else options


def next_split(shape: Shape, options: Options, build: Build, above: Demand) -> Options:
    """The split of a rung of an offload ladder, from what the rung above takes beside layers."""
    if options.gpus < 2 or options.split_mode == "none":  # noqa: PLR2004
        return options
    beside = extras(shape, options, build)
    fixed = [
        each.compute.high_bytes + each.runtime.high_bytes + sum(more.held(gpu) for more in beside)
        for gpu, each in enumerate(above.devices)
    ]
    counts = _deal(_layer_costs(shape, options, build), budgets_of(above.site), fixed)
    return replace(options, tensor_split=counts)


def too_large(shape: Shape, options: Options, build: Build, site: Site) -> bool:
    """Whether weights and cache alone are more than all GPUs of a site together have."""
    return sum(_layer_costs(shape, options, build)) > sum(budgets_of(site))


def budgets_of(site: Site) -> list[int]:
    """Bytes of each GPU of a site that may be taken, at least one."""
    if len(site.budgets_bytes) == len(site.kinds):
        return [max(1, budget) for budget in site.budgets_bytes]
    return [max(1, kind.cuda_total_bytes) for kind in site.kinds]


def _layer_costs(shape: Shape, options: Options, build: Build) -> list[int]:
    """Bytes that each layer on a GPU, and last the output, brings to the GPU that takes it."""
    graph = eras_of(build.number)[-1]
    active = min(options.gpu_layers, shape.layers_in_file + 1)
    cached = layer_cache(shape, options, graph, on_gpu=True)
    costs = []
    for layer, (kv, state) in zip(loads(shape, options.moves).layers, cached, strict=False):
        costs.append(layer.gpu_bytes + (kv + state if options.kv_on_gpu else 0))
    # Layers of the file that do not run are dealt out all the same, and bring at most a cache.
    costs += [sum(own) if options.kv_on_gpu else 0 for own in cached[len(costs) :]]
    costs += [0] * (shape.layers_in_file - len(costs))
    return [*costs, _output_cost(shape, options)][-active:]


def _output_cost(shape: Shape, options: Options) -> int:
    layout = Layout(host=1, layers=(1,) * len(shape.layers), output=0)
    return sum(
        padded_bytes(weight, on_gpu=True)
        for weight, device, _ in outer_weights(shape, 1, options.moves, layout)
        if device == 0
    )


def _deal(costs: Sequence[int], budgets: Sequence[int], fixed: Sequence[int]) -> tuple[int, ...]:
    """Layers a GPU at the lowest fill level at which all layers find a place."""
    low, high = 0, _MAX_LEVEL
    while low < high:
        middle = (low + high) // 2
        if sum(_fill(costs, budgets, fixed, middle)) == len(costs):
            high = middle
        else:
            low = middle + 1
    counts = _fill(costs, budgets, fixed, low)
    counts[-1] += len(costs) - sum(counts)
    return tuple(counts)


def _fill(
    costs: Sequence[int], budgets: Sequence[int], fixed: Sequence[int], level: int
) -> list[int]:
    counts = []
    position = 0
    for gpu, (budget, taken) in enumerate(zip(budgets, fixed, strict=True)):
        room = budget * level // _FULL - taken
        # Every GPU takes a layer as long as there are enough: an idle one would only cost context.
        later = min(len(budgets) - gpu - 1, max(0, len(costs) - position - 1))
        count = 0
        while position < len(costs) - later and costs[position] <= room:
            room -= costs[position]
            position += 1
            count += 1
        counts.append(count)
    return counts


def _fixed(shape: Shape, options: Options, build: Build, site: Site) -> list[int]:
    """What each GPU takes beside its layers: compute buffer and runtime."""
    found = usage(shape, options, build)
    beside = extras(shape, options, build)
    return [
        found.compute_high[gpu]
        + runtime.runtime_part(kind, shape, options, found.layout, gpu).high_bytes
        + extra_high_bytes(beside, kind, gpu)
        for gpu, kind in enumerate(site.kinds)
    ]


def _level(
    counts: Sequence[int], costs: Sequence[int], fixed: Sequence[int], budgets: Sequence[int]
) -> int:
    """The fill level of the fullest GPU."""
    level, position = 0, 0
    for count, taken, budget in zip(counts, fixed, budgets, strict=True):
        used = taken + sum(costs[position : position + count])
        position += count
        level = max(level, used * _FULL // budget)
    return level
