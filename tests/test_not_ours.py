"""What modelc did not write: it is never replaced, never removed, never waited for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from compiler.cli import run
from compiler.diagnostics import CompileError, Severity
from compiler.ir.manifest import MANIFEST_NAME
from compiler.stale import kept_files
from compiler.workspace import read_optional, read_previous, read_text, remove_file, write_file
from compiler.workspace import tree as tree_module
from compiler.workspace.standing import WORK_MARKER, WORK_TEXT
from tests.generators.trees import NEW, OLD, write

FLEET = Path(__file__).parents[1] / "inventories" / "edge"


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A compiled/ that holds the old tree."""
    write(tmp_path / "compiled", OLD)
    return tmp_path / "compiled"


def refused(compiled: Path, code: str = "unsafe-path") -> str:
    with pytest.raises(CompileError) as caught:
        write(compiled, NEW)
    (fault,) = caught.value.diagnostics
    assert fault.code == code
    assert fault.hints
    return fault.detail


@pytest.mark.parametrize("name", ["plan.json", "PLAN.md", "h/a.service"])
def test_a_file_that_no_manifest_lists_is_not_ours(tmp_path: Path, name: str) -> None:
    mine = tmp_path / "docs" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert f"docs/{name}` is not listed" in refused(tmp_path / "docs")
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docs"]


def test_empty_folders_stay_as_they_are(tmp_path: Path) -> None:
    out = tmp_path / "deploy"
    out.mkdir()
    subprocess.run(["git", "init", "-q", str(out)], check=True)
    (out / "logs" / "old").mkdir(parents=True)
    (out / "logs" / "old").chmod(0o750)
    os.utime(out / "logs" / "old", (1, 1))
    write(out, OLD)
    write(out, NEW)
    subprocess.run(["git", "-C", str(out), "status"], check=True, capture_output=True)
    found = (out / "logs" / "old").stat()
    assert (found.st_mode & 0o777, found.st_mtime) == (0o750, 1)
    assert not (out / "h" / "b.service").exists()


def test_a_folder_of_ours_that_is_empty_now_goes(compiled: Path) -> None:
    write(compiled, {"plan.json": "x"})
    assert sorted(path.name for path in compiled.iterdir()) == [MANIFEST_NAME, "plan.json"]


def test_a_folder_in_the_way_of_a_file_is_refused(compiled: Path) -> None:
    (compiled / "g" / "c.service").mkdir(parents=True)
    assert "g/c.service` is a folder" in refused(compiled)


@pytest.mark.parametrize(
    "name", [".compiled.old-backup", ".compiled.new-x", ".compiled.modelc-work-abcdefgh"]
)
def test_a_folder_beside_compiled_is_ours_by_what_is_in_it_alone(compiled: Path, name: str) -> None:
    mine = compiled.parent / name
    mine.mkdir()
    (mine / "x").write_text("precious")
    write(compiled, NEW)
    assert (mine / "x").read_text() == "precious"
    (mine / WORK_MARKER).write_text("mine")
    write(compiled, OLD)
    assert (mine / "x").read_text() == "precious"


@pytest.mark.parametrize("text", [None, "", WORK_TEXT[:9], WORK_TEXT])
def test_what_a_killed_write_has_left_goes(compiled: Path, text: str | None) -> None:
    work = compiled.parent / ".compiled.modelc-work-abcdefgh"
    work.mkdir()
    if text is not None:
        (work / WORK_MARKER).write_text(text)
    write(compiled, NEW)
    assert not work.exists()


# Edits by hand


def test_an_edited_file_is_kept_beside_the_new_one_and_told(compiled: Path) -> None:
    (compiled / "h" / "a.service").write_text("by hand")
    kept = write(compiled, NEW)
    assert (compiled / "h" / "a.service").read_text() == "new"
    assert (compiled / "h" / "a.service.edited").read_text() == "by hand"
    (told,) = kept_files(kept)
    assert (told.code, told.severity) == ("edited-output", Severity.WARNING)
    (group,) = told.groups
    assert group.names == (f"{compiled}/h/a.service -> {compiled}/h/a.service.edited",)
    assert kept_files(write(compiled, NEW)) == []
    assert (compiled / "h" / "a.service.edited").read_text() == "by hand"


def test_every_edit_has_a_place_of_its_own_and_the_same_one_only_one(compiled: Path) -> None:
    for text in ("one", "two", "one"):
        (compiled / "h" / "a.service").write_text(text)
        write(compiled, OLD)
    found = {path.name: path.read_text() for path in (compiled / "h").glob("*.edited*")}
    assert found == {"a.service.edited": "one", "a.service.edited-2": "two"}


def test_an_edited_file_that_the_plan_has_no_more_is_left_and_told(compiled: Path) -> None:
    (compiled / "h" / "b.service").write_text("by hand")
    kept = write(compiled, NEW)
    assert kept.left == ("h/b.service",)
    assert (compiled / "h" / "b.service").read_text() == "by hand"
    assert kept_files(write(compiled, NEW)) == []


