"""Laws of sizes and shares."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from compiler.ir.units import (
    MIB,
    budget_mib,
    demand_mib,
    format_size,
    parse_size,
    permille,
    permille_of,
    round_up,
)

# Up to a petabyte, beyond every fleet's GPU.
SIZES = st.integers(0, 1 << 50)
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@given(SIZES)
def test_a_printed_size_reads_back(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@given(st.integers(0, 10**6), st.integers(0, 999), st.sampled_from(sorted(UNITS)))
def test_a_size_is_exact_or_refused(whole: int, thousandths: int, unit: str) -> None:
    exact = Fraction(whole * 1000 + thousandths, 1000) * UNITS[unit]
    try:
        found = parse_size(f"{whole}.{thousandths:03d}{unit}")
    except ValueError:
        assert exact.denominator != 1
    else:
        assert found == exact


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    try:
        size_bytes = parse_size(text)
    except ValueError:
        return
    assert size_bytes >= 0


@given(SIZES)
def test_a_demand_is_never_less_and_a_budget_never_more(size_bytes: int) -> None:
    assert budget_mib(size_bytes) * MIB <= size_bytes <= demand_mib(size_bytes) * MIB
    assert demand_mib(size_bytes) - budget_mib(size_bytes) <= 1


@given(SIZES, SIZES)
def test_what_fits_in_mib_fits_in_bytes(demand_bytes: int, budget_bytes: int) -> None:
    if demand_mib(demand_bytes) <= budget_mib(budget_bytes):
        assert demand_bytes <= budget_bytes


@given(st.integers(0, 1000))
def test_a_share_reads_back(thousandths: int) -> None:
    assert permille(thousandths / 1000) == thousandths
    assert permille(f"{thousandths / 1000:.3f}") == thousandths


@given(SIZES, st.integers(0, 1000))
def test_a_share_of_a_size_is_the_largest_that_is_not_more(size: int, thousandths: int) -> None:
    share = permille_of(size, thousandths)
    assert share * 1000 <= size * thousandths < (share + 1) * 1000


@given(SIZES, st.integers(1, 1 << 30))
def test_rounding_up_is_the_least_multiple(value: int, step: int) -> None:
    rounded = round_up(value, step)
    assert rounded % step == 0
    assert value <= rounded < value + step
