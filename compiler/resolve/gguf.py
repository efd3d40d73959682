"""The GGUF header walk: values, array lengths and tensors of one file, without holding its arrays.

Format: ggml/docs/gguf.md and ggml/src/gguf.cpp (llama.cpp build 9000). Versions 2 and 3, both byte
orders. A vocabulary is stepped over string by string and never held, so a header of many megabytes
costs one window of memory.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from itertools import pairwise

from compiler.ir.facts import HeaderValue
from compiler.resolve.ggml import REMOVED_TENSOR_TYPES, TENSOR_TYPES, tensor_bytes
from compiler.resolve.ranges import WINDOW_BYTES, DamagedFileError, Ranges, refuse_pointer

MAGIC = b"GGUF"
KEPT_ARRAY_LENGTH = 1024
"""Per-layer arrays are shorter, vocabularies are longer."""
KEPT_STRING_BYTES = 200
"""Names are shorter, chat templates and licences are longer."""

_STRING, _ARRAY = 8, 9
# GGUF value type to struct format: u8 i8 u16 i16 u32 i32 f32 bool u64 i64 f64.
_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))

# Bounds far above every published model (a hundred values, a few thousand tensors), so that a
# hostile header costs seconds and less than 200 MiB.
_MAX_HEADER_BYTES = 256 << 20
_MAX_WINDOW_BYTES = 8 << 20
_MAX_VALUES = 1 << 12
_MAX_KEPT_ELEMENTS = 1 << 16
_MAX_TENSORS = 1 << 15
_MAX_STRINGS = 1 << 23
_MAX_KEY_BYTES = 1024
_MAX_TENSOR_NAME_BYTES = 256
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
_MAX_TENSOR_ELEMENTS = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTensor:
    """One tensor of the file; `offset` counts from the start of the data section."""

    name: str
    dtype: str
    shape: list[int]
    bytes: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What the header of one file says."""

    version: int
    big_endian: bool
    values: dict[str, HeaderValue]
    """Scalars, short strings and arrays of at most `KEPT_ARRAY_LENGTH` elements."""
    lengths: dict[str, int]
    """Number of elements of every array, kept or not."""
    tensors: tuple[GgufTensor, ...]
    """In the order of the file's tensor list."""
    alignment: int
    data_offset: int
    """Where the data section starts; everything before it is the header."""
    sha256: str
    """Digest of the header, padding included."""

    @property
    def data_bytes(self) -> int:
        """Size of the data section as the tensors need it, padding at its end left out."""
        return max((tensor.offset + tensor.bytes for tensor in self.tensors), default=0)


