"""The user's tree: compiled/ is the old one or the new one, and nobody else's file is touched."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from compiler.diagnostics import CompileError, Diagnostic, Location
from compiler.ir.manifest import FIRST_LINE, MANIFEST_NAME
from compiler.stale import stale_output
from compiler.workspace import (
    MAX_FILE_BYTES,
    read_optional,
    read_previous,
    read_text,
    read_tree,
    write_file,
)
from compiler.workspace import tree as tree_module
from compiler.workspace.standing import ASIDE, WORK_MARKER, WORK_TEXT
from compiler.workspace.standing import standing as find_standing
from tests.generators.trees import NEW, OLD, Tree, artifacts, generation, write


def tree(folder: Path) -> Tree:
    """Every file of a folder but the manifests."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_NAME
    }


def refused(code: str, compiled: Path, files: Mapping[str, str]) -> Diagnostic:
    """The one fault with which a write is refused; the tree must stay as it was."""
    before = tree(compiled)
    with pytest.raises(CompileError) as caught:
        write(compiled, files)
    (fault,) = caught.value.diagnostics
    assert fault.code == code
    assert tree(compiled) == before
    assert litter(compiled) == []
    return fault


def litter(compiled: Path) -> list[str]:
    """What a write has left beside the tree."""
    return [path.name for path in compiled.parent.iterdir() if path.name.startswith(".compiled")]


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A compiled/ that holds the old tree."""
    write(tmp_path / "compiled", OLD)
    return tmp_path / "compiled"


# Writing


def test_a_first_write_makes_the_folder_and_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "compiled", OLD)
    assert tree(tmp_path / "a" / "b" / "compiled") == OLD


def test_files_of_removed_services_and_hosts_disappear(compiled: Path) -> None:
    write(compiled, NEW)
    assert tree(compiled) == NEW
    write(compiled, {"plan.json": "empty", "PLAN.md": "empty"})
    assert sorted(path.name for path in compiled.iterdir()) == ["MANIFEST", "PLAN.md", "plan.json"]


def test_a_write_leaves_nothing_beside_the_tree(compiled: Path) -> None:
    write(compiled, NEW)
    assert [path.name for path in compiled.parent.iterdir()] == ["compiled"]


def test_scripts_are_executable_and_nothing_else_is(compiled: Path) -> None:
    write(compiled, {"plan.json": "", "h/start.sh": "", "h/a.env": ""})
    modes = {path.name: path.stat().st_mode & 0o111 for path in (compiled / "h").iterdir()}
    assert modes == {"start.sh": 0o111 & ~umask(), "a.env": 0, "MANIFEST": 0}


def umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_foreign_files_stay_the_very_same_files(compiled: Path) -> None:
    mine = compiled / "h" / "notes" / "mine.sh"
    mine.parent.mkdir(mode=0o750)
    mine.write_text("mine")
    mine.chmod(0o700)
    before = mine.stat()
    write(compiled, NEW)
    after = mine.stat()
    assert tree(compiled) == {**NEW, "h/notes/mine.sh": "mine"}
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (
        before.st_ino, before.st_mode, before.st_mtime_ns,
    )  # fmt: skip
    assert after.st_nlink == 1
    assert mine.parent.stat().st_mode & 0o777 == 0o750


def test_the_folder_keeps_its_own_mode(compiled: Path) -> None:
    compiled.chmod(0o2770)
    write(compiled, NEW)
    assert compiled.stat().st_mode & 0o7777 == 0o2770


def test_a_new_folder_is_as_open_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "any").mkdir()
    write(tmp_path / "compiled", OLD)
    expected = (tmp_path / "any").stat().st_mode
    assert (tmp_path / "compiled").stat().st_mode == expected
    assert (tmp_path / "compiled" / "h").stat().st_mode == expected


@pytest.mark.parametrize("name", ["h/new.service", "g"])
def test_a_foreign_file_in_the_way_is_refused(compiled: Path, name: str) -> None:
    (compiled / name).write_text("mine")
    fault = refused("unsafe-path", compiled, {**NEW, "h/new.service": "new"})
    assert f"{name}` is not listed in a MANIFEST" in fault.detail
    assert fault.hints


def test_a_foreign_folder_in_the_way_is_refused(compiled: Path) -> None:
    (compiled / "h" / "c.service").mkdir()
    (compiled / "h" / "c.service" / "mine").write_text("mine")
    refused("unsafe-path", compiled, {**NEW, "h/c.service": "new"})


@pytest.mark.parametrize("target", ["/etc/hostname", "plan.json", "nowhere"])
def test_a_link_in_the_tree_is_refused(compiled: Path, target: str) -> None:
    (compiled / "h" / "link").symlink_to(target)
    assert "symbolic link" in refused("unsafe-path", compiled, NEW).detail


def test_a_linked_folder_in_the_tree_is_refused_and_not_entered(compiled: Path) -> None:
    outside = compiled.parent / "outside"
    outside.mkdir()
    (outside / "a.service").write_text("mine")
    (compiled / "linked").symlink_to(outside)
    refused("unsafe-path", compiled, NEW)
    assert (outside / "a.service").read_text() == "mine"


def test_compiled_itself_must_be_no_link(compiled: Path) -> None:
    link = compiled.parent / "elsewhere"
    link.symlink_to(compiled)
    assert "symbolic link" in refused("unsafe-path", link, NEW).detail
    assert tree(compiled) == OLD


def test_a_link_is_named_and_not_where_it_leads(
    compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (compiled / "h" / "link").symlink_to(compiled / "plan.json")
    monkeypatch.chdir(compiled.parent)
    fault = refused("unsafe-path", compiled, NEW)
    assert fault.detail.startswith("`compiled/h/link` is a symbolic link")


def test_compiled_itself_must_be_no_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "compiled").symlink_to("nowhere")
    refused("unsafe-path", tmp_path / "compiled", NEW)


def test_compiled_itself_must_be_no_file(tmp_path: Path) -> None:
    (tmp_path / "compiled").write_text("mine")
    refused("unsafe-path", tmp_path / "compiled", NEW)
    assert (tmp_path / "compiled").read_text() == "mine"


@pytest.mark.parametrize("out", [".", "..", "../here", "inner/.."])
def test_the_folder_one_stands_in_is_not_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (tmp_path / "here" / "inner").mkdir(parents=True)
    (tmp_path / "here" / "models.yaml").write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    refused("unsafe-path", Path(out), NEW)
    assert Path("models.yaml").read_text() == "mine"


# Manifests


def corrupt_manifest(compiled: Path, line: str) -> None:
    (compiled / "h" / MANIFEST_NAME).write_text(f"{FIRST_LINE}\n{line}\n")


@pytest.mark.parametrize(
    "path", ["../../victim", "/etc/passwd", "../victim", "./../../victim", "x/../../../victim"]
)
def test_a_manifest_deletes_nothing_outside(compiled: Path, path: str) -> None:
    victim = compiled.parent / "victim"
    victim.write_text("mine")
    (compiled / "victim").write_text("mine")
    corrupt_manifest(compiled, f"{'0' * 64}  {'0' * 64}  {path}")
    fault = refused("edited-output", compiled, NEW)
    assert "h/MANIFEST`: line 2" in fault.detail
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("text", ["", "junk\n", "# modelc manifest 9: from the future\n", "\xff"])
def test_a_corrupt_manifest_is_reported_with_a_way_out(compiled: Path, text: str) -> None:
    (compiled / "h" / MANIFEST_NAME).write_bytes(text.encode("latin-1"))
    fault = refused("edited-output", compiled, NEW)
    assert "h/MANIFEST" in fault.detail
    assert fault.hints
    with pytest.raises(CompileError, match="edited-output"):
        stale_output(read_tree(compiled, OLD), artifacts(OLD))


def test_a_file_that_the_manifest_does_not_list_is_not_deleted(compiled: Path) -> None:
    text = (compiled / "h" / MANIFEST_NAME).read_text().splitlines()
    kept = [line for line in text if "b.service" not in line]
    (compiled / "h" / MANIFEST_NAME).write_text("\n".join(kept) + "\n")
    write(compiled, NEW)
    assert tree(compiled) == {**NEW, "h/b.service": "old"}


def test_a_file_that_is_there_to_the_byte_is_ours_without_its_manifest(compiled: Path) -> None:
    (compiled / "h" / MANIFEST_NAME).unlink()
    assert stale(compiled, OLD) == {"missing": ["h/MANIFEST"]}
    write(compiled, OLD)
    assert stale(compiled, OLD) == {}


def test_another_file_without_its_manifest_is_left_and_both_ways_out_are_said(
    compiled: Path,
) -> None:
    (compiled / "h" / MANIFEST_NAME).unlink()
    fault = refused("unsafe-path", compiled, NEW)
    assert "h/a.service` is not listed in a MANIFEST" in fault.detail
    assert fault.hints == (
        "Bring the MANIFEST back with git if it is lost, or else move the file away.",
    )


# The plan is an input of the next compile


@pytest.fixture
def planned(compiled: Path) -> Path:
    """A compiled/ with a manifest of its own, as a compile writes it."""
    write(compiled, {"plan.json": "plan", "PLAN.md": "overview"})
    return compiled


def test_a_plan_that_was_edited_is_not_taken_for_what_runs(planned: Path) -> None:
    (planned / "plan.json").write_text("by hand")
    with pytest.raises(CompileError) as caught:
        read_previous(planned.parent, planned, None)
    (fault,) = caught.value.diagnostics
    assert fault.code == "edited-output"
    assert "compiled/plan.json` is not the plan that modelc wrote there" in fault.detail
    for way_out in ("`--previous git:HEAD`", f"`--previous {planned / 'plan.json'}`"):
        assert way_out in fault.hints[0]
    accepted = read_previous(planned.parent, planned, str(planned / "plan.json"))
    assert accepted is not None
    assert accepted.text == "by hand"


def test_a_plan_as_it_was_written_is_the_previous_one(planned: Path) -> None:
    found = read_previous(planned.parent, planned, None)
    assert found is not None
    assert found.text == "plan"


def test_a_plan_in_conflict_is_left_to_its_reader(planned: Path) -> None:
    (planned / "plan.json").write_text("<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other\n")
    found = read_previous(planned.parent, planned, None)
    assert found is not None
    assert found.text.startswith("<<<<<<< HEAD\n")


# Writes that cannot be finished


def run_child(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own, with the helpers of this file at hand."""
    head = """
        import os, resource, sys
        from pathlib import Path
        from compiler.diagnostics import CompileError
        from compiler import workspace
        from tests.generators.trees import NEW, write
        compiled = Path("compiled")
    """
    source = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", source, *arguments], cwd=folder, env=child_env(), check=False,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def child_env() -> dict[str, str]:
    root = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}


