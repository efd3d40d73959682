"""A plan against the one before: what happens to every replica, and why."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Literal

from compiler.ir.changes import (
    Action,
    ArgumentChanged,
    CompanionChanged,
    Counts,
    Diff,
    EngineChanged,
    EnvironmentChanged,
    LedgerChange,
    LeftOut,
    ModelChanged,
    Moved,
    Reason,
    ReplicaChange,
    ReplicasChanged,
    ServiceAdded,
    ServiceRemoved,
    SettingChanged,
    ShareChanged,
    VariantChanged,
)
from compiler.ir.plan import GpuLedger, Plan, PlannedCompanion, Replica, Share, Unplaced
from compiler.ir.units import format_size

# Compared as they stand, one reason each; the other compared fields have a reason of their own.
SETTINGS = (
    "service",
    "task",
    "target",
    "port",
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
        *("ram_bytes", "ram_breakdown", "layers", "assumed", "passed_over"),
        *("context", "concurrency", "kv_tokens", "kv_requests_permille"),
        *("tensor_parallel", "gpu_layers", "host_layers"),
    }
)

# The same decision for the fields of a share.
SHARE_COMPARED = frozenset({"gpu", "uuid", "kind", "share_bytes"})
SHARE_IGNORED = frozenset({"breakdown"})

# A flag starts with a letter after its dashes: `-1` is a value, as in `--seed -1`.
_FLAG = re.compile(r"--?[A-Za-z]")


def diff(previous: Plan | None, plan: Plan) -> Diff:
    """What carrying out the plan does to each replica of the previous one."""
    before = {replica.name: replica for replica in previous.replicas} if previous else {}
    after = {replica.name: replica for replica in plan.replicas}
    sizes = _service_sizes(before), _service_sizes(after)
    addresses = _addresses(plan)
    unplaced = {each.service: each for each in plan.unplaced}
    changes = [
        *(_created(after[name], *sizes) for name in after.keys() - before.keys()),
        *(_deleted(before[name], *sizes, unplaced) for name in before.keys() - after.keys()),
        *(
            _continued(before[name], after[name], addresses)
            for name in before.keys() & after.keys()
        ),
    ]
    return Diff(
        counts=_counts(changes),
        changes=sorted(changes, key=lambda change: change.replica),
        ledger=_ledger(previous, plan),
        notes=list(_notes(previous, plan)),
    )


def place_of(replica: Replica) -> str:
    """Where a replica stands: `host/index,index`, or `host/cpu` without a GPU."""
    indices = ",".join(str(share.gpu) for share in replica.shares)
    return f"{replica.host}/{indices or 'cpu'}"


def _service_sizes(replicas: dict[str, Replica]) -> Counter[str]:
    return Counter(replica.service for replica in replicas.values())


def _addresses(plan: Plan) -> frozenset[str]:
    """Every host, and every GPU as `host/index`."""
    gpus = (f"{gpu.host}/{gpu.gpu}" for gpu in plan.gpus)
    return frozenset([*(host.host for host in plan.hosts), *gpus])


def _counts(changes: Sequence[ReplicaChange]) -> Counts:
    counted = Counter(change.action for change in changes)
    return Counts(
        create=counted["create"],
        keep=counted["keep"],
        update=counted["update"],
        move=counted["move"],
        delete=counted["delete"],
    )


def _created(replica: Replica, before: Counter[str], after: Counter[str]) -> ReplicaChange:
    size_before, size_after = before[replica.service], after[replica.service]
    return ReplicaChange(
        replica=replica.name,
        service=replica.service,
        action="create",
        before=None,
        after=place_of(replica),
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
        before=place_of(replica),
        after=None,
        reasons=[reason],
    )


def _continued(before: Replica, after: Replica, addresses: frozenset[str]) -> ReplicaChange:
    reasons = [*_moved(before, after, addresses), *_reasons(before, after)]
    return ReplicaChange(
        replica=after.name,
        service=after.service,
        action=_action(reasons),
        before=place_of(before),
        after=place_of(after),
        reasons=reasons,
    )


def _action(reasons: Sequence[Reason]) -> Action:
    if any(isinstance(reason, Moved) for reason in reasons):
        return "move"
    return "update" if reasons else "keep"


def _moved(before: Replica, after: Replica, addresses: frozenset[str]) -> Iterator[Reason]:
    """The same GPUs in another order are no other place: that is a setting of the replica."""
    if _has_moved(before, after):
        cause = _cause_of_move(before, addresses)
        yield Moved(before=place_of(before), after=place_of(after), cause=cause)


def _cause_of_move(
    before: Replica, addresses: frozenset[str]
) -> Literal["gpu-gone", "host-gone", "replanned"]:
    if before.host not in addresses:
        return "host-gone"
    gone = any(f"{before.host}/{share.gpu}" not in addresses for share in before.shares)
    return "gpu-gone" if gone else "replanned"


def _has_moved(before: Replica, after: Replica) -> bool:
    return (before.host, _indices(before)) != (after.host, _indices(after))


def _indices(replica: Replica) -> frozenset[int]:
    return frozenset(share.gpu for share in replica.shares)


def _reasons(before: Replica, after: Replica) -> Iterator[Reason]:
    said: list[ArgumentChanged | EnvironmentChanged] = [
        *_arguments_changed(before, after),
        *_environment_changed(before, after),
    ]
    yield from _identity_changed(before, after)
    yield from said
    yield from _shares_changed(before, after)
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
    old, new = _arguments(before.argv), _arguments(after.argv)
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


def _arguments(argv: Sequence[str]) -> dict[str, list[str]]:
    """Each argument with its values, one for each time it is given; empty for a bare flag.

    Words before the first flag go by their position; a word after a flag is a value of it.
    """
    given: list[tuple[str, list[str]]] = []
    flagged = False
    for position, word in enumerate(argv):
        if _FLAG.match(word):
            flagged = True
            flag, equals, value = word.partition("=")
            given.append((flag, [value] if equals else []))
        elif flagged:
            given[-1][1].append(word)
        else:
            given.append((f"positional {position}" if position else "program", [word]))
    arguments: dict[str, list[str]] = {}
    for argument, words in given:
        arguments.setdefault(argument, []).append(shlex.join(words))
    return arguments


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


def _shares_changed(before: Replica, after: Replica) -> Iterator[Reason]:
    """On GPUs that the replica holds in both plans; the others are told by the move."""
    if before.host != after.host:
        return
    old = {share.gpu: share for share in before.shares}
    new = {share.gpu: share for share in after.shares}
    for gpu in sorted(old.keys() & new.keys()):
        yield from _share_changed(f"{after.host}/{gpu}", old[gpu], new[gpu])
    if old.keys() == new.keys() and list(old) != list(new):
        orders = [",".join(map(str, gpus)) for gpus in (old, new)]
        yield SettingChanged(field="gpu_order", before=orders[0], after=orders[1])


def _share_changed(gpu: str, before: Share, after: Share) -> Iterator[Reason]:
    if before.share_bytes != after.share_bytes:
        yield ShareChanged(gpu=gpu, before_bytes=before.share_bytes, after_bytes=after.share_bytes)
    if before.kind != after.kind:
        yield SettingChanged(field=f"kind of {gpu}", before=before.kind, after=after.kind)
    if before.uuid != after.uuid:
        field = f"uuid of {gpu}"
        yield SettingChanged(field=field, before=before.uuid or "none", after=after.uuid or "none")


def _settings_changed(
    before: Replica, after: Replica, said: Sequence[ArgumentChanged | EnvironmentChanged]
) -> Iterator[Reason]:
    """The port stands in argv too, and where its flag has been told it is not told twice."""
    told = {(reason.before, reason.after) for reason in said}
    for field in SETTINGS:
        if getattr(before, field) == getattr(after, field):
            continue
        pair = _setting(before, field), _setting(after, field)
        if field != "port" or pair not in told:
            yield SettingChanged(field=field, before=pair[0], after=pair[1])


def _setting(replica: Replica, field: str) -> str:
    value: object = getattr(replica, field)
    if isinstance(value, list):
        return shlex.join(value) or "none"
    if isinstance(value, int) and field.endswith("_bytes"):
        return format_size(value)
    return "none" if value is None else str(value)


def _ledger(previous: Plan | None, plan: Plan) -> list[LedgerChange]:
    before, after = _gpus(previous), _gpus(plan)
    either = {**before, **after}
    return [
        LedgerChange(
            gpu=f"{host}/{gpu}",
            kind=either[host, gpu].kind,
            budget_bytes=after[host, gpu].budget_bytes if (host, gpu) in after else None,
            before_bytes=before[host, gpu].granted_bytes if (host, gpu) in before else None,
            after_bytes=after[host, gpu].granted_bytes if (host, gpu) in after else None,
        )
        for host, gpu in sorted(either)
    ]


def _gpus(plan: Plan | None) -> dict[tuple[str, int], GpuLedger]:
    return {(gpu.host, gpu.gpu): gpu for gpu in plan.gpus} if plan else {}


def _notes(previous: Plan | None, plan: Plan) -> Iterator[str]:
    """Optional services that fall short, or do so no more."""
    before = {entry.service: entry for entry in previous.unplaced} if previous else {}
    after = {entry.service: entry for entry in plan.unplaced}
    running = {replica.service for replica in plan.replicas}
    for service in sorted(before.keys() | after.keys()):
        entry = after.get(service)
        if entry == before.get(service):
            continue
        if entry is not None:
            yield f"Optional service `{service}` runs {entry.placed} of {entry.wanted} replicas."
        elif service in running:
            yield f"Optional service `{service}` runs with all its replicas again."
        else:
            yield f"Optional service `{service}`, which had been left out, is gone."
