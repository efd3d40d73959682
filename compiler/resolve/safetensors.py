"""safetensors headers: names, types, shapes and sizes of the tensors, without their data.

Format: the safetensors README (version 0.6): 8 bytes of length, then that much JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from compiler.ir.facts import Tensor
from compiler.resolve.ranges import DamagedFileError, Ranges, refuse_pointer

# The reference implementation allows 100 MB; 262,144 tensors take some 40.
_MAX_HEADER_BYTES = 64 << 20
_LENGTH_BYTES = 8
# A file of 50 GB, the longest the hub takes, with 512 experts a layer has some 220,000.
_MAX_TENSORS = 1 << 18
# Most headers are smaller than this, and a model of a hundred shards costs some megabytes.
_FIRST_READ_BYTES = 1 << 16
# Bits of one element (safetensors Dtype).
_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E4M3FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


# The header is read entry by entry: as a whole it would take twenty times its size in memory.
# Repetitions are possessive, so that no text makes the match go back.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_ENTRY = re.compile(rb"\s*+(" + _STRING + rb")\s*+:\s*+(\{[^{}]{0,4096}\})\s*+([,}])", re.DOTALL)
_METADATA = re.compile(
    rb'\s*+"__metadata__"\s*+:\s*+(?:null|\{\s*+(?:'
    + _STRING
    + rb"\s*+:\s*+"
    + _STRING
    + rb"\s*+,?+\s*+)*+\})\s*+([,}])",
    re.DOTALL,
)
_NAME = re.compile(rb"\s*+(" + _STRING + rb")\s*+:", re.DOTALL)
_EMPTY = re.compile(rb"\s*+\{\s*+\}\s*+")
# One set for all of them.
_ALL_FIELDS = set(Tensor.model_fields)
_SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsHeader:
    """What the header of one file says; tensors in the order of their data."""

    tensors: tuple[Tensor, ...]
    sha256: str
    """Digest of the header, length field included."""


def read_safetensors(file: Ranges) -> SafetensorsHeader:
    """Read the header of a safetensors file; raises DamagedFileError when it contradicts itself."""
    start = file.read(0, _FIRST_READ_BYTES)
    refuse_pointer(start)
    if len(start) < _LENGTH_BYTES:
        raise DamagedFileError("is too short for a safetensors file")
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    if length > min(_MAX_HEADER_BYTES, file.size_bytes - _LENGTH_BYTES):
        raise DamagedFileError(f"claims a header of {length} bytes")
    end = _LENGTH_BYTES + length
    raw = start[:end]
    if len(raw) < end:
        raw += file.read(len(raw), end - len(raw))
    placed = sorted(
        (_tensor(name, entry) for name, entry in _entries(raw)), key=lambda pair: pair[0]
    )
    if len({tensor.name for _, tensor in placed}) != len(placed):
        raise DamagedFileError("has two tensors of the same name")
    _check_layout([span for span, _ in placed], file.size_bytes - end)
    return SafetensorsHeader(
        tensors=tuple(tensor for _, tensor in placed), sha256=hashlib.sha256(raw).hexdigest()
    )


def _entries(raw: bytes) -> Iterator[tuple[str, object]]:
    """Name and description of each tensor of the header, which begins after its length."""
    if _EMPTY.fullmatch(raw, _LENGTH_BYTES):
        return
    position, after = raw.find(b"{", _LENGTH_BYTES) + 1, b","
    if not position or raw[_LENGTH_BYTES : position - 1].strip(_SPACE):
        raise DamagedFileError("has a header that is no JSON object")
    count = 0
    while after == b",":
        found = _METADATA.match(raw, position) or _ENTRY.match(raw, position)
        if found is None:
            raise _not_understood(raw, position)
        position, after = found.end(), found[found.re.groups]
        if found.re is _METADATA:
            continue
        count += 1
        if count > _MAX_TENSORS:
            raise DamagedFileError(f"has more than {_MAX_TENSORS} tensors")
        try:
            yield json.loads(found[1].decode()), json.loads(found[2].decode())
        except ValueError as fault:
            raise DamagedFileError("has a header that is not valid JSON") from fault
    if raw[position:].strip(_SPACE):
        raise DamagedFileError("has a header that goes on after its end")


def _not_understood(raw: bytes, position: int) -> DamagedFileError:
    named = _NAME.match(raw, position)
    if named is None:
        return DamagedFileError(f"has a header that is not valid JSON at byte {position}")
    name = named[1][1:81].decode("utf-8", "replace").removesuffix('"')
    return DamagedFileError(f"describes the tensor `{name}` in no known way")


def _tensor(name: str, entry: object) -> tuple[tuple[int, int], Tensor]:
    match entry:
        case {
            "dtype": str(dtype),
            "shape": list(shape),
            "data_offsets": [int(begin), int(end)],
        } if all(type(extent) is int and extent >= 0 for extent in shape):
            size = end - begin
        case _:
            raise DamagedFileError(f"describes the tensor `{name[:80]}` in no known way")
    # A `*` stands for a number in tensor groups.
    if "*" in name or not name.isprintable():
        raise DamagedFileError(f"has a tensor {name[:80]!a}, a name that no model has")
    if dtype not in _BITS:
        raise DamagedFileError(f"stores `{name[:80]}` as `{dtype[:20]}`, which is not known")
    if begin < 0 or size * 8 != prod(shape) * _BITS[dtype]:
        raise DamagedFileError(f"gives `{name[:80]}` {size} bytes, which its shape does not take")
    tensor = Tensor.model_construct(
        _fields_set=_ALL_FIELDS, name=name, dtype=dtype, shape=shape, bytes=size
    )
    return (begin, end), tensor


def _check_layout(spans: Sequence[tuple[int, int]], data_bytes: int) -> None:
    """The format demands data without holes and overlaps, up to the end of the file."""
    offset = 0
    for begin, end in spans:
        if begin != offset:
            raise DamagedFileError(f"has a hole or an overlap in its data at byte {offset}")
        offset = end
    if offset > data_bytes:
        raise DamagedFileError(
            f"is {offset - data_bytes} bytes shorter than its tensors: the copy is not complete"
        )