def test_a_full_disk_leaves_the_old_tree(compiled: Path) -> None:
    code = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write(compiled, {**NEW, "h/large": "x" * 10_000})
        except CompileError as error:
            print(error)
    """
    done = run_child(code, compiled.parent)
    assert done.stdout.startswith("write-failed: Writing failed: File too large. The old files")
    assert done.stderr == ""
    assert tree(compiled) == OLD
    assert litter(compiled) == []


def test_a_full_disk_leaves_the_old_lock(tmp_path: Path) -> None:
    write_file(tmp_path / "modelc.lock", "old")
    code = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            workspace.write_file(Path("modelc.lock"), "x" * 10_000)
        except CompileError as error:
            print(error)
    """
    assert "The old file stays as it is" in run_child(code, tmp_path).stdout
    assert tree(tmp_path) == {"modelc.lock": "old"}


def test_a_folder_that_may_not_be_written_leaves_the_old_tree(compiled: Path) -> None:
    compiled.parent.chmod(0o555)
    # Root may write everywhere; nobody may not.
    code = """
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            write(compiled, NEW)
        except CompileError as error:
            print(error)
    """
    done = run_child(code, compiled.parent)
    compiled.parent.chmod(0o755)
    assert "Permission denied. The old files stay as they are." in done.stdout, done.stderr
    assert tree(compiled) == OLD
    assert litter(compiled) == []


