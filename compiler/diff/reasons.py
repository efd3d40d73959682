"""Why a replica that goes on is touched: its fields in both plans, one reason each."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import zip_longest

from compiler.ir.argv import arguments_of
from compiler.ir.changes import (
    ArgumentChanged,
    CompanionChanged,
    EngineChanged,
    EnvironmentChanged,
    ModelChanged,
    MoveCause,
    Moved,
    NeighboursChanged,
    Reason,
    RoomGained,
    SettingChanged,
    ShareChanged,
    VariantChanged,
)
from compiler.ir.inventory import GpuKey
from compiler.ir.names import natural_key
from compiler.ir.plan import Plan, PlannedCompanion, Replica, Share
from compiler.ir.units import format_size

# What runs gains one such part of the room that it wants, or keeps the share that it has.
_WORTH_A_RESTART = 4

# Compared as they stand, one reason each; the other compared fields have a reason of their own.
SETTINGS = (
    "service",
    "task",
    "target",
    "port",
    "listen",
    "image",
    "secrets",
    "health_path",
    "start_after",
    "start_timeout_seconds",
    "shm_bytes",
    "device_env",
    "models_dir",
    "read_dirs",
    "cache_dir",
    "bin_dirs",
)

# Fields of a replica that are carried out: when one differs, the replica is touched.
# `name` is what replicas are matched by.
COMPARED = frozenset(
    {
        *("name", "host", "shares", "variant", "engine", "engine_version"),
        *("source", "revision", "model_path", "companions", "argv", "env"),
        *SETTINGS,
    }
)

# Figures and derivations. What of them is carried out stands in argv, env and shares, so that
# a better estimate alone restarts nothing.
IGNORED = frozenset(
    {
        *("ram_bytes", "ram_breakdown", "layers", "assumed", "passed_over", "labels"),
        *("context", "concurrency", "kv_tokens", "kv_requests_permille"),
        *("typical", "kv_wanted_bytes", "roomier", "asked"),
        *("tensor_parallel", "gpu_layers", "host_layers", "host_permille", "host_experts"),
    }
)

# The same decision for the fields of a share.
SHARE_COMPARED = frozenset({"gpu", "uuid", "minor", "kind", "share_bytes"})
SHARE_IGNORED = frozenset({"breakdown"})


def place_of(replica: Replica) -> str:
    """Where a replica stands: `host/index,index`, or `host/cpu` without a GPU."""
    indices = ",".join(str(share.gpu) for share in replica.shares)
    return f"{replica.host}/{indices or 'cpu'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What became of the places of the previous plan: `before` and `after` by host and GPU."""

    hosts: AbstractSet[str]
    drained: AbstractSet[str]
    broken: AbstractSet[GpuKey]
    budgets_bytes: Mapping[GpuKey, int]
    barred: AbstractSet[str]
    before: Mapping[GpuKey, Mapping[str, Replica]]
    after: Mapping[GpuKey, Mapping[str, Replica]]


def places_of(
    before: Mapping[str, Replica],
    after: Mapping[str, Replica],
    plan: Plan,
    barred: AbstractSet[str],
) -> Places:
    """What became of the places of the replicas before."""
    return Places(
        hosts={host.host for host in plan.hosts},
        drained={host.host for host in plan.hosts if host.state == "drained"},
        broken={(gpu.host, gpu.gpu) for gpu in plan.gpus if gpu.state == "broken"},
        budgets_bytes={(gpu.host, gpu.gpu): gpu.budget_bytes for gpu in plan.gpus},
        barred=barred,
        before=_tenants(before),
        after=_tenants(after),
    )


def reasons_of(before: Replica, after: Replica, places: Places) -> list[Reason]:
    """Why a replica that goes on is touched; empty where it is not."""
    return [*_moved(before, after, places), *_reasons(before, after, places)]


def _tenants(replicas: Mapping[str, Replica]) -> dict[GpuKey, dict[str, Replica]]:
    """The replicas on each GPU, by name."""
    found: dict[GpuKey, dict[str, Replica]] = defaultdict(dict)
    for replica in replicas.values():
        for share in replica.shares:
            found[replica.host, share.gpu][replica.name] = replica
    return found


def _moved(before: Replica, after: Replica, places: Places) -> Iterator[Reason]:
    """The same GPUs in another order are no other place: that is a setting of the replica."""
    if not _has_moved(before, after):
        return
    taken_by = _came_to(before, places)
    cause = _cause_of_move(before, after, places, taken_by)
    yield Moved(
        before=place_of(before),
        after=place_of(after),
        cause=cause,
        taken_by=taken_by if cause == "taken" else [],
    )


