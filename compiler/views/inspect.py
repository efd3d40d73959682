"""A model for people: what its files say, what its layers keep of a token, and its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from compiler.ir.counting import counted
from compiler.ir.facts import ModelRole
from compiler.ir.lock import LockedFile, LockedSource
from compiler.ir.profile import LayerRun, ModelProfile, WeightType
from compiler.ir.units import demand_mib
from compiler.views.terminal import columns, indented, json_text, paint, safe_record

UNKNOWN = "unknown"

# Any of them is enough for an engine (transformers, sentencepiece, mistral-common, tiktoken).
_TOKENIZERS = frozenset(
    {"tekken.json", "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"}
)
# What is no model of its own, and the argument that takes it.
_ROLES: dict[ModelRole, str] = {
    "model": "model",
    "mmproj": "projector of pictures or sound into a model (`mmproj` of llama.cpp)",
    "adapter": "LoRA adapter of a model (`lora` of llama.cpp)",
}
# Runs of layers that repeat together; published models have at most four.
_MAX_PERIOD = 8
# Nobody reads more than this, folded or not; published models have at most 64.
_MAX_RUNS = 256


def inspect_text(locked: LockedSource, profile: ModelProfile, *, color: bool) -> str:
    """The model for people at a terminal."""
    locked, profile = safe_record(_without_tensors(locked)), safe_record(profile)
    rows = _model_rows(locked)
    if locked.facts.role == "model":
        rows += [*_layer_rows(profile, locked.facts.layers), *_cache_rows(profile)]
    blocks = [
        [paint(locked.source, "bold", color=color), *indented(columns(rows))],
        [paint("Weights", "bold", color=color), *indented(_weight_lines(profile.weights))],
        [paint("Files", "bold", color=color), *indented(_file_lines(locked.files))],
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def inspect_json(locked: LockedSource, profile: ModelProfile) -> str:
    """The model for programs: the facts without header and tensors, and the engine's reading."""
    entry = locked.model_dump(exclude={"facts"})
    facts = locked.facts.model_dump(exclude={"header", "tensors", "sequential", "alignment"})
    return json_text({**entry, "facts": facts, "profile": profile.model_dump()})


def layers_words(runs: Sequence[LayerRun]) -> str:
    """The layers in order: `36 x full`, or `10 x (5 x sliding 1,024, 1 x full), 2 x full`."""
    parts = [f"{run.layers:,} x {_kind_words(run)}" for run in runs]
    return ", ".join(_folded(parts) if len(parts) <= _MAX_RUNS else parts)


def _without_tensors(locked: LockedSource) -> LockedSource:
    """Nothing of them is shown, and they are most of the text."""
    facts = locked.facts.model_copy(update={"header": {}, "tensors": []})
    return locked.model_copy(update={"facts": facts})


def _model_rows(locked: LockedSource) -> list[tuple[str, str]]:
    facts = locked.facts
    rows = [
        ("architecture", facts.architecture),
        ("format", f"{facts.format}, {facts.quantization}"),
    ]
    if facts.role != "model":
        rows += [
            ("role", _ROLES[facts.role]),
            ("parameters", f"{facts.parameters:,}"),
            ("layers", f"{facts.layers:,}" if facts.layers else "those of its model"),
        ]
        return rows
    rows += [
        ("task", f"{facts.task}, pooling {facts.pooling}" if facts.pooling else facts.task),
        ("parameters", f"{facts.parameters:,}" if facts.parameters else UNKNOWN),
        ("vocabulary", _tokens(facts.vocabulary)),
        ("position limit", _tokens(facts.position_limit)),
    ]
    if facts.answer_limit:
        rows.append(("answer limit", counted(facts.answer_limit, "token")))
    if facts.format != "gguf":  # A GGUF file carries its own.
        names = [file.name for file in locked.files if file.name in _TOKENIZERS]
        rows.append(("tokenizer", ", ".join(names) or "not among the files"))
    if locked.revision:
        rows.append(("revision", locked.revision))
    return rows


def _tokens(number: int) -> str:
    return counted(number, "token") if number else UNKNOWN


def _layer_rows(profile: ModelProfile, in_file: int) -> list[tuple[str, str]]:
    runs = profile.layers
    if runs is None:
        return [
            ("layers", f"{in_file:,} of unknown kind"),
            *((name, UNKNOWN) for name in ("heads", "KV heads", "head size")),
            ("experts", _experts_words(profile)),
        ]
    total = sum(run.layers for run in runs)
    attending = [run for run in runs if run.attention != "none"]
    rows = [
        ("layers", f"{total:,}: {layers_words(runs)}" if len(runs) > 1 else layers_words(runs)),
        ("heads", _range([run.heads for run in attending])),
        ("KV heads", _range([run.kv_heads for run in attending])),
        ("head size", _range([run.head_size for run in attending])),
        ("experts", _experts_words(profile)),
    ]
    if profile.draft_layers:
        rows.insert(1, ("draft layers", f"{profile.draft_layers:,} for multi-token prediction"))
    return rows