def read_gguf(file: Ranges) -> GgufHeader:
    """Walk the header of a GGUF file; raises DamagedFileError when it contradicts itself."""
    cursor = _Cursor(file)
    version, big_endian = _read_version(cursor)
    n_tensors, n_values = cursor.unpack("QQ")
    if n_tensors > _MAX_TENSORS or n_values > _MAX_VALUES:
        raise DamagedFileError(f"claims {n_tensors} tensors and {n_values} values")
    values, lengths = _read_values(cursor, n_values)
    alignment = _alignment(values)
    tensors = tuple(_read_tensor(cursor, alignment) for _ in range(n_tensors))
    data_offset = -(-cursor.offset // alignment) * alignment
    # Files without tensors (vocabulary only) may end without the padding.
    cursor.skip(min(data_offset, file.size_bytes) - cursor.offset)
    _check_layout(tensors, file.size_bytes - data_offset)
    return GgufHeader(
        version=version,
        big_endian=big_endian,
        values=values,
        lengths=lengths,
        tensors=tensors,
        alignment=alignment,
        data_offset=data_offset,
        sha256=cursor.digest(),
    )


class _Cursor:
    """A place in the file that only moves forward, over one window of bytes at a time."""

    def __init__(self, file: Ranges) -> None:
        self._file = file
        self._window = b""
        self._start = 0
        self._position = 0
        self._next_bytes = WINDOW_BYTES
        self._hash = hashlib.sha256()
        self.order = "<"

    @property
    def offset(self) -> int:
        """Bytes passed so far."""
        return self._start + self._position

    def take(self, length: int) -> bytes:
        """The next bytes; raises DamagedFileError at the end of the file."""
        self._need(length)
        taken = self._window[self._position : self._position + length]
        self._position += length
        return taken

    def rest(self) -> bytes:
        """What the window holds beyond this place."""
        return self._window[self._position :]

    def unpack(self, form: str) -> tuple[int, ...]:
        """The next numbers in the file's byte order."""
        layout = struct.Struct(self.order + form)
        return layout.unpack(self.take(layout.size))

    def skip(self, length: int) -> None:
        """Pass over bytes without holding them."""
        if self.offset + length > min(self._file.size_bytes, _MAX_HEADER_BYTES):
            self._end(length)
        while length > len(self._window) - self._position:
            length -= len(self._window) - self._position
            self._position = len(self._window)
            self._need(1)
        self._position += length

    def skip_strings(self, count: int) -> None:
        """Pass over strings; the one loop that runs once a token of the vocabulary."""
        unpack = struct.Struct(self.order + "Q").unpack_from
        while count:
            window, position = self._window, self._position
            # No test in the loop: `unpack` itself complains when it leaves the window.
            try:
                for passed in range(count):  # noqa: B007 (used after the window has ended)
                    (length,) = unpack(window, position)
                    position += 8 + length
                count = 0
            except (struct.error, OverflowError):
                count -= passed
            self._position = min(position, len(window))
            if position > len(window):
                self.skip(position - len(window))
            elif count:
                self._need(8)

    def digest(self) -> str:
        """The sha256 of everything passed."""
        self._hash.update(self._window[: self._position])
        self._window, self._start, self._position = b"", self.offset, 0
        return self._hash.hexdigest()

    def _need(self, length: int) -> None:
        """Move the window so that it holds the next `length` bytes."""
        if len(self._window) - self._position >= length:
            return
        if self.offset + length > min(self._file.size_bytes, _MAX_HEADER_BYTES):
            self._end(length)
        self._hash.update(self._window[: self._position])
        rest = self._window[self._position :]
        self._start, self._position = self.offset, 0
        wanted = max(self._next_bytes, length) - len(rest)
        self._window = rest + self._file.read(self._start + len(rest), wanted)
        # A long header takes few requests, a short one little transfer.
        self._next_bytes = min(2 * self._next_bytes, _MAX_WINDOW_BYTES)
        if len(self._window) < length:
            self._end(length)

    def _end(self, length: int) -> None:
        if self.offset + length > self._file.size_bytes:
            raise DamagedFileError(
                f"ends at byte {self._file.size_bytes}, inside its header "
                f"(byte {self.offset} needs {length} more)"
            )
        raise DamagedFileError(f"has a header of more than {_MAX_HEADER_BYTES >> 20} MiB")


def _read_version(cursor: _Cursor) -> tuple[int, bool]:
    magic = cursor.take(len(MAGIC))
    if magic != MAGIC:
        refuse_pointer(magic + cursor.rest())
        raise DamagedFileError("does not start like a GGUF file")
    (version,) = cursor.unpack("I")
    # gguf.cpp: a version whose lower half is empty was written in the other byte order.
    big_endian = version & 0xFFFF == 0
    if big_endian:
        cursor.order = ">"
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in {2, 3}:
        raise DamagedFileError(f"has GGUF version {version}; versions 2 and 3 can be read")
    return version, big_endian


def _read_values(cursor: _Cursor, count: int) -> tuple[dict[str, HeaderValue], dict[str, int]]:
    values: dict[str, HeaderValue] = {}
    lengths: dict[str, int] = {}
    kept = 0
    for _ in range(count):
        key = _read_text(cursor, _MAX_KEY_BYTES, "a key")
        if key in values or key in lengths:
            raise DamagedFileError(f"has the key `{key[:80]}` twice")
        (kind,) = cursor.unpack("I")
        if kind == _ARRAY:
            value = _read_array(cursor, key, lengths)
        elif kind == _STRING:
            value = _read_string(cursor)
        else:
            value = _read_scalars(cursor, key, kind, 1)[0]
        values[key] = value
        kept += len(value) if isinstance(value, list) else 0
        if kept > _MAX_KEPT_ELEMENTS:
            raise DamagedFileError(f"has more than {_MAX_KEPT_ELEMENTS} elements in short arrays")
    return {key: value for key, value in values.items() if value is not None}, lengths


def _read_array(cursor: _Cursor, key: str, lengths: dict[str, int]) -> HeaderValue:
    """The array if it is short, None if it was passed over; its length is noted either way."""
    kind, count = cursor.unpack("IQ")
    lengths[key] = count
    if kind == _STRING:
        if count > _MAX_STRINGS:
            raise DamagedFileError(f"claims {count} strings in `{key[:80]}`")
        if count > KEPT_ARRAY_LENGTH:
            cursor.skip_strings(count)
            return None
        texts = [_read_string(cursor) for _ in range(count)]
        return None if None in texts else list(texts)
    if count > KEPT_ARRAY_LENGTH and kind in _SCALARS:
        cursor.skip(count * struct.calcsize("<" + _SCALARS[kind]))
        return None
    return _read_scalars(cursor, key, kind, count)


def _read_scalars(cursor: _Cursor, key: str, kind: int, count: int) -> list[HeaderValue]:
    if kind not in _SCALARS:
        what = "an array of arrays" if kind == _ARRAY else f"a value of unknown type {kind}"
        raise DamagedFileError(f"has {what} in `{key[:80]}`")
    numbers = cursor.unpack(f"{count}{_SCALARS[kind]}")
    return [_readable(number, kind) for number in numbers]


def _readable(number: float, kind: int) -> HeaderValue:
    """Floats as people wrote them: 1e-05, not the nearest single-precision number to it."""
    if not isinstance(number, float):
        return number
    if number != number or number in {float("inf"), float("-inf")}:  # noqa: PLR0124 (not a number)
        return str(number)
    if kind == 12:  # noqa: PLR2004 (f64 is exact as it is)
        return number
    short = (float(f"{number:.{digits}g}") for digits in range(6, 10))
    return next((text for text in short if _single(text) == number), number)


def _single(number: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return float("inf")


def _read_string(cursor: _Cursor) -> str | None:
    """A string of at most `KEPT_STRING_BYTES`; a longer one is passed over."""
    (length,) = cursor.unpack("Q")
    if length > KEPT_STRING_BYTES:
        cursor.skip(length)
        return None
    return cursor.take(length).decode("utf-8", "replace")


def _read_text(cursor: _Cursor, limit: int, what: str) -> str:
    (length,) = cursor.unpack("Q")
    if length > limit:
        raise DamagedFileError(f"has {what} of {length} bytes at byte {cursor.offset}")
    try:
        return cursor.take(length).decode("utf-8")
    except UnicodeDecodeError as fault:
        raise DamagedFileError(f"has {what} that is no text at byte {cursor.offset}") from fault


def _alignment(values: dict[str, HeaderValue]) -> int:
    """general.alignment, a power of two (gguf.cpp: GGUF_DEFAULT_ALIGNMENT 32)."""
    found = values.get("general.alignment", 32)
    if isinstance(found, bool) or not isinstance(found, int):
        raise DamagedFileError("has a `general.alignment` that is no number")
    if not 0 < found <= WINDOW_BYTES or found & (found - 1):
        raise DamagedFileError(f"has a `general.alignment` of {found}, which is no power of two")
    return found


def _read_tensor(cursor: _Cursor, alignment: int) -> GgufTensor:
    name = _read_text(cursor, _MAX_TENSOR_NAME_BYTES, "a tensor name")
    if "*" in name:  # It stands for a number in tensor groups.
        raise DamagedFileError(f"has a tensor `{name}`, a name that no model has")
    (n_dimensions,) = cursor.unpack("I")
    if n_dimensions > _MAX_DIMENSIONS:
        raise DamagedFileError(f"has a tensor `{name}` of {n_dimensions} dimensions")
    shape = list(cursor.unpack(f"{n_dimensions}Q"))
    kind, offset = cursor.unpack("IQ")
    dtype = _tensor_type(name, kind, shape)
    if offset % alignment:
        raise DamagedFileError(f"has the tensor `{name}` at byte {offset}, which is not aligned")
    return GgufTensor(
        name=name, dtype=dtype, shape=shape, bytes=tensor_bytes(dtype, shape), offset=offset
    )


def _tensor_type(name: str, kind: int, shape: list[int]) -> str:
    if kind in REMOVED_TENSOR_TYPES:
        raise DamagedFileError(
            f"stores `{name}` as {REMOVED_TENSOR_TYPES[kind]}, a type that llama.cpp has removed"
        )
    if kind not in TENSOR_TYPES:
        raise DamagedFileError(f"stores `{name}` in tensor type {kind}, which is not known")
    elements = 1
    for extent in shape:
        elements *= extent
    if not 0 <= elements < _MAX_TENSOR_ELEMENTS:
        raise DamagedFileError(f"has a tensor `{name}` of {elements} elements")
    dtype, block, _ = TENSOR_TYPES[kind]
    if (shape[0] if shape else 1) % block:
        raise DamagedFileError(f"stores rows of {shape[:1]} elements of `{name}` as {dtype}")
    return dtype


def _check_layout(tensors: tuple[GgufTensor, ...], data_bytes: int) -> None:
    """No name twice, no tensor over another, none beyond the end of the file."""
    names = {tensor.name for tensor in tensors}
    if len(names) != len(tensors):
        raise DamagedFileError("has two tensors of the same name")
    placed = sorted(tensors, key=lambda tensor: (tensor.offset, tensor.bytes))
    for before, after in pairwise(placed):
        if after.offset < before.offset + before.bytes:
            raise DamagedFileError(f"has `{before.name}` and `{after.name}` in the same place")
    missing = max((tensor.offset + tensor.bytes for tensor in tensors), default=0) - data_bytes
    if tensors and missing > 0:
        raise DamagedFileError(
            f"is {missing} bytes shorter than its tensors: the copy is not complete"
        )
