"""A plan of a git revision: read from the checkout's own repository, and nothing can run or fetch.

Each attack plants a command that would leave a mark, in every way that we know, and looks for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from compiler.diagnostics import CompileError, Diagnostic
from compiler.workspace import MAX_FILE_BYTES, read_previous
from tests.requires import require_tool

MARK = "ran"


def git(root: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        [require_tool("git"), "-C", str(root), *settings, *arguments],
        check=True, capture_output=True, text=True, env=clean(),
    )  # fmt: skip
    return done.stdout.strip()


def clean() -> dict[str, str]:
    """The environment without what a test has put into it for modelc."""
    names = {name for name in os.environ if not name.startswith("GIT_")}
    return {**{name: os.environ[name] for name in names}, "GIT_CONFIG_GLOBAL": "/dev/null"}


def commit(root: Path, text: str) -> None:
    plan = root / "fleets" / "lab" / "compiled" / "plan.json"
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.write_text(text, "utf-8")
    git(root, "add", "-Af", ".")
    git(root, "commit", "--quiet", "--message", text[:20])


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository of two commits whose plan has changed since."""
    root = tmp_path / "checkout"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    for text in ("first", "second"):
        commit(root, text)
    git(root, "tag", "--annotate", "--message", "x", "v1", "HEAD~1")
    (root / "fleets" / "lab" / "compiled" / "plan.json").write_text("not committed")
    return root


def read(top: Path, revision: str = "HEAD") -> str:
    """The plan of a revision, read as for the fleet in that checkout."""
    fleet = top / "fleets" / "lab"
    found = read_previous(fleet, fleet / "compiled", f"git:{revision}")
    assert found is not None
    assert found.path == f"git:{revision}:compiled/plan.json"
    return found.text


def fault(fleet: Path, revision: str, code: str = "previous-missing") -> Diagnostic:
    with pytest.raises(CompileError) as caught:
        read_previous(fleet, fleet / "compiled", f"git:{revision}")
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.detail.endswith(".")
    assert not found.detail.endswith("..")
    return found


# What a revision may be


@pytest.mark.parametrize(
    ("revision", "text"),
    [
        ("HEAD", "second"), ("@", "second"), ("main", "second"), ("refs/heads/main", "second"),
        ("HEAD~1", "first"), ("HEAD^", "first"), ("v1", "first"), ("v1^{commit}", "first"),
        (":/first", "first"), ("HEAD@{1}", "first"), ("main@{0}", "second"),
    ],
)  # fmt: skip
def test_a_revision_is_what_git_calls_one(top: Path, revision: str, text: str) -> None:
    assert read(top, revision) == text
    git(top, "gc", "--quiet")
    assert read(top, revision) == text


def test_a_digest_is_a_revision_in_full_and_in_short(top: Path) -> None:
    digest = git(top, "rev-parse", "HEAD~1")
    assert read(top, digest) == read(top, digest[:8]) == "first"


def test_a_branch_follows_another_one(top: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(top), str(clone))
    commit(clone, "third")
    for revision in ("@{u}", "@{upstream}", "main@{u}", "origin/main", "origin"):
        assert read(clone, revision) == "second"
    assert read(clone, "main") == "third"


def test_both_parents_of_a_merge_and_what_a_merge_takes_in(top: Path) -> None:
    git(top, "checkout", "--quiet", "--force", "-b", "other", "HEAD~1")
    commit(top, "other")
    git(top, "checkout", "--quiet", "main")
    git(top, "merge", "--quiet", "--no-commit", "--strategy=ours", "other")
    assert read(top, "MERGE_HEAD") == "other"
    git(top, "commit", "--quiet", "--message", "merge")
    assert (read(top, "HEAD^1"), read(top, "HEAD^2")) == ("second", "other")


def test_every_form_of_a_checkout_is_read(top: Path, tmp_path: Path) -> None:
    git(top, "worktree", "add", "--quiet", "--detach", str(tmp_path / "worktree"), "HEAD~1")
    git(tmp_path, "clone", "--quiet", "--shared", str(top), "shared")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{top}", "shallow")
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(top), "sub")
    assert read(tmp_path / "worktree") == "first"
    assert read(tmp_path / "worktree", "main") == "second"
    assert read(tmp_path / "shared", "HEAD~1") == "first"
    assert read(tmp_path / "shallow") == "second"
    fault(tmp_path / "shallow" / "fleets" / "lab", "HEAD~1")
    assert read(outer / "sub") == "second"


