"""Families that cut a picture into squares of one size.

Every function reads one config.json as its class does (vLLM's model_executor/models/, 0.32).
"""

from __future__ import annotations

from dataclasses import replace

from compiler.engines.vllm.model.pictures import (
    COLOURS,
    Picture,
    clip_tower,
    layers_read,
    pixtral_tower,
    siglip_tower,
    tower_of,
    vision_with,
)
from compiler.engines.vllm.model.sections import Header, number, section, whole
from compiler.engines.vllm.model.shape import Part, Vision
from compiler.engines.vllm.model.towers import (
    Tower,
    linear,
    pooled_attention,
    tower_parts,
    two_layers,
)

# Squares of the largest picture with the smaller one of the whole (LLaVA-NeXT, 672 by 672).
_TILES = 5
# Rows and columns of the grid that the position tables of a resampler begin with.
_RESAMPLER_SIDE = 70
_CLIP_LARGE: Header = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "patch_size": 14,
    "image_size": 336,
}


def llava_vision(picture: Picture) -> Vision:
    """models/llava.py, llava_next.py: layers behind the feature's are not loaded."""
    match picture.section.get("model_type"):
        case "pixtral":
            tower = pixtral_tower(picture)
        case "siglip_vision_model":
            read = min(layers_read(picture), tower_of(picture).layers)
            tower = replace(siglip_tower(picture), layers=read, outer_vectors=0)
        case _:
            tower = clip_tower(picture, layers_read(picture))
    biased = picture.header.get("multimodal_projector_bias", True) is not False
    cut = picture.model_type != "llava_onevision"
    newline = picture.model_type != "llava"
    # Features of several layers stand side by side, but not in models/llava.py.
    listed = picture.header.get("vision_feature_layer")
    features = len(listed) if isinstance(listed, list) and newline else 1
    projector = (
        *two_layers(tower.width * features, picture.hidden, picture.hidden, cut=cut, bias=biased),
        Part(picture.hidden, copies=int(newline)),
    )
    tokens = picture.grid * (_TILES if picture.model_type == "llava_next" else 1)
    return vision_with(picture, tower, projector, tokens=tokens)


