"""`modelc report`: a plan as a picture, with what changes in it, in one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.commands import names
from compiler.commands.common import FOLDER, PREVIOUS, progress, read_inputs, report, say

STDOUT = Path("-")


@click.command("report")
@FOLDER
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Where to write; - is stdout. Default: report.html in FOLDER.",
)
@PREVIOUS
@click.option(
    "--plan",
    "saved",
    metavar="PLAN",
    shell_complete=names.plans,
    help="Show this plan (a file or git:REV) and compile nothing.",
)
def report_command(folder: Path, out: Path | None, previous: str | None, saved: str | None) -> int:
    """Write the fleet as one HTML file, before and after.

    It shows the memory of each host, GPU and replica.

    Without --plan the sources of FOLDER are compiled in memory; compiled/ is left alone. The file
    needs no network and no other file.
    """
    from compiler.diff import diff
    from compiler.inputs import read_plan
    from compiler.pipeline import compile_plan
    from compiler.views.report import MARKER, report_html
    from compiler.workspace import COMPILED, read_previous, write_marked

    compiled = folder / COMPILED
    if saved is None:
        inputs = read_inputs(folder, compiled, previous)
        with progress() as reporter:
            compilation = compile_plan(inputs, reporter)
        report(compilation.warnings)
        plan, found = compilation.plan, compilation.diff
        before = read_plan(inputs.previous) if inputs.previous else None
    else:
        texts = [read_previous(folder, compiled, name) for name in (previous, saved)]
        before, after = (read_plan(text) if text else None for text in texts)
        if after is None:
            raise click.BadParameter(f"`{saved}` holds no plan.", param_hint="--plan")
        plan, found = after, diff(before, after)
    page = report_html(plan, before, found)
    if out == STDOUT:
        click.echo(page, nl=False)
        return 0
    path = out or folder / "report.html"
    write_marked(path, page, MARKER)
    say(f"{path.as_posix()} is written; open it in a browser.")
    return 0
