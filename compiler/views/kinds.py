"""The GPU kinds that an inventory may name, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.inventory import GpuKind
from compiler.ir.units import budget_mib
from compiler.views.terminal import columns, json_text, safe_text


def kinds_text(kinds: Sequence[GpuKind]) -> str:
    """One line a kind; of the two sizes NVML reports the first and CUDA the second."""
    header = ("kind", "memory", "CUDA total", "compute", "link", "GB/s", "")
    rows = [
        (
            safe_text(kind.name),
            f"{budget_mib(kind.memory_bytes):,} MiB",
            f"{budget_mib(kind.cuda_total_bytes):,} MiB",
            ".".join(map(str, kind.compute)),
            "MIG slice" if kind.mig else "unified" if kind.unified else kind.link,
            f"{kind.bandwidth_bytes // 10**9:,}" if kind.bandwidth_bytes else "",
            "memory assumed" if kind.assumed else "",
        )
        for kind in kinds
    ]
    return "\n".join(columns([header, *rows], right=(1, 2, 3, 5))) + "\n"


def kinds_json(kinds: Sequence[GpuKind]) -> str:
    """The same for programs, under `kinds`."""
    return json_text(
        {
            "kinds": [
                {
                    "kind": kind.name,
                    "memory_bytes": kind.memory_bytes,
                    "cuda_total_bytes": kind.cuda_total_bytes,
                    "compute": ".".join(map(str, kind.compute)),
                    "link": kind.link,
                    "mig": kind.mig,
                    "unified": kind.unified,
                    "assumed": kind.assumed,
                    "bandwidth_bytes": kind.bandwidth_bytes or None,
                }
                for kind in kinds
            ]
        }
    )
