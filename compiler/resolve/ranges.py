"""Reading parts of a model file, wherever it lies: the one interface of local files and the hub."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

# A header is read in windows of this size: one request brings most safetensors headers whole, and
# a local read costs no more than it must.
WINDOW_BYTES = 1 << 20

_MAX_JSON_VALUES = 1 << 19


# What git leaves in the place of a large file that it has not fetched (git-lfs, docs/spec.md).
_POINTER = b"version https://git-lfs.github.com/spec/"


class DamagedFileError(Exception):
    """A model file contradicts itself; the text says how, without the file's name."""


def parse_json(raw: bytes) -> Any:  # noqa: ANN401 (any JSON value)
    """The document of a model file; raises DamagedFileError when it is none, or beyond any model's.

    A value of two bytes takes sixty and more in memory, so that values are counted before.
    """
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > _MAX_JSON_VALUES:
        raise DamagedFileError("holds far more values than such a file does")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as fault:
        raise DamagedFileError("is not valid JSON") from fault


def refuse_pointer(start: bytes) -> None:
    """Raises DamagedFileError when a file that starts like this only stands for a large one."""
    if start.startswith(_POINTER):
        raise DamagedFileError("is a pointer of Git LFS and not the file: run `git lfs pull`")


class Ranges(Protocol):
    """A file of known size that can be read in parts."""

    @property
    def name(self) -> str:
        """The file's name inside its source."""

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from offset on: `length` of them, fewer only at the end of the file."""


class LocalFile:
    """A file on disk."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self.name = name
        self.size_bytes = path.stat().st_size

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from offset on; raises OSError when the disk does."""
        with self._path.open("rb", buffering=0) as file:
            file.seek(offset)
            parts: list[bytes] = []
            while length > 0 and (part := os.read(file.fileno(), length)):
                parts.append(part)
                length -= len(part)
        return b"".join(parts)