@pytest.mark.parametrize("form", [["--object-format=sha256"], ["--ref-format=reftable"]])
def test_newer_formats_of_a_repository_are_read(tmp_path: Path, form: list[str]) -> None:
    root = tmp_path / "checkout"
    root.mkdir()
    try:
        git(root, "init", "--quiet", "--initial-branch=main", *form)
    except subprocess.CalledProcessError as error:
        assert "unknown option" in error.stderr  # noqa: PT017  An older git has no such format.
        pytest.skip("this git does not know the format")
    commit(root, "first")
    commit(root, "second")
    git(root, "worktree", "add", "--quiet", "--detach", str(tmp_path / "worktree"), "HEAD~1")
    assert (read(root), read(root, "main~1")) == ("second", "first")
    assert (read(tmp_path / "worktree"), read(tmp_path / "worktree", "main")) == ("first", "second")


@pytest.mark.parametrize(
    "revision",
    [
        "", "-p", "--output=victim", "nowhere", "HEAD:", "HEAD:fleets", "HEAD~9", "^HEAD",
        "HEAD..HEAD~1", "HEAD HEAD", ":0:x", "HEAD\n", "a\0b", "HEAD^{tree}", "@{99}", ":/nowhere",
        "\udcff",
    ],
)  # fmt: skip
def test_what_is_no_revision_is_reported(top: Path, revision: str) -> None:
    fault(top / "fleets" / "lab", revision)
    assert not (top / "fleets" / "lab" / "victim").exists()


def test_a_plan_that_the_revision_does_not_have_is_reported(top: Path) -> None:
    found = fault(top / "fleets", "HEAD")
    assert found.detail == "git: path 'fleets/compiled/plan.json' does not exist in 'HEAD'."
    assert "`git log -- compiled/plan.json`" in found.hints[0]


def test_an_output_elsewhere_is_compared_with_the_committed_one(top: Path, tmp_path: Path) -> None:
    fleet = top / "fleets" / "lab"
    for other in (fleet / "other", tmp_path / "outside"):
        found = read_previous(fleet, other, "git:HEAD")
        assert found is not None
        assert (found.text, found.path) == ("second", "git:HEAD:compiled/plan.json")


