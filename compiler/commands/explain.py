"""`modelc explain`: what a service takes, where it stands and why."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from compiler.commands import names
from compiler.commands.common import (
    IN_FOLDER,
    PREVIOUS,
    TEXT_OR_JSON,
    colored,
    progress,
    read_inputs,
    report,
    width_of,
)


@click.command("explain")
@click.argument("service", shell_complete=names.services)
@IN_FOLDER
@click.option("--on", "host", metavar="HOST", shell_complete=names.hosts,
    help="Only replicas on this host.",
)  # fmt: skip
@click.option("--why", is_flag=True, help="Only why it stands where it stands.")
@PREVIOUS
@TEXT_OR_JSON
def explain_command(
    service: str, folder: Path, host: str | None, previous: str | None, style: str, *, why: bool
) -> int:
    """Say what a service takes, where it stands and why.

    Or why it stands nowhere.
    """
    from compiler.pipeline import plan_for, replicas_of
    from compiler.views.explain import replicas_json, replicas_text, whys_text
    from compiler.workspace import COMPILED

    inputs = read_inputs(folder, folder / COMPILED, previous)
    with progress() as reporter:
        plan, left_out, reasons = plan_for(inputs, service, reporter)
    found = replicas_of(plan, service, host)
    if style == "json":
        click.echo(replicas_json(plan, found, reasons), nl=False)
    else:
        color, width = colored(sys.stdout), width_of(sys.stdout)
        shown = whys_text if why else replicas_text
        text = shown(plan, found, color=color, width=width, reasons=reasons)
        click.echo(text, nl=False)
    report(left_out)
    return 0
