"""`modelc discover`: this host's GPUs and RAM, written into inventory.yaml."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.commands.common import FOLDER, parsed, say
from compiler.ir.counting import counted

if TYPE_CHECKING:
    from compiler.discover.machine import Found


@click.command("discover")
@FOLDER
@click.option("--host", metavar="NAME", help="The host's name. Default: its own, without domain.")
@click.option(
    "--from",
    "source",
    metavar="FILE|-",
    help="What `nvidia-smi -q -x` printed on another host, which needs nothing installed for it.",
)
@click.option("--ram", metavar="SIZE", help="With --from: the RAM of that host, such as 64GiB.")
@click.option("--print", "print_only", is_flag=True, help="Write nothing; print the host's entry.")
def discover_command(
    folder: Path, host: str | None, source: str | None, ram: str | None, print_only: bool
) -> int:
    """Write this host's GPUs and RAM into inventory.yaml.

    The GPUs are written as their driver describes them.
    A host without NVIDIA GPUs is written with its RAM alone: llama.cpp can serve there.
    """
    from compiler.discover.machine import discover
    from compiler.enlist import DISPLAY_RESERVE, EMPTY_INVENTORY, enlist
    from compiler.ir.textfile import TextFile
    from compiler.workspace import read_optional, write_file

    if source is None:
        if ram is not None:
            raise click.UsageError("--ram goes with --from; here the system says it.")
        meminfo = read_optional(Path("/proc/meminfo"))
        devices = read_optional(Path("/proc/bus/pci/devices"))
        found = discover(meminfo.text if meminfo else "", devices.text if devices else "")
    else:
        found = _reported(source, host, ram)
    path = folder / "inventory.yaml"
    existing = read_optional(path)
    file = existing or TextFile(path="inventory.yaml", text=EMPTY_INVENTORY)
    enlisted = enlist(file, found, host)
    for uuid in found.unsliced:
        why = "has no slice" if source is None else "its slices are not in the report"
        say(f"{uuid} is in MIG mode and {why}; it is left out.")
    if not found.driver:
        say("No NVIDIA driver and no NVIDIA device: the host is written with its RAM alone.")
    if print_only:
        click.echo(enlisted.entry, nl=False)
        return 0
    for index in enlisted.displays:
        say(
            f"GPU {index} drives a display: `reserved: {DISPLAY_RESERVE}` is for that, to be "
            "changed as you see fit."
        )
    for uuid in enlisted.gone:
        say(f"{uuid} is not in this host; its entry is gone.")
    if existing and existing.text == enlisted.text:
        say(f"{file.path} is up to date.")
        return 0
    write_file(path, enlisted.text)
    say(f"{file.path}: {enlisted.host} has {counted(enlisted.n_gpus, 'GPU')}.")
    return 0


def _reported(source: str, host: str | None, ram: str | None) -> Found:
    """Another host, as its report says."""
    from compiler.discover.report import MAX_REPORT_BYTES, read_report
    from compiler.ir.catalog import builtin_kinds
    from compiler.ir.units import parse_size
    from compiler.workspace import read_text

    if host is None:
        raise click.UsageError("--from needs --host NAME: a report does not name its host.")
    if source == "-":
        raw = sys.stdin.buffer.read(MAX_REPORT_BYTES + 1)
        text = raw[:MAX_REPORT_BYTES].decode("utf-8", "replace")
    else:
        text = read_text(Path(source)).text
    ram_bytes = parsed(parse_size, ram, "--ram") if ram else None
    found, sliced = read_report(text, host, ram_bytes, builtin_kinds())
    return replace(found, unsliced=sliced)
