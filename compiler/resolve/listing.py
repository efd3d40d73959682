"""What a hub answers when it is asked for the files of a repository."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from compiler.resolve.tree import TreeFile

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# What JSON of another shape than the hub's does to who reads it.
_NOT_UNDERSTOOD = (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError)


def read_listing(raw: bytes) -> tuple[str, dict[str, TreeFile | None]]:
    """Commit and files, sorted, of `/api/models/org/repo` (RepoSibling of huggingface_hub).

    A file is None where the answer does not say its size: some mirrors know no `?blobs=true`.
    Raises ValueError when the answer is not understood, with what is wrong.
    """
    try:
        document = json.loads(raw)
        commit = document["sha"]
        found = {str(entry["rfilename"]): _file(entry) for entry in document["siblings"]}
    except _NOT_UNDERSTOOD as fault:
        raise ValueError("the hub's listing is not understood") from fault
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise ValueError("the hub's listing names no commit")
    return commit, {name: found[name] for name in sorted(found) if _is_inside(name)}


def with_sizes(files: Mapping[str, TreeFile | None], raw: bytes) -> dict[str, TreeFile]:
    """The files with what `/api/models/org/repo/tree/commit` says of them (RepoFile).

    Raises ValueError when that is not understood, or does not say all sizes either.
    """
    try:
        known = {str(entry["path"]): _file(entry) for entry in json.loads(raw)}
    except _NOT_UNDERSTOOD as fault:
        raise ValueError("the hub's listing is not understood") from fault
    sized = {name: file or known.get(name) for name, file in files.items()}
    complete = {name: file for name, file in sized.items() if file is not None}
    if len(complete) < len(sized):
        raise ValueError(f"the hub does not say the size of `{min(sized.keys() - complete)}`")
    return complete


def _file(entry: Mapping[str, Any]) -> TreeFile | None:
    large = entry.get("lfs") or {}
    size = (large or entry).get("size")
    # The one listing calls the digest by its name, the other an object's id.
    digest = large.get("sha256") or large.get("oid")
    if size is None:
        return None
    if int(size) < 0 or (digest is not None and not _SHA256.fullmatch(digest)):
        raise ValueError
    return TreeFile(bytes=int(size), sha256=digest)


def _is_inside(name: str) -> bool:
    """Whether the name is a plain path inside a folder; others are no files of a model."""
    return name.isprintable() and not {"", ".", ".."} & set(name.split("/"))
