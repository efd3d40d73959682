"""Families that read pictures of any size: each patch has a place on a grid.

Every function reads one config.json as its class does (vLLM's model_executor/models/, 0.32).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from compiler.engines.vllm.model.pictures import (
    COLOURS,
    LARGEST_PICTURE,
    Picture,
    frames_of,
    merge_of,
    pixtral_tower,
    side,
    siglip_tower,
    tower_of,
    vision_with,
)
from compiler.engines.vllm.model.sections import first_whole, number, whole
from compiler.engines.vllm.model.shape import Part, Vision
from compiler.engines.vllm.model.towers import Tower, linear, tower_parts, two_layers


def qwen2_vision(picture: Picture) -> Vision:
    """Qwen2-VL calls the tower's width embed_dim and the output's hidden_size."""
    found = picture.section
    width = whole(found, "embed_dim") or 1280
    tower = replace(
        tower_of(picture, frames=frames_of(picture)),
        width=width,
        inner=int(width * number(found, "mlp_ratio", 4)),
        patch_bias=False,
    )
    merged = width * merge_of(picture) ** 2
    projector = (Part(width, copies=2), *two_layers(merged, merged, picture.hidden, cut=True))
    return _qwen(picture, tower, projector)


def qwen2_5_vision(picture: Picture) -> Vision:
    """models/qwen2_5_vl.py: gated blocks."""
    width = first_whole(picture.section, ("hidden_size", "embed_dim")) or 1280
    out = whole(picture.section, "out_hidden_size") or picture.hidden
    tower = replace(
        tower_of(picture, frames=frames_of(picture)), gated=True, vectors_a_norm=1, patch_bias=False
    )
    merged = width * merge_of(picture) ** 2
    projector = (Part(width), *two_layers(merged, merged, out, cut=True))
    return _qwen(picture, tower, projector)


def qwen3_vision(picture: Picture) -> Vision:
    """A merger behind the tower, and one more for each layer that is read on the way."""
    found = picture.section
    tower = replace(
        tower_of(picture, frames=frames_of(picture)),
        positions=whole(found, "num_position_embeddings"),
    )
    merged = tower.width * merge_of(picture) ** 2
    out = whole(found, "out_hidden_size") or picture.hidden
    listed = found.get("deepstack_visual_indexes")
    layers = len(listed) if isinstance(listed, list) else 0
    merger = tuple(two_layers(merged, merged, out, cut=True))
    projector = (
        *(Part(tower.width, copies=2), Part(merged, copies=2 * layers)),
        *(replace(part, copies=1 + layers) for part in merger),
    )
    return replace(_qwen(picture, tower, projector), deep_levels=layers)


def _qwen(picture: Picture, tower: Tower, projector: Iterable[Part]) -> Vision:
    vision = vision_with(
        picture, tower, projector, family="qwen", merge=merge_of(picture), tokens=LARGEST_PICTURE
    )
    return replace(vision, frames=frames_of(picture))


def glm_vision(picture: Picture) -> Vision:
    """GLM-4.1V: the width behind the tower is that of its blocks' MLP."""
    own = tower_of(picture, frames=frames_of(picture))
    biased = picture.section.get("attention_bias") is True
    tower = replace(
        own,
        inner=whole(picture.section, "out_hidden_size") or picture.hidden,
        gated=True,
        vectors_a_norm=1,
        bias=biased,
        qkv_bias=biased,
        outer_vectors=2,
        positions=picture.grid,
        numbered=True,
    )
    projector = _glm_merger(picture, own)
    return vision_with(picture, tower, projector, family="glm", merge=merge_of(picture))


