"""Prints how far the vLLM law is from measured launches, beside formulas of other estimators."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from compiler.engines.vllm.memory.law import Estimate
from compiler.ir.units import GIB
from tests.truth.vllm import FIRST_V1, Row, estimate_for, read_rows, shape_for
from tests.truth.vllm_peers import PEERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One comparison: what the law says and what was measured."""

    row: Row
    predicted: int
    measured: int

    @property
    def error(self) -> float:
        """Relative error; logs print two decimals of GiB, which small models suffer from."""
        return self.predicted / self.measured - 1


def weight_points() -> list[Point]:
    """Weights of a rank against `Model loading took`."""
    return [
        Point(
            row=row,
            predicted=estimate_for(row).weights_bytes,
            measured=round(row.measured["weights"] * GIB),
        )
        for row in _rows("weights")
        if "weights" in row.measured
    ]


def layout_points() -> list[Point]:
    """KV tokens of the logged KV size against `GPU KV cache size`."""
    return [
        Point(row=row, predicted=estimate_for(row).tokens(kv_bytes), measured=_tokens(row))
        for row in _rows("kv")
        if "kv_tokens" in row.measured and (kv_bytes := row.kv_bytes()) is not None
    ]


def start_points(
    predict: Callable[[Row, Estimate], int] | None = None,
) -> list[Point]:
    """Least memory to start: what was taken off the budget, and one full-length request."""
    points = []
    for row in _rows("start"):
        budget_bytes, kv_bytes = row.budget_bytes(), row.kv_bytes()
        if budget_bytes is None or kv_bytes is None:
            continue
        estimate = estimate_for(row)
        measured = budget_bytes - kv_bytes + estimate.request_bytes
        predicted = predict(row, estimate) if predict else estimate.start_bytes
        points.append(Point(row=row, predicted=predicted, measured=measured))
    return points


def utilization_points(
    predict: Callable[[Row, Estimate], int] | None = None,
) -> list[Point]:
    """KV tokens at the utilization that was asked for, against the log."""
    points = []
    for row in _rows("start"):
        budget_bytes = row.budget_bytes()
        if budget_bytes is None or "kv_tokens" not in row.measured:
            continue
        estimate = estimate_for(row)
        kv_bytes = estimate.kv_within(budget_bytes)
        if predict:
            kv_bytes = max(0, budget_bytes - predict(row, estimate) + estimate.request_bytes)
        points.append(Point(row=row, predicted=estimate.tokens(kv_bytes), measured=_tokens(row)))
    return points


def summary(points: Iterable[Point]) -> tuple[int, float, float, float, float]:
    """Number of points, median and 95th percentile of the error's size, worst under and over."""
    errors = [point.error for point in points]
    sizes = sorted(abs(error) for error in errors)
    place = min(len(sizes) - 1, -(-95 * len(sizes) // 100) - 1)
    return len(sizes), statistics.median(sizes), sizes[place], min(errors), max(errors)


def main() -> None:
    """Print the tables; with -v also every row."""
    for title, late in (("fitted on", False), ("late 2026", True)):
        print(f"{title:34}{'n':>4}{'median':>9}{'p95':>9}{'under':>9}{'over':>9}")
        _table(late=late)
        print()
    if "-v" in sys.argv[1:]:
        _rows_table()


def of_age(points: list[Point], *, late: bool) -> list[Point]:
    """The points of the older launches, or of those of late 2026."""
    return [point for point in points if point.row.late is late]


def _table(*, late: bool) -> None:
    """One table: the law, and beside it the formulas of others."""
    _line("weights per rank", of_age(weight_points(), late=late))
    _line("KV tokens from the KV size", of_age(layout_points(), late=late))
    for title, measure in (
        ("memory to start", start_points),
        ("KV tokens at a utilization", utilization_points),
    ):
        _line(title, of_age(measure(), late=late))
        for name, peer in PEERS.items():
            points = measure(lambda row, e, peer=peer: peer(shape_for(row), e))  # type: ignore[misc]
            _line(f"  by {name}", of_age(points, late=late))


def _rows_table() -> None:
    tables = {
        "weights per rank, GiB": (weight_points(), GIB),
        "KV tokens from the KV size": (layout_points(), 1),
        "memory to start, GiB": (start_points(), GIB),
        "KV tokens at a utilization": (utilization_points(), 1),
    }
    for title, (points, unit) in tables.items():
        print(f"\n{title:24}{'law':>12}{'measured':>12}{'error':>9}")
        for point in sorted(points, key=lambda point: point.error):
            law, measured = point.predicted / unit, point.measured / unit
            name = point.row.name
            print(f"{name:24}{law:12.3f}{measured:12.3f}{point.error:9.2%}  {point.row.note}")
    print("\nnot compared")
    for row in read_rows():
        for comparison, reason in row.excluded.items():
            print(f"{row.name:24}{comparison:9} {reason}")


def _line(title: str, points: list[Point]) -> None:
    count, median, high, under, over = summary(points)
    print(f"{title:34}{count:4}{median:9.2%}{high:9.2%}{under:9.2%}{over:9.2%}")


def _rows(comparison: str) -> list[Row]:
    return [row for row in read_rows() if row.version >= FIRST_V1 and row.serves(comparison)]


def _tokens(row: Row) -> int:
    return int(row.measured["kv_tokens"])


if __name__ == "__main__":
    main()
