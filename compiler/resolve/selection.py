"""Which files of a tree make the model: one weight format, one quantization, all parts."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from compiler.resolve.gguf_facts import FactsMissingError, split_parts
from compiler.resolve.mistral import PARAMS
from compiler.resolve.ranges import DamagedFileError, parse_json
from compiler.resolve.tree import SourceMissingError

INDEX = "model.safetensors.index.json"
# Types and their mixes as llama-quantize and the people who publish files name them: `Q4_K_M`,
# `IQ3_XXS`, `Q3_K_XL`, `Q4_0_4_8`, `IQ4_K_R4`. Longer words after a `_` are no part of it.
_MIX = r"[A-Z]|X{1,3}[SML]|NL"
_QUANT_NAME = (
    rf"(?:UD-)?(?:I?Q[1-8]_(?:[01]|K[A-Z]{{1,2}}|{_MIX})(?:_(?:{_MIX}|R?[48](?:_[48])?))*"
    r"|I?Q[1-8](?!_)|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4|FP8|BF16|FP?16|FP?32)"
)
_QUANT = re.compile(rf"(?:^|[-._/])({_QUANT_NAME})(?=[-._/]|$)", re.IGNORECASE)
# What is meant as a quantization, though there is none of this name or it is a name's beginning.
_LIKE_QUANT = re.compile(rf"(?:UD-)?(?:I?Q|TQ)[1-8](?:_\w*)?|{_QUANT_NAME}", re.IGNORECASE)
_UNSLOTH = "UD-"
_PROJECTOR = re.compile(r"(^|[-._/])mmproj", re.IGNORECASE)
_IMATRIX = re.compile(r"(^|[-._/])imatrix", re.IGNORECASE)
# Two spellings of one type; people and file names mix them.
_ALIASES = {
    "FP16": "F16",
    "F16": "FP16",
    "FP32": "F32",
    "F32": "FP32",
    "MXFP4": "MXFP4_MOE",
    "MXFP4_MOE": "MXFP4",
}
_DEFAULT_SELECTORS = {"latest", "default"}
_MAX_LISTED = 12

# What an engine reads beside the weights; all small but the tokenizer.
_DOCUMENTS = (
    "*.json",
    "*.jinja",
    "*.model",
    "*.tiktoken",
    "merges.txt",
    "vocab.txt",
    "*Pooling/config.json",
)
# Copies of the weights in another layout, adapters, and what training left behind.
_OTHER_WEIGHTS = ("consolidated*", "adapter_model*", "original/*", "optimizer*", "training_args*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The files of a model: either GGUF parts in order, or a Hugging Face set."""

    gguf: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    """Weight files of a Hugging Face set, of one format, in the order they are read."""
    documents: tuple[str, ...] = ()
    """What an engine reads beside the weights of a Hugging Face set."""


def select_gguf_file(name: str, files: Iterable[str]) -> Selection:
    """One named GGUF file, with the other parts when it is split."""
    return Selection(gguf=_complete(name, set(files)))


def select(
    files: Sequence[str], selector: str | None, index: Mapping[str, str] | None
) -> Selection:
    """The model that a tree holds.

    `selector` is a quantization or a file glob; `index` is the weight map of a sharded set (tensor
    to file). Raises SourceMissingError when the choice is empty or not one model.
    """
    ggufs = [name for name in files if name.lower().endswith(".gguf")]
    if selector is not None and selector.lower() not in _DEFAULT_SELECTORS:
        return _select_gguf(files, ggufs, selector)
    if "config.json" in files and not (ggufs and not _weights(files, index)):
        return _with_documents(_weights(files, index), files)
    own = [name for name in files if _matches(name, ("consolidated*.safetensors",))]
    if PARAMS in files and own:
        return _with_documents(own, files)
    if ggufs:
        return _one_of(_sets(_models(ggufs)), set(files))
    if "adapter_config.json" in files:
        raise FactsMissingError("is a LoRA adapter, which belongs to a model but is none")
    raise SourceMissingError("there is neither a config.json nor a GGUF file in it")


def _with_documents(weights: Sequence[str], files: Sequence[str]) -> Selection:
    documents = sorted(name for name in files if _matches(name, _DOCUMENTS))
    return Selection(weights=tuple(weights), documents=tuple(documents))


def read_index(raw: bytes) -> dict[str, str]:
    """The weight map of model.safetensors.index.json: tensor to file."""
    try:
        found = parse_json(raw)["weight_map"]
        pairs = [(name, file) for name, file in found.items() if isinstance(file, str)]
    except (KeyError, TypeError, AttributeError) as fault:
        raise DamagedFileError("has no weight map") from fault
    if len(pairs) != len(found):
        raise DamagedFileError("has a weight map with something else than file names in it")
    return dict(pairs)


def quantizations(files: Iterable[str]) -> list[str]:
    """The quantizations that the file names speak of, sorted."""
    found = {match.group(1).upper() for name in files for match in _QUANT.finditer(_stem(name))}
    return sorted(found)


def _weights(files: Sequence[str], index: Mapping[str, str] | None) -> list[str]:
    """Weight files of the best format that is there: each weight counts once."""
    if index is not None:
        return sorted(set(index.values()))
    for pattern in ("*.safetensors", "pytorch_model*.bin", "*.bin"):
        found = [
            name
            for name in files
            if _matches(name, (pattern,)) and not _matches(name, _OTHER_WEIGHTS)
        ]
        if found:
            return _without_variants(found)
    return []


