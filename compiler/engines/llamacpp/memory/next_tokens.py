"""The second context of a model that drafts with its own layers for next tokens (draft-mtp).

common/speculative.cpp `common_speculative_init_result`, llama-model.cpp `create_memory` (b11312):
as many cells, slots and tokens as the model's, a cache for those layers alone, with types of its
own, and a graph of one of them; one row of logits a slot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from compiler.engines.llamacpp.flags.builds import Build, eras_of
from compiler.engines.llamacpp.launch.options import Moves, NextOptions, Options, Override
from compiler.engines.llamacpp.memory import compute, runtime
from compiler.engines.llamacpp.memory.host import output_bytes
from compiler.engines.llamacpp.memory.law import NEIGHBOUR_PERCENT, OLDER_PERCENT, STUDIED
from compiler.engines.llamacpp.model.shape import Shape, next_shape
from compiler.engines.llamacpp.placed.cache import cache_bytes
from compiler.engines.llamacpp.placed.layers import Layout, lay_out
from compiler.engines.llamacpp.placed.weights import next_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class NextUsage:
    """Bytes of the second context, by device, host last; its weights are counted with the model."""

    kv: tuple[int, ...]
    compute: tuple[int, ...]
    compute_low: tuple[int, ...]
    compute_high: tuple[int, ...]
    rows: tuple[runtime.Rows, ...]


def is_rebuilt(shape: Shape) -> bool:
    """Whether its layers for next tokens are layers of the model as the law rebuilds them."""
    return shape.exact and bool(shape.family.next_rows)


def next_usage(shape: Shape, options: Options, build: Build) -> NextUsage | None:
    """What the second context takes; None where the model does not draft itself."""
    asked = options.next_tokens
    if asked is None or not shape.next_layers:
        return None
    eras = eras_of(build.number)
    whole = lay_out(shape, options, output_counts=eras[-1].output_counts)
    layout = Layout(host=whole.host, layers=whole.next_layers, output=whole.output)
    head = next_shape(shape)
    under = _options(shape, head, options, asked, whole)
    found = [compute.compute_bytes(head, under, layout, era) for era in eras]
    caches = [cache_bytes(head, under, layout, era) for era in eras]
    sizes = [each.sizes for each in found]
    output = output_bytes(head, under)
    percent = NEIGHBOUR_PERCENT
    if is_rebuilt(shape) and all(each.simulated for each in found):
        percent = 0 if eras == STUDIED and not build.newer else OLDER_PERCENT
    high = tuple(map(max, zip(*sizes, strict=True)))
    low = tuple(map(min, zip(*sizes, strict=True)))

    def with_output(found: tuple[int, ...]) -> tuple[int, ...]:
        return (*found[:-1], found[-1] + output)

    return NextUsage(
        kv=tuple(max(each.total(device) for each in caches) for device in range(layout.host + 1)),
        compute=with_output(high),
        compute_low=with_output(tuple(size * (100 - percent) // 100 for size in low)),
        compute_high=with_output(tuple(size + size * percent // 100 for size in high)),
        rows=tuple(runtime.rows_of(head, under, layout, gpu) for gpu in range(layout.host)),
    )


def _options(
    shape: Shape, head: Shape, options: Options, asked: NextOptions, layout: Layout
) -> Options:
    count = len(head.layers)
    is_whole = options.gpu_layers > shape.layers_in_file
    return replace(
        options,
        cells=options.all_cells,
        gpu_layers=count + 1 if is_whole else min(options.gpu_layers, count),
        tensor_split=(),
        cache_type_k=asked.cache_type_k,
        cache_type_v=asked.cache_type_v,
        moves=_moves(shape, options.moves, layout),
        prompt_cache_bytes=0,
        checkpoints=0,
        output_rows=None,
        drafted_tokens=0,
        draft=None,
        next_tokens=None,
        rollbacks=0,
        projector=None,
    )


def _moves(shape: Shape, moves: Moves, layout: Layout) -> Moves:
    """Which of the weights lie elsewhere than their layer, by the names that they have here."""
    first = len(shape.layers)
    homes = dict(enumerate(layout.next_layers, first))
    return Moves(
        overrides=tuple(
            Override(
                pattern=f"^{re.escape(f'blk.{(weight.block or 0) - first}.{weight.suffix}')}$",
                gpu=None if device == layout.host else device,
            )
            for weight, device in next_weights(shape, moves, layout)
            if device != homes[weight.block or 0]
        )
    )
