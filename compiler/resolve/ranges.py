"""Reading parts of a model file, wherever it lies: the one interface of local files and the hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

# A header is read in windows of this size: one request brings most safetensors headers whole, and
# a local read costs no more than it must.
WINDOW_BYTES = 1 << 20


class DamagedFileError(Exception):
    """A model file contradicts itself; the text says how, without the file's name."""


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
