"""What if: the plan of a fleet with changes, and what the loss of each host or GPU would cost."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from compiler.diagnostics import CompileError, Diagnostic, did_you_mean
from compiler.drain import place_draining
from compiler.estimate import estimate
from compiler.inputs import Inputs, Loaded, gpu_kinds, load
from compiler.ir.changes import Diff, LeftOut, Reason, ReplicasChanged
from compiler.ir.demand import Demands
from compiler.ir.inventory import Gpu, GpuKind, Host, Inventory
from compiler.ir.names import natural_key
from compiler.ir.outcome import Loss, OutcomeCode, ServiceOutcome, WhatIf
from compiler.ir.placement import PlacementError, Placements
from compiler.ir.plan import Plan, Replica
from compiler.ir.progress import Reporter, Step, silent
from compiler.ir.rules import with_daemons
from compiler.ir.spec import Service, Spec
from compiler.load.settings import with_settings
from compiler.load.stock import with_stock_gpus
from compiler.pipeline import Compilation, finish, ready

_ADDED = re.compile(r"(?:(\d{1,2})x)?([^@\s]+)(?:@(\S+))?")

_MOST_GPUS = 64

# Beside these all else steps aside: what is needed comes before what is optional.
_NEEDED = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Changes as they are given on a command line."""

    without: tuple[str, ...] = ()
    """Hosts, and GPUs as `host/index` or by their UUID."""
    add: tuple[str, ...] = ()
    """`2xrtx-4090`, `2xrtx-4090@host-like`: one more host with these GPUs."""
    settings: tuple[str, ...] = ()
    """`service.key=value`, `policy.key=value`."""

    def words(self) -> list[str]:
        """The changes, one a line."""
        return [
            *(f"without {each}" for each in self.without),
            *(f"with {each} more" for each in self.add),
            *self.settings,
        ]


def what_if(inputs: Inputs, changes: Changes, report: Reporter = silent) -> WhatIf:
    """The fleet with these changes against the fleet without.

    Raises CompileError when the files or the changes cannot be read. A fleet that cannot be placed
    is one that loses services.
    """
    before = compiled(load(inputs), report).plan
    spec = with_settings(inputs.spec, changes.settings) if inputs.spec else None
    changed = load(replace(inputs, spec=spec))
    kinds = {kind.name: kind for kind in gpu_kinds(inputs.inventory)}
    inventory = _with_added(changed.inventory, changes.add, kinds)
    inventory = _without(inventory, changes.without)
    after = compiled(_on(changed, inventory, before), report)
    services = list(_services(changed, before, after.plan))
    lost = Counter(
        {s.service: max(0, s.replicas_before - s.replicas_after) for s in services
         if s.replicas_after < s.wanted}
    )  # fmt: skip
    counts = after.diff.counts
    return WhatIf(
        changes=changes.words(),
        code=_code(+lost, after.plan.replicas, counts.move + counts.update),
        services=[s for s in services if _differs(s)],
        diff=told(after.diff, changed.spec),
    )


def told(diff: Diff, spec: Spec) -> Diff:
    """A needed service that finds no place is not called optional for it."""
    needed = {service.name for service in spec.services if not service.optional}

    def reason(each: Reason, service: str) -> Reason:
        if isinstance(each, LeftOut) and service in needed:
            return ReplicasChanged(before=each.wanted, after=each.placed)
        return each

    changes = [
        change.model_copy(
            update={"reasons": [reason(each, change.service) for each in change.reasons]}
        )
        for change in diff.changes
    ]
    notes = [note for note in diff.notes if not any(f"`{name}`" in note for name in needed)]
    return diff.model_copy(update={"changes": changes, "notes": notes})


def losses(inputs: Inputs, report: Reporter = silent) -> list[Loss]:
    """What the loss of each host, and of each GPU of hosts with several, would cost."""
    loaded = load(inputs)
    plan = compiled(loaded, report).plan
    names = []
    for host in loaded.inventory.hosts:
        names.append(host.name)
        if len(host.gpus) > 1:
            names += [f"{host.name}/{gpu.index}" for gpu in host.gpus]
    found = []
    for number, name in enumerate(names):
        report(Step(stage="lose", item=name, done=number, total=len(names)))
        found.append(_loss(loaded, plan, name))
    return found


