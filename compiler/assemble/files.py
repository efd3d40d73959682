"""Where the files of a replica lie on its host, and what they are pinned to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from compiler.engines.registry import engine_of
from compiler.ir.demand import Located
from compiler.ir.engine_name import EngineName
from compiler.ir.inventory import Host
from compiler.ir.lock import LockedSource
from compiler.ir.plan import PlannedCompanion
from compiler.ir.source import parse_source


def located(locked: LockedSource, engine: EngineName, host: Host) -> Located:
    """What the engine is told to load.

    Some engines take a hub id and fetch the pinned revision themselves. Else a file lies under
    models_dir, in a folder named like its repository; a relative path is one under models_dir.
    """
    if locked.repository is None:
        name = parse_source(locked.source)
        # A blob of Ollama's store is named by its digest: models_dir is such a store or a copy.
        path = locked.files[0].name if name.ollama else (name.path or "").removeprefix("~/")
        on_host = path if path.startswith("/") else f"{host.models_dir}/{_inside(path)}"
        return Located(path=on_host)
    if engine_of(engine).fetches(locked.facts):
        return Located(path=locked.repository, revision=locked.revision)
    return Located(path=f"{host.models_dir}/{locked.repository}/{locked.files[0].name}")


def companion_places(
    companions: Mapping[str, tuple[LockedSource, ...]], engine: EngineName, host: Host
) -> dict[str, tuple[Located, ...]]:
    """Where each companion of a replica lies, by argument."""
    return {
        argument: tuple(located(each, engine, host) for each in entries)
        for argument, entries in companions.items()
    }


def planned_companions(
    companions: Mapping[str, tuple[LockedSource, ...]], places: Mapping[str, tuple[Located, ...]]
) -> list[PlannedCompanion]:
    """The companions of a replica as the plan records them."""
    return [
        PlannedCompanion(
            argument=argument, source=each.source, revision=revision_of(each), path=place.path
        )
        for argument, entries in companions.items()
        for each, place in zip(entries, places[argument], strict=True)
    ]


def read_dirs(paths: Iterable[str], models_dir: str) -> list[str]:
    """What lies outside models_dir: models, and the folder in which a .gguf file is."""
    found = set()
    for path in map(PurePosixPath, paths):
        if path.is_absolute() and not path.is_relative_to(models_dir):
            # The other parts of a split set lie beside the first; nobody mounts a whole host.
            beside = path.suffix == ".gguf" and path.parent != path.parent.parent
            found.add(str(path.parent if beside else path))
    return sorted(found)


def revision_of(locked: LockedSource) -> str | None:
    """The commit on the hub, or the start of the first file's digest for a local model."""
    if locked.revision:
        return locked.revision
    first = locked.files[0] if locked.files else None
    digest = first and (first.sha256 or first.header_sha256)
    return digest[:12] if digest else None


def _inside(path: str) -> str:
    """A relative path without steps that lead out of its folder."""
    return "/".join(step for step in path.split("/") if step not in {"", ".", ".."})