def _cause_of_move(
    before: Replica, after: Replica, places: Places, taken_by: list[str]
) -> MoveCause:
    if before.host not in places.hosts:
        return "host-gone"
    budgets_bytes = [places.budgets_bytes.get((before.host, s.gpu)) for s in before.shares]
    if None in budgets_bytes:
        return "gpu-gone"
    if before.host in places.drained:
        return "host-drained"
    if any((before.host, share.gpu) in places.broken for share in before.shares):
        return "gpu-broken"
    if any(
        share.share_bytes > (budget_bytes or 0)
        for share, budget_bytes in zip(before.shares, budgets_bytes, strict=True)
    ):
        return "gpu-smaller"
    if before.name in places.barred:
        return "rule"
    if before.variant != after.variant:
        return "variant"
    if len(before.shares) != len(after.shares) and before.shares:
        return "split"
    return "taken" if taken_by else "replanned"


def _came_to(replica: Replica, places: Places) -> list[str]:
    """Others that stand on its old GPUs and did not before, or that need more there than before."""
    came = set()
    for share in replica.shares:
        key = (replica.host, share.gpu)
        stood = places.before.get(key, {})
        for name, other in places.after.get(key, {}).items():
            if name not in stood or _has_grown(stood[name], other, share.gpu):
                came.add(name)
    return sorted(came - {replica.name}, key=natural_key)


def _has_grown(before: Replica, after: Replica, gpu: int) -> bool:
    """Whether a replica needs more of a GPU; a share alone also grows by what others leave."""
    if before.variant != after.variant:
        return True
    asked = (before.context, before.concurrency)
    if any(new > old for old, new in zip(asked, (after.context, after.concurrency), strict=True)):
        return True
    needs = [
        sum(share.breakdown.high_bytes - share.breakdown.kv.high_bytes
            for share in replica.shares if share.gpu == gpu)
        for replica in (before, after)
    ]  # fmt: skip
    return needs[0] < needs[1]


def _has_moved(before: Replica, after: Replica) -> bool:
    return (before.host, _indices(before)) != (after.host, _indices(after))


def _indices(replica: Replica) -> frozenset[int]:
    return frozenset(share.gpu for share in replica.shares)


def _reasons(before: Replica, after: Replica, places: Places) -> Iterator[Reason]:
    said: list[ArgumentChanged | EnvironmentChanged] = [
        *_arguments_changed(before, after),
        *_environment_changed(before, after),
    ]
    identity = list(_identity_changed(before, after))
    yield from identity
    # A model that has been told is not told again as the argument that names it.
    named = (before.model_path, after.model_path) if identity else None
    for reason in said:
        if not (isinstance(reason, ArgumentChanged) and (reason.before, reason.after) == named):
            yield reason
    yield from _shares_changed(before, after, places)
    yield from _settings_changed(before, after, said)


def _identity_changed(before: Replica, after: Replica) -> Iterator[Reason]:
    if before.variant != after.variant:
        yield VariantChanged(before=before.variant, after=after.variant)
    engines = [f"{replica.engine} {replica.engine_version}" for replica in (before, after)]
    if engines[0] != engines[1]:
        yield EngineChanged(before=engines[0], after=engines[1])
    if (before.source, before.revision) != (after.source, after.revision):
        yield ModelChanged(before=_model(before), after=_model(after))
    elif before.model_path != after.model_path:
        yield ModelChanged(before=before.model_path, after=after.model_path)
    yield from _companions_changed(before, after)


def _companions_changed(before: Replica, after: Replica) -> Iterator[CompanionChanged]:
    arguments = {each.argument for each in (*before.companions, *after.companions)}
    for argument in sorted(arguments):
        old, new = _companions(before, argument), _companions(after, argument)
        if old != new:
            yield CompanionChanged(argument=argument, before=old, after=new)


def _companions(replica: Replica, argument: str) -> str:
    named = (_model(each) for each in replica.companions if each.argument == argument)
    return ", ".join(named) or "none"


def _model(loaded: Replica | PlannedCompanion) -> str:
    return f"{loaded.source} at {loaded.revision}" if loaded.revision else loaded.source


def _arguments_changed(before: Replica, after: Replica) -> Iterator[ArgumentChanged]:
    """Flag by flag. Another engine has other flags, so that there is nothing to compare."""
    if before.engine != after.engine or before.argv == after.argv:
        return
    old, new = arguments_of(before.argv), arguments_of(after.argv)
    any_differs = False
    for argument in dict.fromkeys([*old, *new]):
        for value, other in _unequal(old.get(argument, []), new.get(argument, [])):
            any_differs = True
            yield ArgumentChanged(argument=argument, before=value, after=other)
    if not any_differs:
        # The same arguments in another order or spelling.
        yield ArgumentChanged(
            argument="command", before=shlex.join(before.argv), after=shlex.join(after.argv)
        )


