"""Progress: what a step says, and that a terminal alone shows it, only when it takes long."""

from __future__ import annotations

import io
import time

import pytest

from compiler.ir.progress import Step, silent
from compiler.views import progress
from compiler.views.progress import progress_on, step_words


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step(stage="lock"), "lock"),
        (Step(stage="lock", item="org/model", done=1, total=3), "lock org/model, 1 of 3"),
        (Step(stage="estimate", done=1_200), "estimate, 1,200 done"),
        (
            Step(stage="place: moves", best=3, bound=0),
            "place: moves, best 3, at best 0",
        ),
        (Step(stage="lock", item="a\x1b[2Jb"), "lock a[2Jb"),
    ],
)
def test_a_step_in_words(step: Step, words: str) -> None:
    assert step_words(step) == words


def test_nobody_needs_to_listen() -> None:
    silent(Step(stage="place"))


def test_what_is_done_at_once_shows_nothing() -> None:
    stream = io.StringIO()
    with progress_on(stream, color=False) as report:
        report(Step(stage="place"))
    assert not stream.getvalue()


def test_what_takes_long_is_shown_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    stream = io.StringIO()
    with progress_on(stream, color=False) as report:
        report(Step(stage="place: variants", best=7))
        # However slow the machine is, the line comes up in the end.
        while "place: variants, best 7" not in stream.getvalue():
            time.sleep(0.01)
    assert stream.getvalue().endswith("\x1b[2K"), "the line is taken away"
