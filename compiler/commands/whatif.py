"""`modelc whatif`: the plan with changes, and what the loss of a host or a GPU would cost."""

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
    width_of,
)


@click.command("whatif")
@IN_FOLDER
@click.option(
    "--without", multiple=True, metavar="HOST[/GPU]", shell_complete=names.hosts,
    help="As if this host, or this GPU, were gone. May be given several times.",
)  # fmt: skip
@click.option(
    "--add", multiple=True, metavar="2xKIND[@HOST]",
    help="As if there were one more host with these GPUs, otherwise like HOST.",
)  # fmt: skip
@click.option(
    "--set", "settings", multiple=True, metavar="SERVICE.KEY=VALUE",
    help="As if models.yaml said this: `chat.replicas=4`, `policy.max_moves=1`.",
)  # fmt: skip
@click.option(
    "--n-1", "n_minus_1", is_flag=True,
    help="What the loss of each host, and of each GPU, would cost.",
)  # fmt: skip
@PREVIOUS
@TEXT_OR_JSON
def whatif_command(
    folder: Path, without: tuple[str, ...], add: tuple[str, ...], settings: tuple[str, ...],
    n_minus_1: bool, previous: str | None, style: str,
) -> int:  # fmt: skip
    """Show what the plan would be with changes; nothing is written."""
    from compiler.views.whatif import losses_json, losses_text, whatif_json, whatif_text
    from compiler.whatif import Changes, losses, what_if
    from compiler.workspace import COMPILED

    if n_minus_1 == bool(without or add or settings):
        raise click.UsageError("Give changes (--without, --add, --set), or --n-1 alone.")
    inputs = read_inputs(folder, folder / COMPILED, previous)
    color, width = colored(sys.stdout), width_of(sys.stdout)
    if n_minus_1:
        with progress() as reporter:
            lost = losses(inputs, reporter)
        text = losses_json(lost) if style == "json" else losses_text(lost, color=color)
    else:
        changes = Changes(without=without, add=add, settings=settings)
        with progress() as reporter:
            found = what_if(inputs, changes, reporter)
        shown = whatif_json if style == "json" else None
        text = shown(found) if shown else whatif_text(found, color=color, width=width)
    click.echo(text, nl=False)
    return 0
