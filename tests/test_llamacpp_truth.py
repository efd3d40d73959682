"""The memory law of llama.cpp against libllama's own buffer sizes and real logs.

`python -m tests.truth.llamacpp_accuracy` compares all rows; here stands a sample of each model.
"""

from __future__ import annotations

from typing import Any

import pytest

from compiler.ir.units import MIB
from tests.truth.llamacpp_accuracy import (
    Row,
    devices_of,
    libllama_rows,
    log_errors,
    log_rows,
    log_usage,
    printed,
    used_errors,
)

ROWS = libllama_rows()
# Each model comes up two or three times, and each kind of flag with many of them.
SAMPLE = ROWS[::13]
# What once was wrong: work that moves between devices.
MOVING = libllama_rows("llamacpp_flags")

# Logs whose build or architecture the law does not know exactly; the band must hold them.
INEXACT = {
    "bge-small-b4477": "the graph of January 2025 had one copy less",
    "qwen25vl-3b-ub4096": "the rope of qwen2vl in builds of 2025 is not known",
    "qwen38-27b-b11501": "newer than the source studied",
}


def check(row: Row) -> None:
    for device, ours, truth in devices_of(row):
        assert ours == truth, device


def name_of(row: Row) -> str:
    return f"{row.model} {row.flags} {len(row.gpus)}"


@pytest.mark.parametrize("row", [*SAMPLE, *MOVING], ids=name_of)
def test_libllama_allocates_what_the_law_says(row: Row) -> None:
    check(row)


def test_the_sample_has_every_model() -> None:
    assert {row.model for row in SAMPLE} == {row.model for row in ROWS}


@pytest.mark.parametrize("row", log_rows(), ids=lambda row: row["id"])
def test_a_real_log_printed_what_the_law_says(row: dict[str, Any]) -> None:
    for name, truth, ours in log_errors(row):
        if row["id"] in INEXACT and "compute" in name:
            continue
        assert printed(row, truth, ours), (name, truth, ours)


@pytest.mark.parametrize("row", log_rows(), ids=lambda row: row["id"])
def test_the_band_holds_every_log(row: dict[str, Any]) -> None:
    found, gpus = log_usage(row)
    digits = MIB if row.get("rounded") else MIB // 50
    for device in range(gpus):
        truth = row["gpus"][device].get("compute")
        if truth is not None:
            low, high = found.compute_low[device], found.compute_high[device]
            assert low - digits <= truth * MIB <= high + digits


def test_what_the_driver_showed_is_inside_the_band() -> None:
    found = list(used_errors())
    assert len(found) == 28
    for name, truth, _, low, high in found:
        assert low <= truth <= high, name
