"""`modelc completion`: what a shell needs to complete commands, services, kinds and files."""

from __future__ import annotations

import os
from pathlib import Path

import click

from compiler.commands.common import say

SHELLS = ("bash", "zsh", "fish")

# Where each shell looks by itself, below the folder of a user's data or settings. zsh looks into
# no folder of the user's own unless `fpath` names it.
_PLACES = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/modelc"),
    "zsh": ("XDG_DATA_HOME", ".local/share", "zsh/site-functions/_modelc"),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/modelc.fish"),
}


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--install", is_flag=True, help="Write it where the shell looks for it.")
@click.pass_context
def completion_command(context: click.Context, shell: str | None, install: bool) -> int:
    """Print the completion script of a shell.

    It completes commands, services, hosts, GPU kinds and files.
    Without SHELL it is the one that the variable SHELL names.
    """
    from click.shell_completion import get_completion_class

    from compiler.workspace import write_own

    name = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(name) if name in SHELLS else None
    if found is None:
        raise click.UsageError(f"Name your shell: {', '.join(SHELLS)}.")
    text = found(context.find_root().command, {}, "modelc", "_MODELC_COMPLETE").source()
    if not install:
        click.echo(text)
        return 0
    variable, home, place = _PLACES[name]
    folder = Path(os.environ.get(variable) or Path.home() / home)
    target = folder / place
    write_own(target, f"{text}\n")
    say(f"{target} is written; a new shell completes modelc.")
    if name == "zsh":
        say(f"zsh looks there when ~/.zshrc says, before compinit: fpath+=({target.parent})")
    return 0
