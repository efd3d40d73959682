"""From a tree of files to locked files and facts: opens headers and small files, nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from compiler.ir.facts import ModelFacts, Tensor
from compiler.ir.lock import LockedFile
from compiler.resolve.gguf import read_gguf
from compiler.resolve.gguf_facts import FactsMissingError, gguf_facts
from compiler.resolve.hf_facts import BIN_INDEX, READ_DOCUMENTS, hf_facts
from compiler.resolve.mistral import PARAMS
from compiler.resolve.ranges import DamagedFileError, Ranges, parse_json
from compiler.resolve.safetensors import read_safetensors
from compiler.resolve.selection import INDEX, Selection, read_index, select, select_gguf_file
from compiler.resolve.tree import SourceMissingError, Tree

# config.json and its like are some kilobytes; an index of a thousand shards is some megabytes.
_MAX_DOCUMENT_BYTES = 64 << 20

Header = TypeVar("Header")


class FileFaultError(Exception):
    """A fault of one file of the source."""

    def __init__(self, name: str, fault: DamagedFileError | FactsMissingError) -> None:
        super().__init__(f"`{name}` {fault}")
        self.damaged = isinstance(fault, DamagedFileError)


def read_tree(tree: Tree, selector: str | None) -> tuple[list[LockedFile], ModelFacts]:
    """Files and facts of the model that the tree holds.

    Raises SourceMissingError, FactsMissingError and FileFaultError.
    """
    index: dict[str, str] | None = None
    if INDEX in tree.files and selector is None:
        _refuse_broken(tree, [INDEX])
        index = _guarded(INDEX, lambda: read_index(_whole(tree, INDEX)))
    chosen = select(list(tree.files), selector, index)
    _refuse_broken(tree, (*chosen.gguf, *chosen.weights, *chosen.documents))
    if chosen.gguf:
        return _read_gguf(tree, chosen)
    return _read_hf(tree, chosen, index)


def read_file(tree: Tree, name: str) -> tuple[list[LockedFile], ModelFacts]:
    """Files and facts of the GGUF model that one file of the tree names."""
    chosen = select_gguf_file(name, tree.files)
    _refuse_broken(tree, chosen.gguf)
    return _read_gguf(tree, chosen)


def has_weights(files: Sequence[LockedFile]) -> bool:
    """Whether files of weights are among those of a Hugging Face set, headers or none."""
    return any(file.name.endswith((".safetensors", ".bin")) for file in files)


def _refuse_broken(tree: Tree, names: Sequence[str]) -> None:
    broken = [name for name in names if name in tree.files and tree.files[name].is_broken]
    if broken:
        raise SourceMissingError(f"`{broken[0]}` is a link to a file that is not there")


def _read_gguf(tree: Tree, chosen: Selection) -> tuple[list[LockedFile], ModelFacts]:
    headers = _read_all(tree, chosen.gguf, read_gguf)
    files = [
        _locked(tree, name, header.sha256)
        for name, header in zip(chosen.gguf, headers, strict=True)
    ]
    return files, _guarded(chosen.gguf[0], lambda: gguf_facts(headers))


def _read_hf(
    tree: Tree, chosen: Selection, index: Mapping[str, str] | None
) -> tuple[list[LockedFile], ModelFacts]:
    missing = [name for name in chosen.weights if name not in tree.files]
    if missing:
        raise SourceMissingError(f"`{INDEX}` speaks of `{missing[0]}`, which is not there")
    raw = _read_documents(tree, chosen)
    documents = {name: _guarded(name, partial(_parsed, name, raw[name])) for name in raw}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in raw.items()}
    sharded = [name for name in chosen.weights if name.endswith(".safetensors")]
    headers = _read_all(tree, sharded, read_safetensors)
    tensors = _once(tensor for header in headers for tensor in header.tensors)
    _check_index(index, tensors)
    heads = dict(zip(sharded, (header.sha256 for header in headers), strict=True))
    files = [_locked(tree, name, heads.get(name)) for name in chosen.weights]
    files += [_locked(tree, name, None, digests.get(name)) for name in chosen.documents]
    described = "config.json" if "config.json" in documents else PARAMS
    facts = _guarded(described, lambda: hf_facts(tree.name, documents, tensors))
    return sorted(files, key=lambda file: file.name), facts


def _read_all(tree: Tree, names: Sequence[str], read: Callable[[Ranges], Header]) -> list[Header]:
    """The headers of the files in their order, several at a time where the tree allows it."""

    def one(name: str) -> Header:
        return _guarded(name, lambda: read(tree.open(name)))

    if tree.readers == 1 or len(names) == 1:
        return [one(name) for name in names]
    with ThreadPoolExecutor(tree.readers) as pool:
        return list(pool.map(one, names))


def _guarded(name: str, read: Callable[[], Header]) -> Header:
    """Names the file in the fault."""
    try:
        return read()
    except (DamagedFileError, FactsMissingError) as fault:
        raise FileFaultError(name, fault) from fault


def _read_documents(tree: Tree, chosen: Selection) -> dict[str, bytes]:
    wanted = [
        name
        for name in chosen.documents
        if name in READ_DOCUMENTS or name.endswith("Pooling/config.json")
    ]
    if BIN_INDEX in chosen.documents and chosen.weights[:1] and chosen.weights[0].endswith(".bin"):
        wanted.append(BIN_INDEX)
    return {name: _guarded(name, partial(_whole, tree, name)) for name in wanted}


def _whole(tree: Tree, name: str) -> bytes:
    size = tree.files[name].bytes
    if size > _MAX_DOCUMENT_BYTES:
        raise DamagedFileError(f"is {size >> 20} MiB large, far more than such a file takes")
    return tree.open(name).read(0, size)


def _parsed(name: str, raw: bytes) -> Any:  # noqa: ANN401 (any JSON value)
    if name.endswith(".jinja"):
        return raw.decode("utf-8", "replace")
    document = parse_json(raw)
    if name != "tokenizer_config.json" and not _is_unicode(document):
        raise DamagedFileError("holds text that is no Unicode")
    if name in {"config.json", PARAMS} and not isinstance(document, dict):
        raise DamagedFileError("is no JSON object")
    return document


def _is_unicode(document: Any) -> bool:  # noqa: ANN401 (any JSON value)
    """JSON can escape half of a surrogate pair, which no file can hold."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _once(tensors: Any) -> list[Tensor]:  # noqa: ANN401 (an iterable)
    """Each name once: some repositories repeat shared tensors in several files."""
    return list({tensor.name: tensor for tensor in tensors}.values())


def _check_index(index: Mapping[str, str] | None, tensors: Sequence[Tensor]) -> None:
    if index is None:
        return
    missing = index.keys() - {tensor.name for tensor in tensors}
    if missing:
        fault = DamagedFileError(f"speaks of `{min(missing)}`, which is in none of the files")
        raise FileFaultError(INDEX, fault)


def _locked(
    tree: Tree, name: str, header_sha256: str | None, sha256: str | None = None
) -> LockedFile:
    """The digest of the whole file where it is known, of its header where it is not."""
    file = tree.files[name]
    whole = file.sha256 or sha256
    return LockedFile(
        name=name,
        bytes=file.bytes,
        sha256=whole,
        header_sha256=None if whole else header_sha256,
    )
