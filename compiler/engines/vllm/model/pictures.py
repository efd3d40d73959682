"""What config.json says of pictures, and the towers that several families share.

vLLM's model_executor/models/, 0.32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from compiler.engines.vllm.model.sections import Header, first_whole, number, whole
from compiler.engines.vllm.model.shape import Part, Vision
from compiler.engines.vllm.model.towers import (
    Tower,
    grid_parts,
    tower_parts,
)

COLOURS = 3
# Families that rotate by the place of a patch on the grid, from a cache.
_ON_A_GRID = frozenset({"qwen", "glm"})
# The vision profile of the Qwen family runs on as many tokens as the largest picture has.
LARGEST_PICTURE = 16384
_LAST_BUT_ONE = -2


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What config.json says of pictures."""

    header: Header
    section: Header
    """The tower's own section."""
    model_type: str
    hidden: int
    """Width of the language model."""

    @property
    def patch(self) -> int:
        """Pixels on a side of a patch."""
        return side(self.section, "patch_size") or 14

    @property
    def grid(self) -> int:
        """Patches of a picture of the tower's own size."""
        return ((side(self.section, "image_size") or 336) // self.patch) ** 2


def side(found: Header, key: str) -> int:
    """A size in pixels: one number, or the first of two."""
    value = found.get(key)
    if isinstance(value, list) and value and isinstance(value[0], int):
        return value[0]
    return whole(found, key)


def tower_of(picture: Picture, *, frames: int = 1) -> Tower:
    """The sizes that all sections have, under one name or another."""
    found = picture.section
    width = first_whole(found, ("hidden_size", "embed_dim")) or 1024
    return Tower(
        width=width,
        layers=first_whole(found, ("num_hidden_layers", "depth")) or 24,
        inner=whole(found, "intermediate_size") or int(width * number(found, "mlp_ratio", 4)),
        heads=first_whole(found, ("num_attention_heads", "num_heads")) or 16,
        patch_numbers=COLOURS * frames * picture.patch**2,
    )


def vision_with(
    picture: Picture,
    tower: Tower,
    projector: Iterable[Part],
    *,
    family: Literal["qwen", "glm", "mistral", "other", "unknown"] = "other",
    merge: int = 1,
    tokens: int = 0,
) -> Vision:
    """A tower and what stands behind it."""
    return Vision(
        family=family,
        heads=tower.heads,
        width=tower.width,
        layers=tower.layers,
        inner=tower.inner,
        patch=picture.patch,
        merge=merge,
        tokens=tokens,
        patches_a_token=merge**2,
        cuts_heads=tower.cuts_attention and not tower.may_stay_whole,
        parts=(*tower_parts(tower), *projector),
        grid=tuple(grid_parts(tower)) if family in _ON_A_GRID else (),
    )


def merge_of(picture: Picture) -> int:
    """Patches on a side that become one token."""
    return whole(picture.section, "spatial_merge_size") or 2


def frames_of(picture: Picture) -> int:
    """Frames of a video that share a patch."""
    return whole(picture.section, "temporal_patch_size") or 2


def clip_tower(picture: Picture, layers: int) -> Tower:
    """models/clip.py: a class token, a norm before the blocks, and one behind them if all run."""
    tower = tower_of(picture)
    kept = min(layers, tower.layers)
    return replace(
        tower,
        layers=kept,
        patch_bias=False,
        positions=picture.grid + 1,
        numbered=True,
        outer_vectors=3 + (2 if layers > tower.layers else 0),
    )


def siglip_tower(picture: Picture) -> Tower:
    """models/siglip.py, with the norm behind the blocks."""
    return replace(tower_of(picture), positions=picture.grid, numbered=True, outer_vectors=2)


def pixtral_tower(picture: Picture) -> Tower:
    """models/pixtral.py: gated blocks without biases, positions by rotation."""
    return replace(
        tower_of(picture),
        gated=True,
        vectors_a_norm=1,
        qkv_bias=False,
        bias=False,
        patch_bias=False,
        outer_vectors=1,
    )


def layers_read(picture: Picture) -> int:
    """Layers up to the last that a feature comes from: the last but one for most LLaVA models."""
    layers = tower_of(picture).layers
    chosen = picture.header.get("vision_feature_layer", _LAST_BUT_ONE)
    listed = chosen if isinstance(chosen, list) else [chosen]
    named = [index for index in listed if isinstance(index, int)]
    read = [index + 1 if index >= 0 else layers + index + 1 for index in named]
    return max(read, default=layers)
