"""`modelc init`: a starter repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.commands.common import FOLDER, say

if TYPE_CHECKING:
    from compiler.ir.inventory import Target


@click.command("init")
@FOLDER
@click.option(
    "--target",
    type=click.Choice(["systemd", "compose", "quadlet", "script"]),
    default="systemd",
    help="What the hosts run. Default: systemd.",
)
def init_command(folder: Path, target: Target) -> int:
    """Write a starter repository.

    It has an inventory, models, a CI workflow and a pre-commit hook.
    Files that are there are left as they are. Inside a git repository the workflow and the hook go
    to its top, where GitHub and pre-commit look for them.
    """
    from compiler.workspace import write_starters

    written, left = write_starters(folder, target)
    for path in left:
        say(f"{path} is there already and stays as it is.")
    for path in written:
        say(f"{path} is written.")
    return 0
