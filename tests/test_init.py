"""`modelc init`: what a repository begins with is true, complete, and never in anybody's way."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from compiler import __version__
from compiler.cli import run
from compiler.single import NEWEST_VERSIONS
from tests.generators.write_locks import example_lock_text
from tests.requires import require_tool

STARTERS = Path(__file__).parents[1] / "templates" / "init"
FILES = [
    ".github/workflows/modelc.yaml",
    ".pre-commit-config.yaml",
    "README.md",
    "inventory.yaml",
    "models.yaml",
]
WORKFLOW = FILES[0]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder after `modelc init`, which is the current one."""
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    return tmp_path


@pytest.fixture
def compiled(started: Path) -> Path:
    """The same after `modelc lock`, with the models' published shapes, and `modelc compile`."""
    (started / "modelc.lock").write_text(example_lock_text(started), "utf-8")
    assert run(["compile"]) == 0
    return started


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its text; git's own are left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def workflow() -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(STARTERS / WORKFLOW)
    return document


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workflow()["jobs"]["plan"]["steps"]
    return found


def test_every_starter_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    assert files(tmp_path) == files(STARTERS)
    assert sorted(files(tmp_path)) == FILES
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "".join(f"{name} is written.\n" for name in FILES)


def test_a_folder_is_made(tmp_path: Path) -> None:
    assert run(["init", str(tmp_path / "new" / "fleet")]) == 0
    assert sorted(files(tmp_path / "new" / "fleet")) == FILES


def test_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("Ours.\n", "utf-8")
    (tmp_path / "models.yaml").symlink_to("nowhere")
    assert run(["init"]) == 0
    assert (tmp_path / "README.md").read_text("utf-8") == "Ours.\n"
    assert not (tmp_path / "nowhere").exists()
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == [
        f"{name} is there already and stays as it is." for name in ("README.md", "models.yaml")
    ]
    assert said[2:] == [
        f"{name} is written." for name in FILES if name not in {"README.md", "models.yaml"}
    ]


def test_a_file_in_the_way_of_a_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".github").write_text("", "utf-8")
    assert run(["init"]) == 1
    assert capsys.readouterr().err.startswith("error[write-failed]")


def test_the_starters_compile_and_the_first_variant_fits(
    compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["lock", "--check"]) == 0
    assert run(["compile", "--check", "--detailed-exitcode", "--ledger"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "chat (awq)" in captured.out
    assert (compiled / "compiled" / "example" / "systemd" / "modelc.target").is_file()


def test_the_starters_name_the_newest_engines() -> None:
    inventory = (STARTERS / "inventory.yaml").read_text("utf-8")
    assert f"version: {NEWEST_VERSIONS['vllm']}," in inventory
    assert f"build: {NEWEST_VERSIONS['llama.cpp']}," in inventory


def test_the_workflow_is_one() -> None:
    subprocess.run(
        [require_tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows",
         STARTERS / WORKFLOW],
        check=True,
    )  # fmt: skip


def test_the_workflow_installs_this_modelc() -> None:
    assert workflow()["jobs"]["plan"]["env"]["MODELC"] == f"modelc=={__version__}"


def test_the_workflow_may_only_read_and_its_shell_expands_nothing() -> None:
    assert workflow()["permissions"] == {"contents": "read"}
    assert [step["run"] for step in steps() if "${{" in step.get("run", "")] == []
    assert steps()[0]["with"] == {"fetch-depth": 2, "persist-credentials": False}


@pytest.mark.parametrize("first", [True, False])
def test_what_the_workflow_runs_does_what_it_says(
    compiled: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    """The steps after the installation, on a merge commit as GitHub makes it."""
    git = [require_tool("git"), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    bash = require_tool("bash")
    modelc = Path(require_tool("modelc")).parent
    monkeypatch.setenv("PATH", f"{modelc}:/usr/bin:/bin")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(compiled / "summary.md"))

    def commit(*arguments: str) -> None:
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", "x", *arguments], check=True)

    subprocess.run([*git, "init", "-q"], check=True)
    if first:
        aside = compiled.parent / "aside"
        shutil.move(compiled / "compiled", aside)
        commit()
        shutil.move(aside, compiled / "compiled")
    else:
        commit()
        models = (compiled / "models.yaml").read_text("utf-8")
        (compiled / "models.yaml").write_text(models[: models.index("  embed:")], "utf-8")
        assert run(["compile"]) == 0
    commit()
    for step in steps():
        if "run" in step and "pip" not in step["run"]:
            subprocess.run([bash, "-e", "-c", step["run"]], check=True, cwd=compiled)
    summary = (compiled / "summary.md").read_text("utf-8")
    assert ("2 to create" if first else "1 to delete") in summary


def test_the_hooks_are_commands_of_ours(compiled: Path) -> None:
    document = YAML(typ="safe", pure=True).load(STARTERS / ".pre-commit-config.yaml")
    (repository,) = document["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        name, *arguments = hook["entry"].split()
        assert name == "modelc"
        assert run(arguments) == 0
        assert hook["language"] == "system"
        assert re.search(hook["files"], "models.yaml")
    assert (compiled / "modelc.lock").is_file()