def _unequal(before: list[str], after: list[str]) -> Iterator[tuple[str | None, str | None]]:
    """What only one side has, paired in order: a single value that changed is one pair."""
    removed = (Counter(before) - Counter(after)).elements()
    added = (Counter(after) - Counter(before)).elements()
    return zip_longest(removed, added)


def _environment_changed(before: Replica, after: Replica) -> Iterator[EnvironmentChanged]:
    # That a moved replica selects other devices goes without saying.
    implied = {*before.device_env, *after.device_env} if _has_moved(before, after) else set()
    for name in sorted(before.env.keys() | after.env.keys()):
        old, new = before.env.get(name), after.env.get(name)
        if old != new and name not in implied:
            yield EnvironmentChanged(name=name, before=old, after=new)


def _shares_changed(before: Replica, after: Replica, places: Places) -> Iterator[Reason]:
    """On GPUs that the replica holds in both plans; the others are told by the move."""
    if before.host != after.host:
        return
    old = {share.gpu: share for share in before.shares}
    new = {share.gpu: share for share in after.shares}
    for gpu in sorted(old.keys() & new.keys()):
        yield from _share_changed(f"{after.host}/{gpu}", old[gpu], new[gpu])
        if old[gpu].share_bytes != new[gpu].share_bytes:
            yield from _neighbours_changed(after.host, gpu, places)
    yield from _room_gained(before, after)
    if old.keys() == new.keys() and list(old) != list(new):
        orders = [",".join(map(str, gpus)) for gpus in (old, new)]
        yield SettingChanged(field="gpu_order", before=orders[0], after=orders[1])


def _room_gained(before: Replica, after: Replica) -> Iterator[RoomGained]:
    """That what runs is restarted for room alone."""
    wanted = after.kv_wanted_bytes
    if not wanted or before.kv_wanted_bytes != wanted or before.asked != after.asked:
        return
    had, has = (
        max((share.breakdown.kv.bytes for share in replica.shares), default=0)
        for replica in (before, after)
    )
    if (has - had) * _WORTH_A_RESTART >= wanted:
        yield RoomGained(
            before_permille=min(1000, had * 1000 // wanted),
            after_permille=min(1000, has * 1000 // wanted),
        )


def _neighbours_changed(host: str, gpu: int, places: Places) -> Iterator[NeighboursChanged]:
    """A share may change because others come and go, though nothing of the replica did."""
    before = places.before.get((host, gpu), {}).keys()
    after = places.after.get((host, gpu), {}).keys()
    came, left = (sorted(names, key=natural_key) for names in (after - before, before - after))
    if came or left:
        yield NeighboursChanged(gpu=f"{host}/{gpu}", came=came, left=left)


def _share_changed(gpu: str, before: Share, after: Share) -> Iterator[Reason]:
    if before.share_bytes != after.share_bytes:
        yield ShareChanged(gpu=gpu, before_bytes=before.share_bytes, after_bytes=after.share_bytes)
    if before.kind != after.kind:
        yield SettingChanged(field=f"kind of {gpu}", before=before.kind, after=after.kind)
    if before.uuid != after.uuid:
        field = f"uuid of {gpu}"
        yield SettingChanged(field=field, before=before.uuid or "none", after=after.uuid or "none")
    if before.minor != after.minor:
        old, new = ("none" if m is None else str(m) for m in (before.minor, after.minor))
        yield SettingChanged(field=f"minor of {gpu}", before=old, after=new)


def _settings_changed(
    before: Replica, after: Replica, said: Sequence[ArgumentChanged | EnvironmentChanged]
) -> Iterator[Reason]:
    """The port stands in argv too, and where its flag has been told it is not told twice."""
    told = {(reason.before, reason.after) for reason in said}
    implied = set(_implied(before, after, said))
    for field in SETTINGS:
        if getattr(before, field) == getattr(after, field) or field in implied:
            continue
        pair = _setting(before, field), _setting(after, field)
        if field != "port" or pair not in told:
            yield SettingChanged(field=field, before=pair[0], after=pair[1])


def _implied(
    before: Replica, after: Replica, said: Sequence[ArgumentChanged | EnvironmentChanged]
) -> Iterator[str]:
    """Settings that follow from what another reason tells: where and how it runs, and what."""
    elsewhere = _has_moved(before, after) or before.target != after.target
    if elsewhere:
        yield "device_env"
    programs = before.engine != after.engine or any(
        isinstance(reason, ArgumentChanged) and reason.argument == "program" for reason in said
    )
    if elsewhere or programs:
        yield "bin_dirs"


def _setting(replica: Replica, field: str) -> str:
    value: object = getattr(replica, field)
    if isinstance(value, list):
        return shlex.join(value) or "none"
    if isinstance(value, int) and field.endswith("_bytes"):
        return format_size(value)
    return "none" if value is None else str(value)