def _loss(loaded: Loaded, plan: Plan, lost: str) -> Loss:
    stood = [replica for replica in plan.replicas if _stands_on(replica, lost)]
    if not stood:
        return Loss(lost=lost, stood=[], code="in-place", moves=0, seconds=0, short={})
    inventory = _without(loaded.inventory, (lost,))
    if not inventory.hosts:
        short = Counter(replica.service for replica in stood)
        return Loss(
            lost=lost, stood=[r.name for r in stood], code="loses-services", moves=0, seconds=0,
            short=dict(sorted(short.items())),
        )  # fmt: skip
    _, _, placements = _placed(_on(_bearing(loaded, plan), inventory, plan), silent)
    before = Counter(map(_place, plan.replicas))
    after = Counter((p.service, p.host, p.gpus) for p in placements.chosen)
    after += Counter(map(_place, placements.frozen))
    n_before = Counter(replica.service for replica in plan.replicas)
    n_after = Counter(place[0] for place in after.elements())
    started = after - before
    # What was left out before and runs now does not start because of the loss.
    new = (n_after - n_before).total()
    return Loss(
        lost=lost,
        stood=[replica.name for replica in stood],
        code=_code(+(n_before - n_after), n_after, started.total() - new),
        moves=started.total() - new,
        seconds=_seconds(plan, started.elements()),
        short=dict(sorted((n_before - n_after).items())),
    )


def _bearing(loaded: Loaded, plan: Plan) -> Loaded:
    """What is to survive is needed, as it ran; no new spares are kept while a loss is borne."""
    ran = Counter(replica.service for replica in plan.replicas)

    def needed(service: Service) -> Service:
        if not service.survives or not ran[service.name]:
            return replace(service, survives=None)
        return replace(
            service, survives=None, optional=False, replicas=ran[service.name],
            priority=service.priority + 2 * _NEEDED,
        )  # fmt: skip

    services = tuple(map(needed, loaded.spec.services))
    return replace(loaded, spec=replace(loaded.spec, services=services))


def _code(lost: Counter[str], running: Iterable[Replica] | Counter[str], moves: int) -> OutcomeCode:
    left = running if isinstance(running, Counter) else Counter(r.service for r in running)
    if any(not left[service] for service in lost):
        return "loses-services"
    if lost:
        return "loses-replicas"
    return "moves" if moves else "in-place"


def _stands_on(replica: Replica, place: str) -> bool:
    host, slash, index = place.partition("/")
    if replica.host != host:
        return False
    return not slash or any(str(share.gpu) == index for share in replica.shares)


def _place(replica: Replica) -> tuple[str, str, tuple[int, ...]]:
    return replica.service, replica.host, tuple(share.gpu for share in replica.shares)


def _seconds(plan: Plan, started: Iterable[tuple[str, str, tuple[int, ...]]]) -> int:
    timeouts: dict[str, int] = defaultdict(int)
    for replica in plan.replicas:
        timeouts[replica.service] = max(timeouts[replica.service], replica.start_timeout_seconds)
    of_host = Counter[str]()
    for service, host, _ in started:
        of_host[host] += timeouts[service]
    return max(of_host.values(), default=0)


def compiled(loaded: Loaded, report: Reporter) -> Compilation:
    """The compile, in which services that find no place are left out, needed ones too."""
    asked, demands, placements = _placed(loaded, report)
    return finish(asked, demands, placements, loaded.previous, report)


def _placed(loaded: Loaded, report: Reporter) -> tuple[Loaded, Demands, Placements]:
    demands = estimate(loaded.inventory, loaded.spec, loaded.lock, loaded.previous, report)
    loaded = ready(loaded, demands)
    try:
        placements = place_draining(loaded.inventory, loaded.spec, demands, loaded.previous)
    except PlacementError:
        services = tuple(
            replace(each, optional=True, priority=each.priority + _NEEDED * (not each.optional))
            for each in loaded.spec.services
        )
        policy = replace(loaded.spec.policy, max_moves=None, freeze=())
        loaded = replace(loaded, spec=replace(loaded.spec, services=services, policy=policy))
        placements = place_draining(loaded.inventory, loaded.spec, demands, loaded.previous)
    return loaded, demands, placements


def _on(loaded: Loaded, inventory: Inventory, previous: Plan) -> Loaded:
    return replace(
        loaded,
        inventory=inventory,
        spec=with_daemons(loaded.spec, inventory),
        previous=previous,
    )


def _services(loaded: Loaded, before: Plan, after: Plan) -> Iterator[ServiceOutcome]:
    wanted = {service.name: service.replicas for service in loaded.spec.services}
    names = {replica.service for plan in (before, after) for replica in plan.replicas}
    for name in sorted(names | wanted.keys(), key=natural_key):
        was, now = ([r for r in plan.replicas if r.service == name] for plan in (before, after))
        yield ServiceOutcome(
            service=name,
            wanted=wanted.get(name, 0),
            replicas_before=len(was),
            replicas_after=len(now),
            room_before_permille=sum(replica.kv_requests_permille for replica in was),
            room_after_permille=sum(replica.kv_requests_permille for replica in now),
        )


