"""`--report` writes what a run found for the tools of code hosts; `--format json` tells errors."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from compiler.cli import run
from compiler.codes import CODES
from compiler.diagnostics import Diagnostic, Location, Severity
from compiler.views.diagnostics import FORMAT_VERSION
from compiler.views.forges import MAX_ANNOTATIONS, code_quality, github_annotations
from compiler.views.sarif import diagnostics_sarif
from tests.generators.plans import HOSTILE

EDGE = Path(__file__).parent.parent / "inventories/edge"


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a fleet two folders down, in whose parent folder modelc runs."""
    (tmp_path / ".git").mkdir()
    folder = tmp_path / "fleets" / "edge"
    shutil.copytree(EDGE, folder)
    monkeypatch.chdir(tmp_path / "fleets")
    return folder


def spoil(folder: Path) -> int:
    """Misspells a GPU kind of the inventory; gives the line."""
    path = folder / "inventory.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("kind: rtx-4060", "kind: rtx-406"), encoding="utf-8")
    return next(n for n, line in enumerate(text.splitlines(), 1) if "kind: rtx-4060" in line)


def test_a_failed_run_writes_every_report(fleet: Path, tmp_path: Path) -> None:
    line = spoil(fleet)
    files = {kind: tmp_path / kind for kind in ("json", "sarif", "github", "codequality")}
    reports = [word for kind, path in files.items() for word in ("--report", f"{kind}={path}")]
    assert run(["compile", "edge", *reports]) == 1
    (told,) = read(files["json"])["diagnostics"]
    assert told["location"] == {"path": "edge/inventory.yaml", "line": line, "column": 13}
    (result,) = read(files["sarif"])["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "fleets/edge/inventory.yaml"
    assert place["region"]["startLine"] == line
    annotation = files["github"].read_text(encoding="utf-8")
    assert annotation.startswith(f"::error file=fleets/edge/inventory.yaml,line={line},col=13,")
    (issue,) = read(files["codequality"])
    assert issue["location"] == {"path": "fleets/edge/inventory.yaml", "lines": {"begin": line}}


def test_a_run_without_faults_writes_empty_reports(fleet: Path, tmp_path: Path) -> None:
    assert fleet.is_dir()
    path = tmp_path / "found.sarif"
    assert run(["compile", "edge", "--check", "--report", f"sarif={path}"]) == 0
    assert read(path)["runs"][0]["results"] == []


def test_a_program_reads_errors_on_stdout(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(fleet)
    assert run(["compile", "edge", "--format", "json"]) == 1
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert (document["format_version"], document["errors"]) == (FORMAT_VERSION, 1)
    assert document["diagnostics"][0]["code"] == "unknown-gpu-kind"
    assert "unknown-gpu-kind" in said.err


def test_stdout_can_be_the_file(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(fleet)
    assert run(["compile", "edge", "--report", "github=-"]) == 1
    assert capsys.readouterr().out.startswith("::error ")


def test_gitlab_reads_the_counts(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet.is_dir()
    assert run(["compile", "edge", "--previous", "none", "--format", "gitlab"]) == 0
    assert json.loads(capsys.readouterr().out) == {"create": 5, "update": 0, "delete": 0}


@pytest.mark.parametrize("wanted", ["sarif", "pdf=x", "sarif=", "=x", ""])
def test_another_report_is_wrong_usage(wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kinds", "--report", wanted]) == 64
    assert "KIND=FILE" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["kinds", "--report", f"sarif={tmp_path / 'none' / 'x.sarif'}"]) == 1
    assert "write-failed" in capsys.readouterr().err


def test_every_finding_has_a_fingerprint_of_its_own() -> None:
    """And keeps it when lines above it come and go."""
    twice = [fault(detail="a"), fault(detail="a"), fault(detail="b"), fault(code="frozen")]
    before = fingerprints(twice)
    assert len(set(before)) == len(twice)
    assert Counter(fingerprints([moved(each) for each in twice])) == Counter(before)


def test_annotations_beyond_the_limit_are_counted() -> None:
    faults = [fault(detail=f"fault {number}") for number in range(MAX_ANNOTATIONS + 3)]
    lines = github_annotations(faults, prefix="").splitlines()
    assert len(lines) == MAX_ANNOTATIONS
    assert lines[-1].endswith("%0Aand 3 more errors: see the log")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_inside_its_annotation(text: str) -> None:
    """One line, one command, and the properties end where ours end."""
    one = github_annotations([fault(detail=f"{text}\n::error::{text}", path=text)], prefix="")
    assert one.count("\n") == 1
    found = re.fullmatch(r"::error ([^:]*)::(.*)\n", one)
    assert found is not None
    names = [each.split("=", 1)[0] for each in found[1].split(",")]
    assert names == ["file", "line", "col", "title"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_data_in_json(text: str) -> None:
    faults = [fault(detail=text, path=text)]
    sarif = json.loads(diagnostics_sarif(faults, version="1", prefix=""))
    uri = sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert re.fullmatch(r"[A-Za-z0-9._~/%-]*", uri["uri"])
    assert unquote(uri["uri"]) == text.removeprefix("./")
    assert len(json.loads(code_quality(faults, prefix=""))) == 1


def fault(
    *, code: str = "no-placement", detail: str = "x", path: str = "models.yaml"
) -> Diagnostic:
    assert code in CODES
    return Diagnostic(code=code, detail=detail, location=Location(path, 4, 2))


def moved(each: Diagnostic) -> Diagnostic:
    assert each.severity is Severity.ERROR
    return Diagnostic(code=each.code, detail=each.detail, location=Location("models.yaml", 90, 2))


def fingerprints(faults: list[Diagnostic]) -> list[str]:
    document = json.loads(diagnostics_sarif(faults, version="1", prefix=""))
    results: list[dict[str, Any]] = document["runs"][0]["results"]
    return [each["partialFingerprints"]["primaryLocationLineHash"] for each in results]


def read(path: Path) -> Any:  # noqa: ANN401  As JSON gives it.
    return json.loads(path.read_text(encoding="utf-8"))
