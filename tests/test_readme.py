"""README.md shows what its commands really print: every marked block is rebuilt and compared."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from compiler.cli import run

ROOT = Path(__file__).resolve().parents[1]
# A marker, and the fenced block that belongs to it, if there is one yet.
BLOCK = re.compile(r"<!-- (file|run) (.+?) -->(?:\n\n```\w*\n.*?\n```)?", re.DOTALL)


def test_the_readme_shows_what_is_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    update_golden: bool,
) -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    shutil.copytree(ROOT / "inventories", tmp_path / "inventories")
    monkeypatch.chdir(tmp_path)

    def rebuilt(match: re.Match[str]) -> str:
        kind, what = match[1], match[2]
        if kind == "file":
            language = "yaml" if what.endswith(".yaml") else "text"
            content = (ROOT / what).read_text(encoding="utf-8")
        else:
            language = "console"
            assert run(what.split()) == 0
            content = f"$ modelc {what}\n{capsys.readouterr().out}"
        return f"{match[0].partition(' -->')[0]} -->\n\n```{language}\n{content.rstrip()}\n```"

    expected = BLOCK.sub(rebuilt, text)
    if update_golden:
        readme.write_text(expected, encoding="utf-8")
        text = expected
    assert text == expected
