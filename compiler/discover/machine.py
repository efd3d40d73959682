"""What NVML, the driver's own library, says of this host; the only module that knows pynvml."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from compiler.diagnostics import CompileError, Diagnostic
from compiler.ir.units import KIB

# The second column is vendor and device (kernel, drivers/pci/proc.c); 10de is NVIDIA.
_NVIDIA_DEVICE = re.compile(r"^[0-9a-f]{4}\t10de", re.MULTILINE)
_TOTAL = re.compile(r"^MemTotal:\s+([0-9]+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundGpu:
    """One GPU, or one MIG slice, which is a GPU of its own."""

    name: str
    """The product name, as nvidia-smi prints it."""
    uuid: str
    """Empty where the driver does not say one, as on a Jetson."""
    minor: int | None = None
    """Number of its node, `/dev/nvidia<minor>`; None for a slice, and where there are no nodes."""
    memory_bytes: int
    unified: bool = False
    """It has no memory of its own, so that the driver says none: its memory is all of the RAM."""
    compute: tuple[int, int] | None
    """None where only a report of nvidia-smi speaks of it, which does not say it."""
    mig: bool
    display: bool = False
    """Whether a display is initialized on it, which takes memory there."""
    island: int
    """GPUs with the same number reach each other through NVLink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A host as it is: its own name, its RAM and its GPUs in the order of the PCI bus."""

    host: str
    ram_bytes: int | None
    """None when the system does not say."""
    gpus: tuple[FoundGpu, ...]
    unsliced: tuple[str, ...] = ()
    """UUIDs of GPUs in MIG mode without a slice: CUDA can use nothing of them."""
    driver: bool = True
    """Whether a driver said so; without one, there is no device of NVIDIA's either."""


def discover(meminfo: str, devices: str) -> Found:
    """This host, with its RAM from the text of /proc/meminfo.

    `devices` is the text of /proc/bus/pci/devices: a host without a device of NVIDIA's needs no
    driver. Raises CompileError when it has one and no driver answers, or the driver reports an
    error.
    """
    total = _TOTAL.search(meminfo)
    ram_bytes = int(total[1]) * KIB if total else None
    try:
        return _with_gpus(ram_bytes)
    except _NoLibraryError as fault:
        if _NVIDIA_DEVICE.search(devices):
            raise _missing(str(fault)) from None
        return Found(host=os.uname().nodename, ram_bytes=ram_bytes, gpus=(), driver=False)


def _with_gpus(ram_bytes: int | None) -> Found:
    gpus: list[FoundGpu] = []
    unsliced = []
    with _nvml() as nvml:
        handles = _handles(nvml)
        for handle, island in zip(handles, _islands(nvml, handles), strict=True):
            found = list(_devices(nvml, handle, island, ram_bytes))
            gpus += found
            if not found:
                unsliced.append(str(nvml.nvmlDeviceGetUUID(handle)))
    return Found(
        host=os.uname().nodename,
        ram_bytes=ram_bytes,
        gpus=tuple(gpus),
        unsliced=tuple(unsliced),
    )


@contextmanager
def _nvml() -> Iterator[Any]:
    import pynvml  # type: ignore[import-untyped]

    try:
        pynvml.nvmlInit()
        try:
            yield pynvml
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            raise _NoLibraryError(str(error)) from None
        if error.value == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
            raise _missing(str(error)) from None
        hint = "See what `nvidia-smi` says; after an update of the driver, restart the host."
        raise CompileError(
            [Diagnostic(code="nvml-failed", detail=f"NVML says: {error}.", hints=(hint,))]
        ) from None


class _NoLibraryError(Exception):
    """Nothing of the driver is installed."""


def _missing(said: str) -> CompileError:
    hints = (
        "Install NVIDIA's driver, or run it on the GPU host.",
        "Or give it what `nvidia-smi -q -x` prints there, with `--from FILE --host NAME`.",
    )
    return CompileError(
        [Diagnostic(code="nvml-missing", detail=f"NVML says: {said}.", hints=hints)]
    )


