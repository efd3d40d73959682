"""Learns the band of each component of the vLLM law, leaving one measured model out at a time.

For every model the constants are fitted without its rows (one scale a component: the median ratio
of measured to computed over the other models) and its rows are predicted with that fit. The band is
the narrowest one, in MiB and permille, that covers every row so predicted; it is written to
compiler/engines/vllm/memory/band.json with the rows it rests on.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from compiler.engines.vllm.memory.law import Estimate
from compiler.engines.vllm.versions import Version
from compiler.ir.units import GIB, MIB
from tests.truth.vllm import FIRST_V1, Row, estimate_for, read_rows

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "compiler" / "engines" / "vllm" / "memory" / "band.json"
# The log line `peak activation` includes the estimate of the graphs from this version on.
_GRAPHS_IN_ACTIVATION: Version = (0, 27, 0)
# A log prints two decimals of GiB.
_PRINTED_BYTES = GIB // 200
_FEWEST_MODELS = 3
_STEP_MIB = 8
# RAM was measured once (three processes of the CPU build): the band is half of it to either side.
_PROCESSES = {"low_permille": 500, "high_permille": 500, "low_mib": 0, "high_mib": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured component beside what the law computes."""

    row: Row
    computed: int
    measured: int


Measure = Callable[[Row, Estimate], tuple[int, int] | None]


def weights(row: Row, estimate: Estimate) -> tuple[int, int] | None:
    """`Model loading took`."""
    return _pair(estimate.weights_bytes, row.measured.get("weights"))


def compute(row: Row, estimate: Estimate) -> tuple[int, int] | None:
    """`peak activation`, without the graphs that newer versions add to it."""
    activation = row.measured.get("activation")
    if activation is None:
        return None
    if row.version >= _GRAPHS_IN_ACTIVATION:
        return estimate.transient_bytes, round(activation * GIB) - estimate.graphs.charged_bytes
    # The peak of torch, which what stays is a part of.
    return estimate.transient_bytes + estimate.persistent_bytes, round(activation * GIB)


def graphs(row: Row, estimate: Estimate) -> tuple[int, int] | None:
    """The graph pool; figures of zero and less are noise of a measurement on the whole device."""
    measured = row.measured.get("cudagraph", 0)
    return _pair(estimate.graphs.larger_bytes, measured if measured > 0 else None)


def charged(row: Row, estimate: Estimate) -> tuple[int, int] | None:
    """Non-torch memory, or from 0.27 on what was consumed beside weights and tables."""
    if "non_torch" in row.measured:
        return _pair(estimate.runtime.charged_bytes, row.measured["non_torch"])
    if "consumed" not in row.measured or "weights" not in row.measured:
        return None
    beside = row.measured["consumed"] - row.measured["weights"] - estimate.persistent_bytes / GIB
    return _pair(estimate.runtime.charged_bytes, beside)


def context(row: Row, estimate: Estimate) -> tuple[int, int] | None:
    """Total less free memory when the process has just come up."""
    if "free_at_start" not in row.measured or "cuda_total" not in row.gpu:
        return None
    used = row.gpu["cuda_total"] - row.measured["free_at_start"]
    return _pair(estimate.runtime.context_bytes, used)


COMPONENTS: dict[str, Measure] = {
    "weights": weights,
    "compute": compute,
    "graphs": graphs,
    "charged": charged,
    "context": context,
}


def samples_of(component: str) -> list[Sample]:
    """All rows that measured a component."""
    samples = []
    for row in read_rows():
        usable = row.version >= FIRST_V1 and row.serves(component)
        if usable and (component == "weights" or row.serves("start")):
            found = COMPONENTS[component](row, estimate_for(row))
            if found is not None and found[0] > 0:
                samples.append(Sample(row=row, computed=found[0], measured=found[1]))
    return samples


def held_out(samples: list[Sample]) -> list[tuple[int, int]]:
    """Computed size and residual of each sample, with constants fitted without its model.

    The constants in the law were fitted on all rows. Without a model they would differ by the ratio
    of the two fits, so the prediction is moved by that ratio.
    """
    whole = _fit(samples)
    result = []
    for sample in samples:
        others = [other for other in samples if other.row.config != sample.row.config]
        enough = len({other.row.config for other in others}) >= _FEWEST_MODELS
        moved = round(sample.computed * _fit(others) / whole) if enough else sample.computed
        result.append((sample.computed, sample.measured - moved))
    return result


def _fit(samples: list[Sample]) -> float:
    return statistics.median(sample.measured / sample.computed for sample in samples)


def narrowest(points: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Permille and MiB of the narrowest one-sided band that covers all residuals.

    Points are computed size and excess, both in bytes.
    """
    cases = [(size, max(0, excess - _PRINTED_BYTES)) for size, excess in points]
    best: tuple[int, int, int] | None = None
    limit = max((excess for _, excess in cases), default=0) // MIB + _STEP_MIB
    for mib in range(0, limit + 1, _STEP_MIB):
        permille = max(
            (-(-1000 * max(0, excess - mib * MIB) // size) for size, excess in cases), default=0
        )
        width = sum(size * permille // 1000 + mib * MIB for size, _ in cases)
        if best is None or width < best[0]:
            best = (width, permille, mib)
    return (best[1], best[2]) if best else (0, 0)


def learn(component: str) -> dict[str, object]:
    """The entry of one component."""
    samples = samples_of(component)
    points = held_out(samples)
    high = narrowest((size, excess) for size, excess in points)
    low = narrowest((size, -excess) for size, excess in points)
    return {
        "band": {
            "low_permille": low[0],
            "high_permille": high[0],
            "low_mib": low[1],
            "high_mib": high[1],
        },
        "models": len({sample.row.config for sample in samples}),
        "rows": [sample.row.name for sample in samples],
    }


def main() -> None:
    """Write the file and print what is in it; with --check only say whether it is up to date."""
    components: dict[str, object] = {name: learn(name) for name in COMPONENTS}
    components["processes"] = {"band": _PROCESSES, "models": 1, "rows": []}
    text = json.dumps(
        {
            "about": "Bands of the vLLM law, written by tables/vllm_band.py from "
            "tests/truth/vllm.yaml, one model left out at a time. `rows` names the launches.",
            "components": components,
        },
        indent=1,
    )
    for name, entry in components.items():
        print(f"{name:10} {entry['band']}  {entry['models']} models")  # type: ignore[index]
    if "--check" in sys.argv[1:]:
        sys.exit(0 if TARGET.read_text() == text + "\n" else 1)
    TARGET.write_text(text + "\n")


def _pair(computed: int, measured_gib: float | None) -> tuple[int, int] | None:
    return None if measured_gib is None else (computed, round(measured_gib * GIB))


if __name__ == "__main__":
    main()
