"""Hostile inputs of every file: no traceback, no bug of ours, no hang, no memory gone.

benchmarks/hostile.py runs as many more as one likes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.generators.hostile import KINDS, attack, attempt

ATTACKS_OF_A_KIND = 24


@pytest.mark.parametrize("kind", KINDS)
def test_an_attack_ends_in_a_plan_or_in_diagnostics(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    codes = set()
    for seed in range(ATTACKS_OF_A_KIND):
        folder = tmp_path / str(seed)
        folder.mkdir()
        outcome = attempt(attack(kind, seed, folder))
        assert not outcome.fault, f"{kind} {seed}: {outcome.fault}"
        codes.add(outcome.code)
    # A generator whose inputs are all refused, or all accepted, tests little.
    assert codes >= {0, 1}