def _differs(service: ServiceOutcome) -> bool:
    return (service.replicas_before, service.room_before_permille) != (
        service.replicas_after,
        service.room_after_permille,
    ) or service.replicas_after < service.wanted


def _without(inventory: Inventory, names: Iterable[str]) -> Inventory:
    """The inventory without these hosts, and with these GPUs broken."""
    hosts = {host.name: host for host in inventory.hosts}
    gpus: dict[str, tuple[str, Gpu]] = {}
    for host in inventory.hosts:
        for gpu in host.gpus:
            gpus[f"{host.name}/{gpu.index}"] = (host.name, gpu)
            if gpu.uuid:
                gpus[gpu.uuid] = (host.name, gpu)
    faults = []
    for name in names:
        if name in hosts:
            del hosts[name]
        elif name in gpus and gpus[name][0] in hosts:
            owner, gpu = gpus[name]
            hosts[owner] = _with_gpu(hosts[owner], replace(gpu, state="broken"))
        elif name not in gpus:
            is_gpu = "/" in name
            faults.append(
                Diagnostic(
                    code="unknown-gpu" if is_gpu else "unknown-host",
                    detail=f"`--without {name}` is not in the inventory.",
                    hints=did_you_mean(name, gpus if is_gpu else hosts),
                )
            )
    if faults:
        raise CompileError(faults)
    return Inventory(hosts=tuple(hosts.values()))


def _with_gpu(host: Host, gpu: Gpu) -> Host:
    return replace(host, gpus=tuple(gpu if each.index == gpu.index else each for each in host.gpus))


def _with_added(inventory: Inventory, added: Iterable[str], kinds: dict[str, GpuKind]) -> Inventory:
    hosts = list(inventory.hosts)
    for number, text in enumerate(added, start=1):
        match = _ADDED.fullmatch(text)
        if match is None or not 0 < int(match[1] or 1) <= _MOST_GPUS:
            raise CompileError([_unreadable(text)])
        if match[2] not in kinds:
            raise CompileError([_no_kind(match[2], kinds)])
        if kinds[match[2]].unified and int(match[1] or 1) > 1:
            raise CompileError([_alone(match[2])])
        like = _host_like(inventory, match[3], kinds[match[2]])
        hosts.append(_new_host(like, kinds[match[2]], int(match[1] or 1), f"new-{number}"))
    return Inventory(hosts=tuple(hosts))


def _unreadable(text: str) -> Diagnostic:
    return Diagnostic(
        code="wrong-value",
        detail=f"`--add {text}` is no number of GPUs of a kind.",
        hints=("Write for example `--add 2xrtx-4090`, or `--add 2xrtx-4090@HOST` like a host.",),
    )


def _alone(kind: str) -> Diagnostic:
    return Diagnostic(
        code="wrong-value",
        detail=f"`{kind}` is the only GPU of its host: its memory is the RAM.",
        hints=(f"Write `--add {kind} --add {kind}` for two such hosts.",),
    )


def _no_kind(kind: str, kinds: Iterable[str]) -> Diagnostic:
    return Diagnostic(
        code="unknown-gpu-kind",
        detail=f"`--add` names the GPU kind `{kind}`.",
        hints=did_you_mean(kind, kinds),
    )


def _host_like(inventory: Inventory, name: str | None, kind: GpuKind) -> Host:
    """The host of this name, else one with GPUs of this kind, else the one with most RAM."""
    if name is not None:
        for host in inventory.hosts:
            if host.name == name:
                return host
        known = [host.name for host in inventory.hosts]
        raise CompileError(
            [
                Diagnostic(
                    code="unknown-host",
                    detail=f"`--add` names the host `{name}`.",
                    hints=did_you_mean(name, known),
                )
            ]
        )
    alike = [h for h in inventory.hosts if any(gpu.kind.name == kind.name for gpu in h.gpus)]
    ranked: Callable[[Host], tuple[int, str]] = lambda host: (-host.ram_budget_bytes, host.name)  # noqa: E731
    return min(alike or inventory.hosts, key=ranked)


def _new_host(like: Host, kind: GpuKind, count: int, name: str) -> Host:
    pattern = next((gpu for gpu in like.gpus if gpu.kind.name == kind.name), None)
    named = replace(like, name=name, address=name, state="ready")
    return with_stock_gpus(named, kind, count, pattern)
