"""A plan against the one before: what happens to every replica, why, and what it does to users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from compiler.diff.effects import Memory, effect_of, memory_of, overlaps, restarts, waits_for
from compiler.diff.fleet import fleet_of, ledger_of
from compiler.diff.reasons import place_of, places_of, reasons_of
from compiler.diff.services import address_of, capacity_of, services_of
from compiler.ir.changes import (
    Action,
    Counts,
    Diff,
    Effect,
    LeftOut,
    Moved,
    Reason,
    ReplicaChange,
    ReplicasChanged,
    ServiceAdded,
    ServiceChange,
    ServiceRemoved,
)
from compiler.ir.names import natural_key
from compiler.ir.plan import Plan, Replica, Unplaced

# What a reviewer has to see first comes first.
_WORST: tuple[Effect, ...] = ("gone", "stop-first", "restart", "new", "no-restart", "none")


def diff(previous: Plan | None, plan: Plan, *, barred: AbstractSet[str] = frozenset()) -> Diff:
    """What carrying out the plan does to each replica of the previous one, and to its services.

    `barred` names the replicas of the previous plan whose place the spec no longer allows.
    """
    changes = _changes(previous, plan, barred)
    services = services_of(previous, plan, changes)
    counts = _counts(changes)
    notes = list(_notes(previous, plan))
    return Diff(
        anything_to_do=counts.keep != len(changes) or bool(notes),
        counts=counts,
        services=services,
        changes=_worst_first(changes, services),
        fleet=fleet_of(previous, plan),
        ledger=ledger_of(previous, plan),
        notes=notes,
    )


def _changes(previous: Plan | None, plan: Plan, barred: AbstractSet[str]) -> list[ReplicaChange]:
    before = {replica.name: replica for replica in previous.replicas} if previous else {}
    after = {replica.name: replica for replica in plan.replicas}
    sizes = _service_sizes(before), _service_sizes(after)
    places = places_of(before, after, plan, barred)
    memory = memory_of(previous, plan)
    unplaced = {each.service: each for each in plan.unplaced}
    going_on = ((before[name], after[name]) for name in before.keys() & after.keys())
    return [
        *(_created(after[name], *sizes, memory) for name in after.keys() - before.keys()),
        *(_deleted(before[name], *sizes, unplaced) for name in before.keys() - after.keys()),
        *(_continued(old, new, reasons_of(old, new, places), memory) for old, new in going_on),
    ]


def _service_sizes(replicas: Mapping[str, Replica]) -> Counter[str]:
    return Counter(replica.service for replica in replicas.values())


def _counts(changes: Sequence[ReplicaChange]) -> Counts:
    counted = Counter(change.action for change in changes)
    return Counts(
        create=counted["create"],
        keep=counted["keep"],
        update=counted["update"],
        move=counted["move"],
        delete=counted["delete"],
    )


def _worst_first(
    changes: Sequence[ReplicaChange], services: Sequence[ServiceChange]
) -> list[ReplicaChange]:
    """Services in their order, and of each what goes before what starts again and what comes."""
    order = {each.service: position for position, each in enumerate(services)}

    def key(change: ReplicaChange) -> tuple[object, ...]:
        worst = _WORST.index(change.effect)
        return change.action == "keep", order[change.service], worst, natural_key(change.replica)

    return sorted(changes, key=key)


def _created(
    replica: Replica, before: Counter[str], after: Counter[str], memory: Memory
) -> ReplicaChange:
    size_before, size_after = before[replica.service], after[replica.service]
    return ReplicaChange(
        replica=replica.name,
        service=replica.service,
        action="create",
        effect="new",
        waits_for=waits_for(replica, memory),
        start_timeout_seconds=replica.start_timeout_seconds,
        before=None,
        after=place_of(replica),
        address_after=address_of(replica),
        capacity_after=capacity_of(replica),
        reasons=[
            ReplicasChanged(before=size_before, after=size_after) if size_before else ServiceAdded()
        ],
    )


def _deleted(
    replica: Replica, before: Counter[str], after: Counter[str], unplaced: dict[str, Unplaced]
) -> ReplicaChange:
    size_before, size_after = before[replica.service], after[replica.service]
    reason: LeftOut | ReplicasChanged | ServiceRemoved
    if replica.service in unplaced:
        short = unplaced[replica.service]
        reason = LeftOut(placed=short.placed, wanted=short.wanted)
    elif size_after:
        reason = ReplicasChanged(before=size_before, after=size_after)
    else:
        reason = ServiceRemoved()
    return ReplicaChange(
        replica=replica.name,
        service=replica.service,
        action="delete",
        effect="gone",
        before=place_of(replica),
        after=None,
        address_before=address_of(replica),
        capacity_before=capacity_of(replica),
        reasons=[reason],
    )


def _continued(
    before: Replica, after: Replica, reasons: list[Reason], memory: Memory
) -> ReplicaChange:
    action = _action(reasons)
    moved = action == "move"
    restarted = moved or restarts(before, after, reasons)
    waits = waits_for(after, memory) if restarted else []
    return ReplicaChange(
        replica=after.name,
        service=after.service,
        action=action,
        effect=effect_of(restarted=restarted, waits=waits, touched=bool(reasons)),
        waits_for=waits,
        overlaps=moved and not waits and overlaps(before, after, reasons),
        start_timeout_seconds=after.start_timeout_seconds if restarted else None,
        before=place_of(before),
        after=place_of(after),
        address_before=address_of(before),
        address_after=address_of(after),
        capacity_before=capacity_of(before),
        capacity_after=capacity_of(after),
        reasons=reasons,
    )


def _action(reasons: Sequence[Reason]) -> Action:
    if any(isinstance(reason, Moved) for reason in reasons):
        return "move"
    return "update" if reasons else "keep"


def _notes(previous: Plan | None, plan: Plan) -> Iterator[str]:
    """Optional services that fall short, or do so no more."""
    before = {entry.service: entry for entry in previous.unplaced} if previous else {}
    after = {entry.service: entry for entry in plan.unplaced}
    running = {replica.service for replica in plan.replicas}
    for service in sorted(before.keys() | after.keys()):
        entry = after.get(service)
        if entry == before.get(service):
            continue
        if entry is not None and not entry.placed:
            yield f"Optional service `{service}` is left out; `modelc explain {service}` says why."
        elif entry is not None:
            yield f"Optional service `{service}` runs {entry.placed} of {entry.wanted} replicas."
        elif service in running:
            yield f"Optional service `{service}` runs with all its replicas again."
        else:
            yield f"Optional service `{service}`, which had been left out, is gone."