def _cache_rows(profile: ModelProfile) -> list[tuple[str, str]]:
    """Bytes of one token; those of sliding layers apart, as a longer request takes no more."""
    caches = profile.token_cache
    if caches is None:
        return [("KV per token", UNKNOWN), ("state", UNKNOWN)]
    rows = []
    if not caches:
        rows.append(("KV per token", "none"))
    if any(cache.growing_bytes for cache in caches):
        sizes = [f"{cache.cache_type} {cache.growing_bytes:,} B" for cache in caches]
        rows.append(("KV per token", ", ".join(sizes)))
    if any(cache.sliding_bytes for cache in caches):
        sizes = [f"{cache.cache_type} {cache.sliding_bytes:,} B" for cache in caches]
        rows.append(("in windows", f"{', '.join(sizes)}, for the last {_windows(profile)} tokens"))
    if profile.state_bytes != 0:
        rows.append(("state", _state_words(profile)))
    return rows


def _state_words(profile: ModelProfile) -> str:
    """Engines keep the same state in different types, so that its size is one engine's."""
    if profile.state_bytes is None:
        return UNKNOWN
    return f"{profile.state_bytes:,} B a request in {profile.engine}"


def _windows(profile: ModelProfile) -> str:
    return _range([run.window for run in profile.layers or () if run.attention == "sliding"])


def _kind_words(run: LayerRun) -> str:
    """`full`, `sliding 4,096`, `linear`, `full + recurrent`, `feed-forward only`."""
    match run.attention:
        case "full":
            words = "full"
        case "sliding":
            words = f"sliding {run.window:,}"
        case "latent":
            words = "latent (MLA)"
        case "none":
            return "feed-forward only" if run.state == "none" else run.state
        case _:
            assert_never(run.attention)
    if run.state != "none":
        words += f" + {run.state}"
    return f"{words} with another layer's KV" if run.reads_other else words


def _experts_words(profile: ModelProfile) -> str:
    if profile.experts is None:
        return UNKNOWN
    if not profile.experts:
        return "none"
    return f"{profile.experts:,}, of which a token takes {profile.experts_used or 0:,}"


def _weight_lines(weights: Sequence[WeightType] | None) -> list[str]:
    if weights is None:
        return [UNKNOWN]
    total = sum(weight.bytes for weight in weights)
    rows = [
        ("type", "tensors", "MiB", "share"),
        *(
            (weight.dtype, f"{weight.tensors:,}", _mib(weight.bytes), _share(weight.bytes, total))
            for weight in weights
        ),
        ("total", f"{sum(weight.tensors for weight in weights):,}", _mib(total), ""),
    ]
    return columns(rows, right=(1, 2, 3))


def _file_lines(files: Sequence[LockedFile]) -> list[str]:
    if not files:
        return [UNKNOWN]
    rows = [
        ("name", "bytes", "sha256"),
        *((file.name, f"{file.bytes:,}", _digest(file)) for file in files),
        ("total", f"{sum(file.bytes for file in files):,}", ""),
    ]
    return columns(rows, right=(1,))


def _digest(file: LockedFile) -> str:
    if file.sha256:
        return file.sha256
    return f"{file.header_sha256} (of the header)" if file.header_sha256 else UNKNOWN


def _mib(size_bytes: int) -> str:
    return f"{demand_mib(size_bytes):,}"


def _share(size_bytes: int, total_bytes: int) -> str:
    """Percent with one decimal, rounded down."""
    whole, tenths = divmod(size_bytes * 1000 // total_bytes if total_bytes else 0, 10)
    return f"{whole}.{tenths} %"


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "none"
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _folded(parts: list[str]) -> list[str]:
    """The parts with what repeats written once: the longest repetition, then those beside it."""
    start, period, times = max(
        (
            (start, period, _repetitions(parts, start, period))
            for start in range(len(parts))
            for period in range(1, min(_MAX_PERIOD, (len(parts) - start) // 2) + 1)
        ),
        key=lambda found: (found[1] * found[2] if found[2] > 1 else 0, -found[1], -found[0]),
        default=(0, 1, 1),
    )
    if times == 1:
        return parts
    end = start + period * times
    repeated = f"{times:,} x ({', '.join(parts[start : start + period])})"
    return [*_folded(parts[:start]), repeated, *_folded(parts[end:])]


def _repetitions(parts: list[str], start: int, period: int) -> int:
    """How often the parts from `start` on stand one after another."""
    end = start + period
    while parts[end : end + period] == parts[start : start + period]:
        end += period
    return (end - start) // period
