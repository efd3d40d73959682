"""Memory to start with the fitted constants of sampling and runtime learnt without each model.

The constants in the law were fitted on all launches. Here each of them is moved, for one model at a
time, to where the launches of all other models want it (the median of what is left of the error),
and the launches of that model are compared with the law so moved.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, replace

from compiler.engines.vllm.memory.runtime import fuses_all_reduce
from compiler.ir.units import MIB
from tests.truth.vllm import Row, estimate_for, options_for, shape_for
from tests.truth.vllm_accuracy import Point, start_points, summary

# Constants depend on one another: each round fits one after the other.
_ROUNDS = 30
_HOPPER = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One launch, and by how many bytes it grows with each constant that it depends on."""

    point: Point
    slopes: dict[str, float]

    def moved(self, constants: dict[str, float]) -> Point:
        """The prediction with constants other than the law's by so much."""
        extra = sum(slope * constants[name] for name, slope in self.slopes.items())
        return replace(self.point, predicted=round(self.point.predicted + extra))


def held_out() -> list[Point]:
    """Every launch, predicted with constants fitted on the launches of other models."""
    cases = [Case(point=point, slopes=_slopes(point.row)) for point in start_points()]
    points = []
    for model in sorted({case.point.row.config for case in cases}):
        constants = dict.fromkeys((name for case in cases for name in case.slopes), 0.0)
        others = [case for case in cases if case.point.row.config != model]
        constants |= _fit(others)
        points += [case.moved(constants) for case in cases if case.point.row.config == model]
    return points


def _slopes(row: Row) -> dict[str, float]:
    shape = shape_for(row)
    options, estimate = options_for(row, shape), estimate_for(row)
    hopper, slopes = row.kind.compute[0] == _HOPPER, {}
    if hopper:
        slopes["workspaces of cuBLAS, MiB"] = float(MIB)
    sampling = estimate.activation.sampler_bytes >= estimate.activation.forward_bytes
    if sampling and not shape.encoder:
        table_bytes = options.sequences * shape.vocabulary * 4
        slopes[f"sampling, {options.rules.sampler_centi} % of a table"] = table_bytes / 100
    slopes[_libraries(row, hopper=hopper)] = float(MIB)
    return slopes


def _libraries(row: Row, *, hopper: bool) -> str:
    """Which constant of the libraries a launch depends on."""
    options, linked = options_for(row, shape_for(row)), bool(row.gpu.get("nvlink"))
    ranks = options.tensor_parallel
    if ranks == 1:
        return (
            "libraries of Hopper" if hopper and options.rules.more_hopper_kernels else "libraries"
        )
    if linked and fuses_all_reduce(options, row.kind):
        return f"fused all-reduce of {ranks}"
    return f"all-reduce of {ranks}" if linked or options.rules.graphs_in_budget else "PCIe"


def _fit(cases: list[Case]) -> dict[str, float]:
    """By how much each constant moves that these launches know."""
    names = sorted({name for case in cases for name in case.slopes})
    constants = dict.fromkeys(names, 0.0)
    for _ in range(_ROUNDS):
        for name in names:
            lacking = []
            for case in cases:
                if slope := case.slopes.get(name):
                    others = case.moved({**constants, name: 0.0})
                    lacking.append((others.measured - others.predicted) / slope)
            if lacking:
                constants[name] = statistics.median(lacking)
    return constants


def main() -> None:
    """Print the summary beside that of the law itself, and with -v every launch."""
    points = held_out()
    for title, found in (("fitted on all", start_points()), ("fitted on others", points)):
        count, median, high, under, over = summary(found)
        print(f"{title:18}{count:4}{median:9.2%}{high:9.2%}{under:9.2%}{over:9.2%}")
    if "-v" in sys.argv[1:]:
        for point in sorted(points, key=lambda point: point.error):
            print(f"{point.row.name:24}{point.error:9.2%}")


if __name__ == "__main__":
    main()
