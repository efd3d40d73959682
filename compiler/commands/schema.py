"""`modelc schema`: the JSON Schema of a file."""

from __future__ import annotations

import click


@click.command("schema")
@click.argument("name", type=click.Choice(["inventory", "models", "plan", "lock", "diff"]))
def schema_command(name: str) -> int:
    """Print the JSON Schema of a file."""
    from compiler.schemas import schema_text

    click.echo(schema_text(name), nl=False)
    return 0