def test_a_revision_is_found_from_any_folder(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(top / "fleets")
    found = read_previous(Path("lab"), Path("lab/compiled"), "git:HEAD")
    monkeypatch.chdir(top / "fleets" / "lab")
    here = read_previous(Path(), Path("compiled"), "git:HEAD")
    assert found == here


def test_a_folder_without_git_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "not a git repository" in fault(tmp_path, "HEAD").detail
    (tmp_path / ".git").mkdir()
    assert "not a git repository" in fault(tmp_path, "HEAD").detail
    (tmp_path / ".git").rmdir()
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    assert "not a git repository" in fault(tmp_path, "HEAD").detail


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    fault(tmp_path / "nowhere", "HEAD")


def test_a_missing_git_is_reported(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert fault(top / "fleets" / "lab", "HEAD").detail.startswith("git cannot be run")


def test_a_plan_that_is_no_text_or_too_large_is_reported(top: Path) -> None:
    plan = top / "fleets" / "lab" / "compiled" / "plan.json"
    plan.write_bytes(b"\xff")
    git(top, "commit", "--quiet", "--all", "--message", "x")
    fault(top / "fleets" / "lab", "HEAD", "file-unreadable")
    with plan.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    git(top, "commit", "--quiet", "--all", "--message", "x")
    fault(top / "fleets" / "lab", "HEAD", "file-too-large")


def test_a_link_is_not_followed(top: Path) -> None:
    plan = top / "fleets" / "lab" / "compiled" / "plan.json"
    plan.unlink()
    plan.symlink_to("/etc/hostname")
    git(top, "commit", "--quiet", "--all", "--message", "x")
    assert read(top) == "/etc/hostname"


# What must never run


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a command leaves which should never have run."""
    monkeypatch.setenv("MARK", str(tmp_path / MARK))
    return tmp_path / MARK


COMMAND = "touch $MARK"

# Every setting that we know to start a program, and those that lead to others.
HOSTILE = f"""
[core]
	repositoryformatversion = 1
	fsmonitor = {COMMAND}
	hooksPath = hooks
	pager = {COMMAND}
	editor = {COMMAND}
	askPass = ./hook.sh
	sshCommand = {COMMAND}
	gitProxy = ./hook.sh
	attributesFile = attributes
	alternateRefsCommand = {COMMAND}
[extensions]
	partialClone = origin
[remote "origin"]
	url = ext::sh hook.sh
	promisor = true
	partialclonefilter = blob:none
	uploadpack = ./hook.sh
[remote "other"]
	url = ssh://nowhere/x
	promisor = true
[remote "third"]
	vcs = hook
	promisor = true
[protocol]
	allow = always
[protocol "ext"]
	allow = always
[protocol "file"]
	allow = always
[diff "x"]
	textconv = {COMMAND}
	command = {COMMAND}
[diff]
	external = {COMMAND}
[filter "x"]
	smudge = {COMMAND}
	clean = {COMMAND}
	process = {COMMAND}
	required = true
[alias]
	show = !{COMMAND}
	rev-parse = !{COMMAND}
	cat-file = !{COMMAND}
[credential]
	helper = !{COMMAND}
[gpg]
	program = ./hook.sh
[pager]
	show = {COMMAND}
	cat-file = {COMMAND}
[include]
	path = more
[uploadpack]
	packObjectsHook = ./hook.sh
[trace2]
	eventTarget = /nowhere
"""


def plant(folder: Path) -> None:
    """A program and the files that lead to it."""
    for name in ("hook.sh", "git", "git-remote-ext", "git-remote-hook"):
        (folder / name).write_text(f"#!/bin/sh\n{COMMAND}\n")
        (folder / name).chmod(0o755)
    (folder / "attributes").write_text("* diff=x filter=x\n")
    (folder / ".gitattributes").write_text("* diff=x filter=x\n")
    (folder / "more").write_text(f"[core]\n\tfsmonitor = {COMMAND}\n")
    (folder / "hooks").mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc"):
        (folder / "hooks" / name).write_text(f"#!/bin/sh\n{COMMAND}\n")
        (folder / "hooks" / name).chmod(0o755)


def embed(folder: Path, head: str = "1" * 40) -> None:
    """Makes a folder a bare repository too, of files that git checks in like any others."""
    (folder / "objects").mkdir(parents=True)
    (folder / "refs" / "heads").mkdir(parents=True)
    (folder / "objects" / ".keep").touch()
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "refs" / "heads" / "main").write_text(f"{head}\n")
    plant(folder)
    (folder / "config").write_text(f"{HOSTILE}[core]\n\tbare = false\n\tworktree = .\n")


@pytest.mark.parametrize("place", ["fleets/lab", "fleets", "", "fleets/lab/compiled"])
def test_a_repository_among_the_files_is_none(top: Path, mark: Path, place: str) -> None:
    embed(top / place)
    commit(top, "third")
    victim = top.parent / "victim"
    git(top.parent, "clone", "--quiet", str(top), str(victim))
    assert (read(victim), read(victim, "HEAD~1")) == ("third", "second")
    assert not mark.exists()


def test_the_planted_commands_would_run(top: Path, mark: Path) -> None:
    """The same files, asked as modelc must not: so the attacks above are ones."""
    embed(top / "fleets" / "lab")
    subprocess.run(
        [require_tool("git"), "-C", top / "fleets" / "lab", "show", "HEAD:./compiled/plan.json"],
        check=False, capture_output=True, env={**clean(), "MARK": str(mark)},
    )  # fmt: skip
    assert mark.exists()


def test_the_checkouts_own_settings_start_nothing(top: Path, mark: Path) -> None:
    plant(top / ".git")
    plant(top / "fleets" / "lab")
    with (top / ".git" / "config").open("a") as file:
        file.write(HOSTILE)
    shutil.copytree(top / ".git" / "hooks", top / "hooks")
    assert (read(top), read(top, "HEAD~1")) == ("second", "first")
    fault(top / "fleets" / "lab", "2" * 40)
    assert not mark.exists()


def test_a_missing_object_is_not_fetched(top: Path, tmp_path: Path, mark: Path) -> None:
    git(top, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--no-checkout", "--filter=blob:none", f"file://{top}", "c")
    clone = tmp_path / "c"
    plant(clone)
    (clone / "fleets" / "lab").mkdir(parents=True)
    found = fault(clone / "fleets" / "lab", "HEAD")
    assert "its content is not on this machine" in found.detail
    assert "partial clone" in found.hints[0]
    with (clone / ".git" / "config").open("a") as file:
        file.write(HOSTILE)
    fault(clone / "fleets" / "lab", "HEAD")
    assert not mark.exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_DIR": "{other}/.git"},
        {"GIT_DIR": "{other}/.git", "GIT_WORK_TREE": "{other}"},
        {"GIT_COMMON_DIR": "{other}/.git"},
        {"GIT_OBJECT_DIRECTORY": "{other}/.git/objects"},
        {"GIT_ALTERNATE_OBJECT_DIRECTORIES": "{other}/.git/objects"},
        {"GIT_NAMESPACE": "x"},
        {"GIT_INDEX_FILE": "/nowhere"},
        {"GIT_EXEC_PATH": "{other}"},
        {"GIT_EXTERNAL_DIFF": COMMAND},
        {"GIT_SSH_COMMAND": COMMAND},
        {"GIT_PROXY_COMMAND": "{other}/hook.sh"},
        {"GIT_ASKPASS": "{other}/hook.sh"},
        {"GIT_CONFIG": "{other}/config"},
        {"GIT_CONFIG_GLOBAL": "{other}/config"},
        {"GIT_CONFIG_SYSTEM": "{other}/config"},
        {"GIT_CONFIG_PARAMETERS": f"'core.fsmonitor={COMMAND}'"},
        {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "core.fsmonitor",
            "GIT_CONFIG_VALUE_0": COMMAND,
        },
        {"GIT_TRACE": "{mark}"},
        {"GIT_TRACE2_EVENT": "{mark}"},
        {"GIT_REDIRECT_STDOUT": "{mark}"},
        {"GIT_LITERAL_PATHSPECS": "1", "GIT_DEFAULT_HASH": "sha256"},
        {"HOME": "{other}", "XDG_CONFIG_HOME": "{other}"},
        {"PATH": ".:{path}"},
        {"PATH": ":{path}"},
    ],
)
def test_the_environment_does_not_steer_git(
    top: Path, mark: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    other = top.parent / "other"
    other.mkdir()
    git(other, "init", "--quiet", "--initial-branch=main")
    commit(other, "wrong")
    plant(other)
    for name in ("config", ".gitconfig"):
        (other / name).write_text(HOSTILE.replace("repositoryformatversion = 1", ""))
    plant(top / "fleets" / "lab")
    for name, value in variables.items():
        filled = value.format(other=other, mark=mark, path=os.environ["PATH"])
        monkeypatch.setenv(name, filled)
    monkeypatch.chdir(top / "fleets" / "lab")
    assert read(top) == "second"
    assert not mark.exists()


def test_a_replaced_object_is_read_as_it_was_committed(top: Path) -> None:
    wrong = git(top, "hash-object", "-w", str(top / "fleets" / "lab" / "compiled" / "plan.json"))
    right = git(top, "rev-parse", "HEAD:fleets/lab/compiled/plan.json")
    git(top, "replace", right, wrong)
    git(top, "replace", git(top, "rev-parse", "HEAD"), git(top, "rev-parse", "HEAD~1"))
    assert read(top) == "second"


def test_settings_with_any_signs_are_handed_over_whole(top: Path) -> None:
    git(top, "branch", 'a"b')
    git(top, "config", 'branch.a"b.remote', ".")
    git(top, "config", 'branch.a"b.merge', "refs/heads/main")
    git(top, "config", "branch.x.remote", 'a"\n[core]\n\tfsmonitor = touch x\\ # ;')
    assert read(top, 'a"b@{u}') == "second"


def test_a_read_leaves_nothing_behind(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    before = sorted(path for path in top.rglob("*"))
    read(top)
    assert sorted(path for path in top.rglob("*")) == before
    assert list((tmp_path / "tmp").iterdir()) == []
