"""Every example compiles, and its committed compiled/ is what it compiles to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compiler.cli import run

ROOT = Path(__file__).resolve().parents[1] / "inventories"
EXAMPLES = sorted(path.parent for path in ROOT.glob("*/inventory.yaml"))


def test_the_promised_examples_are_there() -> None:
    assert {"edge", "homelab", "mixed", "rag", "startup"} <= {path.name for path in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example(
    example: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    update_golden: bool,
) -> None:
    folder = example
    if not update_golden:
        folder = tmp_path / example.name
        shutil.copytree(example, folder)
    monkeypatch.chdir(folder)
    if update_golden:
        shutil.rmtree(folder / "compiled", ignore_errors=True)
        assert run(["compile"]) == 0, capsys.readouterr().err
    # Against its own plan nothing changes, and afresh the same plan comes out again.
    assert run(["compile", "--check", "--detailed-exitcode"]) == 0, capsys.readouterr().err
    assert run(["compile", "--check", "--previous", "none"]) == 0, capsys.readouterr().err
