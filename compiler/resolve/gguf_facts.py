"""GGUF headers of one model, split or not, to its facts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import prod

from compiler.ir.facts import HeaderValue, ModelFacts, ModelRole, Task, Tensor
from compiler.ir.ggml_types import FILE_TYPES
from compiler.resolve.gguf import GgufHeader
from compiler.resolve.groups import group_tensors, same_order
from compiler.resolve.ranges import DamagedFileError

SPLIT_NAME = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf", re.IGNORECASE)
"""How gguf-split names its files (llama.cpp llama_split_path)."""

# general.* keys that say something of memory or tell people what they have; the rest is biography.
_KEPT_GENERAL = {"general.file_type", "general.name", "general.size_label"}
_DROPPED_SECTIONS = {"general", "tokenizer", "split", "quantize", "imatrix"}

# llama.cpp enum llama_pooling_type.
_POOLING = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
# Architectures whose attention is not causal: they can embed and never generate (llama-arch.cpp).
_ENCODERS = {
    "bert",
    "eurobert",
    "gemma-embedding",
    "jina-bert-v2",
    "jina-bert-v3",
    "llama-embed",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "t5encoder",
}
# llama.cpp's own bound is 512 (LLAMA_MAX_LAYERS); laws go through the layers one by one.
MAX_LAYERS = 4096
_FILE_TYPE_GUESSED = 1024  # llama.h LLAMA_FTYPE_GUESSED is a flag on top of the type.


class FactsMissingError(Exception):
    """A readable file does not say enough, or is no model; the text says what is missing."""


def gguf_facts(headers: Sequence[GgufHeader]) -> ModelFacts:
    """Facts of a model from the headers of its files in their order.

    Raises FactsMissingError for what no engine loads (a vocabulary alone, an importance matrix) and
    for a header without the few values that every law needs; DamagedFileError for parts that are
    not all parts of one split set.
    """
    _check_split(headers)
    first = headers[0]
    tensors = [tensor for header in headers for tensor in header.tensors]
    architecture = _architecture(first)
    role = _role(first, architecture, len(tensors))
    header = _header(first.values, architecture)
    layers = _layers(header, role)
    plain = [
        Tensor.model_construct(name=t.name, dtype=t.dtype, shape=t.shape, bytes=t.bytes)
        for t in tensors
    ]
    groups = group_tensors(plain)
    pooling = _POOLING.get(_integer(header, "pooling_type", -1))
    facts = ModelFacts(
        format="gguf",
        role=role,
        architecture=architecture,
        task=_task(first, architecture, pooling, tensors={t.name: t.shape for t in plain}),
        pooling=pooling,
        parameters=sum(prod(tensor.shape) for tensor in plain),
        layers=layers,
        vocabulary=_vocabulary(first, header, plain),
        position_limit=max(0, _integer(header, "context_length", 0)),
        quantization=_quantization(header, plain),
        header=header,
        tensors=groups,
        alignment=first.alignment,
    )
    sequential = len(headers) == 1 and _is_sequential(first, facts)
    return facts.model_copy(update={"sequential": sequential})


def split_parts(name: str) -> list[str] | None:
    """The names of all files of this file's split set; None when it stands alone."""
    match = SPLIT_NAME.fullmatch(name)
    if match is None or not 0 < int(match["part"]) <= int(match["parts"]):
        return None
    parts = int(match["parts"])
    return [f"{match['stem']}-{part:05}-of-{parts:05}.gguf" for part in range(1, parts + 1)]


def _check_split(headers: Sequence[GgufHeader]) -> None:
    """What llama.cpp checks of a set that gguf-split made (llama-model-loader.cpp, build 9000).

    A part that was renamed would pass for a model of a fraction of its size.
    """
    for place, header in enumerate(headers):
        number, count = (header.values.get(f"split.{key}") for key in ("no", "count"))
        if not isinstance(number, int) or not isinstance(count, int) or count <= 1:
            continue
        if (number, count) != (place, len(headers)):
            raise DamagedFileError(
                f"is part {place + 1} of {len(headers)} by its name, and part {number + 1} of "
                f"{count} by its header"
            )
    wanted = headers[0].values.get("split.tensors.count")
    found = sum(len(header.tensors) for header in headers)
    if isinstance(wanted, int) and len(headers) > 1 and wanted != found:
        raise DamagedFileError(f"is split, and its parts hold {found} of {wanted} tensors")


def _architecture(header: GgufHeader) -> str:
    found = header.values.get("general.architecture")
    if not isinstance(found, str) or not found:
        raise FactsMissingError("names no architecture (`general.architecture`)")
    return found


