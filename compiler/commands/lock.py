"""`modelc lock`: the models of models.yaml resolved into modelc.lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.commands import names
from compiler.commands.common import EXIT_FAILED, FOLDER, progress, report, say
from compiler.ir.counting import counted

if TYPE_CHECKING:
    from compiler.ir.lock import Lock
    from compiler.ir.progress import Step


@click.command("lock")
@FOLDER
@click.option(
    "--update",
    multiple=True,
    metavar="NAME",
    shell_complete=names.services_and_sources,
    help="A service or source to resolve anew.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing, ask no hub; fail unless every source is locked, as it lies here.",
)
def lock_command(folder: Path, update: tuple[str, ...], check: bool) -> int:
    """Resolve the models of models.yaml into modelc.lock."""
    from compiler.inputs import read_lock
    from compiler.ir.lock import lock_text, partial_lock_text, with_partial_lock
    from compiler.locking import spec_sources, unlocked_sources, updated_sources
    from compiler.resolve.sources import changed_sources, lock_sources
    from compiler.workspace import read_optional, read_text, remove_file, replace_file, write_file

    spec = read_text(folder / "models.yaml")
    path = folder / "modelc.lock"
    existing = read_optional(path)
    if check:
        faults = unlocked_sources(spec, existing)
        if existing:
            faults += changed_sources(read_lock(existing), folder)
        report(faults)
        if not faults:
            known = read_lock(existing) if existing else None
            n_sources = len(spec_sources(spec, known))
            say(f"modelc.lock holds {counted(n_sources, 'source')}; nothing is missing or stale.")
        return EXIT_FAILED if faults else 0
    # A lock that was cut off left here what it had resolved; modelc.lock itself changes at the end.
    partial = folder / ".modelc.lock.partial"
    before = existing.text if existing else ""
    begun = with_partial_lock(
        read_lock(existing) if existing else None, before, read_optional(partial)
    )
    with progress() as reporter:

        def told(step: Step) -> None:
            say(step.item)
            reporter(step)

        def resolved(known: Lock | None, update: frozenset[str]) -> Lock:
            return lock_sources(
                spec_sources(spec, known),
                folder,
                known,
                update,
                report=told,
                keep=lambda so_far: write_file(partial, partial_lock_text(so_far, before)),
            )

        found = resolved(begun, updated_sources(spec, update, begun))
        # A model that was not known before may be for another engine, whose arguments name more.
        if any(found.find(source) is None for source in spec_sources(spec, found)):
            found = resolved(found, frozenset())
    text = lock_text(found)
    replace_file(path, before, text)
    remove_file(partial)
    changed = f"modelc.lock: {counted(len(found.sources), 'source')}."
    say("modelc.lock is up to date." if text == before else changed)
    return 0
