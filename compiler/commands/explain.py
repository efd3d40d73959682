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
@PREVIOUS
@TEXT_OR_JSON
def explain_command(
    service: str, folder: Path, host: str | None, previous: str | None, style: str
) -> int:
    """Say what a service takes, where it stands and why.

    Or why it stands nowhere.
    """
    from compiler.pipeline import plan_for, replicas_of
    from compiler.views.explain import replicas_json, replicas_text
    from compiler.workspace import COMPILED

    inputs = read_inputs(folder, folder / COMPILED, previous)
    with progress() as reporter:
        plan, left_out = plan_for(inputs, service, reporter)
    found = replicas_of(plan, service, host)
    if style == "json":
        click.echo(replicas_json(plan, found), nl=False)
    else:
        color, width = colored(sys.stdout), width_of(sys.stdout)
        click.echo(replicas_text(plan, found, color=color, width=width), nl=False)
    report(left_out)
    return 0
