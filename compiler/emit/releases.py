"""The release of each host: what it is told to run, with the digests by which hosts know it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from graphlib import TopologicalSorter

from compiler.emit.compose import emit_compose
from compiler.emit.rendering import Templates
from compiler.ir.artifact import Artifact
from compiler.ir.inventory import Target
from compiler.ir.names import natural_key
from compiler.ir.plan import HostLedger, Plan, Replica, digest
from compiler.ir.rollout import NO_RELEASE, HostRelease, ReleasedReplica

# Enough to name a release for good, and short enough to be read out.
ID_DIGITS = 16

_OWN_FILES: dict[Target, Callable[[str], tuple[str, ...]]] = {
    "systemd": lambda name: (f"systemd/modelc-{name}.service", f"systemd/env/{name}.env"),
    "quadlet": lambda name: (f"quadlet/modelc-{name}.container",),
    "script": lambda name: (f"scripts/run-{name}.sh",),
}
"""What a replica is started with, but for compose, which has one file for all."""


def releases_of(
    plan: Plan, artifacts: Iterable[Artifact], templates: Templates
) -> list[HostRelease]:
    """One release for each host of the plan, in the plan's order, from its artifacts."""
    by_host: dict[str, list[Artifact]] = defaultdict(list)
    for artifact in artifacts:
        host, _, path = artifact.path.partition("/")
        if path:
            by_host[host].append(artifact)
    running: dict[str, list[Replica]] = defaultdict(list)
    for replica in plan.replicas:
        running[replica.host].append(replica)
    return [
        _release(host, running[host.host], by_host[host.host], templates) for host in plan.hosts
    ]


def start_order(replicas: Iterable[Replica]) -> list[Replica]:
    """The replicas of a host, each after those that it waits for; else by name."""
    by_name = {replica.name: replica for replica in replicas}
    sorter = TopologicalSorter(
        {name: by_name[name].start_after for name in sorted(by_name, key=natural_key)}
    )
    return [by_name[name] for name in sorter.static_order()]


def _release(
    host: HostLedger, replicas: list[Replica], artifacts: list[Artifact], templates: Templates
) -> HostRelease:
    semantic = {artifact.path: artifact.semantic_digest for artifact in artifacts}
    released = [
        ReleasedReplica(name=replica.name, digest=_digest(replica, semantic, templates))
        for replica in start_order(replicas)
    ]
    files = {artifact.path: digest(artifact.text) for artifact in artifacts}
    said = [host.target, files, [each.model_dump() for each in released]]
    return HostRelease(
        host=host.host,
        address=host.address or host.host,
        target=host.target,
        id=digest(json.dumps(said, sort_keys=True))[:ID_DIGITS] if replicas else NO_RELEASE,
        replicas=released,
    )


def _digest(replica: Replica, semantic: dict[str, str], templates: Templates) -> str:
    if replica.target == "compose":
        # A file with this replica alone: what it shares with others is not its own.
        (alone,) = emit_compose(templates, replica.host, (replica,))
        return alone.semantic_digest
    paths = _OWN_FILES[replica.target](replica.name)
    return digest("\n".join(semantic[f"{replica.host}/{path}"] for path in paths))