def test_a_foreign_folder_that_cannot_be_read_is_not_lost(compiled: Path) -> None:
    private = compiled / "private"
    private.mkdir()
    (private / "mine").write_text("mine")
    for path in (compiled.parent, compiled, compiled / "h"):
        path.chmod(0o777)
    private.chmod(0o700 if os.geteuid() == 0 else 0o000)
    code = """
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            write(compiled, NEW)
        except CompileError as error:
            print(error)
    """
    done = run_child(code, compiled.parent)
    private.chmod(0o700)
    assert "Permission denied" in done.stdout, done.stderr
    assert tree(compiled) == {**OLD, "private/mine": "mine"}


def test_a_parent_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompileError, match="write-failed"):
        write(tmp_path / "file" / "compiled", NEW)


def test_only_one_modelc_writes_at_a_time(compiled: Path) -> None:
    handle = os.open(compiled.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert "Another modelc" in refused("write-failed", compiled, NEW).detail
    finally:
        os.close(handle)
    write(compiled, NEW)
    assert tree(compiled) == NEW


def test_writers_at_the_same_time_give_one_of_their_trees(compiled: Path) -> None:
    code = """
        for n in range(20):
            try:
                write(compiled, {f"h/{sys.argv[1]}-{i}": f"{sys.argv[1]} {n}" for i in range(5)})
            except CompileError as error:
                assert "Another modelc" in str(error), error
    """
    head = "import sys\nfrom pathlib import Path\nfrom compiler.diagnostics import CompileError\n"
    head += "from tests.generators.trees import write\ncompiled = Path('compiled')\n"
    source = head + textwrap.dedent(code)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", source, name], cwd=compiled.parent, env=child_env(),
            stderr=subprocess.PIPE, text=True,
        )
        for name in ("left", "right")
    ]  # fmt: skip
    assert [child.communicate(timeout=60)[1] for child in children] == ["", ""]
    found = tree(compiled)
    assert len(found) == 5
    assert len(set(found.values())) == 1
    assert litter(compiled) == []


