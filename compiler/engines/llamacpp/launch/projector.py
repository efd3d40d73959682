"""A projector's flags: what they ask for, what is wrong with them, and the largest picture."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

from compiler.engines.llamacpp.flags import builds
from compiler.engines.llamacpp.flags.builds import Build
from compiler.engines.llamacpp.launch.options import ProjectorOptions
from compiler.engines.llamacpp.launch.values import integer_of
from compiler.engines.llamacpp.model.header import FactsError
from compiler.engines.llamacpp.model.projector import (
    KINDS,
    UNKNOWN_KIND,
    Kind,
    Picture,
    Projector,
    Tower,
    read_projector,
)
from compiler.ir.demand import ArgumentProblem, Located
from compiler.ir.facts import ModelFacts
from compiler.ir.spec import ArgValue

_MAX_PATCHES = 1 << 18


# --mtmd-batch-max-tokens (mtmd.cpp `mtmd_context_params_default`).
DEFAULT_BATCH_TOKENS = 1024


# Towers that look at several pictures at once (models.h `support_batch`).
_BATCHED = frozenset({"internvl", "gemma4v"})


# Tokens of a picture that the text model reads at once, without a causal mask
# (mtmd.cpp `mtmd_decode_use_non_causal`).
_NON_CAUSAL = frozenset({"gemma3", "gemma4uv", "deepseek4v"})


# Seconds of sound are 100 columns each; a chunk of 30 seconds is halved once (whisper-enc.cpp).
SOUND = Picture(across=1500, down=1)


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


def pictures(projector: Projector, options: ProjectorOptions) -> tuple[Picture, Picture]:
    """The picture for which buffers are reserved at start, and the largest that flags allow."""
    first = projector.towers[0]
    known = KINDS.get(first.kind, UNKNOWN_KIND)
    most = _largest(projector, first, known, options)
    return _warm(projector, first, known, most), most


def _largest(projector: Projector, tower: Tower, known: Kind, options: ProjectorOptions) -> Picture:
    """The largest picture, or the most pictures at once (clip.cpp `set_limit_image_tokens`)."""
    if not projector.sees:
        return SOUND
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


def _warm(projector: Projector, tower: Tower, known: Kind, most: Picture) -> Picture:
    """The picture for which the buffer is reserved at start (`set_warmup_n_tokens`)."""
    if most == SOUND:
        return SOUND
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
    if KINDS.get(kind, UNKNOWN_KIND).sizing == "tokens" and least > tokens:
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
