"""Model sources to a lock: what is kept, what is resolved anew, and every fault on the way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import NamedTuple

from compiler.diagnostics import CompileError, Diagnostic, Location
from compiler.ir.lock import Lock, LockedSource
from compiler.ir.progress import Reporter, Step, silent
from compiler.ir.source import SourceName, is_local, parse_source
from compiler.resolve.connection import without_token
from compiler.resolve.gguf_facts import FactsMissingError
from compiler.resolve.hub import HubUnreachableError, hub_from_environment, hub_tree
from compiler.resolve.ollama import ollama_tree, pulled_by_ollama
from compiler.resolve.ranges import DamagedFileError
from compiler.resolve.read import FileFaultError, has_weights, read_file, read_tree
from compiler.resolve.tree import SourceMissingError, local_tree

__all__ = ["changed_sources", "is_local", "lock_sources", "parse_source", "resolve_source"]

# Each reads up to eight files at once; a hub takes many more from one address for an attack.
_SOURCES_AT_ONCE = 4


def lock_sources(
    sources: Sequence[str] | Mapping[str, Location],
    root: Path,
    previous: Lock | None,
    update: frozenset[str],
    report: Reporter = silent,
    keep: Callable[[Lock], None] | None = None,
) -> Lock:
    """The lock of exactly these sources.

    An entry of the previous lock is kept as it is unless its source is in `update`; entries that no
    source asks for are dropped. Local paths are relative to `root`. `report` is told each source
    when it is begun, and each wait for the hub. `keep` is given the lock so far after each source
    that was resolved, in the caller's own thread, so that an interrupted or partly failing lock can
    be written down and continued later. Raises CompileError with the faults of all sources, at the
    places that `sources` gives them, if it gives any.
    """
    places = sources if isinstance(sources, Mapping) else {}
    entries = {} if previous is None else {entry.source: entry for entry in previous.sources}
    wanted = sorted(set(sources))
    todo = [source for source in wanted if source not in entries or source in update]
    faults: dict[str, tuple[Diagnostic, ...]] = {}
    for source, answer in _resolve_all(todo, root, report):
        if isinstance(answer, CompileError):
            faults[source] = tuple(
                replace(fault, location=places.get(source)) for fault in answer.diagnostics
            )
            continue
        entries[source] = answer
        if keep is not None:
            keep(_lock(entries, wanted))
    if faults:
        raise CompileError([fault for source in sorted(faults) for fault in faults[source]])
    return _lock(entries, wanted)


def changed_sources(lock: Lock, root: Path) -> list[Diagnostic]:
    """Local sources whose files are here and are not what was locked.

    A source that is not on this machine is not asked for: the lock says what it is.
    """
    found = []
    for entry in lock.sources:
        if not is_local(entry.source):
            continue
        try:
            detail = _difference(entry, resolve_source(entry.source, root))
        except CompileError as error:
            codes = {each.code for each in error.diagnostics}
            detail = None if codes <= {"source-missing"} else error.diagnostics[0].detail
        if detail:
            hint = f"Run `modelc lock --update {entry.source}` and review what it changes."
            found.append(Diagnostic(code="lock-stale", detail=detail, hints=(hint,)))
    return found


def _difference(locked: LockedSource, now: LockedSource) -> str | None:
    before, after = ({file.name: file for file in each.files} for each in (locked, now))
    names = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    if not names:
        return None
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"`{locked.source}` has changed since it was locked: `{names[0]}`{more}."


def resolve_source(
    source: str,
    root: Path,
    stopped: Event | None = None,
    report: Reporter = silent,
) -> LockedSource:
    """One source with its files and facts, read now; raises CompileError.

    Once `stopped` is set, the hub is not asked again. `report` is told each wait.
    """
    try:
        name = parse_source(source)
    except ValueError as fault:
        raise _error("source-invalid", source, str(fault)) from fault
    try:
        return _resolve(source, name, root, _Asking(stopped or Event(), report))
    except SourceMissingError as fault:
        hints = (*fault.hints, *_ollama_hint(name), *_hub_hint(name))
        raise _error("source-missing", source, str(fault), *hints) from fault
    except FactsMissingError as fault:
        raise _error("facts-missing", source, f"it {fault}") from fault
    except FileFaultError as fault:
        code = "source-corrupt" if fault.damaged else "facts-missing"
        raise _error(code, source, str(fault)) from fault
    except DamagedFileError as fault:
        raise _error("source-corrupt", source, f"it {fault}") from fault
    except HubUnreachableError as fault:
        raise _error("source-network", source, str(fault), *_ollama_hint(name)) from fault
    except OSError as fault:
        where = f"`{fault.filename}`: " if fault.filename else ""
        raise _error("source-missing", source, f"{where}{fault.strerror or fault}") from fault


def _ollama_hint(name: SourceName) -> Iterator[str]:
    """A name with one slash is the hub's, though Ollama may have pulled a model of that name."""
    store = os.environ.get("OLLAMA_MODELS")
    if name.repository and pulled_by_ollama(name.repository, name.selector, store):
        tag = name.selector or "latest"
        yield f"write `registry.ollama.ai/{name.repository}:{tag}` for what Ollama has pulled"


