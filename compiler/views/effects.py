"""What a change does to users and machines, in words: written here and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import assert_never

from compiler.ir.changes import (
    STARTS_AGAIN,
    Capacity,
    Diff,
    FieldChange,
    FleetChange,
    GpuEvent,
    HostEvent,
    ReplicaChange,
    ServiceChange,
)
from compiler.ir.counting import counted
from compiler.ir.names import folded, grouped
from compiler.ir.units import budget_mib
from compiler.views.words import tenths

# A reviewer needs the first names; the rest is counted.
_MAX_LISTED = 4
_MINUTE_SECONDS = 60
_ARROW = " -> "

_HOST_SYMBOLS: dict[HostEvent, str] = {
    "new": "+ new host",
    "gone": "- host gone:",
    "drained": "~ host drained:",
    "ready": "~ host taken back:",
    "changed": "~ host",
}
_GPU_SYMBOLS: dict[GpuEvent, str] = {
    "new": "+ new GPU",
    "gone": "- GPU gone:",
    "broken": "~ GPU broken:",
    "ready": "~ GPU taken back:",
    "changed": "~ GPU",
}


def verdict(diff: Diff) -> str:
    """In one line: who is worse off, what restarts, and for how long nobody answers."""
    impacts = Counter(service.impact for service in diff.services)
    n_restarts = sum(1 for each in diff.changes if each.effect in STARTS_AGAIN)
    n_interrupted = sum(1 for each in diff.services if each.without_seconds is not None)
    n_smaller = sum(1 for each in diff.services if each.holds_less)
    parts = []
    if impacts["gone"]:
        parts.append(f"{counted(impacts['gone'], 'service')} gone")
    if n_interrupted:
        seconds = max(each.without_seconds or 0 for each in diff.services)
        parts.append(f"{counted(n_interrupted, 'service')} without a replica for {up_to(seconds)}")
    if n_smaller:
        parts.append(f"{counted(n_smaller, 'service')} with less room or context")
    if n_restarts:
        parts.append(counted(n_restarts, "restart"))
    if parts:
        return f"{', '.join(parts)}."
    if not diff.anything_to_do:
        return "Nothing changes for anybody."
    going_on = any(change.action not in ("create", "delete") for change in diff.changes)
    return "Nothing restarts, and nobody is worse off." if going_on else "Nothing restarts."


def service_lines(service: ServiceChange) -> list[str]:
    """What the users of a service notice, the worst first; nothing where they notice nothing."""
    if service.impact == "new":
        return []
    lines = []
    if service.impact == "gone":
        lines.append("no replica runs any more")
    if service.without_seconds is not None:
        lines.append(f"without a replica for {up_to(service.without_seconds)}")
    if service.replicas_before != service.replicas_after and service.replicas_after:
        lines.append(f"replicas {service.replicas_before} -> {service.replicas_after}")
    if service.replicas_after:
        words = _room_change(
            service.requests_before_permille,
            service.requests_after_permille,
            service.wanted_before,
            service.wanted_after,
        )
        lines += [words] if words else []
        if service.context_before != service.context_after:
            lines.append(f"context {service.context_before:,} -> {service.context_after:,} tokens")
        if service.variants_before != service.variants_after:
            before, after = map(", ".join, (service.variants_before, service.variants_after))
            lines.append(f"variant {before} -> {after}")
    if service.addresses_gone and service.addresses_new:
        gone, new = map(folded, (service.addresses_gone, service.addresses_new))
        lines.append(f"reached at {new} instead of {gone}")
    elif service.addresses_gone and service.replicas_after:
        lines.append(f"no more reached at {folded(service.addresses_gone)}")
    elif service.addresses_new:
        lines.append(f"also reached at {folded(service.addresses_new)}")
    return lines


def effect_words(changes: Sequence[ReplicaChange]) -> str:
    """What happens on the machine to replicas to which the same happens."""
    first = changes[0]
    waits = _waits(changes)
    after = (
        f" after {waits} " + ("make" if _is_plural(changes) else "makes") + " room" if waits else ""
    )
    match first.effect:
        case "new":
            return f"starts{after}" if after else "new"
        case "gone":
            return "stops"
        case "restart":
            words = "starts there before it stops here" if first.overlaps else "restart"
            return f"{words}, {_timeout(first)}"
        case "stop-first":
            return f"stop first: starts{after}, {_timeout(first)}"
        case "no-restart":
            return "no restart"
        case "none":
            return "kept"
        case _:
            assert_never(first.effect)


def capacity_lines(changes: Sequence[ReplicaChange]) -> list[str]:
    """What replicas that change alike hold before and after, where that differs."""
    before, after = changes[0].capacity_before, changes[0].capacity_after
    lines = []
    if after is not None and before is None:
        lines = [] if after.requests_permille is None else [_room(after)]
    if before is not None and after is not None:
        held = before.requests_permille, after.requests_permille
        words = _room_change(*held, before.concurrency, after.concurrency)
        lines += [words] if words else []
        if before.context != after.context:
            lines.append(f"context {before.context:,} -> {after.context:,} tokens")
        if before.concurrency != after.concurrency:
            lines.append(f"requests at once {before.concurrency:,} -> {after.concurrency:,}")
    addresses = [(c.address_before, c.address_after) for c in changes]
    if after is not None and before is not None and any(old != new for old, new in addresses):
        old, new = (
            folded([each or "its network" for each in side])
            for side in zip(*addresses, strict=True)
        )
        lines.append(f"reached at {new} instead of {old}")
    return lines


def fleet_lines(fleet: FleetChange) -> list[str]:
    """Hosts, GPUs, engines and models that are new, gone or others; equal ones folded."""
    hosts = grouped(
        ((each.event, each.target, each.gpus, _fields(each.fields)), each.host)
        for each in fleet.hosts
    )
    lines = [
        _HOST_SYMBOLS[event]
        + f" {folded(names)}"
        + (fields or f" ({target}, {counted(n_gpus, 'GPU')})")
        for (event, target, n_gpus, fields), names in hosts.items()
    ]
    gpus = grouped(((each.event, each.kind, _fields(each.fields)), each.gpu) for each in fleet.gpus)
    lines += [
        _GPU_SYMBOLS[event] + f" {folded(names)}" + (fields or f" ({kind})")
        for (event, kind, fields), names in gpus.items()
    ]
    lines += [f"~ engine {e.name} {_list(e.before)} -> {_list(e.after)}" for e in fleet.engines]
    lines += [f"~ model {m.name} {_list(m.before)} -> {_list(m.after)}" for m in fleet.models]
    return lines


def kind_rows(fleet: FleetChange) -> list[tuple[str, str, str, str]]:
    """Kind, GPUs, used and free memory, before and after, of kinds of which something changes."""
    rows = [
        (
            kind.kind,
            _from_to(kind.gpus_before, kind.gpus_after),
            _from_to(kind.used_before, kind.used_after),
            _from_to(budget_mib(kind.free_before_bytes), budget_mib(kind.free_after_bytes)),
        )
        for kind in fleet.kinds
    ]
    return [row for row in rows if any(_ARROW in cell for cell in row[1:])]


def _room(capacity: Capacity) -> str:
    held = tenths(capacity.requests_permille or 0)
    return f"KV room {held} of {counted(capacity.concurrency, 'request')}"


def _room_change(
    before: int | None, after: int | None, wanted_before: int, wanted_after: int
) -> str | None:
    """`KV room 25.8 -> 2.5 of 32 requests`; None without a cache, or where it holds as many."""
    if before is None or after is None:
        return None
    if (tenths(before), wanted_before) == (tenths(after), wanted_after):
        return None
    return f"KV room {_of(before, after, wanted_before, wanted_after)} requests"


def _of(before: int, after: int, wanted_before: int, wanted_after: int) -> str:
    """`25.8 -> 2.5 of 32`, or with both numbers wanted where they differ."""
    if wanted_before == wanted_after:
        return f"{tenths(before)} -> {tenths(after)} of {wanted_after:,}"
    return f"{tenths(before)} of {wanted_before:,} -> {tenths(after)} of {wanted_after:,}"


def _timeout(change: ReplicaChange) -> str:
    return up_to(change.start_timeout_seconds or 0)


def up_to(seconds: int) -> str:
    """A bound of time for people: `up to 45 s`, `up to 15 min`."""
    minutes = -(-seconds // _MINUTE_SECONDS)
    return f"up to {seconds} s" if seconds < _MINUTE_SECONDS else f"up to {minutes} min"


def _waits(changes: Sequence[ReplicaChange]) -> str:
    return folded(list(dict.fromkeys(name for change in changes for name in change.waits_for)))


def _is_plural(changes: Sequence[ReplicaChange]) -> bool:
    return len({name for change in changes for name in change.waits_for}) > 1


def _fields(fields: Sequence[FieldChange]) -> str:
    return "".join(f", {each.field} {each.before} -> {each.after}" for each in fields)


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more


def _from_to(before: int, after: int) -> str:
    return f"{before:,}{_ARROW}{after:,}" if before != after else f"{after:,}"