# Killed at any moment

# Generation after generation, each with files of its own, until somebody kills it.
WRITER = """
import itertools, sys
from pathlib import Path
from compiler import workspace
from tests.generators.trees import generation, write
if sys.argv[1] == "renames":
    workspace.tree._rename_exchange = lambda new, old: False
for number in itertools.count(int(sys.argv[2])):
    write(Path("compiled"), generation(number))
    print(flush=True)
"""


def check_whole(folder: Path) -> int:
    """The generation that a tree is, entirely; the foreign file must be in it."""
    found = tree(folder)
    assert found.pop("mine") == "mine"
    number = int(found["plan.json"])
    assert found == generation(number)
    return number


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory if there is one: without a disk to wait for, a write is mostly renames."""
    shared = Path("/dev/shm")  # noqa: S108  Only where, not what; mkdtemp chooses the name.
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        yield Path(name)


@pytest.mark.parametrize("way", ["exchange", "renames"])
def test_a_killed_write_leaves_the_old_or_the_new_tree(memory: Path, way: str) -> None:
    compiled = memory / "compiled"
    write(compiled, generation(0))
    (compiled / "mine").write_text("mine")
    dice = random.Random(20)  # noqa: S311  Only delays; the seed keeps runs alike.
    number, seconds = 0, 0.01
    for _ in range(20):
        killed_after(memory, way, number, dice.uniform(0, 2 * seconds))
        standing = find_standing(compiled)
        assert standing == compiled or way == "renames"
        assert check_whole(standing) >= number
        previous = read_previous(memory, compiled, None)
        assert previous is not None
        number = int(previous.text) + 1
        start = time.perf_counter()
        write(compiled, generation(number))
        seconds = time.perf_counter() - start
        assert check_whole(compiled) == number
        assert litter(compiled) == []


def killed_after(folder: Path, way: str, number: int, seconds: float) -> None:
    """Starts a writer and kills it so long after it has begun to write."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, way, str(number)], cwd=folder,
        env=child_env(), stdout=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.read(1) == b"\n"
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


