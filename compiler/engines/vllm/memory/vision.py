"""Vision and audio towers, weighed on one GPU."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from compiler.engines.vllm.launch.options import Options, vision_ranks
from compiler.engines.vllm.model.shape import Part, Shape

# vLLM keeps the rotary positions of the grid in a cache from here on (models/qwen2_vl.py); before,
# they were computed as pictures came.
_CACHED_GRID = (0, 12, 0)


def vision_sizes(shape: Shape, options: Options) -> Iterator[int]:
    """Bytes of each parameter of the towers and projectors; nothing with --language-model-only."""
    if options.language_model_only:
        return
    vision = shape.vision
    parts: Iterator[Part] = iter(shape.audio)
    if vision is not None:
        grid = vision.grid if options.version >= _CACHED_GRID else ()
        parts = chain(vision.parts, grid, shape.audio)
    ranks = vision_ranks(shape, options)
    for part in parts:
        cut = part.cut and not (part.heads and part.heads % ranks)
        numbers = part.numbers // ranks if cut else part.numbers
        for _ in range(part.copies):
            yield numbers * part.number_bytes


def whole_numbers(shape: Shape) -> int:
    """Numbers of the towers and projectors before they are cut."""
    parts = (*(shape.vision.parts if shape.vision else ()), *shape.audio)
    return sum(part.numbers * part.copies for part in parts)
