"""What `nvidia-smi -q -x` printed on another host: the GPUs there, without anything installed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from xml.parsers import expat

from compiler.diagnostics import CompileError, Diagnostic
from compiler.discover.kinds import kind_of
from compiler.discover.machine import Found, FoundGpu, no_memory
from compiler.ir.inventory import GpuKind
from compiler.ir.units import MIB

MAX_REPORT_BYTES = 16 << 20
"""Some twenty times what a host with sixteen GPUs prints, all processes included."""
_MAX_DEPTH = 16
_MAX_GPUS = 64
# Longer texts are lists of processes.
_MAX_TEXT = 4096

_UUID = re.compile(r"GPU-[0-9a-zA-Z-]{4,100}")
_MEMORY = re.compile(r"([0-9]{1,9}) MiB")
# What is printed of a GPU that has no memory of its own.
_NO_MEMORY = frozenset({"N/A", "[N/A]", "Not Supported", "[Not Supported]"})
# Where all cards of an architecture have one compute capability (CUDA programming guide).
_COMPUTE = {"Volta": (7, 0), "Turing": (7, 5), "Ada Lovelace": (8, 9), "Hopper": (9, 0)}


class _RefusedError(Exception):
    """The text is no report; says why."""


def read_report(
    text: str, host: str, ram_bytes: int | None, kinds: Mapping[str, GpuKind]
) -> tuple[Found, tuple[str, ...]]:
    """The host as its report says, and the UUIDs of GPUs in MIG mode, whose slices it cannot name.

    The report says nothing of NVLink: GPUs of kinds that are joined by it count as one island.
    Raises CompileError when the text is no such report.
    """
    try:
        entries = _entries(text)
        # A GPU without memory of its own is the only one of its host.
        gpus = [_gpu(entry, ram_bytes, alone=len(entries) == 1) for entry in entries]
    except (_RefusedError, expat.ExpatError) as fault:
        detail = f"This is nothing that `nvidia-smi -q -x` prints: {fault}."
        hint = "Run `nvidia-smi -q -x > report.xml` on the GPU host, and give that file."
        raise CompileError([Diagnostic(code="nvml-failed", detail=detail, hints=(hint,))]) from None
    sliced = tuple(gpu.uuid for gpu in gpus if gpu.mig)
    whole = [_with_island(gpu, index, kinds) for index, gpu in enumerate(gpus) if not gpu.mig]
    return Found(host=host, ram_bytes=ram_bytes, gpus=tuple(whole)), sliced


def _with_island(gpu: FoundGpu, index: int, kinds: Mapping[str, GpuKind]) -> FoundGpu:
    kind = kind_of(gpu, kinds)
    joined = kind is not None and kinds[kind].link == "nvlink"
    return replace(gpu, island=0 if joined else index + 1)


def _gpu(entry: dict[str, str], ram_bytes: int | None, *, alone: bool) -> FoundGpu:
    name, uuid = entry.get("product_name", ""), entry.get("uuid", "")
    said = entry.get("fb_memory_usage/total", "")
    memory, unified = _MEMORY.fullmatch(said), alone and said in _NO_MEMORY
    if unified and uuid in _NO_MEMORY:
        uuid = ""
    if not (name and name.isprintable() and (_UUID.fullmatch(uuid) or (unified and not uuid))):
        raise _RefusedError("a GPU has no product name or no UUID")
    if memory is None and not unified:
        raise _RefusedError(f"`{name[:60]}` does not say its memory")
    if memory is None and not ram_bytes:
        raise no_memory(name[:60])
    minor = entry.get("minor_number", "")
    return FoundGpu(
        name=name,
        uuid=uuid,
        minor=int(minor) if minor.isascii() and minor.isdecimal() and len(minor) < 4 else None,  # noqa: PLR2004  Nodes go up to 255.
        memory_bytes=int(memory[1]) * MIB if memory else ram_bytes or 0,
        unified=unified,
        compute=_COMPUTE.get(entry.get("product_architecture", "")),
        mig=entry.get("mig_mode/current_mig") == "Enabled",
        display=entry.get("display_active") == "Enabled",
        island=0,
    )


def _entries(text: str) -> list[dict[str, str]]:
    """What is said of each GPU, by the path of its element, in the order of the PCI bus."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.EntityDeclHandler = reader.entity
    parser.Parse(text.encode("utf-8", "replace"), True)  # noqa: FBT003  As expat has it.
    return sorted(reader.gpus, key=lambda entry: entry["id"])


class _Reader:
    """One walk over the elements; thrown away after it."""

    def __init__(self) -> None:
        self.gpus: list[dict[str, str]] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self._length = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._path and name != "nvidia_smi_log":
            raise _RefusedError("it begins with another element than `nvidia_smi_log`")
        self._path.append(name)
        if len(self._path) > _MAX_DEPTH:
            raise _RefusedError(f"it has more than {_MAX_DEPTH} levels")
        if self._path == ["nvidia_smi_log", "gpu"]:
            self.gpus.append({"id": attributes.get("id", "")})
            if len(self.gpus) > _MAX_GPUS:
                raise _RefusedError(f"it has more than {_MAX_GPUS} GPUs")
        self._text, self._length = [], 0

    def characters(self, text: str) -> None:
        self._length += len(text)
        if self._length <= _MAX_TEXT:
            self._text.append(text)

    def end(self, _name: str) -> None:
        path = "/".join(self._path[2:])
        if self.gpus and path and self._path[1] == "gpu":
            self.gpus[-1].setdefault(path, "".join(self._text).strip())
        self._path.pop()
        self._text, self._length = [], 0

    def entity(self, *_declaration: object) -> None:
        raise _RefusedError("it declares entities, with which a short text stands for a long one")
