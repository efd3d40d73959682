"""`modelc lock` as people run it: beside another run, after a merge, in a read-only folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compiler import cli
from compiler.diagnostics import CompileError
from compiler.workspace import remove_file, replace_file
from tests.generators.hub_server import Fault, serve
from tests.generators.models import llama_tensors, llama_values, write_gguf

ROOT = Path(__file__).resolve().parent.parent
SPEC = """version: 1
services:
  first: {model: ./first.gguf, engine: llama.cpp}
  second: {model: ./second.gguf, engine: llama.cpp}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models and their lock, which is the current one."""
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        write_gguf(tmp_path / f"{name}.gguf", llama_values(), llama_tensors())
    (tmp_path / "models.yaml").write_text(SPEC, encoding="utf-8")
    assert cli.run(["lock"]) == 0
    return tmp_path


def test_a_run_that_another_has_overtaken_changes_nothing(folder: Path) -> None:
    """What the other wrote would be lost; what this one resolved is kept for the next run."""
    lock, spec = folder / "modelc.lock", folder / "models.yaml"
    theirs = lock.read_text(encoding="utf-8").replace("4096", "4097")
    (folder / "hub").mkdir()
    write_gguf(folder / "hub" / "M-Q8_0.gguf", llama_values(), llama_tensors())
    spec.write_text(f"{SPEC}  third: {{model: 'a/b:Q8_0', engine: llama.cpp}}\n", encoding="utf-8")
    with serve() as hub:
        hub.repositories = {"a/b": folder / "hub"}
        hub.faults["b"] = [Fault(delay_seconds=2.0)]
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "hf")}
        ours = subprocess.Popen(
            [sys.executable, "-m", "compiler", "lock"], stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )  # fmt: skip
        while not hub.seen and ours.poll() is None:
            time.sleep(0.05)
        lock.write_text(theirs, encoding="utf-8")
        _, shown = ours.communicate(timeout=60)
        assert ours.returncode == 1, shown
    assert "`modelc.lock` has changed since this run began, and stays as it is." in shown
    assert "hint: Run the command again." in shown
    assert lock.read_text(encoding="utf-8") == theirs


def test_faults_stand_where_the_spec_names_the_source(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a source that stands there twice, the first place."""
    (folder / "models.yaml").write_text(
        SPEC.replace("./second", "./none")
        + "  third: {model: ./none.gguf, engine: llama.cpp}\n"
        + "  last:\n    variants:\n      - {name: a, model: hf://a/b/x.gguf, engine: llama.cpp}\n",
        encoding="utf-8",
    )
    assert cli.run(["lock"]) == 1
    shown = capsys.readouterr().err
    assert "--> models.yaml:4:12\n  `./none.gguf`: there is no such file or folder." in shown
    assert "--> models.yaml:8:19\n  `hf://a/b/x.gguf` is neither a path nor a repository" in shown
    assert "write `a/b:x.gguf`" in shown


def test_two_runs_that_say_the_same(tmp_path: Path) -> None:
    """The second finds what it was about to write."""
    path = tmp_path / "modelc.lock"
    path.write_text("new", encoding="utf-8")
    inode = path.stat().st_ino
    replace_file(path, "old", "new")
    replace_file(path, "new", "new")
    assert path.stat().st_ino == inode
    with pytest.raises(CompileError, match="has changed since"):
        replace_file(path, "old", "newer")
    replace_file(path, "new", "newer")
    assert path.read_text(encoding="utf-8") == "newer"


def test_a_merge_that_is_not_finished(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Either side will do: what it lacks is resolved anew, and nothing else."""
    lock = folder / "modelc.lock"
    whole = lock.read_text(encoding="utf-8")
    lines = whole.splitlines()
    lines[3:3] = ["<<<<<<< HEAD", "=======", ">>>>>>> other"]
    lock.write_text("\n".join(lines), encoding="utf-8")
    for command in (["lock"], ["lock", "--check"], ["lock", "--update", "first"]):
        assert cli.run(command) == 1
        shown = capsys.readouterr().err
        assert "--> modelc.lock:4:1" in shown
        assert "it holds both sides of a merge, with git's conflict markers" in shown
        assert "Take either side (`git checkout --ours modelc.lock`)" in shown


def test_line_ends_of_windows_change_no_fact(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = folder / "modelc.lock"
    ours = lock.read_bytes()
    lock.write_bytes(ours.replace(b"\n", b"\r\n"))
    assert cli.run(["lock", "--check"]) == 0
    assert cli.run(["lock"]) == 0
    assert lock.read_bytes() == ours
    assert "./first.gguf" not in capsys.readouterr().err.splitlines()[2:]


def test_a_file_that_is_not_there_needs_no_removal(tmp_path: Path) -> None:
    """A folder that is mounted read-only refuses even that."""
    remove_file(tmp_path / "none")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CompileError, match="write-failed"):
        remove_file(tmp_path / "folder")
