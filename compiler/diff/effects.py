"""What a change does on the machine: which replicas stop and start, and who must go first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from compiler.ir.argv import arguments_of
from compiler.ir.changes import (
    ArgumentChanged,
    Effect,
    ModelChanged,
    MoveCause,
    Moved,
    NeighboursChanged,
    Reason,
    RoomGained,
    SettingChanged,
    ShareChanged,
)
from compiler.ir.names import natural_key
from compiler.ir.plan import Plan, Replica
from compiler.ir.pool import held_bytes

# What the files of a replica say for its next start, or for the start of others.
_NEXT_START = frozenset({"start_after", "gpu_order"})
# Compose has them in the container's own health check, and makes a container anew for it.
_NEXT_START_BUT_COMPOSE = frozenset({"start_timeout_seconds", "health_path"})

# What stood at such a place does not run any more.
_DEAD: frozenset[MoveCause] = frozenset({"host-gone", "gpu-gone", "gpu-broken"})

# A GPU by host and index, or the RAM of a host by host and None.
Device = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class Memory:
    """Who holds how much of each device before and after, and what a device has."""

    before: Mapping[Device, Mapping[str, int]]
    after: Mapping[Device, Mapping[str, int]]
    budgets_bytes: Mapping[Device, int]
    unified: frozenset[str]
    """Hosts whose GPU and RAM are one pool, which is their RAM here."""


def memory_of(previous: Plan | None, plan: Plan) -> Memory:
    """The memory of two plans; budgets are those of the new one."""
    budgets_bytes: dict[Device, int] = {(gpu.host, gpu.gpu): gpu.budget_bytes for gpu in plan.gpus}
    budgets_bytes |= {(host.host, None): host.ram_budget_bytes for host in plan.hosts}
    unified = frozenset(host.host for host in plan.hosts if host.unified)
    return Memory(
        before=_held(previous.replicas if previous else [], unified),
        after=_held(plan.replicas, unified),
        budgets_bytes=budgets_bytes,
        unified=unified,
    )


def restarts(before: Replica, after: Replica, reasons: Sequence[Reason]) -> bool:
    """Whether a replica that goes on must stop and start for these changes of it."""
    return any(not _is_for_next_start(reason, before, after) for reason in reasons)


def waits_for(replica: Replica, memory: Memory) -> list[str]:
    """The others that must stop, or start again with less, before the replica can start."""
    names: set[str] = set()
    for device, needed_bytes in _devices(replica, memory.unified).items():
        held = {
            name: size_bytes
            for name, size_bytes in memory.before.get(device, {}).items()
            if name != replica.name
        }
        if sum(held.values()) + needed_bytes > memory.budgets_bytes.get(device, 0):
            after = memory.after.get(device, {})
            names |= {name for name, size in held.items() if after.get(name, 0) < size}
    return sorted(names, key=natural_key)


def overlaps(before: Replica, after: Replica, reasons: Sequence[Reason]) -> bool:
    """Whether the old place runs and shares nothing with the new one: both can be up at once."""
    if any(isinstance(reason, Moved) and reason.cause in _DEAD for reason in reasons):
        return False
    if before.host != after.host:
        return True
    held = {share.gpu for share in before.shares}
    taken = {share.gpu for share in after.shares}
    return bool(held and taken) and not held & taken and before.port != after.port


def effect_of(*, restarted: bool, waits: Sequence[str], touched: bool) -> Effect:
    """The effect on a replica that goes on."""
    if not touched:
        return "none"
    if not restarted:
        return "no-restart"
    return "stop-first" if waits else "restart"


def _is_for_next_start(reason: Reason, before: Replica, after: Replica) -> bool:
    match reason:
        # What the engine is given of a share stands in its command line, where it reads it.
        case ShareChanged() | NeighboursChanged() | RoomGained():
            return True
        case SettingChanged(field=field):
            compose = "compose" in (before.target, after.target)
            # A GPU is called by another kind's name.
            if field in _NEXT_START or field.startswith("kind of "):
                return True
            return field in _NEXT_START_BUT_COMPOSE and not compose
        # The same arguments, in another order of flags or spelt otherwise.
        case ArgumentChanged(argument="command"):
            return arguments_of(before.argv) == arguments_of(after.argv)
        # A revision is written down for the first time; the files are those that were loaded.
        case ModelChanged():
            places = (before.source, before.model_path), (after.source, after.model_path)
            return before.revision is None and places[0] == places[1]
        case _:
            return False


def _held(replicas: Sequence[Replica], unified: AbstractSet[str]) -> dict[Device, dict[str, int]]:
    held: dict[Device, dict[str, int]] = {}
    for replica in replicas:
        for device, size_bytes in _devices(replica, unified).items():
            held.setdefault(device, {})[replica.name] = size_bytes
    return held


def _devices(replica: Replica, unified: AbstractSet[str]) -> dict[Device, int]:
    held = held_bytes(replica, unified=replica.host in unified)
    return {(replica.host, gpu): size_bytes for gpu, size_bytes in held.items()}
