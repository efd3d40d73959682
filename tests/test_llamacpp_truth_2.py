"""Rows of late 2026: exact for the families that are claimed, inside the band for the others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.truth.llamacpp_accuracy import devices_of_2, libllama_rows_2, log_figures_2, log_rows_2

ROWS = libllama_rows_2()
# Every model comes up several times, and the newest families whole.
SAMPLE = [
    row
    for number, row in enumerate(ROWS)
    if number % 4 == 0 or row["model"] in ("deepseek-v4-flash", "qwen3.8-flash-next")
]


def name_of(row: dict[str, Any]) -> str:
    return f"{row['model']} {row['flags']} {row['gpus']}"


@pytest.mark.parametrize("row", SAMPLE, ids=name_of)
def test_libllama_allocates_what_the_law_says(row: dict[str, Any]) -> None:
    for device in devices_of_2(row):
        for part, truth, ours, low, high in device.parts:
            assert low <= truth <= high, (device.name, part)
            if device.claimed or part != "compute":
                assert truth == ours, (device.name, part)


def test_the_sample_has_every_model() -> None:
    assert {row["model"] for row in SAMPLE} == {row["model"] for row in ROWS}


@pytest.mark.parametrize("row", log_rows_2(), ids=lambda row: row["id"])
def test_a_real_log_is_met(row: dict[str, Any]) -> None:
    for name, truth, ours, low, high in log_figures_2(row):
        digits = 1.0 if row.get("rounded") else 0.02
        assert low - digits <= truth <= high + digits, name
        if "compute" not in name:
            assert abs(truth - ours) <= digits, name