def gemma3_vision(picture: Picture) -> Vision:
    """models/gemma3_mm.py: a norm and one matrix behind SigLIP."""
    tower = siglip_tower(picture)
    projector = (Part(tower.width * picture.hidden), Part(tower.width))
    tokens = whole(picture.header, "mm_tokens_per_image") or 256
    vision = vision_with(picture, tower, projector, tokens=tokens)
    # What comes out of the tower is averaged over squares.
    return replace(vision, patches_a_token=-(-picture.grid // tokens))


def paligemma_vision(picture: Picture) -> Vision:
    """models/paligemma.py: one matrix behind SigLIP."""
    tower = siglip_tower(picture)
    out = whole(picture.section, "projection_dim") or whole(picture.header, "projection_dim")
    projector = linear(out or picture.hidden, tower.width)
    return vision_with(picture, tower, projector, tokens=picture.grid)


def idefics3_vision(picture: Picture) -> Vision:
    """models/idefics3.py: squares of patches go through one matrix."""
    tower = replace(siglip_tower(picture), numbered=False)
    scale = whole(picture.header, "scale_factor") or 2
    projector = linear(picture.hidden, tower.width * scale**2, bias=False)
    return vision_with(picture, tower, projector)


def aria_vision(picture: Picture) -> Vision:
    """models/aria.py: queries read the tower's patches by cross attention."""
    tower = replace(siglip_tower(picture), numbered=False, outer_vectors=0)
    width = tower.width
    queries = section(picture.header, "projector_patch_to_query_dict").values()
    rows = max((value for value in queries if isinstance(value, int)), default=0)
    projector = (
        Part(rows * width),
        Part(width * width, copies=3),
        *pooled_attention(width),
        *linear(width, width),
        Part(width, copies=6),
        *two_layers(width, picture.hidden, picture.hidden, cut=True, bias=False),
    )
    return vision_with(picture, tower, projector)


def llama4_vision(picture: Picture) -> Vision:
    """models/mllama4.py: patches are embedded by a matrix that is cut."""
    found = picture.section
    tower = replace(
        tower_of(picture), patch_bias=False, patch_cut=True, positions=picture.grid + 1,
        outer_vectors=5,
    )  # fmt: skip
    into = whole(found, "projector_input_dim") or 4096
    out = whole(found, "projector_output_dim") or 4096
    # One cosine and one sine in 32 bits for each pair of numbers of a head, half for each axis.
    pairs = tower.width // max(1, tower.heads) // 2
    projector = (
        *two_layers(tower.inner, into, out, cut=True, bias=False),
        *linear(picture.hidden, whole(found, "vision_output_dim") or out, cut="rows", bias=False),
        Part((picture.grid + 1) * pairs, number_bytes=8),
    )
    return vision_with(picture, tower, projector)


def intern_vision(picture: Picture) -> Vision:
    """InternVL: models/intern_vit.py, or interns1_vit.py in the format of transformers."""
    found = picture.section
    native = picture.model_type == "internvl_chat"
    normed = found.get("qk_normalization" if native else "use_qk_norm") is True
    tower = replace(
        tower_of(picture),
        positions=picture.grid + 1,
        outer_vectors=1,
        vectors_a_norm=1 if found.get("norm_type") == "rms_norm" else 2,
        qkv_bias=found.get("qkv_bias" if native else "attention_bias", native) is True,
        vectors=4 if normed else 2,
        cuts_attention=native,
        may_stay_whole=True,
    )
    ratio = number(picture.header, "downsample_ratio", 0.5) or 0.5
    merge = max(1, int(1 / ratio))
    merged = tower.width * merge**2
    projector = (
        Part(merged, copies=2),
        *two_layers(merged, picture.hidden, picture.hidden, cut=False),
    )
    tiles = (whole(picture.header, "max_dynamic_patch") or 12) + 1
    tokens = tiles * picture.grid // merge**2
    return vision_with(picture, tower, projector, merge=merge, tokens=tokens)


def phi3_vision(picture: Picture) -> Vision:
    """Phi-3.5-vision: CLIP large of 336 pixels, whatever its section says (models/phi3v.py)."""
    picture = replace(picture, section=_CLIP_LARGE)
    tower = clip_tower(picture, 23)
    merged = 4 * tower.width
    projector = (
        Part(merged, copies=2),
        *two_layers(merged, picture.hidden, picture.hidden, cut=False),
    )
    return vision_with(picture, tower, projector)


def lfm2_vision(picture: Picture) -> Vision:
    """models/lfm2_vl.py: SigLIP 2 has a table of so many positions."""
    tower = replace(tower_of(picture), positions=whole(picture.section, "num_patches"))
    tower = replace(tower, outer_vectors=2)
    merged = tower.width * (whole(picture.header, "downsample_factor") or 2) ** 2
    inner = whole(picture.header, "projector_hidden_size") or 2560
    biased = picture.header.get("projector_bias", True) is not False
    normed = picture.header.get("projector_use_layernorm", True) is not False
    projector = (
        Part(merged, copies=2 * int(normed)),
        *two_layers(merged, inner, picture.hidden, cut=False, bias=biased),
    )
    return vision_with(picture, tower, projector)


def cohere_vision(picture: Picture) -> Vision:
    """models/cohere2_vision.py: SwiGLU halves the width between the two matrices."""
    tower = siglip_tower(picture)
    merged = tower.width * (whole(picture.header, "downsample_factor") or 2) ** 2
    inner = whole(picture.header, "alignment_intermediate_size") or 36864
    projector = (
        *linear(inner, merged, cut="rows"),
        *linear(picture.hidden, inner // 2, cut="columns"),
    )
    return vision_with(picture, tower, projector)


def minicpm_vision(picture: Picture) -> Vision:
    """MiniCPM-V 2.5 and newer: queries read the patches by cross attention (models/minicpmv.py)."""
    header, hidden = picture.header, picture.hidden
    tower = replace(siglip_tower(picture), numbered=False)
    if header.get("drop_vision_last_layer", False) is True:
        tower = replace(tower, layers=tower.layers - 1)
    projector = (
        Part((whole(header, "query_num") or 64) * hidden),
        *(Part(hidden * hidden), Part(hidden * tower.width)),
        *pooled_attention(hidden),
        Part(hidden, copies=6),
        Part(_RESAMPLER_SIDE**2 * hidden),
    )
    return vision_with(picture, tower, projector)


def deepseek_vision(picture: Picture) -> Vision:
    """DeepSeek-OCR: SAM's tower before CLIP's, of fixed sizes (models/deepencoder.py)."""
    names = picture.header.get("architectures")
    if not isinstance(names, list) or "DeepseekOCRForCausalLM" not in names:
        return unknown_vision(picture)
    clip = replace(picture, section={**_CLIP_LARGE, "image_size": 224})
    tower = replace(clip_tower(clip, 24), outer_vectors=3)
    width, grid, neck = 768, 64, 256
    sam = Tower(
        width=width, layers=12, inner=4 * width, heads=12, patch_numbers=COLOURS * 16**2,
        positions=grid**2,
    )  # fmt: skip
    head_dim, windowed, whole_ = 64, 8, 4
    before = (
        *(replace(part, cut=False) for part in tower_parts(sam)),
        # Relative positions of windows of 14 patches and of the whole grid, for both axes.
        Part((2 * 14 - 1) * head_dim, copies=2 * windowed),
        Part((2 * grid - 1) * head_dim, copies=2 * whole_),
        *linear(neck, width, bias=False),
        *linear(neck, neck * 3**2, bias=False),
        Part(neck, copies=4),
        *linear(2 * neck, neck * 3**2, bias=False),
        *linear(4 * neck, 2 * neck * 3**2, bias=False),
    )
    projector = (*linear(picture.hidden, 2 * tower.width), Part(picture.hidden, copies=2))
    return vision_with(clip, tower, (*before, *projector))


def step3_vision(picture: Picture) -> Vision:
    """models/step3_vl.py: two convolutions and a matrix behind the tower."""
    tower = replace(tower_of(picture), positions=picture.grid + 1, numbered=True, outer_vectors=1)
    out = whole(picture.section, "output_hidden_size") or 4096
    biased = picture.header.get("projector_bias") is True
    projector = (
        *linear(out, tower.width * 2**2),
        *linear(2 * out, out * 3**2),
        *linear(picture.hidden, 2 * out, bias=biased),
    )
    return vision_with(picture, tower, projector)


def unknown_vision(picture: Picture) -> Vision:
    """A class that was not read: as CLIP and one matrix."""
    tower = clip_tower(picture, tower_of(picture).layers)
    return vision_with(picture, tower, linear(picture.hidden, tower.width), family="unknown")
