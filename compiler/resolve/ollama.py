"""Models that Ollama has pulled: from a name like `qwen3:8b` to the GGUF file in its store.

A manifest says which blob of the store is the model (ollama, server/manifest.go and modelpath.go):
`manifests/registry.ollama.ai/library/qwen3/8b` is JSON with one layer of the media type
`application/vnd.ollama.image.model`, and the blob of the digest `sha256:…` is `blobs/sha256-…`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from compiler.ir.source import OllamaName
from compiler.resolve.gguf_facts import FactsMissingError
from compiler.resolve.ranges import DamagedFileError, LocalFile, Ranges
from compiler.resolve.tree import SourceMissingError, TreeFile

_REGISTRY = "registry.ollama.ai"
_MODEL_LAYER = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_MAX_MANIFEST_BYTES = 1 << 20
_MAX_LISTED = 12
# A bare name may be one of these with something left out.
_OTHER_WAYS = ("write `org/repo` for the hub or `./path` for a local path",)


def pulled_by_ollama(repository: str, tag: str | None, named_store: str | None) -> bool:
    """Whether a store has a model of a user's that reads like a repository (`someone/mine:v1`)."""
    namespace, _, model = repository.partition("/")
    name = OllamaName(namespace=namespace, model=model, tag=tag or "latest", bare=False)
    return any(_manifest(store, name) is not None for store in _stores(named_store))


class OllamaTree:
    """The one blob of a store that is the model."""

    readers = 1

    def __init__(self, store: Path, name: str, blob: str) -> None:
        self._store = store
        self.name = name
        path = store / blob
        if not path.is_file():
            raise SourceMissingError(f"`{store}` has its manifest and not its file `{blob}`")
        digest = blob.rpartition("-")[2]
        self.files = {blob: TreeFile(bytes=path.stat().st_size, sha256=digest)}

    def open(self, name: str) -> Ranges:
        """The blob."""
        return LocalFile(self._store / name, name)


def ollama_tree(name: OllamaName, named_store: str | None) -> tuple[OllamaTree, str]:
    """The tree of a model in the first store that has it, and the file that is the model.

    `named_store` is OLLAMA_MODELS, which stands for all stores where it is set.
    Raises SourceMissingError when no store has it, DamagedFileError for a manifest that is none,
    FactsMissingError for a model that is no single GGUF file.
    """
    stores = list(_stores(named_store))
    for store in stores:
        manifest = _manifest(store, name)
        if manifest is not None:
            blob = f"blobs/sha256-{_model_digest(manifest)}"
            return OllamaTree(store, name.model, blob), blob
    there = ", ".join(f"`{each}`" for each in _pulled(stores, name)[:_MAX_LISTED])
    looked = ", ".join(f"`{store}`" for store in stores) or "no store of Ollama's on this machine"
    raise SourceMissingError(
        f"Ollama has not pulled it ({looked})"
        + (f"; of this model there is {there}" if there else ""),
        f"run `ollama pull {name.model}:{name.tag}`",
        *(_OTHER_WAYS if name.bare else ()),
    )


def _stores(named: str | None) -> Iterator[Path]:
    """The named store, else the user's own and that of the system's service, if we may look."""
    # Unlike Path.home it does not fail where there is no home.
    home = Path(os.path.expanduser("~"))  # noqa: PTH111
    usual = (home / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models"))
    return (path for path in ([Path(named)] if named else usual) if _entries(path))


def _manifest(store: Path, name: OllamaName) -> Path | None:
    """The manifest of a model, which is one file."""
    found = next(_spelled(_tags(store, name), name.tag), None)
    return found if found is not None and found.is_file() else None


def _tags(store: Path, name: OllamaName) -> list[Path]:
    """The folders with a manifest for each tag of a model, `library/qwen3`."""
    registry = store / "manifests" / _REGISTRY
    return [
        model
        for namespace in _spelled([registry], name.namespace)
        for model in _spelled([namespace], name.model)
    ]


def _spelled(folders: Iterable[Path], name: str) -> Iterator[Path]:
    """What has this name in the folders; upper and lower case are one to Ollama.

    It keeps a name as it was first pulled (server/routes.go getExistingName). The very spelling
    comes first.
    """
    for folder in folders:
        found = [entry for entry in _entries(folder) if entry.name.lower() == name.lower()]
        yield from sorted(found, key=lambda entry: (entry.name != name, entry.name))


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where there is none, or where it is closed to us."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _pulled(stores: list[Path], name: OllamaName) -> list[str]:
    """The tags of the model that the stores have."""
    tags = {
        path.name for store in stores for folder in _tags(store, name) for path in folder.glob("*")
    }
    return [f"{name.model}:{tag}" for tag in sorted(tags)]


def _model_digest(manifest: Path) -> str:
    """The sha256 of the model's blob, in hexadecimal."""
    if manifest.stat().st_size > _MAX_MANIFEST_BYTES:
        raise DamagedFileError("has a manifest far larger than a manifest is")
    found = [
        digest
        for layer in _layers(manifest.read_bytes())
        if layer.get("mediaType") == _MODEL_LAYER and isinstance(digest := layer.get("digest"), str)
    ]
    if not found:
        raise FactsMissingError("has no GGUF file among its layers")
    match = _DIGEST.fullmatch(found[0])
    if match is None:
        raise DamagedFileError("has a manifest whose model has no sha256 digest")
    return match[1]


def _layers(raw: bytes) -> list[dict[str, Any]]:
    try:
        layers = json.loads(raw)["layers"]
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise DamagedFileError("has a manifest without layers") from fault
    if not isinstance(layers, list):
        raise DamagedFileError("has a manifest without layers")
    return [layer for layer in layers if isinstance(layer, dict)]
