"""A projector (mmproj): its towers and how large the pictures are that they look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from compiler.engines.llamacpp.model.header import FactsError, Header, Weight, read_weights
from compiler.ir.facts import ModelFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """Hyper-parameters of a tower that sees, and its weights by name."""

    kind: str
    """`clip.projector_type`."""
    width: int
    heads: int
    heads_kv: int
    head: int
    layers: int
    patch: int
    merge: int
    window_pattern: int
    """One full layer in every so many, the others with a window; 0: all full."""
    weights: Mapping[str, Weight]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is looked at in one run: patches across and down, and how many pictures."""

    across: int
    down: int
    count: int = 1

    @property
    def patches(self) -> int:
        """Patches of one picture."""
        return self.across * self.down


_MAX_SIDE = 8192  # clip.cpp, "image_size is too large"


_MAX_LAYERS = 512


_MAX_WIDTH = 1 << 20


Sizing = Literal["fixed", "tokens", "pixels", "edge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How clip.cpp `load_hparams` sizes the pictures of one kind of projector."""

    merge: int = 1
    """Patches a side that become one token, where the file does not say."""
    merge_key: str = ""
    sizing: Sizing = "fixed"
    """fixed: always the file's image size. tokens: at most so many tokens. pixels: as many as
    the file says. edge: the longest side is given."""
    most: int = 0
    """Tokens of the largest picture."""
    warm: int = 0
    """Tokens of the picture for which the buffer is reserved at start; 0: the image size."""


_SCALE, _SPATIAL = "vision.projector.scale_factor", "vision.spatial_merge_size"


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "gemma3": Kind(merge=4, merge_key=_SCALE),
        "idefics3": Kind(merge_key=_SCALE),
        "janus_pro": Kind(),
        "lfm2": Kind(merge_key=_SCALE, sizing="tokens", most=256),
        "phi4": Kind(sizing="pixels", warm=256),
        "pixtral": Kind(merge_key=_SPATIAL, sizing="tokens", most=1024, warm=256),
        "lightonocr": Kind(merge_key=_SPATIAL, sizing="edge", warm=256),
        **dict.fromkeys(
            ("qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger"),
            Kind(merge=2, merge_key=_SPATIAL, sizing="tokens", most=4096, warm=46 * 46),
        ),
        "internvl": Kind(merge_key=_SCALE),
        "mlp": Kind(),
        "gemma4v": Kind(merge=3, merge_key=_SCALE, sizing="tokens", most=1120, warm=256),
    }
)


# For kinds that are not known: pictures as large as those that take the most.
UNKNOWN_KIND = Kind(merge=2, merge_key=_SPATIAL, sizing="tokens", most=4096, warm=256)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projector:
    """The towers of one file. Compared by identity, so that results can be cached by it."""

    towers: tuple[Tower, ...]
    weights: tuple[Weight, ...]
    image_size: int
    """Pixels a side."""
    image_pixels: int
    """Of the largest picture, where the file says so; else 0."""
    longest_edge: int
    sees: bool
    hears: bool
    text_width: int
    """Elements of one token for the text model; 0 where the file does not tell."""

    @property
    def kind(self) -> str:
        """`clip.projector_type` of the first tower."""
        return self.towers[0].kind

    @property
    def exact(self) -> bool:
        """The law rebuilds its graph node by node."""
        return self.kind in KINDS and len(self.towers) == 1


def read_projector(facts: ModelFacts) -> Projector:
    """The projector of a GGUF file. Raises FactsError when the facts do not describe one."""
    header = Header(facts)
    weights = read_weights(facts)
    loaded = tuple(weight for weight in weights if not weight.name.endswith(_LIMITS))
    by_name = MappingProxyType({weight.name: weight for weight in weights})
    towers = []
    if header.has("has_vision_encoder"):
        towers.append(_tower(header, "vision", by_name))
    hears = header.has("has_audio_encoder")
    if hears:
        towers.append(_tower(header, "audio", by_name))
    if not towers:
        raise FactsError("the projector neither sees nor hears")
    image = header.integer("vision.image_size")
    if image > _MAX_SIDE:
        raise FactsError(f"`vision.image_size` {image:,} is no usable size")
    return Projector(
        towers=tuple(towers),
        weights=loaded,
        image_size=image,
        image_pixels=header.integer("vision.image_max_pixels"),
        longest_edge=min(header.integer("vision.preproc_image_size", image), _MAX_SIDE),
        sees=header.has("has_vision_encoder"),
        hears=hears,
        text_width=_text_width(towers[0]),
    )


# Numbers beside a weight that are read and not loaded (clip.cpp, `clamp_info_map`).
_LIMITS = (".input_min", ".input_max", ".output_min", ".output_max")


# The weight whose columns or rows are the elements of a token (clip.cpp `clip_n_mmproj_embd`).
_TOKEN_ELEMENTS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "gemma3": ("mm.input_projection.weight", 0),
        "gemma4v": ("mm.input_projection.weight", 1),
        "idefics3": ("mm.model.fc.weight", 1),
        "internvl": ("mm.model.mlp.3.weight", 1),
        "janus_pro": ("mm.1.bias", 0),
        "mlp": ("mm.2.bias", 0),
        **dict.fromkeys(("lfm2", "phi4", "pixtral", "lightonocr"), ("mm.2.weight", 1)),
        # Qwen3-VL gives the features of several layers beside each token (deepstack).
        **dict.fromkeys(
            ("qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger"), ("mm.2.weight", 1)
        ),
    }
)


def _text_width(tower: Tower) -> int:
    name, axis = _TOKEN_ELEMENTS.get(tower.kind, ("", 0))
    weight = tower.weights.get(name)
    return weight.ne[axis] if weight is not None and axis < len(weight.ne) else 0


def _tower(header: Header, kind: str, by_name: Mapping[str, Weight]) -> Tower:
    width = header.integer(f"{kind}.embedding_length")
    heads = header.integer(f"{kind}.attention.head_count")
    layers = header.integer(f"{kind}.block_count")
    patch = header.integer("vision.patch_size") if kind == "vision" else 1
    if not 0 < width <= _MAX_WIDTH or not 0 < heads <= width or not 0 <= layers <= _MAX_LAYERS:
        raise FactsError(f"the {kind} encoder has no usable width, heads or layers")
    if not 0 < patch <= _MAX_SIDE:
        raise FactsError(f"`vision.patch_size` {patch:,} is no usable size")
    named = header.facts.value("projector_type") or header.facts.value(f"{kind}.projector_type")
    known = KINDS.get(str(named), UNKNOWN_KIND)
    merge = header.integer(known.merge_key, known.merge) if known.merge_key else known.merge
    return Tower(
        kind=_renamed(str(named), kind),
        width=width,
        heads=heads,
        heads_kv=header.integer(f"{kind}.attention.head_count_kv", heads),
        head=header.integer(f"{kind}.attention.head_dim") or width // heads,
        layers=layers,
        patch=patch,
        merge=min(max(1, merge), _MAX_SIDE),
        window_pattern=header.integer("vision.n_wa_pattern"),
        weights=by_name,
    )


def _renamed(named: str, kind: str) -> str:
    """clip.cpp, "correct arch for multimodal models (legacy method)"."""
    if named == "qwen2.5o":
        return "qwen2.5vl_merger" if kind == "vision" else "qwen2a"
    return named