def glm_ocr_vision(picture: Picture) -> Vision:
    """models/glm_ocr.py: no table of positions, and norms of queries and keys."""
    own = tower_of(picture, frames=frames_of(picture))
    tower = replace(own, gated=True, vectors_a_norm=1, outer_vectors=1)
    head_norms = Part(own.width // max(1, own.heads), copies=2 * own.layers)
    out = whole(picture.section, "out_hidden_size") or picture.hidden
    projector = (head_norms, *_glm_merger(picture, replace(own, inner=COLOURS * out)))
    return vision_with(picture, tower, projector, family="glm", merge=merge_of(picture))


def _glm_merger(picture: Picture, tower: Tower) -> Iterator[Part]:
    out = whole(picture.section, "out_hidden_size") or picture.hidden
    yield from linear(out, tower.width * merge_of(picture) ** 2)
    yield from linear(out, out, cut="rows", bias=False)
    yield Part(out, copies=2)
    yield from linear(2 * tower.inner, out, cut="rows", bias=False)
    yield from linear(out, tower.inner, cut="columns", bias=False)


def kimi_vision(picture: Picture) -> Vision:
    """models/moonvit.py, and kimi_k25_vit.py with names of its own and four frames."""
    found = {key.removeprefix("vt_"): value for key, value in picture.section.items()}
    picture = replace(picture, section=found)
    rows = whole(found, "init_pos_emb_height") * whole(found, "init_pos_emb_width")
    tower = replace(tower_of(picture), positions=rows or 64 * 64, outer_vectors=2)
    merge = side(found, "merge_kernel_size") or 2
    merged = tower.width * merge**2
    projector = (
        Part(whole(found, "init_pos_emb_time") * tower.width),
        Part(tower.width, copies=2),
        *two_layers(merged, merged, picture.hidden, cut=False),
    )
    return vision_with(picture, tower, projector, merge=merge)


def kimi_k3_vision(picture: Picture) -> Vision:
    """models/kimi_k3/nvidia/model.py: attention of its own width, and no biases anywhere."""
    found = {key.removeprefix("vt_"): value for key, value in picture.section.items()}
    picture = replace(picture, section=found)
    rows = whole(found, "init_pos_emb_height") * whole(found, "init_pos_emb_width")
    plain = tower_of(picture)
    heads = whole(found, "num_attention_heads") or 12
    tower = replace(
        plain,
        heads=heads,
        positions=rows or 64 * 64,
        head_dim=(whole(found, "qkv_hidden_size") or plain.width) // heads,
        patch_bias=False,
        qkv_bias=False,
        bias=False,
        vectors_a_norm=1,
        outer_vectors=1,
    )
    merge = side(found, "merge_kernel_size") or 2
    merged = tower.width * merge**2
    projector = (
        Part((whole(found, "init_pos_emb_time") or 4) * tower.width, number_bytes=4),
        *two_layers(merged, merged, picture.hidden, cut=False, bias=False),
        Part(picture.hidden),
    )
    return vision_with(picture, tower, projector, merge=merge)


def dots_vision(picture: Picture) -> Vision:
    """models/dots_ocr.py: the width is embed_dim, and hidden_size what comes out."""
    found = picture.section
    biased = found.get("use_bias") is True
    tower = replace(
        tower_of(picture),
        width=whole(found, "embed_dim") or 1536,
        gated=True,
        vectors_a_norm=1,
        qkv_bias=biased,
        bias=biased,
        outer_vectors=2 if found.get("post_norm", True) is not False else 1,
    )
    merged = tower.width * merge_of(picture) ** 2
    projector = (
        Part(tower.width, copies=2),
        *two_layers(merged, merged, whole(found, "hidden_size") or picture.hidden, cut=True),
    )
    return vision_with(picture, tower, projector, merge=merge_of(picture))


def ernie_vision(picture: Picture) -> Vision:
    """models/ernie45_vl.py: every layer of its resampler is cut by its outputs."""
    width = whole(picture.section, "embed_dim") or 1280
    tower = replace(tower_of(picture), width=width, patch_bias=False, outer_vectors=2)
    merged = width * (whole(picture.header, "spatial_conv_size") or 2) ** 2
    frames = whole(picture.header, "temporal_conv_size") or 2
    projector = (
        *linear(merged, merged, cut="rows", copies=3),
        *linear(merged, merged * frames, cut="rows"),
        Part(merged, copies=4),
        *linear(picture.hidden, merged, cut="rows"),
        Part(picture.hidden),
    )
    return vision_with(picture, tower, projector, merge=merge_of(picture))


def mistral3_vision(picture: Picture) -> Vision:
    """Mistral Small 3.x: in the format of transformers, or in Mistral's own."""
    names = picture.header.get("architectures")
    native = isinstance(names, list) and "PixtralForConditionalGeneration" in names
    own = picture.section if native else picture.header
    merge = whole(own, "spatial_merge_size") or (1 if native else 2)
    tower = pixtral_tower(picture)
    merges = not native or "mm_projector_id" in own or merge > 1
    key = "adapter_bias" if native else "multimodal_projector_bias"
    biased = own.get(key, native) is True
    normed = not native or own.get("add_pre_mm_projector_layer_norm") is True
    projector = (
        Part(tower.width, copies=int(normed)),
        Part(tower.width * tower.width * merge**2, copies=int(merges)),
        *two_layers(tower.width, picture.hidden, picture.hidden, cut=not native, bias=biased),
    )
    # models/pixtral.py and mistral3.py `get_num_image_tokens` of a square of the tower's size.
    tokens = picture.grid // merge**2
    family: Literal["mistral", "other"] = "mistral" if native else "other"
    return vision_with(picture, tower, projector, family=family, merge=merge, tokens=tokens)


def gemma4_vision(picture: Picture) -> Vision:
    """Transformers' own tower: nothing is cut, and positions are two tables."""
    found = picture.section
    own = tower_of(picture)
    head_dim = whole(found, "head_dim") or own.width // max(1, own.heads)
    rows = whole(found, "position_embedding_size") or 10240
    tower = replace(
        own, gated=True, vectors_a_norm=1, qkv_bias=False, bias=False, patch_bias=False,
        vectors=2, positions=2 * rows, head_dim=head_dim, cuts_attention=False,
    )  # fmt: skip
    parts = (*tower_parts(tower), Part(head_dim, copies=2 * own.layers))
    projector = Part(tower.width * picture.hidden)
    vision = vision_with(picture, tower, ())
    return replace(vision, parts=tuple(replace(part, cut=False) for part in (*parts, projector)))


def paddle_vision(picture: Picture) -> Vision:
    """models/paddleocr_vl.py: SigLIP and a projector that no rank shares."""
    tower = siglip_tower(picture)
    merged = tower.width * merge_of(picture) ** 2
    projector = (
        Part(tower.width, copies=2),
        *two_layers(merged, merged, picture.hidden, cut=False),
    )
    return vision_with(picture, tower, projector, merge=merge_of(picture))