# Without an exchange of folders, a kill between two renames leaves the tree aside.


@pytest.fixture
def aside(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """compiled/ as such a kill leaves it, on a system that cannot exchange folders."""
    monkeypatch.setattr(tree_module, "_rename_exchange", lambda _new, _old: False)
    work = compiled.parent / ".compiled.modelc-work-abcdefgh"
    work.mkdir()
    (work / WORK_MARKER).write_text(WORK_TEXT)
    compiled.rename(work / ASIDE)
    (work / "new").mkdir()
    yield work / ASIDE
    assert litter(compiled) == []


def test_a_tree_put_aside_is_the_previous_one(aside: Path) -> None:
    compiled = aside.parent.parent / "compiled"
    (aside / "mine").write_text("mine")
    previous = read_previous(compiled.parent, compiled, None)
    assert previous is not None
    assert previous.text == "old plan"
    assert not compiled.exists(), "who reads changes nothing"
    write(compiled, NEW)
    assert tree(compiled) == {**NEW, "mine": "mine"}


def test_a_tree_put_aside_is_brought_back_when_the_write_is_refused(aside: Path) -> None:
    compiled = aside.parent.parent / "compiled"
    (aside / "g").write_text("mine")
    with pytest.raises(CompileError, match="unsafe-path"):
        write(compiled, NEW)
    assert tree(compiled) == {**OLD, "g": "mine"}


def test_the_trees_of_neighbours_stay_apart(aside: Path) -> None:
    other = aside.parents[1] / "other"
    write(other, NEW)
    assert tree(other) == NEW
    assert aside.is_dir(), "it belongs to compiled/"
    write(aside.parents[1] / "compiled", OLD)
    assert tree(other) == NEW


def test_without_an_exchange_a_write_is_two_renames(
    compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "_rename_exchange", lambda _new, _old: False)
    (compiled / "mine").write_text("mine")
    write(compiled, NEW)
    assert tree(compiled) == {**NEW, "mine": "mine"}
    assert litter(compiled) == []


# Staleness


def stale(compiled: Path, files: Mapping[str, str]) -> dict[str, list[str]]:
    """What is told of compiled/: the files by what is wrong with them, without the folder."""
    wanted = artifacts(files)
    found = stale_output(read_tree(compiled, [each.path for each in wanted]), wanted)
    if not found:
        return {}
    (fault,) = found
    groups = {
        group.title: [name.removeprefix(f"{compiled}/") for name in group.names]
        for group in fault.groups
    }
    n_files = sum(map(len, groups.values()))
    assert f"A compile would change {n_files} file" in fault.detail
    assert fault.hints[0].startswith("Run `modelc compile` and commit the result")
    assert (fault.code == "edited-output") == (list(groups) == ["changed by hand"])
    assert any("kept beside it" in hint for hint in fault.hints) == ("changed by hand" in groups)
    return groups


def test_a_fresh_tree_is_not_stale(compiled: Path) -> None:
    assert stale(compiled, OLD) == {}


def test_a_tree_that_was_never_written_is_stale(tmp_path: Path) -> None:
    assert stale(tmp_path / "compiled", {"plan.json": ""}) == {"missing": ["MANIFEST", "plan.json"]}


def test_missing_changed_edited_and_left_over_files_are_told_apart(compiled: Path) -> None:
    (compiled / "h" / "a.service").write_text("by hand")
    (compiled / "PLAN.md").unlink()
    (compiled / "mine").write_text("mine")
    assert stale(compiled, {**OLD, "plan.json": "new"} | {"h/b.service": "old"}) == {
        "not what the sources give": ["MANIFEST", "plan.json"],
        "changed by hand": ["h/a.service"],
        "missing": ["PLAN.md"],
    }


def test_a_change_by_hand_alone_has_its_own_code(compiled: Path) -> None:
    (compiled / "h" / "a.service").write_text("by hand")
    assert stale(compiled, OLD) == {"changed by hand": ["h/a.service"]}


def test_left_over_files_and_changed_ones_are_stale(compiled: Path) -> None:
    found = stale(compiled, {"plan.json": "old plan", "PLAN.md": "old", "h/a.service": "new"})
    assert found == {
        "not what the sources give": ["h/MANIFEST", "h/a.service"],
        "no longer part of the plan": ["h/b.service"],
    }


def test_a_foreign_file_in_the_way_is_told_before_a_write_refuses_it(compiled: Path) -> None:
    (compiled / "h" / "new.service").write_text("mine")
    wanted = {**OLD, "h/new.service": "new"}
    assert stale(compiled, wanted) == {
        "not what the sources give": ["h/MANIFEST"],
        "not written by modelc, and in its way": ["h/new.service"],
    }
    refused("unsafe-path", compiled, wanted)


def test_a_script_that_lost_its_right_to_be_executed_is_stale(tmp_path: Path) -> None:
    write(tmp_path / "compiled", {"h/run.sh": "true"})
    (tmp_path / "compiled" / "h" / "run.sh").chmod(0o644)
    found = stale(tmp_path / "compiled", {"h/run.sh": "true"})
    assert found == {"not executable": ["h/run.sh"]}


@pytest.mark.parametrize("name", ["", "h", "h/a.service", "plan.json", f"h/{MANIFEST_NAME}"])
def test_a_tree_with_a_link_is_refused_whatever_it_leads_to(compiled: Path, name: str) -> None:
    moved = compiled.parent / "moved"
    (compiled / name).rename(moved)
    (compiled / name).symlink_to(moved)
    with pytest.raises(CompileError) as caught:
        stale(compiled, OLD)
    assert [fault.code for fault in caught.value.diagnostics] == ["unsafe-path"]


def test_a_file_that_cannot_be_read_is_a_diagnostic(compiled: Path) -> None:
    (compiled / "h" / MANIFEST_NAME).unlink()
    (compiled / "h" / "a.service").unlink()
    (compiled / "h" / "a.service").mkdir()
    assert "h/a.service" in stale(compiled, OLD)["missing"]


# Reading


def unreadable(path: Path) -> Diagnostic:
    with pytest.raises(CompileError) as caught:
        read_text(path)
    (fault,) = caught.value.diagnostics
    return fault


def test_a_file_is_named_as_the_user_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "models.yaml").write_text("version: 1")
    monkeypatch.chdir(tmp_path)
    assert read_text(Path("in/models.yaml")).path == "in/models.yaml"
    assert read_text(tmp_path / "in" / "models.yaml").path == "in/models.yaml"
    monkeypatch.chdir(tmp_path / "in")
    assert read_text(Path("../in/models.yaml")).path == "models.yaml"


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfversion: 1")
    assert read_text(tmp_path / "a").text == "version: 1"


