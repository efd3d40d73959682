"""Documents show what commands really print: every marked block is rebuilt and compared."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import get_args

import pytest

from compiler.cli import run
from compiler.ir.outcome import OutcomeCode
from compiler.ir.remedy import RemedyCode

ROOT = Path(__file__).resolve().parents[1]
# A marker, and the fenced block that belongs to it, if there is one yet.
BLOCK = re.compile(r"<!-- (file|run|fails) (.+?) -->(?:\n\n```\w*\n.*?\n```)?", re.DOTALL)


@pytest.mark.parametrize(
    "name", ["README.md", "docs/explain.md", "docs/review.md", "docs/unified-memory.md"]
)
def test_the_document_shows_what_is_so(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    update_golden: bool,
) -> None:
    document = ROOT / name
    text = document.read_text(encoding="utf-8")
    shutil.copytree(ROOT / "inventories", tmp_path / "inventories")
    shutil.copytree(ROOT / "tests" / "golden", tmp_path / "tests" / "golden")
    monkeypatch.chdir(tmp_path)

    def rebuilt(match: re.Match[str]) -> str:
        kind, what = match[1], match[2]
        if kind == "file":
            language = "yaml" if what.endswith(".yaml") else "text"
            content = (ROOT / what).read_text(encoding="utf-8")
        else:
            language = "console"
            assert run(what.split()) == (1 if kind == "fails" else 0)
            captured = capsys.readouterr()
            content = f"$ modelc {what}\n{captured.err if kind == 'fails' else captured.out}"
        return f"{match[0].partition(' -->')[0]} -->\n\n```{language}\n{content.rstrip()}\n```"

    expected = BLOCK.sub(rebuilt, text)
    if update_golden:
        document.write_text(expected, encoding="utf-8")
        text = expected
    assert text == expected


@pytest.mark.parametrize("code", [*get_args(RemedyCode), *get_args(OutcomeCode)])
def test_every_code_of_an_explanation_is_listed(code: str) -> None:
    assert f"`{code}`" in (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
