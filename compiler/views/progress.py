"""Progress on a terminal: a line that says what takes so long, from the first second on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from compiler.ir.progress import Reporter, Step
from compiler.views.terminal import safe_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# What is done sooner shows nothing: a line that flashes up says less than none.
PATIENCE_SECONDS = 1.0


@contextmanager
def progress_on(stream: TextIO, *, color: bool) -> Iterator[Reporter]:
    """A reporter that shows the latest step on a terminal, and takes its line away at the end."""
    screen = _Screen(stream, color=color)
    waiting = threading.Timer(PATIENCE_SECONDS, screen.show)
    waiting.daemon = True
    waiting.start()
    try:
        yield screen.report
    finally:
        waiting.cancel()
        screen.close()


def step_words(step: Step) -> str:
    """A step in words: `place: fewest moves, best 3, at best 2`."""
    words = [safe_text(f"{step.stage} {step.item}".strip())]
    if step.done is not None and step.total:
        words.append(f"{step.done:,} of {step.total:,}")
    elif step.done is not None:
        words.append(f"{step.done:,} done")
    if step.best is not None:
        words.append(f"best {step.best:,}")
    if step.bound is not None:
        words.append(f"at best {step.bound:,}")
    return ", ".join(words)


class _Screen:
    """The line itself. The timer's thread shows it, the pass's own thread changes and closes it."""

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        self._stream = stream
        self._color = color
        self._lock = threading.Lock()
        self._step: Step | None = None
        self._closed = False
        self._live: tuple[Progress, TaskID] | None = None

    def report(self, step: Step, /) -> None:
        """Takes note of a step, and shows it where the line is up."""
        with self._lock:
            self._step = step
            if self._live is not None:
                self._update(*self._live)

    def show(self) -> None:
        """Puts the line up, unless all is over by now."""
        progress = _progress(self._stream, color=self._color)
        with self._lock:
            if self._closed:
                return
            task = progress.add_task("", total=None)
            self._live = progress, task
            self._update(progress, task)
            progress.start()

    def close(self) -> None:
        """Takes the line away."""
        with self._lock:
            self._closed = True
            live, self._live = self._live, None
        if live is not None:
            live[0].stop()

    def _update(self, progress: Progress, task: TaskID) -> None:
        step = self._step or Step(stage="working")
        progress.update(
            task, description=step_words(step), total=step.total or None, completed=step.done or 0
        )


def _progress(stream: TextIO, *, color: bool) -> Progress:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(file=stream, force_terminal=True, no_color=not color, highlight=False)
    return Progress(
        SpinnerColumn("line"),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        # What goes to stdout may be for a file; only talk is kept above the line.
        redirect_stdout=False,
        refresh_per_second=5,
    )
