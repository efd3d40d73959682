"""Completion: the shells get commands, services, hosts, kinds and files, whatever is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.cli import run
from tests.requires import require_tool

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a fleet of three hosts, in which the shell stands."""
    for name in ("inventory.yaml", "models.yaml", "modelc.lock"):
        shutil.copy(ROOT / "inventories" / "startup" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def completed(words: str, folder: Path) -> list[str]:
    """What bash is told for the last of these words."""
    done = subprocess.run(
        [sys.executable, "-c", "from compiler.cli import main; main()"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            "_MODELC_COMPLETE": "bash_complete",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ("modelc comp", ["plain,compile", "plain,completion"]),
        ("modelc explain ch", ["plain,chat"]),
        ("modelc explain chat --on gpu", ["plain,gpu-1", "plain,gpu-2", "plain,gpu-3"]),
        ("modelc lock --update emb", ["plain,embed"]),
        ("modelc estimate x --gpu rtx-3090-", ["plain,rtx-3090-ti"]),
        ("modelc estimate x --gpu l4,rtx-3090-", ["plain,l4,rtx-3090-ti"]),
        ("modelc diff git", ["plain,git:HEAD", "file,git"]),
        ("modelc compile inv", ["dir,inv"]),
        ("modelc estimate ./mod", ["file,./mod"]),
    ],
)
def test_what_a_shell_is_offered(words: str, some: list[str], fleet: Path) -> None:
    assert completed(words, fleet) == some


@pytest.mark.parametrize("words", ["modelc explain x", "modelc explain x --on y"])
def test_broken_files_complete_nothing_and_say_nothing(words: str, fleet: Path) -> None:
    for name in ("inventory.yaml", "models.yaml", "modelc.lock"):
        (fleet / name).write_text("a: [\n", encoding="utf-8")
    assert completed(words, fleet) == []


def test_the_folder_that_is_meant_is_read(fleet: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert completed(f"modelc explain -C {fleet} ch", tmp_path / "elsewhere") == ["plain,chat"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_data(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    captured = capsys.readouterr()
    assert f"_MODELC_COMPLETE={shell}_complete" in captured.out
    assert captured.err == ""


def test_the_shell_that_is_used_is_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert run(["completion"]) == 0
    assert "fish_complete" in capsys.readouterr().out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run(["completion"]) == 64


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", "data/bash-completion/completions/modelc"),
        ("zsh", "data/zsh/site-functions/_modelc"),
        ("fish", "config/fish/completions/modelc.fish"),
    ],
)
def test_it_is_written_where_the_shell_looks(
    shell: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert run(["completion", shell, "--install"]) == 0
    assert run(["completion", shell, "--install"]) == 0, "once more changes nothing"
    assert f"{shell}_complete" in (tmp_path / place).read_text(encoding="utf-8")


def test_a_real_bash_completes(fleet: Path, tmp_path: Path) -> None:
    """With the script that is printed, bash itself fills in COMPREPLY."""
    bash = require_tool("bash")
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "modelc"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m compiler "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(modelc completion bash)"; COMP_WORDS=(modelc explain ch); COMP_CWORD=2; '
        '_modelc_completion modelc; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [bash, "-c", script],
        cwd=fleet,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "chat\n"
