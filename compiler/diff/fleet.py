"""What changes of the fleet itself: hosts, GPUs, engines, models, and the totals of each kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from compiler.ir.changes import (
    FieldChange,
    FleetChange,
    GpuChange,
    GpuEvent,
    HostChange,
    HostEvent,
    KindTotals,
    LedgerChange,
    VersionsChange,
)
from compiler.ir.inventory import GpuKey
from compiler.ir.names import grouped, natural_key
from compiler.ir.plan import GpuLedger, HostLedger, Plan
from compiler.ir.units import budget_mib

_UNPINNED = "not pinned"


def fleet_of(previous: Plan | None, plan: Plan) -> FleetChange:
    """The fleet of two plans compared. Against no plan nothing of it has changed."""
    old = previous or plan
    return FleetChange(
        hosts=list(_hosts(old, plan)),
        gpus=list(_gpus(old, plan)),
        engines=list(_versions(_engines(old), _engines(plan))),
        models=list(_versions(_models(old), _models(plan))),
        kinds=list(_kinds(previous, plan)),
    )


def ledger_of(previous: Plan | None, plan: Plan) -> list[LedgerChange]:
    """Every GPU of either plan, before and after."""
    before, after = _by_key(previous), _by_key(plan)
    either = {**before, **after}
    return [
        LedgerChange(
            gpu=f"{host}/{gpu}",
            kind=either[host, gpu].kind,
            budget_bytes=after[host, gpu].budget_bytes if (host, gpu) in after else None,
            before_bytes=before[host, gpu].granted_bytes if (host, gpu) in before else None,
            after_bytes=after[host, gpu].granted_bytes if (host, gpu) in after else None,
        )
        for host, gpu in sorted(either, key=lambda key: (natural_key(key[0]), key[1]))
    ]


def _hosts(previous: Plan, plan: Plan) -> Iterator[HostChange]:
    before = {host.host: host for host in previous.hosts}
    after = {host.host: host for host in plan.hosts}
    n_gpus: dict[str, int] = defaultdict(int)
    for gpu in (*(g for g in previous.gpus if g.host not in after), *plan.gpus):
        n_gpus[gpu.host] += 1
    for name in sorted(before.keys() | after.keys(), key=natural_key):
        old, new = before.get(name), after.get(name)
        fields = _host_fields(old, new) if old and new else []
        event = _host_event(old, new, fields)
        ledger = new or old
        if event is not None and ledger is not None:
            yield HostChange(
                host=name, event=event, target=ledger.target, gpus=n_gpus[name], fields=fields
            )


def _host_event(
    old: HostLedger | None, new: HostLedger | None, fields: Sequence[FieldChange]
) -> HostEvent | None:
    if old is None:
        return "new"
    if new is None:
        return "gone"
    if old.state != new.state:
        return "drained" if new.state == "drained" else "ready"
    return "changed" if fields else None


def _host_fields(old: HostLedger, new: HostLedger) -> list[FieldChange]:
    pairs = {
        "target": (old.target, new.target),
        "RAM budget": (_budget(old.ram_budget_bytes), _budget(new.ram_budget_bytes)),
    }
    return _fields(pairs)


def _gpus(previous: Plan, plan: Plan) -> Iterator[GpuChange]:
    """GPUs of hosts that are in both plans: the others come and go with their hosts."""
    hosts = {host.host for host in previous.hosts} & {host.host for host in plan.hosts}
    before, after = _by_key(previous), _by_key(plan)
    for key in sorted(before.keys() | after.keys(), key=lambda key: (natural_key(key[0]), key[1])):
        if key[0] not in hosts:
            continue
        old, new = before.get(key), after.get(key)
        fields = _gpu_fields(old, new) if old and new else []
        event = _gpu_event(old, new, fields)
        ledger = new or old
        if event is not None and ledger is not None:
            yield GpuChange(gpu=f"{key[0]}/{key[1]}", kind=ledger.kind, event=event, fields=fields)


def _gpu_event(
    old: GpuLedger | None, new: GpuLedger | None, fields: Sequence[FieldChange]
) -> GpuEvent | None:
    if old is None:
        return "new"
    if new is None:
        return "gone"
    if old.state != new.state:
        return "broken" if new.state == "broken" else "ready"
    return "changed" if fields else None


def _gpu_fields(old: GpuLedger, new: GpuLedger) -> list[FieldChange]:
    pairs = {
        "kind": (old.kind, new.kind),
        "uuid": (old.uuid or "none", new.uuid or "none"),
        "budget": (_budget(old.budget_bytes), _budget(new.budget_bytes)),
    }
    return _fields(pairs)


def _budget(size_bytes: int) -> str:
    return f"{budget_mib(size_bytes):,} MiB"


def _fields(pairs: Mapping[str, tuple[str, str]]) -> list[FieldChange]:
    return [
        FieldChange(field=field, before=before, after=after)
        for field, (before, after) in pairs.items()
        if before != after
    ]


def _engines(plan: Plan) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for replica in plan.replicas:
        found[replica.engine].add(replica.engine_version)
    return found


def _models(plan: Plan) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for replica in plan.replicas:
        found[replica.source].add(replica.revision or _UNPINNED)
        for companion in replica.companions:
            found[companion.source].add(companion.revision or _UNPINNED)
    return found


def _versions(
    before: Mapping[str, set[str]], after: Mapping[str, set[str]]
) -> Iterator[VersionsChange]:
    """What both plans run, in other versions; what comes and goes is told by its service."""
    for name in sorted(before.keys() & after.keys(), key=natural_key):
        if before[name] != after[name]:
            old, new = (sorted(found[name], key=natural_key) for found in (before, after))
            yield VersionsChange(name=name, before=old, after=new)


def _kinds(previous: Plan | None, plan: Plan) -> Iterator[KindTotals]:
    before, after = _by_kind(previous), _by_kind(plan)
    for kind in sorted(before.keys() | after.keys(), key=natural_key):
        old, new = before.get(kind, []), after.get(kind, [])
        yield KindTotals(
            kind=kind,
            gpus_before=len(old),
            gpus_after=len(new),
            used_before=_n_used(old),
            used_after=_n_used(new),
            free_before_bytes=_free_bytes(old),
            free_after_bytes=_free_bytes(new),
        )


def _n_used(gpus: Sequence[GpuLedger]) -> int:
    return sum(1 for gpu in gpus if gpu.granted_bytes)


def _free_bytes(gpus: Sequence[GpuLedger]) -> int:
    return sum(max(0, gpu.budget_bytes - gpu.granted_bytes) for gpu in gpus)


def _by_kind(plan: Plan | None) -> dict[str, list[GpuLedger]]:
    return grouped((gpu.kind, gpu) for gpu in (plan.gpus if plan else ()))


def _by_key(plan: Plan | None) -> dict[GpuKey, GpuLedger]:
    return {(gpu.host, gpu.gpu): gpu for gpu in plan.gpus} if plan else {}
