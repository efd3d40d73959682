"""`modelc diff`: two plans compared."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.commands import names
from compiler.commands.common import (
    DETAILED,
    DIFF_STYLE,
    EXIT_CHANGES,
    IN_FOLDER,
    print_diff,
    progress,
    read_inputs,
)


@click.command("diff")
@click.argument("old", required=False, shell_complete=names.plans)
@click.argument("new", required=False, shell_complete=names.plans)
@DIFF_STYLE
@IN_FOLDER
@DETAILED
def diff_command(
    old: str | None, new: str | None, style: str, folder: Path, detailed_exitcode: bool
) -> int:
    """Compare two plans.

    Each is a file, a folder with a plan.json, or git:REV.
    Without NEW the sources of this folder are compiled in memory; without OLD they are compared
    with compiled/plan.json.
    """
    from compiler.diff import diff
    from compiler.inputs import read_plan
    from compiler.pipeline import compile_plan
    from compiler.workspace import COMPILED, read_previous

    compiled = folder / COMPILED
    if new is None:
        with progress() as reporter:
            found = compile_plan(read_inputs(folder, compiled, old), reporter).diff
    else:
        texts = [read_previous(folder, compiled, name) for name in (old, new)]
        before, after = (read_plan(text) if text else None for text in texts)
        if after is None:
            raise click.UsageError(f"`{new}` holds no plan.")
        found = diff(before, after)
    print_diff(found, style)
    return EXIT_CHANGES if detailed_exitcode and not found.empty else 0
