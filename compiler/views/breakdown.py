"""The breakdown of one device as a table, and as JSON."""

from __future__ import annotations

from compiler.ir.demand import Breakdown
from compiler.ir.plan import PlannedBreakdown
from compiler.ir.units import demand_mib
from compiler.views.terminal import columns, safe_text


def breakdown_lines(
    breakdown: Breakdown | PlannedBreakdown, *, width: int | None = None
) -> list[str]:
    """A row for each part with its band and derivation, and their total."""
    rows = [
        ("part", "MiB", "low", "high", "how"),
        *(
            (name, *_mib(part.bytes, part.low_bytes, part.high_bytes), safe_text(part.why))
            for name, part in breakdown.parts()
        ),
        ("total", *_mib(breakdown.total_bytes, breakdown.low_bytes, breakdown.high_bytes), ""),
    ]
    return columns(rows, right=(1, 2, 3), width=width)


def breakdown_sizes(breakdown: Breakdown | PlannedBreakdown) -> dict[str, int]:
    """The size of each part, the total and its band, by names that end in `_bytes`."""
    return {
        **{f"{name}_bytes": part.bytes for name, part in breakdown.parts()},
        "total_bytes": breakdown.total_bytes,
        "low_bytes": breakdown.low_bytes,
        "high_bytes": breakdown.high_bytes,
    }


def _mib(total_bytes: int, low_bytes: int, high_bytes: int) -> tuple[str, str, str]:
    return (
        f"{demand_mib(total_bytes):,}",
        f"{demand_mib(low_bytes):,}",
        f"{demand_mib(high_bytes):,}",
    )
