"""`modelc kinds`: the GPU kinds that an inventory may name."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.commands.common import IN_FOLDER, TEXT_OR_JSON


@click.command("kinds")
@IN_FOLDER
@TEXT_OR_JSON
def kinds_command(folder: Path, style: str) -> int:
    """List the GPU kinds that an inventory may name.

    Those that this folder's inventory describes are among them.
    """
    from compiler.inputs import gpu_kinds
    from compiler.views.kinds import kinds_json, kinds_text
    from compiler.workspace import read_optional

    known = gpu_kinds(read_optional(folder / "inventory.yaml"))
    click.echo(kinds_json(known) if style == "json" else kinds_text(known), nl=False)
    return 0