def _role(header: GgufHeader, architecture: str, n_tensors: int) -> ModelRole:
    """What the file is to an engine (general.type of gguf.md)."""
    kind = header.values.get("general.type")
    if kind == "imatrix" or architecture in {"controlvector", "imatrix"}:
        raise FactsMissingError(f"holds data of kind `{kind or architecture}` and no model")
    if not n_tensors:
        raise FactsMissingError("holds a vocabulary and no weights")
    if kind == "mmproj" or architecture == "clip":
        return "mmproj"
    # Files from before general.type was written say it by their own keys.
    return "adapter" if kind == "adapter" or "adapter.type" in header.values else "model"


def _layers(header: dict[str, HeaderValue], role: ModelRole) -> int:
    """Layers of the model, or of the larger encoder of a projector; an adapter has none."""
    if role == "adapter":
        return 0
    keys = ["block_count"]
    if role == "mmproj":
        encoders = [f"{kind}.block_count" for kind in ("vision", "audio")]
        keys = [key for key in encoders if key in header] or encoders
    layers = max(_integer(header, key) for key in keys)
    if not 0 < layers <= MAX_LAYERS:
        raise FactsMissingError(f"speaks of {layers} layers")
    return layers


def _header(values: dict[str, HeaderValue], architecture: str) -> dict[str, HeaderValue]:
    """The architecture's keys without its prefix, a few general ones, and keys of nobody."""
    kept: dict[str, HeaderValue] = {}
    for key, value in values.items():
        section, _, rest = key.partition(".")
        if section == architecture and rest:
            kept[rest] = value
        elif key in _KEPT_GENERAL or section not in _DROPPED_SECTIONS:
            kept[key] = value
    return dict(sorted(kept.items()))


def _integer(header: dict[str, HeaderValue], key: str, default: int | None = None) -> int:
    found = header.get(key, default)
    if isinstance(found, bool) or not isinstance(found, int):
        raise FactsMissingError(f"does not say `{key}`")
    return found


def _vocabulary(
    first: GgufHeader, header: dict[str, HeaderValue], tensors: Sequence[Tensor]
) -> int:
    """Length of the token list, else vocab_size, else rows of the embedding."""
    if "tokenizer.ggml.tokens" in first.lengths:
        return first.lengths["tokenizer.ggml.tokens"]
    if "vocab_size" in header:
        return max(0, _integer(header, "vocab_size"))
    rows = [t.shape[1] for t in tensors if t.name == "token_embd.weight" and len(t.shape) > 1]
    return rows[0] if rows else 0


def _quantization(header: dict[str, HeaderValue], tensors: Sequence[Tensor]) -> str:
    """The file type's name; the type of most bytes where there is none."""
    found = _integer(header, "general.file_type", -1) & ~_FILE_TYPE_GUESSED
    if found in FILE_TYPES:
        return FILE_TYPES[found]
    weights: Counter[str] = Counter()
    for tensor in tensors:
        weights[tensor.dtype] += tensor.bytes
    return weights.most_common(1)[0][0].upper()


def _task(
    first: GgufHeader, architecture: str, pooling: str | None, *, tensors: dict[str, list[int]]
) -> Task:
    """What llama-server does with the file: a classification head ranks or classifies."""
    if pooling == "rank" or "cls.output.weight" in tensors or "cls.weight" in tensors:
        labels = first.values.get(f"{architecture}.classifier.output_labels")
        # Files that say `rank` and name no labels are rankers, however many scores they give.
        one_score = pooling == "rank" and labels is None
        return "rerank" if one_score or _n_labels(labels, tensors) == 1 else "classify"
    if architecture in _ENCODERS or pooling in {"mean", "cls", "last"}:
        return "embed"
    return "generate"


def _n_labels(labels: HeaderValue, tensors: dict[str, list[int]]) -> int:
    """Labels of the head; yes and no are one score, as Qwen3-Reranker gives it."""
    if isinstance(labels, list):
        return 1 if {str(label).lower() for label in labels} == {"yes", "no"} else len(labels)
    shape = tensors.get("cls.output.weight", [])
    return shape[1] if len(shape) > 1 else 1


def _is_sequential(header: GgufHeader, facts: ModelFacts) -> bool:
    """Whether tensor data lies as the groups expand, each padded, with no hole before any of it."""
    placed = sorted(header.tensors, key=lambda tensor: tensor.offset)
    offset = 0
    for tensor in placed:
        if tensor.offset != offset:
            return False
        offset += -(-tensor.bytes // header.alignment) * header.alignment
    return same_order((tensor.name for tensor in placed), facts.expand())
