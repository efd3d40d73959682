"""Completion: the shells get commands, services, hosts, kinds and files, whatever is broken."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
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


@pytest.fixture
def shell(fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place in the fleet where `modelc` is on PATH and completion is installed for all shells."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "modelc"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m compiler "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "dumb")
    for name in ("bash", "zsh", "fish"):
        assert run(["completion", name, "--install"]) == 0
    return fleet


def said(command: list[str], folder: Path) -> str:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_a_real_bash_completes(shell: Path) -> None:
    """With the script that is printed, bash itself fills in COMPREPLY."""
    script = (
        'eval "$(modelc completion bash)"; COMP_WORDS=(modelc explain ch); COMP_CWORD=2; '
        '_modelc_completion modelc; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert said([require_tool("bash"), "-c", script], shell) == "chat\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [("modelc explain ch", "chat"), ("modelc kin", "kinds"), ("modelc compile inv", "inventory")],
)
def test_a_real_fish_completes(shell: Path, words: str, offered: str) -> None:
    """It finds the installed script by itself, and says what it would offer."""
    (shell / "inventory").mkdir()
    found = said([require_tool("fish"), "-c", f"complete -C '{words}'"], shell)
    assert offered in {line.split("\t")[0].rstrip("/") for line in found.splitlines()}


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("modelc explain ch", "modelc explain chat"), ("modelc kin", "modelc kinds")],
)
def test_a_real_zsh_completes(shell: Path, typed: str, completed: str) -> None:
    """A zsh at a terminal, where the installed script is on fpath, and somebody presses Tab."""
    zsh = require_tool("zsh")
    script = shell / "data" / "zsh" / "site-functions"
    begin = f"fpath=({script} $fpath); autoload -Uz compinit; compinit -u -D; PS1=; echo rea''dy"
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover (becomes zsh)
        os.chdir(shell)
        os.execv(zsh, [zsh, "-f", "-i"])  # noqa: S606
    try:
        os.write(terminal, f"{begin}\n".encode())
        until(terminal, "ready")
        os.write(terminal, f"{typed}\t".encode())
        until(terminal, completed)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def until(terminal: int, text: str) -> None:
    """Reads what the shell shows until this text is in it."""
    shown = ""
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, f"no `{text}` in {shown!r}"
        shown += os.read(terminal, 4096).decode("utf-8", "replace")
