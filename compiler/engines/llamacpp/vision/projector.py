"""A projector (mmproj): its towers, the largest picture they look at, and what that takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt
from types import MappingProxyType
from typing import Literal

from compiler.engines.llamacpp.flags import builds
from compiler.engines.llamacpp.flags.builds import Build
from compiler.engines.llamacpp.ggml.scheduler import Devices, reserve
from compiler.engines.llamacpp.graphs.builder import GraphError
from compiler.engines.llamacpp.launch.options import ProjectorOptions
from compiler.engines.llamacpp.launch.values import integer_of
from compiler.engines.llamacpp.model.header import FactsError, Header, Weight, read_weights
from compiler.engines.llamacpp.placed.weights import padded_bytes
from compiler.engines.llamacpp.vision.sight import Picture, Tower
from compiler.engines.llamacpp.vision.towers import sight_graph
from compiler.ir.demand import ArgumentProblem, Located
from compiler.ir.facts import ModelFacts
from compiler.ir.spec import ArgValue

_MAX_SIDE = 8192  # clip.cpp, "image_size is too large"
_MAX_LAYERS = 512
_MAX_WIDTH = 1 << 20
_MAX_PATCHES = 1 << 18
_MATRIX = 2
# --mtmd-batch-max-tokens (mtmd.cpp `mtmd_context_params_default`).
DEFAULT_BATCH_TOKENS = 1024
# Towers that look at several pictures at once (models.h `support_batch`).
_BATCHED = frozenset({"internvl", "gemma4v"})
# Tokens of a picture that the text model reads at once, without a causal mask
# (mtmd.cpp `mtmd_decode_use_non_causal`).
_NON_CAUSAL = frozenset({"gemma3", "gemma4uv", "deepseek4v"})
# A tower whose graph is not known: its activations by formula took up to twice as much in the
# towers that are.
UNKNOWN_PERCENT = 100
# Without flash attention one small picture of one tower took an activation more.
_UNFUSED_PERCENT = 10
# From b9842 to b10808 the graphs differ by a node here and there (models/*.cpp, clip.cpp).
OLDER_PERCENT = 15
# Seconds of sound are 100 columns each; a chunk of 30 seconds is halved once (whisper-enc.cpp).
_SOUND = Picture(across=1500, down=1)

Sizing = Literal["fixed", "tokens", "pixels", "edge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
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
_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "gemma3": _Kind(merge=4, merge_key=_SCALE),
        "idefics3": _Kind(merge_key=_SCALE),
        "janus_pro": _Kind(),
        "lfm2": _Kind(merge_key=_SCALE, sizing="tokens", most=256),
        "phi4": _Kind(sizing="pixels", warm=256),
        "pixtral": _Kind(merge_key=_SPATIAL, sizing="tokens", most=1024, warm=256),
        "lightonocr": _Kind(merge_key=_SPATIAL, sizing="edge", warm=256),
        **dict.fromkeys(
            ("qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger"),
            _Kind(merge=2, merge_key=_SPATIAL, sizing="tokens", most=4096, warm=46 * 46),
        ),
        "internvl": _Kind(merge_key=_SCALE),
        "mlp": _Kind(),
        "gemma4v": _Kind(merge=3, merge_key=_SCALE, sizing="tokens", most=1120, warm=256),
    }
)
# For kinds that are not known: pictures as large as those that take the most.
_UNKNOWN = _Kind(merge=2, merge_key=_SPATIAL, sizing="tokens", most=4096, warm=256)


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
        return self.kind in _KINDS and len(self.towers) == 1


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
    known = _KINDS.get(str(named), _UNKNOWN)
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


def projector_part(
    args: Mapping[str, ArgValue], projector: Projector | None, gpus: int
) -> ProjectorOptions | None:
    """What the projector's flags ask for; None without one."""
    if projector is None:
        return None
    device = str(args.get("mmproj_device", "CUDA0"))
    on_gpu = gpus and args.get("mmproj_offload") is not False and device.startswith("CUDA")
    return ProjectorOptions(
        gpu=int(device.removeprefix("CUDA")) if on_gpu else None,
        min_tokens=integer_of(args, "image_min_tokens", 0) or None,
        max_tokens=integer_of(args, "image_max_tokens", 0) or None,
        batch_tokens=integer_of(args, "mtmd_batch_max_tokens", DEFAULT_BATCH_TOKENS),
    )


def projector_flags(options: ProjectorOptions, found: Located, build: Build) -> list[str]:
    """Flags of the projector, every size spelt out."""
    flags = ["--mmproj", found.path]
    if options.gpu is None:
        flags.append("--no-mmproj-offload")
    elif build.number >= builds.MMPROJ_DEVICE_FLAG:
        flags += ["--mmproj-device", f"CUDA{options.gpu}"]
    if options.min_tokens is not None:
        flags += ["--image-min-tokens", str(options.min_tokens)]
    if options.max_tokens is not None:
        flags += ["--image-max-tokens", str(options.max_tokens)]
    if build.number >= builds.IMAGE_BATCH_FLAG:
        flags += ["--mtmd-batch-max-tokens", str(options.batch_tokens)]
    return flags


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
        sound += _by_formula(tower, _SOUND)
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


