"""Microsoft's SARIF Multitool, the reference reader of the format, judges our SARIF."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from compiler.codes import CODES
from compiler.diagnostics import Diagnostic, Group, Location, Severity
from compiler.views.sarif import diagnostics_sarif
from tests.generators.plans import HOSTILE
from tests.requires import require_tool

HOSTILE_ONES = [
    Diagnostic(
        code=code,
        detail=f"{text}\nand `{text}`",
        location=Location(f"fleets/über 1/{number}.yaml", number + 1, 3),
        hints=(text,),
        groups=(Group(title="Files", names=(text, "b")),),
        severity=Severity.WARNING if number % 2 else Severity.ERROR,
    )
    for number, (code, text) in enumerate(zip(CODES, HOSTILE * 40, strict=False))
]
NOWHERE = [Diagnostic(code="lock-missing", detail="The model is not locked.")] * 2


@pytest.mark.parametrize(
    "diagnostics", [[], NOWHERE, HOSTILE_ONES], ids=["empty", "nowhere", "hostile"]
)
def test_the_reference_reader_finds_nothing_wrong(
    diagnostics: list[Diagnostic], tmp_path: Path
) -> None:
    text = diagnostics_sarif(diagnostics, version="1.2.3", prefix="fleets/lab/")
    assert not complaints(text, tmp_path)


def test_the_reference_reader_refuses_what_is_wrong(tmp_path: Path) -> None:
    """The program that judges here has not become a stub."""
    text = diagnostics_sarif(NOWHERE, version="1.2.3", prefix="")
    assert complaints(text.replace('"startLine": 1', '"startLine": 0'), tmp_path)


def complaints(text: str, folder: Path) -> list[str]:
    """The lines of its output that name an error of the file."""
    path = folder / "found.sarif"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [require_tool("Sarif.Multitool"), "validate", str(path)],
        capture_output=True,
        text=True,
        check=False,
        # .NET then needs no ICU libraries, which a small machine does not have.
        env={**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"},
    )
    assert "Analysis completed" in done.stdout, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": error " in line]
