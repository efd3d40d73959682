"""Golden cases: small fleets, each with a sentence that it proves and all that it prints."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from compiler.cli import run

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in (HERE / "golden").glob("*/models.yaml"))
STORIES = sorted(path for path in (HERE / "sequences").glob("*") if path.is_dir())
INPUTS = ("inventory.yaml", "models.yaml", "modelc.lock")


@dataclass(frozen=True)
class Screen:
    """What one call printed."""

    code: int
    out: str
    err: str


def compile_in(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Screen:
    """`modelc compile` in a folder; the current folder must be that one."""
    assert Path.cwd() == folder
    code = run(["compile", *options])
    captured = capsys.readouterr()
    # What a compile says at its end is the same for all; tests/test_cli.py looks at it.
    return Screen(code, captured.out, captured.err.partition("\ncompiled/ is ")[0])


def compare(expected: Path, text: str, *, update: bool) -> None:
    """A text against its golden file; no file stands for no text."""
    if update:
        expected.parent.mkdir(parents=True, exist_ok=True)
        if text:
            expected.write_text(text, encoding="utf-8")
        else:
            expected.unlink(missing_ok=True)
    assert text == (expected.read_text(encoding="utf-8") if expected.exists() else "")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_case(
    case: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    update_golden: bool,
) -> None:
    first = (case / "models.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# "), "say what the case proves"
    assert first.endswith("."), "in a sentence"
    for name in INPUTS:
        shutil.copy(case / name, tmp_path)
    previous = case / "previous.json"
    options = ["--ledger"]
    if previous.exists():
        shutil.copy(previous, tmp_path)
        options += ["--previous", "previous.json"]
    monkeypatch.chdir(tmp_path)
    screen = compile_in(tmp_path, capsys, *options)
    fails = (case / "expected" / "error.txt").exists()
    if update_golden:
        fails = screen.code != 0
    assert screen.code == (1 if fails else 0), screen.err
    compare(case / "expected" / "error.txt", screen.err if fails else "", update=update_golden)
    compare(case / "expected" / "warnings.txt", "" if fails else screen.err, update=update_golden)
    compare(case / "expected" / "screen.txt", screen.out, update=update_golden)
    compiled = tmp_path / "compiled"
    if fails:
        assert not compiled.exists(), "a failed compile writes nothing"
        return
    compare_tree(case / "expected" / "compiled", compiled, update=update_golden)
    again = compile_in(tmp_path, capsys, "--detailed-exitcode")
    assert again.code == 0, again.out
    assert compile_in(tmp_path, capsys, "--check").code == 0


def compare_tree(expected: Path, compiled: Path, *, update: bool) -> None:
    """The artifacts against a golden tree, for the cases that keep one but for the plan itself."""
    if not expected.is_dir():
        return
    found = {
        path.relative_to(compiled).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(compiled.rglob("*"))
        if path.is_file()
        and path.name != "plan.json"
        and path != compiled / "MANIFEST"
        # The same for every fleet; the examples have it.
        and not path.is_relative_to(compiled / "ansible" / "roles")
        and path != compiled / "ansible" / "MANIFEST"
    }
    if update:
        shutil.rmtree(expected)
        for name, text in found.items():
            (expected / name).parent.mkdir(parents=True, exist_ok=True)
            (expected / name).write_text(text, encoding="utf-8")
    golden = {
        path.relative_to(expected).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(expected.rglob("*"))
        if path.is_file()
    }
    assert found == golden


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.name)
def test_story(
    story: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    update_golden: bool,
) -> None:
    """Each step lays its files over those before it and compiles against the last plan."""
    monkeypatch.chdir(tmp_path)
    steps = sorted(path for path in story.iterdir() if path.is_dir())
    assert len(steps) > 1
    for step in steps:
        for name in INPUTS:
            if (step / name).exists():
                shutil.copy(step / name, tmp_path)
        screen = compile_in(tmp_path, capsys)
        printed = screen.out if screen.code == 0 else screen.err
        compare(step / "diff.txt", printed, update=update_golden)
        if screen.code == 0:
            again = compile_in(tmp_path, capsys, "--detailed-exitcode")
            assert again.code == 0, f"{step.name}: {again.out}"
