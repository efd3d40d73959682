"""Sizes and shares: what is read, what is printed, and which way each is rounded."""

from __future__ import annotations

import pytest

from compiler.ir.units import (
    GIB,
    KIB,
    MIB,
    TIB,
    budget_mib,
    demand_mib,
    format_size,
    parse_size,
    permille,
    permille_of,
    round_up,
    show_mib,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0B", 0),
        ("1B", 1),
        ("512KiB", 512 * KIB),
        ("24564MiB", 24564 * MIB),
        ("24GiB", 24 * GIB),
        ("24 GiB", 24 * GIB),
        (" 24GiB ", 24 * GIB),
        ("1.5GiB", 3 * GIB // 2),
        ("0.5KiB", 512),
        ("1TiB", TIB),
        ("007MiB", 7 * MIB),
    ],
)
def test_a_size_has_a_binary_unit(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "64", "64GB", "64G", "64Gi", "64gib", "64 GIB", "GiB", "", "-1GiB", "+1GiB", "1e3MiB",
        "1,5GiB", "1_000MiB", ".5GiB", "1.GiB", "1.5.5GiB", "0x10MiB", "24GiB x", "24\n\nGiB",
        "٢٤GiB", "²GiB", "infGiB", "1" * 19 + "B",
    ],
)  # fmt: skip
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0.5B", "0.1KiB", "0.0001MiB", "1.000000001GiB"])
def test_a_size_is_a_whole_number_of_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number of bytes"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (1023, "1023B"),
        (KIB, "1KiB"),
        (KIB + 1, "1025B"),
        (1536 * MIB, "1536MiB"),
        (2048 * MIB, "2GiB"),
        (TIB, "1TiB"),
    ],
)
def test_a_size_is_printed_exactly(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("size_bytes", "demand", "budget"), [(0, 0, 0), (1, 1, 0), (MIB, 1, 1), (MIB + 1, 2, 1)]
)
def test_demands_round_up_and_budgets_down(size_bytes: int, demand: int, budget: int) -> None:
    assert (demand_mib(size_bytes), budget_mib(size_bytes)) == (demand, budget)


def test_people_see_thousands_separators_and_never_too_little() -> None:
    assert show_mib(12_345 * MIB - 1) == "12,345 MiB"


@pytest.mark.parametrize(
    ("share", "thousandths"),
    [(0, 0), (1, 1000), (0.95, 950), ("0.95", 950), ("0.950", 950), (0.001, 1), ("5e-1", 500)],
)
def test_a_share_is_whole_thousandths(share: float | str, thousandths: int) -> None:
    assert permille(share) == thousandths


@pytest.mark.parametrize(
    "share",
    [1.001, -0.001, 0.0005, "0.9505", "1e3", "1/2", "1/0", "nan", "inf", "", "x", "1e99999999999"],
)
def test_anything_else_is_no_share(share: float | str) -> None:
    with pytest.raises(ValueError, match="is not a share between 0 and 1"):
        permille(share)


def test_the_share_of_a_size_rounds_down() -> None:
    assert permille_of(1001, 999) == 999
    assert permille_of(24576 * MIB, 950) == 24576 * MIB * 95 // 100


@pytest.mark.parametrize(
    ("value", "step", "rounded"), [(0, 8, 0), (1, 8, 8), (8, 8, 8), (9, 8, 16)]
)
def test_rounding_up_to_a_step(value: int, step: int, rounded: int) -> None:
    assert round_up(value, step) == rounded
