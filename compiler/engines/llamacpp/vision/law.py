"""What a projector (mmproj) takes, for the largest picture that it looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from compiler.engines.llamacpp.flags import builds
from compiler.engines.llamacpp.flags.builds import Build
from compiler.engines.llamacpp.ggml.scheduler import Devices, reserve
from compiler.engines.llamacpp.graphs.builder import GraphError
from compiler.engines.llamacpp.launch.options import ProjectorOptions
from compiler.engines.llamacpp.launch.projector import SOUND, pictures
from compiler.engines.llamacpp.model.projector import Picture, Projector, Tower
from compiler.engines.llamacpp.placed.weights import padded_bytes
from compiler.engines.llamacpp.vision.towers import sight_graph

_MATRIX = 2
# A tower whose graph is not known: its activations by formula took up to twice as much in the
# towers that are.
UNKNOWN_PERCENT = 100
# Without flash attention one small picture of one tower took an activation more.
_UNFUSED_PERCENT = 10
# From b9842 to b10808 the graphs differ by a node here and there (models/*.cpp, clip.cpp).
OLDER_PERCENT = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectorBytes:
    """What a projector takes: one device has all of it but the pictures themselves."""

    weights: int
    compute: tuple[int, int]
    """Compute buffers for the largest picture, on its device and on the host beside it."""
    warm: tuple[int, int]
    """The same as reserved at start."""
    percent: int
    """Band of the compute buffers."""
    pictures: int
    """Pixels and embeddings of the largest picture, in RAM."""
    tokens: int
    """Of the largest picture, or of the most pictures at once."""
    scratch: int
    """Elements on both sides of the largest product."""


@lru_cache(maxsize=1024)
def projector_bytes(
    projector: Projector,
    options: ProjectorOptions,
    flash_attention: bool,  # noqa: FBT001
    build: Build,
) -> ProjectorBytes:
    """What a projector takes, for the largest picture that its flags allow."""
    on_gpu = options.gpu is not None
    first = projector.towers[0]
    warm, most = pictures(projector, options)
    computed = compute_bytes(first, most, on_gpu=on_gpu, flash_attention=flash_attention)
    warmed = compute_bytes(first, warm, on_gpu=on_gpu, flash_attention=flash_attention)
    percent = 0 if projector.exact else UNKNOWN_PERCENT
    percent += 0 if flash_attention else _UNFUSED_PERCENT
    if build.number < builds.PROJECTOR_STUDIED or build.newer:
        percent += OLDER_PERCENT
    compute = computed or (_by_formula(first, most), 0)
    sound = 0
    for tower in projector.towers[1:]:
        # Each tower has buffers of its own.
        sound += _by_formula(tower, SOUND)
    tokens = most.patches * most.count // first.merge**2
    text = projector.text_width or _MAX_TEXT_WIDTH
    return ProjectorBytes(
        weights=sum(padded_bytes(weight, on_gpu=on_gpu) for weight in projector.weights),
        compute=(compute[0] + sound, compute[1]),
        warm=warmed or (0, 0),
        percent=percent,
        pictures=4 * (most.patches * most.count * first.patch**2 * 3 + tokens * text),
        tokens=tokens,
        scratch=max(
            (tokens if name.startswith("mm.") else most.patches * most.count) * sum(ne)
            for name, ne in [("", (0,)), *_matrices(projector)]
        ),
    )


def _matrices(projector: Projector) -> Iterator[tuple[str, tuple[int, ...]]]:
    for weight in projector.weights:
        if len(weight.ne) == _MATRIX:
            yield weight.name, weight.ne


_MAX_TEXT_WIDTH = 8192


def compute_bytes(
    tower: Tower, picture: Picture, *, on_gpu: bool, flash_attention: bool
) -> tuple[int, int] | None:
    """Compute buffer on the projector's device and on the host; None for an unknown graph."""
    if not picture.patches:
        return None
    try:
        graph = sight_graph(tower, picture, flash_attention=flash_attention)
    except (GraphError, IndexError):
        return None
    sizes = reserve(graph, Devices(gpus=1 if on_gpu else 0))
    return (sizes[0], sizes[1]) if on_gpu else (sizes[0], 0)


def _by_formula(tower: Tower, picture: Picture) -> int:
    """Activations of a transformer layer: its inputs, the widest product, and a mask."""
    widths = [weight.ne[1] for weight in tower.weights.values() if len(weight.ne) > 1]
    widest = max(widths, default=tower.width)
    positions = picture.patches * picture.count
    return 4 * positions * (4 * tower.width + 2 * min(widest, 8 * tower.width))
