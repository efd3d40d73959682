"""What commands share: options, how they read the user's files, and where they print."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from compiler.commands import names
from compiler.commands.reporting import note, remember_style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compiler.diagnostics import Diagnostic
    from compiler.inputs import Inputs
    from compiler.ir.changes import Diff
    from compiler.ir.lock import LockedSource
    from compiler.ir.progress import Reporter
    from compiler.ir.textfile import TextFile

Parsed = TypeVar("Parsed")

# 0 done, 1 input or check failed, 2 changes (only with --detailed-exitcode), 64 wrong usage.
EXIT_FAILED = 1
EXIT_CHANGES = 2
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130

FOLDER = click.argument(
    "folder", type=click.Path(file_okay=False, path_type=Path), default=Path(), required=False
)
PREVIOUS = click.option(
    "--previous",
    metavar="PLAN",
    shell_complete=names.plans,
    help="Plan to compare with: a file, git:REV, or none. Default: compiled/plan.json.",
)

IN_FOLDER = click.option(
    "-C", "--folder", type=click.Path(file_okay=False, path_type=Path), default=Path(),
    help="The folder of inventory.yaml and models.yaml.",
)  # fmt: skip
DIFF_STYLE = click.option(
    "--format", "style", type=click.Choice(["text", "markdown", "comment", "json", "gitlab"]),
    default="text", callback=remember_style,
    help="How the diff is printed; comment: for a pull request; gitlab: its terraform report.",
)  # fmt: skip
DETAILED = click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 2 when there are changes."
)


TEXT_OR_JSON = click.option(
    "--format", "style", type=click.Choice(["text", "json"]), default="text",
    callback=remember_style, help="How the answer is printed.",
)  # fmt: skip


def read_inputs(folder: Path, compiled: Path, previous: str | None) -> Inputs:
    """The texts that a compile reads, each missing only with the reason why."""
    from compiler.diagnostics import CompileError
    from compiler.inputs import Inputs
    from compiler.workspace import read_previous, read_text

    faults: list[Diagnostic] = []

    def attempt(read: Callable[[], TextFile | None]) -> TextFile | None:
        try:
            return read()
        except CompileError as error:
            faults.extend(error.diagnostics)
            return None

    inventory = attempt(lambda: read_text(folder / "inventory.yaml"))
    spec = attempt(lambda: read_text(folder / "models.yaml"))
    lock_file = attempt(lambda: read_text(folder / "modelc.lock"))
    plan = attempt(lambda: read_previous(folder, compiled, previous))
    if [fault.code for fault in faults[:3]] == ["file-missing"] * 3:
        faults[:3] = [_no_fleet(folder)]
    return Inputs(
        inventory=inventory, spec=spec, lock=lock_file, previous=plan, unreadable=tuple(faults)
    )


def _no_fleet(folder: Path) -> Diagnostic:
    """For a folder without any of a fleet's files: one finding, and how to begin."""
    from compiler.diagnostics import Diagnostic

    here = folder == Path()
    named = "This folder" if here else f"`{folder.as_posix()}`"
    command = "modelc init" if here else shlex.join(["modelc", "init", folder.as_posix()])
    return Diagnostic(
        code="file-missing",
        detail=f"{named} holds no fleet: no inventory.yaml, no models.yaml, no modelc.lock.",
        hints=(
            f"Run `{command}` to begin one there.",
            "Or name the folder of a fleet: `modelc compile FOLDER`, elsewhere `-C FOLDER`.",
        ),
    )


def find_model(model: str, report: Reporter) -> LockedSource:
    """The facts of a model: from a modelc.lock in this folder, else read from its files."""
    from compiler.inputs import read_lock
    from compiler.ir.progress import WAITING, Step
    from compiler.resolve.sources import resolve_source
    from compiler.workspace import read_optional

    text = read_optional(Path("modelc.lock"))
    locked = read_lock(text).find(model) if text else None
    if locked is not None:
        return locked
    report(Step(stage="read headers of", item=model))

    def told(step: Step) -> None:
        if step.stage == WAITING:
            say(step.item)
        report(step)

    return resolve_source(model, Path(), report=told)


def parsed(parse: Callable[[str], Parsed], text: str, option: str) -> Parsed:
    """The value of an option; wrong usage when it cannot be read."""
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def print_diff(found: Diff, style: str, folder: Path) -> None:
    """Prints the diff of the fleet in this folder in the style asked for, on stdout."""
    from compiler.views.diff import diff_json, diff_markdown, diff_text
    from compiler.views.forges import gitlab_terraform

    match style:
        case "markdown":
            text = diff_markdown(found)
        case "comment":
            from compiler.views.comment import diff_comment
            from compiler.workspace.checkout import path_in_repository

            text = diff_comment(found, path_in_repository(folder))
        case "json":
            text = diff_json(found)
        case "gitlab":
            text = gitlab_terraform(found)
        case _:
            text = diff_text(found, color=colored(sys.stdout), width=width_of(sys.stdout))
    click.echo(text, nl=False)


def report(diagnostics: tuple[Diagnostic, ...] | list[Diagnostic]) -> None:
    """Diagnostics are talk: they go to stderr, and into the reports that were asked for."""
    from compiler.views.diagnostics import diagnostics_text

    note(diagnostics)
    if diagnostics:
        text = diagnostics_text(diagnostics, color=colored(sys.stderr), width=width_of(sys.stderr))
        click.echo(text, err=True, nl=False)


def say(text: str) -> None:
    """One line of talk, on stderr."""
    click.echo(text, err=True)


def colored(stream: TextIO | None) -> bool:
    """Colour for people at a terminal, unless NO_COLOR says otherwise; a stream can be closed."""
    if stream is None:
        return False
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width_of(stream: TextIO | None) -> int | None:
    """The columns of a terminal, or of COLUMNS; None for what is no terminal and has no width."""
    if stream is None or not stream.isatty():
        return None
    from rich.console import Console

    return Console(file=stream).width


@contextmanager
def progress() -> Iterator[Reporter]:
    """Shows on stderr how far a pass is, where that is a terminal; nobody is told elsewhere."""
    from compiler.ir.progress import silent
    from compiler.views.progress import progress_on

    stream = sys.stderr
    if stream is None or not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield silent
        return
    with progress_on(stream, color=colored(stream)) as reporter:
        yield reporter
