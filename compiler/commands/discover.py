"""`modelc discover`: this host's GPUs and RAM, written into inventory.yaml."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.commands.common import FOLDER, counted, say


@click.command("discover")
@FOLDER
@click.option("--host", metavar="NAME", help="The host's name. Default: its own, without domain.")
@click.option("--print", "print_only", is_flag=True, help="Write nothing; print the host's entry.")
def discover_command(folder: Path, host: str | None, print_only: bool) -> int:
    """Write this host's GPUs and RAM into inventory.yaml, as its driver describes them."""
    from compiler.discover.machine import discover
    from compiler.enlist import EMPTY_INVENTORY, enlist
    from compiler.ir.textfile import TextFile
    from compiler.workspace import read_optional, write_file

    meminfo = read_optional(Path("/proc/meminfo"))
    found = discover(meminfo.text if meminfo else "")
    path = folder / "inventory.yaml"
    existing = read_optional(path)
    file = existing or TextFile(path="inventory.yaml", text=EMPTY_INVENTORY)
    enlisted = enlist(file, found, host, write=not print_only)
    for uuid in found.unsliced:
        say(f"{uuid} is in MIG mode and has no slice; it is left out.")
    if print_only:
        click.echo(enlisted.entry, nl=False)
        return 0
    for uuid in enlisted.gone:
        say(f"{uuid} is not in this host; its entry is gone.")
    if existing and existing.text == enlisted.text:
        say(f"{file.path} is up to date.")
        return 0
    write_file(path, enlisted.text)
    say(f"{file.path}: {enlisted.host} has {counted(enlisted.n_gpus, 'GPU')}.")
    return 0
