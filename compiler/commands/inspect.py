"""`modelc inspect`: what is known of a model."""

from __future__ import annotations

import sys

import click

from compiler.commands import names
from compiler.commands.common import TEXT_OR_JSON, colored, find_model, progress


@click.command("inspect")
@click.argument("source", shell_complete=names.sources)
@TEXT_OR_JSON
def inspect_command(source: str, style: str) -> int:
    """Say what is known of a model.

    It is read from modelc.lock of this folder, else from the model's headers.
    """
    from compiler.engines.registry import engine_of, usual_engine
    from compiler.views.inspect import inspect_json, inspect_text

    with progress() as reporter:
        locked = find_model(source, reporter)
    profile = engine_of(usual_engine(locked.source, locked.facts.format)).profile(locked.facts)
    if style == "json":
        click.echo(inspect_json(locked, profile), nl=False)
    else:
        click.echo(inspect_text(locked, profile, color=colored(sys.stdout)), nl=False)
    return 0
