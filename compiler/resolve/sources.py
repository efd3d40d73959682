"""Model sources to a lock: what is kept, what is resolved anew, and every fault on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from compiler.diagnostics import CompileError, Diagnostic
from compiler.ir.lock import Lock, LockedSource
from compiler.ir.source import SourceName, is_local, parse_source
from compiler.resolve.gguf_facts import FactsMissingError
from compiler.resolve.hub import HubUnreachableError, hub_from_environment, hub_tree
from compiler.resolve.read import FileFaultError, read_file, read_tree
from compiler.resolve.tree import SourceMissingError, local_tree

__all__ = ["is_local", "lock_sources", "parse_source", "resolve_source"]


def lock_sources(
    sources: Sequence[str],
    root: Path,
    previous: Lock | None,
    update: frozenset[str],
    progress: Callable[[str], None] | None = None,
    keep: Callable[[Lock], None] | None = None,
) -> Lock:
    """The lock of exactly these sources.

    An entry of the previous lock is kept as it is unless its source is in `update`; entries that no
    source asks for are dropped. Local paths are relative to `root`. `progress` is told each source
    before it is resolved. `keep` is given the lock so far after each source that was resolved, so
    that an interrupted or partly failing lock can be written down and continued later. Raises
    CompileError with the faults of all sources.
    """
    entries = {} if previous is None else {entry.source: entry for entry in previous.sources}
    wanted = sorted(set(sources))
    faults: list[Diagnostic] = []
    for source in wanted:
        if source in entries and source not in update:
            continue
        if progress is not None:
            progress(source)
        try:
            entries[source] = resolve_source(source, root)
        except CompileError as error:
            faults += error.diagnostics
            continue
        if keep is not None:
            keep(_lock(entries, wanted))
    if faults:
        raise CompileError(faults)
    return _lock(entries, wanted)


def resolve_source(source: str, root: Path) -> LockedSource:
    """One source with its files and facts, read now; raises CompileError."""
    try:
        name = parse_source(source)
    except ValueError as fault:
        raise _error("source-invalid", source, str(fault)) from fault
    try:
        return _resolve(source, name, root)
    except SourceMissingError as fault:
        raise _error("source-missing", source, str(fault), *fault.hints) from fault
    except FactsMissingError as fault:
        raise _error("facts-missing", source, f"it {fault}") from fault
    except FileFaultError as fault:
        code = "source-corrupt" if fault.damaged else "facts-missing"
        raise _error(code, source, str(fault)) from fault
    except HubUnreachableError as fault:
        raise _error("source-network", source, str(fault)) from fault
    except OSError as fault:
        raise _error("source-missing", source, fault.strerror or str(fault)) from fault


def _resolve(source: str, name: SourceName, root: Path) -> LockedSource:
    if name.repository is not None:
        tree, commit = hub_tree(hub_from_environment(), name.repository, name.revision)
        files, facts = read_tree(tree, name.selector)
        return LockedSource(
            source=source, repository=name.repository, revision=commit, files=files, facts=facts
        )
    local, file = local_tree(root / Path(name.path or ".").expanduser())
    files, facts = read_tree(local, None) if file is None else read_file(local, file)
    return LockedSource(source=source, files=files, facts=facts)


def _lock(entries: Mapping[str, LockedSource], wanted: Sequence[str]) -> Lock:
    return Lock(sources=[entries[source] for source in wanted if source in entries])


def _error(code: str, source: str, text: str, *hints: str) -> CompileError:
    detail = text if text.startswith(f"`{source}`") else f"`{source}`: {text}"
    return CompileError([Diagnostic(code=code, detail=detail, hints=hints)])