def _handles(nvml: Any) -> list[Any]:  # noqa: ANN401  pynvml has no types.
    """The GPUs in the order of the PCI bus, which is the order that plans count in."""

    def place(handle: Any) -> tuple[int, int, int]:  # noqa: ANN401
        try:
            pci = nvml.nvmlDeviceGetPciInfo(handle)
        except nvml.NVMLError_NotSupported:
            # The GPU of a Jetson is on no bus.
            return 0, 0, 0
        return pci.domain, pci.bus, pci.device

    count = nvml.nvmlDeviceGetCount()
    return sorted((nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)), key=place)


def _islands(nvml: Any, handles: list[Any]) -> list[int]:  # noqa: ANN401
    """For each GPU the first one that it reaches through NVLink, directly or by way of others."""
    islands = list(range(len(handles)))
    for second, handle in enumerate(handles):
        for first in range(second):
            if islands[first] != islands[second] and _joined(nvml, handles[first], handle):
                kept, gone = sorted((islands[first], islands[second]))
                islands = [kept if island == gone else island for island in islands]
    return islands


def _joined(nvml: Any, first: Any, second: Any) -> bool:  # noqa: ANN401
    # This is asked instead of the links one by one: it also knows switches and broken links.
    try:
        status = nvml.nvmlDeviceGetP2PStatus(first, second, nvml.NVML_P2P_CAPS_INDEX_NVLINK)
    except nvml.NVMLError:
        return False
    return bool(status == nvml.NVML_P2P_STATUS_OK)


def _devices(
    nvml: Any,  # noqa: ANN401
    handle: Any,  # noqa: ANN401
    island: int,
    ram_bytes: int | None,
) -> Iterator[FoundGpu]:
    """The GPU itself or, in MIG mode, its slices."""
    sliced = _in_mig_mode(nvml, handle)
    compute = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    for each in _slices(nvml, handle) if sliced else [handle]:
        own_bytes = _memory(nvml, each)
        name = str(nvml.nvmlDeviceGetName(each))
        if not own_bytes and not ram_bytes:
            raise no_memory(name)
        yield FoundGpu(
            name=name,
            uuid=_uuid(nvml, each),
            minor=None if sliced else _minor(nvml, handle),
            memory_bytes=own_bytes or ram_bytes or 0,
            unified=not own_bytes,
            compute=compute,
            mig=sliced,
            display=not sliced and _drives_display(nvml, handle),
            island=island,
        )


def no_memory(gpu: str) -> CompileError:
    """The fault of a GPU that shares the RAM of a host of which nobody says how much it has."""
    return CompileError(
        [
            Diagnostic(
                code="missing-key",
                detail=f"`{gpu}` has no memory of its own but shares its host's RAM, and nothing "
                "says how much that is.",
                hints=("Add `--ram 121GiB`, with what `free` shows there in all.",),
            )
        ]
    )


def _memory(nvml: Any, handle: Any) -> int:  # noqa: ANN401
    """Bytes of the GPU's own memory; 0 where it has none (GB10, Orin, Thor: one pool with RAM)."""
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    except nvml.NVMLError_NotSupported:
        return 0


def _uuid(nvml: Any, handle: Any) -> str:  # noqa: ANN401
    try:
        return str(nvml.nvmlDeviceGetUUID(handle))
    except nvml.NVMLError_NotSupported:
        return ""


def _minor(nvml: Any, handle: Any) -> int | None:  # noqa: ANN401
    # The driver of WSL has no nodes and says that it does not support the question.
    try:
        return int(nvml.nvmlDeviceGetMinorNumber(handle))
    except nvml.NVMLError:
        return None


def _drives_display(nvml: Any, handle: Any) -> bool:  # noqa: ANN401
    # Active is where memory is allocated for a display, with or without a screen at its plug.
    try:
        return bool(nvml.nvmlDeviceGetDisplayActive(handle))
    except nvml.NVMLError:
        return False


def _in_mig_mode(nvml: Any, handle: Any) -> bool:  # noqa: ANN401
    # Cards that cannot be sliced answer with an error.
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:
        return False
    return bool(current == nvml.NVML_DEVICE_MIG_ENABLE)


def _slices(nvml: Any, handle: Any) -> Iterator[Any]:  # noqa: ANN401
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError as error:
            # The places for slices are numbered, and not all of them are taken.
            if error.value != nvml.NVML_ERROR_NOT_FOUND:
                raise
