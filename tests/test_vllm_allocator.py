"""PyTorch's allocator: what tensors of a loaded model count."""

from __future__ import annotations

import pytest

from compiler.engines.vllm.memory.allocator import allocated_bytes
from compiler.engines.vllm.versions import Version, rules_of
from compiler.ir.units import KIB, MIB

OLD: Version = (0, 20, 2)
NEW: Version = (0, 33, 0)

CASES: list[tuple[list[int], Version, int]] = [
    # Up to 1 MiB: blocks of 512 bytes.
    ([1, 513], NEW, 512 + 1024),
    ([MIB, MIB], NEW, 2 * MIB),
    # Three share 20 MiB, of which the last half MiB is lost; a fourth begins another segment.
    ([6 * MIB + 512 * KIB] * 3, NEW, 20 * MIB),
    ([6 * MIB + 512 * KIB] * 4, NEW, 26 * MIB + 512 * KIB),
    # A rest takes what it holds: 12 MiB fill what 8 MiB left of 20.
    ([8 * MIB, 16 * MIB + 512 * KIB, 12 * MIB], OLD, 8 * MIB + 16 * MIB + 512 * KIB + 12 * MIB),
    # From 10 MiB a segment of one's own, in steps of 2 MiB.
    ([11 * MIB], NEW, 12 * MIB),
    ([10 * MIB + 512 * KIB], NEW, 10 * MIB + 512 * KIB),
    # From 20 MiB never split since 0.21.
    ([20 * MIB + 512 * KIB], OLD, 20 * MIB + 512 * KIB),
    ([20 * MIB + 512 * KIB], NEW, 22 * MIB),
    # Damaged files.
    ([0, -5], NEW, 0),
]


@pytest.mark.parametrize(("sizes", "version", "counted"), CASES)
def test_what_counts_as_allocated(sizes: list[int], version: Version, counted: int) -> None:
    assert allocated_bytes(sizes, rules_of(version)) == counted
