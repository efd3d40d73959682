"""`modelc init`: a starter repository."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.commands.common import FOLDER, say


@click.command("init")
@FOLDER
def init_command(folder: Path) -> int:
    """Write a starter repository: inventory, models, CI workflow, pre-commit hook.

    Files that are there are left as they are.
    """
    from compiler.workspace import write_starters

    written, left = write_starters(folder)
    for path in left:
        say(f"{path} is there already and stays as it is.")
    for path in written:
        say(f"{path} is written.")
    return 0