def test_a_missing_file_has_a_hint(tmp_path: Path) -> None:
    fault = unreadable(tmp_path / "models.yaml")
    assert fault.code == "file-missing"
    assert fault.hints == (
        "Name the folder that holds inventory.yaml and models.yaml; `modelc init` begins one.",
    )
    lock = unreadable(tmp_path / "modelc.lock")
    assert lock.hints == ("Run `modelc lock` to write it.",)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert unreadable(tmp_path).code == "file-unreadable"
    (tmp_path / "file").write_text("")
    assert unreadable(tmp_path / "file" / "models.yaml").code == "file-unreadable"


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        (b"\xff", 1, 1),
        (b"ab\xff", 1, 3),
        (b"one\ntwo\n  \xe9t\xe9", 3, 3),
        ("äöü".encode() + b"\xff", 1, 4),
        (b"\xef\xbb\xbf\n\xff", 2, 1),
        (b"\xef\xbb\xbfab\xff", 1, 3),
        (b"\n" * 99 + b"\xed\xa0\x80", 100, 1),
    ],
)
def test_what_is_not_utf8_is_pointed_at(
    tmp_path: Path, data: bytes, line: int, column: int
) -> None:
    (tmp_path / "a").write_bytes(data)
    fault = unreadable(tmp_path / "a")
    assert fault.code == "file-unreadable"
    assert fault.location == Location(str(tmp_path / "a"), line, column)


