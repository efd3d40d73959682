"""Which model sources a spec names, for `modelc lock`: all, those to renew, those not locked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.check import unlocked
from compiler.diagnostics import CompileError, Diagnostic, Location, did_you_mean
from compiler.engines.companions import sources_of
from compiler.inputs import read_lock, read_spec
from compiler.ir.lock import Lock
from compiler.ir.spec import Service

if TYPE_CHECKING:
    from compiler.ir.textfile import TextFile


def spec_sources(text: TextFile, lock: Lock | None) -> dict[str, Location]:
    """The model sources of a spec for `modelc lock`, sorted, each with the first place of its name.

    The lock, as far as there is one, tells which engine a model is for, and so which arguments name
    sources. Raises CompileError with every fault.
    """
    document, spec = read_spec(text, lock)
    found: dict[str, Diagnostic] = {}
    for service in spec.services:
        for index in range(len(service.variants)):
            found = unlocked(document, service, index, Lock(sources=[])) | found
    return {source: each.location for source, each in sorted(found.items()) if each.location}


def updated_sources(text: TextFile, names: tuple[str, ...], lock: Lock | None) -> frozenset[str]:
    """The sources that names of services or sources stand for; CompileError for unknown names."""
    _, spec = read_spec(text, lock)
    by_name = {service.name: _sources(service) for service in spec.services}
    known = {source: frozenset({source}) for sources in by_name.values() for source in sources}
    known.update(by_name)
    faults = [
        Diagnostic(
            code="unknown-service",
            detail=f"`{name}` is neither a service nor a model source of `{text.path}`.",
            hints=did_you_mean(name, known),
        )
        for name in names
        if name not in known
    ]
    if faults:
        raise CompileError(faults)
    return frozenset().union(*(known[name] for name in names))


def unlocked_sources(text: TextFile, lock: TextFile | None) -> list[Diagnostic]:
    """The sources of a spec that the lock does not have, each a diagnostic."""
    known = read_lock(lock) if lock else Lock(sources=[])
    document, spec = read_spec(text, known)
    found: dict[str, Diagnostic] = {}
    for service in spec.services:
        for index in range(len(service.variants)):
            found = unlocked(document, service, index, known) | found
    return list(found.values())


def _sources(service: Service) -> frozenset[str]:
    """Every source that a service names: models, and what its arguments name beside them."""
    return frozenset(source for v in service.variants for _, source in sources_of(v))
