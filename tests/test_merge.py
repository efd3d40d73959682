"""Two changes at once: what git cannot merge in compiled/, and how a compile gets out of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from compiler.cli import run
from compiler.ir.manifest import listed_digests, manifest_text, parse_manifest
from compiler.ir.textfile import conflict_line, merge_sides
from tests.test_golden import HERE

LOCK = HERE / "golden" / "files-of-arguments" / "modelc.lock"
INVENTORY = """\
version: 1
defaults: {ram: 32GiB, engines: {llama.cpp: {build: 9000}}}
hosts:
  a: {gpus: []}
  b: {gpus: []}
"""
SERVICE = """\
  {name}:
    model: nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0
    task: embed
    context: 2048
    # Lines between two changes, so that git can tell them apart.
    offload: cpu
    concurrency: {concurrency}
    placement: {{hosts: {{name: {host}}}}}
"""
PLAN_FILES = {"compiled/MANIFEST", "compiled/PLAN.md", "compiled/plan.json"}


def is_of_the_fleet(path: str) -> bool:
    """The plan, and the way to it; not what one host is told to run."""
    return path in PLAN_FILES or path.startswith("compiled/ansible/")


def write_models(folder: Path, hosts: str, first: int, second: int) -> None:
    """Two services, each with its host and its concurrency."""
    services = [
        SERVICE.format(name=name, host=host, concurrency=concurrency)
        for name, host, concurrency in zip(("one", "two"), hosts, (first, second), strict=True)
    ]
    (folder / "models.yaml").write_text("version: 1\nservices:\n" + "".join(services))


def git(folder: Path, *arguments: str) -> str:
    """What git says; a merge with conflicts is no error."""
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *settings, *arguments],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 or arguments[0] == "merge", done.stderr
    return done.stdout


def commit(folder: Path, message: str) -> None:
    assert run(["compile"]) == 0
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", message)


def merged(folder: Path, hosts: str, *, style: str = "merge") -> set[str]:
    """Two branches, each with another change, merged; the files in conflict."""
    (folder / "inventory.yaml").write_text(INVENTORY)
    shutil.copy(LOCK, folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "merge.conflictStyle", style)
    write_models(folder, hosts, 1, 1)
    commit(folder, "base")
    git(folder, "switch", "--quiet", "--create", "other")
    write_models(folder, hosts, 1, 2)
    commit(folder, "other")
    git(folder, "switch", "--quiet", "main")
    write_models(folder, hosts, 2, 1)
    commit(folder, "ours")
    git(folder, "merge", "other")
    return set(git(folder, "diff", "--name-only", "--diff-filter=U").split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted((folder / "compiled").rglob("*"))
        if path.is_file()
    }


def without_rollout(tree: dict[str, str]) -> dict[str, object]:
    plan = json.loads(tree["compiled/plan.json"])
    assert plan.pop("rollout")["waves"]
    rest = {path: text for path, text in tree.items() if not is_of_the_fleet(path)}
    return {**rest, "compiled/plan.json": plan}


def test_changes_of_two_hosts_conflict_in_the_files_of_the_whole_fleet_only(folder: Path) -> None:
    assert [path for path in merged(folder, "ab") if not is_of_the_fleet(path)] == []


@pytest.mark.parametrize("style", ["merge", "diff3", "zdiff3"])
@pytest.mark.parametrize("hosts", ["ab", "aa"])
def test_a_compile_against_a_named_plan_makes_the_tree_anew(
    folder: Path, hosts: str, style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    conflicts = merged(folder, hosts, style=style)
    assert {"compiled/MANIFEST", "compiled/plan.json"} <= conflicts
    (folder / "compiled" / "a" / "mine.txt").write_text("mine")
    before = tree(folder)

    assert run(["compile"]) == 1
    said = capsys.readouterr().err
    assert "error[previous-corrupt]" in said
    assert "`modelc compile --previous git:HEAD`" in said
    assert tree(folder) == before

    assert run(["compile", "--previous", "git:HEAD"]) == 0
    after = tree(folder)
    assert after.pop("compiled/a/mine.txt") == "mine"
    assert not any(conflict_line(text) for text in after.values())
    assert run(["compile", "--check"]) == 0
    shutil.rmtree(folder / "compiled")
    assert run(["compile"]) == 0
    # But for the way to it, which leads from nothing, it is the same plan.
    assert without_rollout(tree(folder)) == without_rollout(after)


def test_files_of_either_side_are_ours_to_delete(folder: Path) -> None:
    merged(folder, "aa")
    (folder / "models.yaml").write_text(
        "version: 1\nservices:\n" + SERVICE.format(name="one", host="a", concurrency=1)
    )
    assert run(["compile", "--previous", "git:MERGE_HEAD"]) == 0
    assert not [path for path in tree(folder) if "two" in path]


# The sides of a text

OURS, THEIRS = "1" * 64, "2" * 64
CONFLICT = f"""\
head
<<<<<<< HEAD
{OURS}
||||||| base
was
=======
{THEIRS}
>>>>>>> other
tail
"""


def test_a_side_is_what_it_was_before_the_merge() -> None:
    assert merge_sides(CONFLICT) == (f"head\n{OURS}\ntail\n", f"head\n{THEIRS}\ntail\n")
    without_base = CONFLICT.replace("||||||| base\nwas\n", "")
    assert merge_sides(without_base) == merge_sides(CONFLICT)
    assert conflict_line(CONFLICT) == 2


@pytest.mark.parametrize("text", ["", "a\n=======\nb\n", "<<<<<<<< longer\n", ">>>>>>> alone\n"])
def test_a_text_without_a_conflict_has_one_side(text: str) -> None:
    assert merge_sides(text) == (text,)


def test_a_manifest_in_conflict_lists_both_digests() -> None:
    both = manifest_text(()) + CONFLICT.replace("head\n", "").replace("tail\n", "").replace(
        OURS, f"{OURS}  {OURS}  f"
    ).replace(THEIRS, f"{THEIRS}  {THEIRS}  f")
    assert listed_digests(both) == {"f": frozenset({OURS, THEIRS})}
    with pytest.raises(ValueError, match="line 2"):
        parse_manifest(both)