def _hub_hint(name: SourceName) -> Iterator[str]:
    """A name that ends in .gguf is a path, though it may have been meant for a file of the hub."""
    parts = (name.path or "").split("/")
    if len(parts) > 2 and not parts[0].startswith((".", "~")) and all(parts):  # noqa: PLR2004 (org/repo/file)
        yield f"write `{parts[0]}/{parts[1]}:{'/'.join(parts[2:])}` for a file on the hub"


def _resolve_all(
    sources: Sequence[str], root: Path, report: Reporter
) -> Iterator[tuple[str, LockedSource | CompileError]]:
    """Each source with its entry or its faults: local ones in order, those of the hub as they come.

    Several sources of the hub are on the way at once. A local header is read faster than a thread
    starts, and one at a time bounds the memory that damaged files can take.
    """
    stopped = Event()
    begun = 0

    def begin(source: str) -> None:
        nonlocal begun
        begun += 1
        done = begun - 1 - len(running)
        report(Step(stage="read headers of", item=source, done=done, total=len(sources)))

    running: dict[Future[LockedSource | CompileError], str] = {}
    for source in filter(is_local, sources):
        begin(source)
        yield source, _attempt(source, root, _Asking(stopped, report))
    waiting = deque(source for source in sources if not is_local(source))
    with ThreadPoolExecutor(_SOURCES_AT_ONCE) as pool:
        # An interruption must not wait for a hub that is tried again and again.
        try:
            while waiting or running:
                while waiting and len(running) < _SOURCES_AT_ONCE:
                    source = waiting.popleft()
                    begin(source)
                    running[pool.submit(_attempt, source, root, _Asking(stopped, report))] = source
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:
            stopped.set()


def _attempt(source: str, root: Path, asking: _Asking) -> LockedSource | CompileError:
    try:
        return resolve_source(source, root, *asking)
    except CompileError as error:
        return error


class _Asking(NamedTuple):
    """When to stop asking the hub, and who is told of waits."""

    stopped: Event
    report: Reporter


def _resolve(source: str, name: SourceName, root: Path, asking: _Asking) -> LockedSource:
    if name.repository is not None:
        hub = replace(hub_from_environment(), stopped=asking.stopped, report=asking.report)
        tree, commit = hub_tree(hub, name.repository, name.revision)
        files, facts = read_tree(tree, name.selector)
        if hub.offline and facts.format == "config" and not has_weights(files):
            raise HubUnreachableError(
                f"HF_HUB_OFFLINE is set, and {hub.cache} has no weights of it"
            )
        return LockedSource(
            source=source, repository=name.repository, revision=commit, files=files, facts=facts
        )
    if name.ollama is not None:
        files, facts = read_file(*ollama_tree(name.ollama, os.environ.get("OLLAMA_MODELS")))
        return LockedSource(source=source, files=files, facts=facts)
    # Unlike Path.expanduser it leaves the name of a user whom nobody knows as it is.
    written = os.path.expanduser(name.path or ".")  # noqa: PTH111
    local, file = local_tree(root / written)
    files, facts = read_tree(local, None) if file is None else read_file(local, file)
    return LockedSource(source=source, files=files, facts=facts)


def _lock(entries: Mapping[str, LockedSource], wanted: Sequence[str]) -> Lock:
    return Lock(sources=[entries[source] for source in wanted if source in entries])


def _error(code: str, source: str, text: str, *hints: str) -> CompileError:
    detail = text if text.startswith(f"`{source}`") else f"`{source}`: {text}"
    hints = tuple(map(without_token, hints))
    return CompileError([Diagnostic(code=code, detail=without_token(detail), hints=hints)])
