"""GPU kinds as gpu_kinds describes them, and the one whose memory is its host's RAM."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.diagnostics import Diagnostic, Location, Severity
from compiler.ir.catalog import builtin_kinds
from compiler.ir.inventory import Gpu, GpuKind
from compiler.ir.units import format_size
from compiler.load.inventory_file import GpuKindEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFault:
    """What is wrong, a way out, and at which key."""

    code: str
    detail: str
    hint: str
    place: tuple[str, ...]


def described_kind(name: str, entry: GpuKindEntry) -> tuple[GpuKind, list[KindFault]]:
    """The kind of an entry, and what cannot be about it."""
    built_in = builtin_kinds().get(name)
    unified = entry.unified
    if unified is None:
        unified = built_in is not None and built_in.unified
    # Without a measured figure the CUDA total is 98 % of the NVML one, as in the catalog.
    usual = entry.memory if unified else entry.memory * 98 // 100
    cuda_total = entry.cuda_total or usual
    faults = []
    if cuda_total > entry.memory:
        faults.append(
            KindFault(
                code="wrong-value",
                detail=f"GPU kind `{name}`: the CUDA total is larger than the memory.",
                hint="`memory` is what nvidia-smi prints, `cuda_total` what torch prints.",
                place=("gpu_kinds", name, "cuda_total"),
            )
        )
    if entry.mig and unified:
        faults.append(
            KindFault(
                code="wrong-value",
                detail=f"GPU kind `{name}` is a MIG slice and unified; a slice has memory of its "
                "own.",
                hint="Leave out one of the two.",
                place=("gpu_kinds", name, "unified"),
            )
        )
    kind = GpuKind(
        name=name,
        memory_bytes=entry.memory,
        cuda_total_bytes=cuda_total,
        compute=entry.compute,
        link=entry.link,
        bandwidth_bytes=entry.bandwidth or 0,
        multiprocessors=entry.multiprocessors or 0,
        mig=entry.mig,
        unified=unified,
    )
    return kind, faults


def pooled(
    host: str, gpus: tuple[Gpu, ...], ram_bytes: int, ram_reserved_bytes: int
) -> tuple[tuple[Gpu, ...], list[KindFault]]:
    """The GPU of a pool with the memory that the system sees, less what the host keeps of it."""
    pool = next(gpu for gpu in gpus if gpu.kind.unified)
    if len(gpus) > 1:
        fault = KindFault(
            code="wrong-value",
            detail=f"Host `{host}` has {len(gpus)} GPUs, and a `{pool.kind.name}` is the only one "
            "of its host: its memory is the RAM.",
            hint="Give each of them a host of its own; a GPU beside it cannot be planned for.",
            place=("hosts", host, "gpus"),
        )
        return gpus, [fault]
    cuda_total = min(pool.kind.cuda_total_bytes, ram_bytes)
    kind = replace(pool.kind, memory_bytes=ram_bytes, cuda_total_bytes=cuda_total)
    gpu = replace(pool, kind=kind, shared_reserved_bytes=ram_reserved_bytes)
    if gpu.budget_bytes > 0:
        return (gpu,), []
    fault = KindFault(
        code="bad-budget",
        detail=f"GPU `{kind.name}` of host `{host}` has {format_size(ram_bytes)}, one memory with "
        f"the RAM, of which {format_size(gpu.reserved_bytes)} are `reserved` and "
        f"{format_size(ram_reserved_bytes)} `ram_reserved`.",
        hint="Lower `ram_reserved` or `reserved` of this host.",
        place=("hosts", host),
    )
    return (gpu,), [fault]


def assumed(kind: GpuKind, location: Location) -> Diagnostic:
    """The warning for a kind whose memory nobody has seen."""
    size = format_size(kind.memory_bytes)
    return Diagnostic(
        code="assumed",
        detail=f"The memory of `{kind.name}`, {size}, is what its box says less what cards like it "
        "lose; no report of its driver is known.",
        location=location,
        hints=("If `nvidia-smi` prints another size, give the kind that under `gpu_kinds`.",),
        severity=Severity.WARNING,
    )
