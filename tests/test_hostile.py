"""Hostile inputs of every file and the hub: no traceback, no bug of ours, no hang, nothing lost.

benchmarks/hostile.py runs as many more as one likes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.generators.hostile import KINDS, attack, attempt

ATTACKS_OF_A_KIND = 24
# A fleet is compiled, or a hub is waited for.
ATTACKS_OF_A_SLOW_KIND = 10
SLOW = {"hub", "tree"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_attack_ends_in_a_plan_or_in_diagnostics(kind: str, tmp_path: Path) -> None:
    codes = set()
    for seed in range(ATTACKS_OF_A_SLOW_KIND if kind in SLOW else ATTACKS_OF_A_KIND):
        folder = tmp_path / str(seed)
        folder.mkdir()
        outcome = attempt(attack(kind, seed, folder))
        assert not outcome.fault, f"{kind} {seed}: {outcome.fault}"
        codes.add(outcome.code)
    # A generator whose inputs are all refused, or all accepted, tests little.
    assert codes >= {0, 1}