def _without_variants(names: list[str]) -> list[str]:
    """Without the same weights in other types (`model.fp16.safetensors` beside the plain name)."""
    variants = {
        name
        for whole in ("model.safetensors", "pytorch_model.bin")
        if whole in names
        for name in fnmatch.filter(names, whole.replace(".", ".*.", 1))
    }
    return [name for name in names if name not in variants]


def _select_gguf(files: Sequence[str], ggufs: Sequence[str], selector: str) -> Selection:
    if not ggufs:
        raise SourceMissingError(
            f"it holds no GGUF file, so there is no `{selector}` in it",
            "leave the part after the colon out to use the repository as it is",
        )
    if any(mark in selector for mark in "*?[") or selector.lower().endswith(".gguf"):
        named = _named(ggufs, selector)
        if not named:
            raise _no_file(selector, ggufs)
        return _one_of(_sets(named), set(files))
    models = _models(ggufs)
    # Names like `M-imatrix-Q4_K_M.gguf` say how a model was quantized.
    by_imatrix = [name for name in ggufs if _IMATRIX.search(_base(name)) and quantizations([name])]
    for there in (models, by_imatrix):
        for quant in (selector, _ALIASES.get(selector.upper(), selector)):
            named = _of_quant(there, quant)
            if named:
                return _one_of(_sets(named), set(files))
    by_name = [name for name in ggufs if _stem(_base(name)).lower() == selector.lower()]
    if by_name:
        return _one_of(_sets(by_name), set(files))
    raise _nothing(selector, sorted({*models, *by_imatrix}))


def _named(ggufs: Sequence[str], selector: str) -> list[str]:
    """The file of just this path; else those of this name or glob, models before projectors."""
    if selector in ggufs:
        return [selector]
    named = [
        name
        for name in ggufs
        if fnmatch.fnmatchcase(name, selector) or fnmatch.fnmatchcase(_base(name), selector)
    ]
    return _models(named)


def _of_quant(models: Sequence[str], quant: str) -> list[str]:
    """Files of this quantization; `UD-` ones only when asked for, or when there is nothing else."""
    if not _LIKE_QUANT.fullmatch(quant):
        return _with_word(models, quant)
    for wanted in (quant.upper(), f"{_UNSLOTH}{quant.upper()}"):
        found = [name for name in models if wanted in quantizations([name])]
        if found:
            return found
    return []


def _with_word(models: Sequence[str], text: str) -> list[str]:
    """Files with this text as a word, or several, of their names."""
    for after in (r"[-./]", r"[-._/]"):
        word = re.compile(rf"(?:^|[-./]){re.escape(text)}(?={after}|$)", re.IGNORECASE)
        found = [name for name in models if word.search(_stem(name))]
        if found:
            return found
    return []


def _one_of(sets: Mapping[str, str], files: set[str]) -> Selection:
    if len(sets) > 1:
        raise SourceMissingError(
            f"it holds {len(sets)} models: {_listed(sets.values())}",
            "say which one: on the hub by its quantization or file name after a colon, "
            "on disk by the path of its file",
        )
    return Selection(gguf=_complete(next(iter(sets.values())), files))


def _nothing(wanted: str, there: Sequence[str]) -> SourceMissingError:
    quants = quantizations(there)
    what = ", ".join(quants) if quants else _listed(there)
    return SourceMissingError(f"it holds no `{wanted}`; there is: {what}")


def _no_file(wanted: str, there: Sequence[str]) -> SourceMissingError:
    close = difflib.get_close_matches(wanted.lower(), [name.lower() for name in there], n=1)
    hints = [f"did you mean `{name}`?" for name in there if name.lower() in close]
    return SourceMissingError(
        f"it holds no file `{wanted}`; there is: {_listed(_sets(there).values())}", *hints[:1]
    )


def _sets(names: Iterable[str]) -> dict[str, str]:
    """One file for each model: the first part stands for a split set."""
    sets: dict[str, str] = {}
    for name in sorted(names):
        parts = split_parts(name)
        sets.setdefault(parts[0] if parts else name, name)
    return sets


def _complete(name: str, files: set[str]) -> tuple[str, ...]:
    parts = split_parts(name)
    if parts is None:
        return (name,)
    missing = [part for part in parts if part not in files]
    if missing:
        raise SourceMissingError(
            f"{len(missing)} of {len(parts)} parts are missing: {_listed(missing)}"
        )
    return tuple(parts)


def _models(ggufs: Iterable[str]) -> list[str]:
    """Without projectors and importance matrices, which lie beside many models."""
    found = list(ggufs)
    return [
        name
        for name in found
        if not (_PROJECTOR.search(_base(name)) or _IMATRIX.search(_base(name)))
    ] or found


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(name, pattern) and name.count("/") == pattern.count("/")
        for pattern in patterns
    )


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
    return ", ".join(f"`{name}`" for name in found[:_MAX_LISTED]) + more


def _base(name: str) -> str:
    return PurePosixPath(name).name


def _stem(name: str) -> str:
    return re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", name, flags=re.IGNORECASE)
