"""Vision towers: read from config.json, weighed on one GPU."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.engines.vllm.options import Options
from compiler.engines.vllm.sections import Header, first_whole, number, whole
from compiler.engines.vllm.shape import Shape, Vision

_NUMBER_BYTES = 2
_COLOURS = 3
_PIXTRAL = frozenset({"mistral3", "pixtral"})
_LAST_BUT_ONE = -2


def vision_of(header: Header, hidden: int) -> Vision | None:
    """The vision tower that a config.json describes; None without one."""
    section = header.get("vision_config")
    if not isinstance(section, dict):
        return None
    model_type = str(header.get("model_type") or "")
    if model_type.startswith("qwen"):
        return _qwen_tower(section, model_type, hidden)
    return _clip_tower(section, header, model_type, hidden)


def _qwen_tower(section: Header, model_type: str, hidden: int) -> Vision:
    width = first_whole(section, ("hidden_size", "embed_dim")) or 1024
    inner = whole(section, "intermediate_size")
    if model_type == "qwen2_vl":
        # Qwen2-VL calls the tower's width embed_dim and the output's hidden_size.
        width, inner = whole(section, "embed_dim") or 1280, 0
    mergers = section.get("deepstack_visual_indexes")
    return Vision(
        family="qwen",
        gated=model_type == "qwen2_5_vl",
        width=width,
        layers=first_whole(section, ("depth", "num_hidden_layers")) or 24,
        inner=inner or int(width * number(section, "mlp_ratio", 4)),
        patch=whole(section, "patch_size") or 14,
        temporal_patch=whole(section, "temporal_patch_size") or 2,
        merge=whole(section, "spatial_merge_size") or 2,
        out=whole(section, "out_hidden_size") or hidden,
        mergers=1 + (len(mergers) if isinstance(mergers, list) else 0),
        positions=whole(section, "num_position_embeddings"),
    )


def _clip_tower(section: Header, header: Header, model_type: str, hidden: int) -> Vision:
    width = first_whole(section, ("hidden_size", "embed_dim")) or 1024
    layers = first_whole(section, ("num_hidden_layers", "depth")) or 24
    patch = whole(section, "patch_size") or 14
    pixtral, llava = model_type in _PIXTRAL, model_type.startswith("llava")
    if llava and header.get("vision_feature_layer", _LAST_BUT_ONE) == _LAST_BUT_ONE:
        # The feature comes from the last layer but one, so vLLM does not load the last.
        layers -= 1
    return Vision(
        family="pixtral" if pixtral else "clip",
        gated=pixtral,
        width=width,
        layers=layers,
        inner=whole(section, "intermediate_size") or int(width * number(section, "mlp_ratio", 4)),
        patch=patch,
        merge=(whole(header, "spatial_merge_size") or 1) if pixtral else 1,
        out=hidden,
        positions=((whole(section, "image_size") or 336) // patch) ** 2 + 1,
        projector_hidden=llava or pixtral,
    )


def vision_sizes(shape: Shape, options: Options) -> Iterator[int]:
    """Bytes of each parameter of the tower and projector; nothing with --language-model-only."""
    vision = shape.vision
    if vision is None or options.language_model_only:
        return
    ranks = 1 if options.replicate_vision or vision.family == "pixtral" else options.tensor_parallel
    if vision.family == "qwen":
        yield from _qwen_sizes(vision, ranks)
    else:
        yield from _clip_sizes(vision, ranks)


def _qwen_sizes(vision: Vision, ranks: int) -> Iterator[int]:
    """Qwen2-VL to Qwen3.5 (models/qwen2_5_vl.py, qwen3_vl.py): heads and MLP sharded."""
    width, inner, number = vision.width, vision.inner, _NUMBER_BYTES
    yield _COLOURS * vision.temporal_patch * vision.patch**2 * width * number
    for _ in range(vision.layers):
        yield from (3 * width * width // ranks * number, 3 * width // ranks * number)
        yield width * width // ranks * number + width * number
        yield (2 if vision.gated else 1) * width * inner // ranks * number
        yield width * inner // ranks * number
        yield 4 * width * number
    merged = width * vision.merge**2
    for _ in range(vision.mergers):
        yield merged * merged // ranks * number
        yield merged * vision.out // ranks * number
    if vision.positions:
        yield vision.positions * width * number


def _clip_sizes(vision: Vision, ranks: int) -> Iterator[int]:
    """CLIP, SigLIP and Pixtral towers (models/clip.py, siglip.py, pixtral.py)."""
    width, inner, number = vision.width, vision.inner, _NUMBER_BYTES
    yield _COLOURS * vision.patch**2 * width * number
    yield vision.positions * width * number
    biases = 0 if vision.gated else inner + 9 * width
    for _ in range(vision.layers):
        yield 4 * width * width // ranks * number
        yield (3 if vision.gated else 2) * width * inner // ranks * number
        yield biases * number
    yield width * vision.out * number
    if vision.projector_hidden:
        yield vision.out * vision.out * number
    if vision.gated:
        # Pixtral's patch merger of Mistral Small 3.x.
        yield 4 * width * width * number
