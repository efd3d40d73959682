"""The model hub: what a repository holds at a commit, and parts of its files, by range requests.

HF_ENDPOINT and HF_HUB_OFFLINE are honoured; offline, the hub's cache on disk is read instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from compiler.resolve.connection import Connection, Hub, HubUnreachableError, Span
from compiler.resolve.listing import read_listing, with_sizes
from compiler.resolve.tree import LocalTree, Tree, TreeFile

__all__ = ["Hub", "HubUnreachableError", "hub_from_environment", "hub_tree"]

_ENDPOINT = "https://huggingface.co"
_TRUE = {"1", "ON", "YES", "TRUE"}  # huggingface_hub.constants._is_true
_COMMIT_LENGTH = 40
_READERS = 8


def hub_from_environment(environment: Mapping[str, str] = MappingProxyType(os.environ)) -> Hub:
    """The hub that huggingface_hub would use, by the same variables."""
    home = (
        environment.get("HF_HOME") or f"{environment.get('XDG_CACHE_HOME', '~/.cache')}/huggingface"
    )
    # The second is the first one's old name, which huggingface_hub still honours.
    named = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    cache = named or f"{home}/hub"
    offline = environment.get("HF_HUB_OFFLINE") or environment.get("TRANSFORMERS_OFFLINE") or ""
    return Hub(
        endpoint=(environment.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/"),
        offline=offline.upper() in _TRUE,
        # Unlike Path.expanduser it does not fail where there is no home.
        cache=Path(os.path.expanduser(cache)),  # noqa: PTH111
    )


def hub_tree(hub: Hub, repository: str, revision: str | None) -> tuple[Tree, str]:
    """The files of a repository, and the commit that they are read at.

    Raises SourceMissingError and HubUnreachableError.
    """
    if hub.offline:
        return _cached_tree(hub, repository, revision)
    _check_endpoint(hub.endpoint)
    path = f"/api/models/{repository}"
    if revision is not None:
        path += f"/revision/{quote(revision, safe='')}"
    connection = Connection(hub=hub, repository=repository)
    try:
        commit, listed = read_listing(connection.fetch(f"{path}?blobs=true"))
        raw = b"[]"
        if None in listed.values():
            raw = connection.fetch(f"/api/models/{repository}/tree/{commit}?recursive=true")
        files = with_sizes(listed, raw)
    except ValueError as fault:
        raise HubUnreachableError(str(fault)) from fault
    return HubTree(connection=connection, repository=repository, commit=commit, files=files), commit


@dataclass(frozen=True, slots=True, kw_only=True)
class HubTree:
    """A repository at a commit."""

    connection: Connection
    repository: str
    commit: str
    files: dict[str, TreeFile]
    readers: int = _READERS

    @property
    def name(self) -> str:
        """The repository's own name."""
        return self.repository.split("/")[-1]

    def open(self, name: str) -> HubFile:
        """One file of the repository."""
        path = f"/{self.repository}/resolve/{self.commit}/{quote(name)}"
        size = self.files[name].bytes
        return HubFile(connection=self.connection, path=path, name=name, size_bytes=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """One file of a repository at a commit, read by ranges."""

    connection: Connection
    path: str
    name: str
    size_bytes: int

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from offset on; raises SourceMissingError and HubUnreachableError."""
        length = max(0, min(length, self.size_bytes - offset))
        return self.connection.fetch(self.path, Span(offset, length)) if length else b""


def _check_endpoint(endpoint: str) -> None:
    """Raises HubUnreachableError for what nobody can connect to: no use in trying it again."""
    try:
        found = urlsplit(endpoint)
        is_address = found.scheme in {"http", "https"} and found.hostname and found.port != 0
    except ValueError:  # A port that is no number.
        is_address = False
    if not is_address:
        raise HubUnreachableError(f"HF_ENDPOINT is `{endpoint[:80]}`, which is no http address")


def _cached_tree(hub: Hub, repository: str, revision: str | None) -> tuple[LocalTree, str]:
    """What an earlier download left on disk (huggingface_hub's cache layout)."""
    folder = hub.cache / f"models--{repository.replace('/', '--')}"
    reference = folder / "refs" / (revision or "main")
    commit = revision or ""
    if reference.is_file():
        commit = reference.read_text(encoding="utf-8", errors="replace").strip()[:_COMMIT_LENGTH]
    snapshot = folder / "snapshots" / commit
    if not commit or not snapshot.is_dir():
        raise HubUnreachableError(
            f"HF_HUB_OFFLINE is set, and {hub.cache} does not hold this repository"
        )
    return LocalTree(snapshot), commit