def test_a_huge_file_is_refused_without_being_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)
    code = f"""
        resource.setrlimit(resource.RLIMIT_AS, ({MAX_FILE_BYTES * 8}, {MAX_FILE_BYTES * 8}))
        try:
            workspace.read_text(Path("a"))
        except CompileError as error:
            print(error)
    """
    done = run_child(code, tmp_path)
    assert done.stdout == "file-too-large: `a` is over 64 MiB.\n", done.stderr


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(MAX_FILE_BYTES)
    assert len(read_text(tmp_path / "a").text) == MAX_FILE_BYTES


def test_an_optional_file_may_be_missing_but_not_broken(tmp_path: Path) -> None:
    assert read_optional(tmp_path / "none") is None
    (tmp_path / "broken").write_bytes(b"\xff")
    with pytest.raises(CompileError, match="file-unreadable"):
        read_optional(tmp_path / "broken")


def test_the_lock_is_replaced_as_one_file(tmp_path: Path) -> None:
    write_file(tmp_path / "modelc.lock", "old")
    write_file(tmp_path / "modelc.lock", "new\n")
    assert tree(tmp_path) == {"modelc.lock": "new\n"}
    assert (tmp_path / "modelc.lock").stat().st_mode & 0o777 == 0o666 & ~umask()


def test_a_lock_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="write-failed"):
        write_file(tmp_path / "none" / "modelc.lock", "text")


# The previous plan


def previous_text(compiled: Path, name: str | None) -> str | None:
    found = read_previous(compiled.parent, compiled, name)
    return found.text if found else None


def no_previous(compiled: Path, name: str) -> str:
    with pytest.raises(CompileError) as caught:
        read_previous(compiled.parent, compiled, name)
    (fault,) = caught.value.diagnostics
    assert fault.code == "previous-missing"
    return fault.detail


def test_the_previous_plan_is_the_compiled_one(compiled: Path) -> None:
    assert previous_text(compiled, None) == "old plan"
    assert previous_text(compiled.parent / "nowhere" / "compiled", None) is None


def test_there_may_be_no_previous_plan(compiled: Path) -> None:
    assert previous_text(compiled, "none") is None


def test_the_previous_plan_may_be_a_file_or_a_folder(compiled: Path) -> None:
    other = compiled.parent / "other"
    other.mkdir()
    (other / "plan.json").write_text("other plan")
    assert previous_text(compiled, str(other)) == "other plan"
    assert previous_text(compiled, str(other / "plan.json")) == "other plan"


def test_a_previous_plan_that_is_not_there_is_reported(compiled: Path) -> None:
    assert "h/plan.json" in no_previous(compiled, str(compiled / "h"))
    assert "nowhere" in no_previous(compiled, str(compiled / "nowhere"))


def test_a_previous_plan_of_an_impossible_name_is_reported(compiled: Path) -> None:
    with pytest.raises(CompileError, match="file-unreadable"):
        read_previous(compiled.parent, compiled, "x" * 5000)
