"""`modelc size`: the fewest GPUs that hold a spec with full room."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from compiler.commands import names
from compiler.commands.common import IN_FOLDER, TEXT_OR_JSON, colored, progress, read_inputs


@click.command("size")
@IN_FOLDER
@click.option(
    "--kind", "kinds", multiple=True, required=True, shell_complete=names.kinds,
    help="A kind of GPU to look at. May be given several times.",
)  # fmt: skip
@click.option(
    "--per-host", multiple=True, type=click.IntRange(1, 16), default=(1, 2, 4, 8),
    help="GPUs of one host. May be given several times. Default: 1, 2, 4 and 8.",
)  # fmt: skip
@TEXT_OR_JSON
def size_command(
    folder: Path, kinds: tuple[str, ...], per_host: tuple[int, ...], style: str
) -> int:
    """Find the fewest GPUs of a kind that hold all services.

    Each has its full room there; nothing is written.
    """
    from compiler.sizing import sizes
    from compiler.views.whatif import sizing_json, sizing_text
    from compiler.workspace import COMPILED

    inputs = read_inputs(folder, folder / COMPILED, "none")
    with progress() as reporter:
        found = sizes(inputs, kinds, per_host, reporter)
    shown = sizing_json(found) if style == "json" else sizing_text(found, color=colored(sys.stdout))
    click.echo(shown, nl=False)
    return 0
