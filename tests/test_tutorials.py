"""The tutorials show what their commands really print: every marked block is run and compared."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from compiler.cli import run
from compiler.ir.lock import Lock, partial_lock_text, read_lock_text
from tests.generators import published, shapes
from tests.generators.models import write_gguf

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = sorted((ROOT / "docs").glob("tutorial-*.md"))
BLOCK = re.compile(r"<!-- (write|run)(?: ([^\n>]+?))? -->\n\n```\w+\n(.*?)```", re.DOTALL)
CARRIED = "Qwen3-8B-Q4_K_M.gguf"
# A shell of CI has no name of an author.
GIT = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example", "GIT_CONFIG_GLOBAL": os.devnull,
}  # fmt: skip


def test_there_is_a_tutorial_for_each_kind_of_user() -> None:
    assert [path.stem for path in TUTORIALS] == [
        "tutorial-edge",
        "tutorial-homelab",
        "tutorial-platform",
    ]


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_shows_what_is_so(
    tutorial: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    update_golden: bool,
) -> None:
    text = tutorial.read_text(encoding="utf-8")
    for name, value in GIT.items():
        monkeypatch.setenv(name, value)
    # What the tutorial sets is gone when it ends.
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.chdir(tmp_path)
    keep_what_the_hub_would_say(tmp_path)
    if CARRIED in text:
        carry_a_model(tmp_path)

    def rebuilt(match: re.Match[str]) -> str:
        kind, what, content = match.groups()
        if kind == "write":
            (tmp_path / what).write_text(content, encoding="utf-8")
            return match[0]
        commands = [line for line in content.splitlines() if line.startswith("$ ")]
        shown = "".join(
            f"{command}\n{printed(command[2:], what == 'fails', capsys)}" for command in commands
        )
        return match[0].replace(content, shown)

    expected = BLOCK.sub(rebuilt, text)
    if update_golden:
        tutorial.write_text(expected, encoding="utf-8")
        text = expected
    assert text == expected


def keep_what_the_hub_would_say(folder: Path) -> None:
    """The headers of the examples' locks, as a lock that was cut off keeps them.

    No test has a network.
    """
    texts = [path.read_text("utf-8") for path in (ROOT / "inventories").glob("*/modelc.lock")]
    sources = {each.source: each for text in texts for each in read_lock_text(text).sources}
    lock = Lock(sources=[sources[name] for name in sorted(sources)])
    (folder / ".modelc.lock.partial").write_text(partial_lock_text(lock, ""), encoding="utf-8")


def carry_a_model(folder: Path) -> None:
    """A file with the header and the size of the real one, and a hole in place of its data."""
    shape = published.QWEN3["8B"]
    header = published.gguf_header(
        "qwen3",
        published.decoder_values(shape, 40960, 1000000.0),
        shapes.gguf_decoder(shape, rope_factors=False),
        "Q4_K_M",
    )
    tensors = [(tensor.name, tensor.dtype, tensor.shape) for tensor in header.tensors]
    write_gguf(folder / "models" / CARRIED, header.values, tensors)


def printed(command: str, fails: bool, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints on both streams. modelc runs in this process, all else in bash."""
    words = shlex.split(command)
    if words[0] == "export":
        name, _, value = words[1].partition("=")
        os.environ[name] = value
        return ""
    if words[0] != "modelc":
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, check=True, timeout=600
        )
        return done.stdout + done.stderr
    capsys.readouterr()
    assert run(words[1:]) == (1 if fails else 0), capsys.readouterr().err
    captured = capsys.readouterr()
    # A terminal shows warnings first, then the answer, then what comes next.
    before, mark, after = captured.err.partition("\ncompiled/ is ")
    return (
        "".join(filter(None, [before and f"{before}\n", captured.out, mark + after])).rstrip("\n")
        + "\n"
    )
