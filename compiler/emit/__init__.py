"""Plan to artifacts: translates what the plan says into files, and decides nothing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from compiler.diagnostics import CompileError, Diagnostic
from compiler.emit.compose import emit_compose
from compiler.emit.quadlet import emit_quadlet
from compiler.emit.rendering import Templates, load_templates
from compiler.emit.script import emit_scripts
from compiler.emit.systemd import emit_systemd
from compiler.ir.artifact import Artifact
from compiler.ir.inventory import Target
from compiler.ir.manifest import (
    MANIFEST_NAME,
    OVERVIEW_NAME,
    PLAN_NAME,
    ManifestEntry,
    manifest_text,
)
from compiler.ir.plan import HostLedger, Plan, Replica, digest

Emitter = Callable[[Templates, str, tuple[Replica, ...]], Iterator[Artifact]]

EMITTERS: dict[Target, Emitter] = {
    "systemd": emit_systemd,
    "compose": emit_compose,
    "quadlet": emit_quadlet,
    "script": emit_scripts,
}

_WAYS_OUT = (
    "Write it another way in models.yaml or inventory.yaml, or give the host another `target`."
)

# Safe as a folder, in the name of a unit (which systemd limits to 255 bytes) and as a YAML key.
# Names of modelc's own in compiled/, and what Ansible calls all of its hosts.
_TAKEN = (MANIFEST_NAME, OVERVIEW_NAME, PLAN_NAME, "ansible", "all", "ungrouped")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def emit(plan: Plan) -> tuple[Artifact, ...]:
    """All artifacts of a plan by path, a manifest for each host among them.

    Raises CompileError with every text of the plan that a dialect cannot carry.
    """
    faults = [*_unsafe_names(plan)]
    if faults:
        raise CompileError(faults)
    templates = load_templates()
    by_host: dict[str, list[Replica]] = defaultdict(list)
    for replica in plan.replicas:
        by_host[replica.host].append(replica)
    artifacts: list[Artifact] = []
    for host in plan.hosts:
        try:
            artifacts.extend(_host_artifacts(templates, host, tuple(by_host[host.host])))
        except ValueError as error:
            detail = f"On host `{host.host}` ({host.target}): {error}."
            faults.append(Diagnostic(code="unsafe-text", detail=detail, hints=(_WAYS_OUT,)))
    if faults:
        raise CompileError(faults)
    return tuple(sorted(artifacts, key=lambda artifact: artifact.path))


def _host_artifacts(
    templates: Templates, host: HostLedger, replicas: tuple[Replica, ...]
) -> list[Artifact]:
    artifacts = list(EMITTERS[host.target](templates, host.host, replicas))
    return [*artifacts, manifest_of(f"{host.host}/", artifacts)]


def manifest_of(prefix: str, artifacts: Sequence[Artifact]) -> Artifact:
    """The manifest of a folder, by what the paths of all its artifacts begin with."""
    entries = tuple(
        ManifestEntry(
            path=artifact.path.removeprefix(prefix),
            sha256=digest(artifact.text),
            semantic_digest=artifact.semantic_digest,
        )
        for artifact in artifacts
    )
    meaning = [f"{entry.semantic_digest} {entry.path}" for entry in entries]
    return Artifact(
        path=f"{prefix}{MANIFEST_NAME}",
        text=manifest_text(entries),
        semantic_digest=digest("\n".join(sorted(meaning))),
    )


def _unsafe_names(plan: Plan) -> Iterator[Diagnostic]:
    """Names become paths, so they are looked at before any path is made."""
    names = [host.host for host in plan.hosts] + [replica.name for replica in plan.replicas]
    for name in names:
        if not _NAME.fullmatch(name) or name in _TAKEN:
            detail = f"{name[:60]!r} cannot be the name of a folder and of a unit."
            yield Diagnostic(code="unsafe-path", detail=detail)