def test_what_comes_while_modelc_writes_is_kept(
    compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = tree_module._rename_exchange

    def late(new: Path, old: Path) -> bool:
        (old / "late").write_text("late")
        (old / "h" / "a.service").write_text("by hand, late")
        return exchange(new, old)

    monkeypatch.setattr(tree_module, "_rename_exchange", late)
    kept = write(compiled, NEW)
    assert sorted(Path(name).read_text() for name in kept.strays) == ["by hand, late", "late"]
    monkeypatch.undo()
    write(compiled, OLD)
    assert all(Path(name).exists() for name in kept.strays)


def test_a_compile_says_what_was_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("inventory.yaml", "models.yaml", "modelc.lock"):
        shutil.copy(FLEET / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(["compile"]) == 0
    units = (path for path in sorted(Path("compiled").rglob("*")) if path.is_file())
    edited = next(path for path in units if path.suffix in {".sh", ".service"})
    edited.write_text("by hand\n")
    capsys.readouterr()
    assert run(["compile"]) == 0
    said = capsys.readouterr().err
    assert "warning[edited-output]" in said
    assert f"{edited}.edited" in said
    assert Path(f"{edited}.edited").read_text() == "by hand\n"
    assert run(["compile", "--check"]) == 0
    # An output elsewhere is compared with compiled/.
    assert run(["compile", "--out", "elsewhere", "--detailed-exitcode"]) == 0


def test_an_output_elsewhere_is_its_own_previous_plan_without_another(tmp_path: Path) -> None:
    write(tmp_path / "out", OLD)
    found = read_previous(tmp_path, tmp_path / "out", None)
    assert found is not None
    assert found.text == "old plan"
    write(tmp_path / "compiled", NEW)
    found = read_previous(tmp_path, tmp_path / "out", None)
    assert found is not None
    assert found.text == "new plan"


# Pipes, devices, and folders without an end


@pytest.mark.parametrize("name", [MANIFEST_NAME, f"h/{MANIFEST_NAME}", "plan.json", "g/c.service"])
def test_a_pipe_in_the_tree_is_not_waited_for(compiled: Path, name: str) -> None:
    (compiled / name).parent.mkdir(exist_ok=True)
    (compiled / name).unlink(missing_ok=True)
    os.mkfifo(compiled / name)
    refused(compiled)
    assert (compiled / name).is_fifo()


def test_a_pipe_of_somebody_elses_stays(compiled: Path) -> None:
    os.mkfifo(compiled / "mine")
    write(compiled, NEW)
    assert (compiled / "mine").is_fifo()


def test_an_input_that_is_a_pipe_is_refused_but_where_it_is_named(tmp_path: Path) -> None:
    pipe = tmp_path / "models.yaml"
    os.mkfifo(pipe)
    for read in (read_text, read_optional):
        with pytest.raises(CompileError, match="file-unreadable"):
            read(pipe)
    with pytest.raises(CompileError, match="file-unreadable"):
        read_text(Path("/dev/zero"))
    writer = threading.Thread(target=lambda: pipe.write_text("a plan"))
    writer.start()
    found = read_previous(tmp_path, tmp_path / "compiled", str(pipe))
    writer.join()
    assert found is not None
    assert found.text == "a plan"


@pytest.mark.parametrize("depth", [70, 2000])
def test_folders_without_an_end_are_refused(
    compiled: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    monkeypatch.chdir(compiled)
    for _ in range(depth):
        os.mkdir("d")  # noqa: PTH102  A path of them all is longer than the system allows.
        os.chdir("d")
    monkeypatch.chdir(compiled.parent)
    assert "nested over" in refused(compiled)
    monkeypatch.chdir(compiled)
    for _ in range(depth):
        os.chdir("d")
    for _ in range(depth):
        os.chdir("..")
        os.rmdir("d")  # noqa: PTH106


# One file


def test_a_killed_write_of_a_file_leaves_nothing_for_good(tmp_path: Path) -> None:
    code = """
import itertools, sys
from pathlib import Path
from compiler.workspace import write_file
for n in itertools.count():
    write_file(Path("modelc.lock"), str(n) * 10_000)
    print(flush=True)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.read(1) == b"\n"
            child.send_signal(signal.SIGKILL)
    (tmp_path / ".modelc.lock.modelc-tmp-abcd_123").write_text("half")
    write_file(tmp_path / "modelc.lock", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["modelc.lock"]
    (tmp_path / ".modelc.lock.modelc-tmp-abcd_123").write_text("half")
    remove_file(tmp_path / "modelc.lock")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_only_looks_like_one_of_ours_stays(tmp_path: Path) -> None:
    names = [".modelc.lock.mine", ".modelc.lock.modelc-tmp-", ".modelc.lock.modelc-tmp-ABCDEFGH"]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".modelc.lock.modelc-tmp-abcdefgh").mkdir()
    write_file(tmp_path / "modelc.lock", "x")
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {*names, "modelc.lock", ".modelc.lock.modelc-tmp-abcdefgh"}