def pictures(projector: Projector, options: ProjectorOptions) -> tuple[Picture, Picture]:
    """The picture for which buffers are reserved at start, and the largest that flags allow."""
    first = projector.towers[0]
    known = _KINDS.get(first.kind, _UNKNOWN)
    most = _largest(projector, first, known, options)
    return _warm(projector, first, known, most), most


def _largest(
    projector: Projector, tower: Tower, known: _Kind, options: ProjectorOptions
) -> Picture:
    """The largest picture, or the most pictures at once (clip.cpp `set_limit_image_tokens`)."""
    if not projector.sees:
        return _SOUND
    unit = tower.merge * tower.patch
    match known.sizing:
        case "fixed":
            side = projector.image_size // tower.patch
            picture = Picture(across=side, down=side)
        case "tokens":
            picture = _grid(options.max_tokens or known.most, tower.merge)
        case "pixels":
            picture = _grid(projector.image_pixels // unit**2, tower.merge)
        case "edge":
            edge = projector.longest_edge or projector.image_size
            picture = _grid((edge // unit) ** 2, tower.merge)
            if options.max_tokens:
                picture = _grid(min(options.max_tokens, (edge // unit) ** 2), tower.merge)
    if tower.kind == "phi4" and not projector.image_pixels:
        raise FactsError("`vision.image_max_pixels` is missing")
    tokens = picture.patches // tower.merge**2
    if tower.kind in _BATCHED and 0 < tokens <= options.batch_tokens // 2:
        return Picture(
            across=picture.across, down=picture.down, count=options.batch_tokens // tokens
        )
    return picture


def _warm(projector: Projector, tower: Tower, known: _Kind, most: Picture) -> Picture:
    """The picture for which the buffer is reserved at start (`set_warmup_n_tokens`)."""
    if most == _SOUND:
        return _SOUND
    if known.warm:
        side = isqrt(known.warm) * tower.merge
        return Picture(across=side, down=side)
    if known.sizing == "tokens":
        # `set_limit_image_tokens` also sets a square of as many pixels.
        side = isqrt(most.patches * tower.patch**2) // tower.patch
        return Picture(across=side, down=side)
    side = projector.image_size // tower.patch
    return Picture(across=side, down=side)


def _grid(tokens: int, merge: int) -> Picture:
    """A picture of as many tokens as allowed, close to a square."""
    tokens = max(1, min(tokens, _MAX_PATCHES // merge**2))
    middle = isqrt(tokens)
    sides = range(middle, max(0, middle // 2 - 1), -1)
    across = max(sides, key=lambda side: tokens // side * side)
    return Picture(across=across * merge, down=tokens // across * merge)


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


def projector_problems(
    facts: ModelFacts, args: Mapping[str, ArgValue], width: int, build: Build
) -> list[ArgumentProblem]:
    """What is wrong with a projector for a model of this width."""
    if build.number < builds.PROJECTOR_LAW:
        detail = (
            f"llama.cpp {build.text} is older than the projectors that the memory law covers, "
            f"which are those of b{builds.PROJECTOR_LAW} and later"
        )
        return [_problem("unsupported-argument", "mmproj", detail)]
    try:
        projector = read_projector(facts)
    except FactsError as error:
        return [_problem("facts-missing", "mmproj", str(error))]
    problems = []
    if projector.text_width not in (0, width):
        detail = (
            f"it makes tokens of {projector.text_width:,} elements, and the model's have {width:,}"
        )
        problems.append(_problem("engine-format", "mmproj", detail))
    device = args.get("mmproj_device")
    if device is not None and not (
        str(device) == "none" or str(device).removeprefix("CUDA").isdecimal()
    ):
        detail = f"`mmproj_device` is `{str(device)[:40]}`, and must be CUDA<n> or none"
        problems.append(_problem("wrong-argument", "mmproj_device", detail))
    kind = projector.towers[0].kind
    _, most = pictures(projector, projector_part(args, projector, 1) or ProjectorOptions(gpu=0))
    tokens = most.patches // projector.towers[0].merge ** 2
    least = integer_of(args, "image_min_tokens", 0)
    if _KINDS.get(kind, _UNKNOWN).sizing == "tokens" and least > tokens:
        detail = f"`image_min_tokens` {least:,} is above the {tokens:,} tokens of a picture"
        problems.append(_problem("wrong-argument", "image_min_tokens", detail))
    ubatch = integer_of(args, "ubatch_size", 0)
    if kind in _NON_CAUSAL and 0 < ubatch < tokens:
        detail = (
            f"`ubatch_size` {ubatch:,} is below the {tokens:,} tokens of a picture, which this "
            "model reads at once"
        )
        problems.append(_problem("wrong-argument", "ubatch_size", detail))
    return problems


def _problem(code: str, argument: str, detail: str) -> ArgumentProblem:
    return ArgumentProblem(code=code, argument=argument, detail=detail)
