"""The built-in catalog: every kind is plausible, and named as people name it."""

from __future__ import annotations

import re

import pytest

from compiler.ir.catalog import builtin_kinds, parse_compute
from compiler.ir.inventory import GpuKind
from compiler.ir.units import GIB, MIB

KINDS = sorted(builtin_kinds().values(), key=lambda kind: kind.name)
CARDS = [kind for kind in KINDS if not kind.mig]


def check(name: str, memory_mib: int, compute: tuple[int, int], link: str) -> None:
    kind = builtin_kinds()[name]
    assert (kind.memory_bytes, kind.compute, kind.link) == (memory_mib * MIB, compute, link)


# What nvidia-smi prints for cards of each generation.


def test_rtx_3090() -> None:
    check("rtx-3090", 24576, (8, 6), "pcie")


def test_rtx_4090() -> None:
    check("rtx-4090", 24564, (8, 9), "pcie")


def test_rtx_5090() -> None:
    check("rtx-5090", 32607, (12, 0), "pcie")


def test_t4() -> None:
    check("t4", 15360, (7, 5), "pcie")


def test_l40s() -> None:
    check("l40s", 46068, (8, 9), "pcie")


def test_a100_sxm() -> None:
    check("a100-sxm-80gb", 81920, (8, 0), "nvlink")


def test_h100_sxm() -> None:
    check("h100-sxm", 81559, (9, 0), "nvlink")


def test_h200() -> None:
    check("h200-sxm", 143771, (9, 0), "nvlink")


def test_b300() -> None:
    check("b300", 275040, (10, 3), "nvlink")


def test_a_slice_of_an_h100() -> None:
    check("h100-80gb-1g.10gb", 9984, (9, 0), "pcie")


@pytest.mark.parametrize(
    "name",
    [
        "gtx-1080-ti", "rtx-2080-ti", "rtx-a6000", "rtx-6000-ada", "rtx-pro-6000", "p40",
        "v100-32gb", "a10g", "a30", "l4", "gh200-96gb", "b200", "l20", "a800-sxm-80gb", "h800-sxm",
        "h20-141gb", "rtx-4090-d", "rtx-4090-48gb", "rtx-4090-d-48gb", "rtx-3080-20gb",
        "rtx-2080-ti-22gb", "rtx-4080-super-32gb", "rtx-5090-d", "rtx-5880-ada", "t4g", "l40",
        "titan-rtx", "quadro-rtx-5000", "v100s-32gb", "gb200", "gb300",
    ],
)  # fmt: skip
def test_cards_that_people_have(name: str) -> None:
    assert builtin_kinds()[name].name == name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
def test_a_kind_is_plausible(kind: GpuKind) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9.]+)*", kind.name)
    assert 2 * GIB < kind.memory_bytes < 512 * GIB
    # CUDA sees between 95 % and nearly all of what NVML reports, and all of a pool.
    seen = kind.cuda_total_bytes * 1000 // kind.memory_bytes
    assert seen == 1000 if kind.unified else 950 <= seen < 1000
    # Pascal is the oldest that the engines still run on.
    assert (6, 0) <= kind.compute <= (12, 1)
    assert (4 if kind.unified else 6) <= kind.multiprocessors <= 256


@pytest.mark.parametrize("kind", CARDS, ids=lambda kind: str(kind.name))
def test_a_card_tells_its_bandwidth(kind: GpuKind) -> None:
    least = 50 if kind.unified else 100
    assert least * 10**9 <= kind.bandwidth_bytes <= 8000 * 10**9


@pytest.mark.parametrize("kind", CARDS, ids=lambda kind: str(kind.name))
def test_a_size_in_the_name_is_the_size_of_the_card(kind: GpuKind) -> None:
    named = re.search(r"-(\d+)gb$", kind.name)
    if named:
        # A gigabyte on the box is 10^9 or 2^30 bytes, less what ECC takes, or firmware of a pool.
        assert (0.8 if kind.unified else 0.9) < kind.memory_bytes / (int(named[1]) * GIB) < 1.05


def test_kinds_whose_memory_nobody_saw_are_kinds() -> None:
    from compiler.ir import catalog

    assumed = {kind.name for kind in KINDS if kind.assumed}
    assert assumed == catalog._ASSUMED
    assert not assumed & {"rtx-4090-48gb", "l20", "h20-141gb", "rtx-3080-20gb"}


def test_no_name_stands_for_two_kinds() -> None:
    from compiler.ir import catalog

    rows = [row[0] for table in (catalog._ROWS, catalog._SLICES, catalog._POOLS) for row in table]
    assert len(rows) == len(set(rows)) == len(KINDS)


@pytest.mark.parametrize(("text", "compute"), [("8.9", (8, 9)), ("12.0", (12, 0)), ("6.1", (6, 1))])
def test_a_compute_capability_is_two_numbers(text: str, compute: tuple[int, int]) -> None:
    assert parse_compute(text) == compute


@pytest.mark.parametrize("text", ["", "8", "8.", ".9", "8.9.1", "sm_89", "-8.9", "8.٩", "8.²"])
def test_anything_else_is_no_compute_capability(text: str) -> None:
    with pytest.raises(ValueError, match="is not a compute capability"):
        parse_compute(text)
