"""`modelc diff`: two plans compared, or the fleet with other versions of its engines."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from compiler.commands import names
from compiler.commands.common import (
    DETAILED,
    DIFF_STYLE,
    EXIT_CHANGES,
    IN_FOLDER,
    colored,
    parsed,
    print_diff,
    progress,
    read_inputs,
    width_of,
)


@click.command("diff")
@click.argument("old", required=False, shell_complete=names.plans)
@click.argument("new", required=False, shell_complete=names.plans)
@click.option(
    "--engine", "engines", multiple=True, metavar="ENGINE=VERSION",
    help="As if every host that has the engine had this version of it: what takes more or less, "
    "what no longer starts, which flags come or go. May be given for both engines.",
)  # fmt: skip
@DIFF_STYLE
@click.option(
    "--saved",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Show a diff that was saved with --format json, and compare nothing.",
)
@IN_FOLDER
@DETAILED
def diff_command(
    old: str | None, new: str | None, engines: tuple[str, ...], style: str, saved: Path | None,
    folder: Path, detailed_exitcode: bool,
) -> int:  # fmt: skip
    """Compare two plans, or preview an upgrade of an engine.

    Each plan is a file, a folder with a plan.json, or git:REV.
    Without NEW the sources of this folder are compiled in memory; without OLD they are compared
    with compiled/plan.json.
    """
    from compiler.diff import diff
    from compiler.inputs import read_diff, read_plan
    from compiler.pipeline import compile_plan
    from compiler.workspace import COMPILED, read_previous, read_text

    compiled = folder / COMPILED
    if engines:
        if new is not None or saved is not None:
            raise click.UsageError("--engine looks at the files of a folder: give no NEW plan.")
        return _preview(engines, style, (folder, old), detailed_exitcode=detailed_exitcode)
    if saved is not None:
        if old is not None:
            raise click.UsageError("`--saved` compares nothing: leave OLD and NEW out.")
        found = read_diff(read_text(saved))
    elif new is None:
        with progress() as reporter:
            found = compile_plan(read_inputs(folder, compiled, old), reporter).diff
    else:
        texts = [read_previous(folder, compiled, name) for name in (old, new)]
        before, after = (read_plan(text) if text else None for text in texts)
        if after is None:
            raise click.UsageError(f"`{new}` holds no plan.")
        found = diff(before, after)
    print_diff(found, style, folder)
    return EXIT_CHANGES if detailed_exitcode and not found.empty else 0


def _preview(
    engines: tuple[str, ...], style: str, at: tuple[Path, str | None], *, detailed_exitcode: bool
) -> int:
    from compiler.upgrade import parse_version, upgrade
    from compiler.views.upgrade import upgrade_json, upgrade_markdown, upgrade_text
    from compiler.workspace import COMPILED

    folder, old = at
    versions = dict(parsed(parse_version, each, "--engine") for each in engines)
    if len(versions) < len(engines):
        raise click.UsageError("--engine names an engine twice.")
    with progress() as reporter:
        found = upgrade(read_inputs(folder, folder / COMPILED, old), versions, reporter)
    match style:
        case "markdown":
            click.echo(upgrade_markdown(found), nl=False)
        case "json":
            click.echo(upgrade_json(found), nl=False)
        case "comment" | "gitlab":
            print_diff(found.diff, style, folder)
        case _:
            color, width = colored(sys.stdout), width_of(sys.stdout)
            click.echo(upgrade_text(found, color=color, width=width), nl=False)
    return EXIT_CHANGES if detailed_exitcode and not found.empty else 0
