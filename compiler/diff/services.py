"""What the users of each service notice: room, context, addresses, and time without an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compiler.ir.changes import STARTS_AGAIN, Capacity, Impact, ReplicaChange, ServiceChange
from compiler.ir.names import grouped, natural_key
from compiler.ir.plan import Plan, Replica

IMPACTS: tuple[Impact, ...] = (
    "gone", "interrupted", "loses", "restarts", "gains", "new", "none",
)  # fmt: skip
"""The worst first."""

# Room is shown in tenths of a request; less is no change that anybody could see.
_TENTH_PERMILLE = 100

# One replica is down at a time where there are several.
_SEVERAL = 2


def services_of(
    previous: Plan | None, plan: Plan, changes: Sequence[ReplicaChange]
) -> list[ServiceChange]:
    """Every service of either plan, the worst off first."""
    before, after = _by_service(previous), _by_service(plan)
    by_service = grouped((change.service, change) for change in changes)
    found = [
        _service(name, before.get(name, []), after.get(name, []), by_service.get(name, []))
        for name in before.keys() | after.keys()
    ]
    return sorted(found, key=lambda each: (IMPACTS.index(each.impact), natural_key(each.service)))


def capacity_of(replica: Replica) -> Capacity:
    """What a replica holds for its users."""
    return Capacity(
        variant=replica.variant,
        context=replica.context,
        concurrency=replica.concurrency,
        typical=replica.typical or replica.context,
        requests_permille=replica.room_permille if replica.has_cache else None,
    )


def address_of(replica: Replica) -> str | None:
    """`host:port`, or none where only its network of containers reaches it."""
    return None if replica.listen == "none" else f"{replica.host}:{replica.port}"


def _service(
    name: str,
    before: Sequence[Replica],
    after: Sequence[Replica],
    changes: Sequence[ReplicaChange],
) -> ServiceChange:
    without_seconds = _without_seconds(changes) if before and after else None
    addresses = _addresses(before), _addresses(after)
    return ServiceChange(
        service=name,
        impact=_impact(before, after, changes, interrupted=without_seconds is not None),
        replicas_before=len(before),
        replicas_after=len(after),
        requests_before_permille=_requests_permille(before),
        requests_after_permille=_requests_permille(after),
        wanted_before=_wanted(before),
        wanted_after=_wanted(after),
        context_before=_context(before),
        context_after=_context(after),
        variants_before=_variants(before),
        variants_after=_variants(after),
        without_seconds=without_seconds,
        holds_less=bool(before and after) and _loses(before, after),
        addresses_gone=[each for each in addresses[0] if each not in addresses[1]],
        addresses_new=[each for each in addresses[1] if each not in addresses[0]],
    )


def _impact(
    before: Sequence[Replica],
    after: Sequence[Replica],
    changes: Sequence[ReplicaChange],
    *,
    interrupted: bool,
) -> Impact:
    if not before:
        return "new"
    if not after:
        return "gone"
    if interrupted:
        return "interrupted"
    if _loses(before, after):
        return "loses"
    if any(change.effect in STARTS_AGAIN for change in changes):
        return "restarts"
    if len(after) > len(before) or _loses(after, before):
        return "gains"
    return "none"


def _loses(before: Sequence[Replica], after: Sequence[Replica]) -> bool:
    """Whether less fits than before: replicas, requests, or tokens of a request.

    Room beyond what is wanted is nobody's loss.
    """
    if len(after) < len(before) or (_context(after) or 0) < (_context(before) or 0):
        return True
    old, new = map(_requests_permille, (before, after))
    if old is None or new is None:
        return False
    wanted_permille = 1000 * max(_wanted(before), _wanted(after))
    return min(old, wanted_permille) - min(new, wanted_permille) >= _TENTH_PERMILLE


def _without_seconds(changes: Sequence[ReplicaChange]) -> int | None:
    """How long no replica serves, where each is stopped in turn and new ones start first."""
    going_on = [change for change in changes if change.action not in ("create", "delete")]
    serving = [
        change
        for change in changes
        if change.effect in ("none", "no-restart")
        or change.overlaps
        or (change.effect == "new" and not change.waits_for)
    ]
    if serving or len(going_on) >= _SEVERAL:
        return None
    starting = [change.start_timeout_seconds or 0 for change in changes if change.after]
    return min(starting, default=0)


def _by_service(plan: Plan | None) -> dict[str, list[Replica]]:
    return grouped((replica.service, replica) for replica in (plan.replicas if plan else ()))


def _requests_permille(replicas: Sequence[Replica]) -> int | None:
    room = [replica.room_permille for replica in replicas if replica.has_cache]
    return sum(room) if room else None


def _wanted(replicas: Iterable[Replica]) -> int:
    return sum(replica.concurrency for replica in replicas)


def _context(replicas: Iterable[Replica]) -> int | None:
    return min((replica.context for replica in replicas), default=None)


def _variants(replicas: Iterable[Replica]) -> list[str]:
    return sorted({replica.variant for replica in replicas}, key=natural_key)


def _addresses(replicas: Iterable[Replica]) -> list[str]:
    found = {address for replica in replicas if (address := address_of(replica)) is not None}
    return sorted(found, key=natural_key)
