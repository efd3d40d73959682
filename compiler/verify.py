"""The verify pass: recounts a plan from the inputs alone, trusting neither solver nor assembler."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from compiler.engines.recount import flags_of
from compiler.engines.registry import engine_of, recount_of
from compiler.ir.credentials import looks_secret
from compiler.ir.inventory import CONTAINER_TARGETS, NOT_PUBLISHED, Gpu, Host, Inventory
from compiler.ir.names import natural_key
from compiler.ir.plan import Plan, Replica, Share
from compiler.ir.spec import Service, Spec
from compiler.recount_memory import budget_faults, gpu_ledger_faults, host_ledger_faults
from compiler.recount_spares import spare_faults
from compiler.recount_states import state_faults


def verify(inventory: Inventory, spec: Spec, plan: Plan, previous: Plan | None) -> list[str]:
    """Every way in which a plan breaks a budget or a rule; empty for a sound plan."""
    hosts = {host.name: host for host in inventory.hosts}
    faults = [*_places_exist(plan, hosts)]
    if faults:
        # What stands nowhere cannot be counted.
        return faults
    faults += state_faults(plan, hosts, previous)
    faults += spare_faults(spec, plan, hosts)
    faults += budget_faults(plan, hosts)
    faults += gpu_ledger_faults(plan, inventory)
    faults += host_ledger_faults(plan, inventory)
    faults += _ports(plan, hosts)
    faults += _coverage(spec, plan)
    faults += _unplaced(spec, plan)
    faults += _start_order(plan)
    frozen = set(spec.policy.freeze) if previous else set()
    now, before = _by_service(plan), _by_service(previous)
    for service in spec.services:
        replicas, kept = now[service.name], before[service.name]
        if service.name in frozen and kept:
            faults += _frozen(replicas, kept)
            continue
        for replica in replicas:
            faults += _rules(service, replica, hosts[replica.host])
            faults += _wishes(service, replica, hosts[replica.host])
            faults += _installed(replica, hosts[replica.host])
        faults += _spread(service, replicas)
    faults += _apart(spec, plan)
    faults += _alone(spec, plan)
    faults += _moves(spec, plan, previous, frozen)
    for replica in plan.replicas:
        faults += _consistent(replica)
        faults += _devices(replica, hosts[replica.host])
        faults += _memory(replica, hosts[replica.host])
    return faults


def _by_service(plan: Plan | None) -> dict[str, list[Replica]]:
    found: dict[str, list[Replica]] = defaultdict(list)
    for replica in plan.replicas if plan else ():
        found[replica.service].append(replica)
    return found


def _places_exist(plan: Plan, hosts: dict[str, Host]) -> Iterator[str]:
    names = Counter(replica.name for replica in plan.replicas)
    yield from (f"the name `{name}` is given {n} times" for name, n in names.items() if n > 1)
    if list(names) != sorted(names, key=natural_key):
        yield "the replicas are not sorted by name"
    for replica in plan.replicas:
        host = hosts.get(replica.host)
        if host is None:
            yield f"`{replica.name}` stands on `{replica.host}`, which is not in the inventory"
            continue
        indices = [share.gpu for share in replica.shares]
        if len(set(indices)) != len(indices):
            yield f"`{replica.name}` takes one GPU twice"
        for share in replica.shares:
            if not 0 <= share.gpu < len(host.gpus):
                yield f"`{replica.name}` stands on `{host.name}/{share.gpu}`, which does not exist"
            else:
                yield from _same_gpu(replica, share, host.gpus[share.gpu])


def _same_gpu(replica: Replica, share: Share, gpu: Gpu) -> Iterator[str]:
    place = f"`{replica.host}/{share.gpu}`"
    if gpu.kind.name != share.kind:
        yield f"`{replica.name}` takes {place} for a `{share.kind}`"
    # A frozen replica may know the UUID of a GPU of which the inventory no longer says it.
    if gpu.uuid is not None and gpu.uuid != share.uuid:
        yield f"`{replica.name}` takes {place} for the GPU `{share.uuid}`"


def _ports(plan: Plan, hosts: dict[str, Host]) -> Iterator[str]:
    taken = Counter((replica.host, replica.port) for replica in plan.replicas)
    yield from (f"port {port} of `{host}` is given {n} times"
                for (host, port), n in taken.items() if n > 1)  # fmt: skip
    for replica in plan.replicas:
        first, last = hosts[replica.host].ports
        if not first <= replica.port <= last:
            yield f"`{replica.name}` has port {replica.port} outside of {first}-{last}"


def _coverage(spec: Spec, plan: Plan) -> Iterator[str]:
    placed = Counter(replica.service for replica in plan.replicas)
    known = {service.name for service in spec.services}
    yield from (f"`{name}` runs and is not in the spec" for name in placed if name not in known)
    for service in spec.services:
        if service.name in spec.policy.freeze and placed[service.name]:
            continue
        missing = service.replicas - placed[service.name]
        if missing < 0:
            yield f"`{service.name}` has {-missing} replicas too many"
        if missing > 0 and not service.optional:
            yield f"`{service.name}` lacks {missing} replicas and is not optional"


def _unplaced(spec: Spec, plan: Plan) -> Iterator[str]:
    """What the plan says is missing, against what is."""
    placed = Counter(replica.service for replica in plan.replicas)
    expected = {
        (service.name, service.replicas, placed[service.name])
        for service in spec.services
        if placed[service.name] < service.replicas
        and not (service.name in spec.policy.freeze and placed[service.name])
    }
    found = Counter((each.service, each.wanted, each.placed) for each in plan.unplaced)
    for name, wanted, there in sorted(expected - found.keys()):
        yield f"`{name}` has {there} of {wanted} replicas, and the plan does not say so"
    for (name, wanted, there), times in sorted(found.items()):
        if (name, wanted, there) not in expected or times > 1:
            yield f"the plan says wrongly that `{name}` has {there} of {wanted} replicas"


def _rules(service: Service, replica: Replica, host: Host) -> Iterator[str]:
    rules = service.placement
    for label, values in rules.host_labels.items():
        value = host.name if label == "name" else host.labels.get(label)
        if value not in values:
            yield f"`{replica.name}` stands on `{host.name}`, which its selector excludes"
    gpus = [host.gpus[share.gpu] for share in replica.shares]
    if rules.kinds and (not gpus or any(gpu.kind.name not in rules.kinds for gpu in gpus)):
        yield f"`{replica.name}` stands on a GPU kind that its rules exclude"
    if rules.min_compute and (not gpus or any(g.kind.compute < rules.min_compute for g in gpus)):
        yield f"`{replica.name}` stands on a GPU of too low compute capability"
    if rules.pin and rules.pin.host != host.name:
        yield f"`{replica.name}` is pinned to `{rules.pin.host}`"
    if rules.pin and rules.pin.gpus and sorted(rules.pin.gpus) != [gpu.index for gpu in gpus]:
        yield f"`{replica.name}` is pinned to GPUs {list(rules.pin.gpus)}"
    yield from recount_of(replica.engine).cut(replica, gpus, rules)


def _wishes(service: Service, replica: Replica, host: Host) -> Iterator[str]:
    """What the spec says of the service and its variant is what runs."""
    variant = next((v for v in service.variants if v.name == replica.variant), None)
    if variant is None:
        yield f"`{replica.name}` is of a variant `{replica.variant}`, which is not in the spec"
        return
    wanted = (variant.model, variant.engine, variant.concurrency)
    if (replica.source, replica.engine, replica.concurrency) != wanted:
        yield f"`{replica.name}` runs another model, engine or concurrency than its variant"
    if variant.context not in (None, replica.context):
        yield f"`{replica.name}` takes requests of another length than its variant"
    if service.task not in (None, replica.task):
        yield f"`{replica.name}` does another task than its service"
    number = replica.name.removeprefix(f"{service.name}-")
    if not (number.isdecimal() and f"{service.name}-{int(number)}" == replica.name):
        yield f"`{replica.name}` is no name of a replica of `{service.name}`"
    if replica.listen != (service.listen or host.listen):
        yield f"`{replica.name}` listens on another address than its service"
    if replica.listen == NOT_PUBLISHED and not host.runs_containers:
        yield f"`{replica.name}` is no container and must listen on an address"
    if replica.secrets != list(service.secrets):
        yield f"`{replica.name}` gets other secrets than its service"
    changed = {k for k, v in service.env.items() if replica.env.get(k) != v}
    if changed - set(replica.device_env):
        yield f"`{replica.name}` gets another environment than its service"
    yield from recount_of(replica.engine).offload(replica, variant)


def _installed(replica: Replica, host: Host) -> Iterator[str]:
    """The host has what the replica is started with."""
    install = host.engines.get(replica.engine)
    if install is None:
        yield f"`{replica.name}` needs `{replica.engine}`, which `{host.name}` does not have"
        return
    if replica.engine_version != engine_of(replica.engine).release(install.version):
        yield f"`{replica.name}` is for another version than the `{install.version}` of its host"
    boxed = host.runs_containers
    if replica.target != host.target or replica.models_dir != host.models_dir:
        yield f"`{replica.name}` is for a host that is set up in another way"
    if replica.image != (install.image if boxed else None) or (boxed and not replica.image):
        yield f"`{replica.name}` starts from another image than its host has"
    if not boxed and replica.argv[:1] != [install.bin]:
        yield f"`{replica.name}` starts another program than its host has"


def _spread(service: Service, replicas: list[Replica]) -> Iterator[str]:
    if service.placement.spread is None:
        return
    by_host = service.placement.spread == "host"
    places = [
        (replica.host, gpu)
        for replica in replicas
        for gpu in ([-1] if by_host else [share.gpu for share in replica.shares] or [-1])
    ]
    if len(set(places)) != len(places):
        yield f"replicas of `{service.name}` share a {service.placement.spread}"


def _alone(spec: Spec, plan: Plan) -> Iterator[str]:
    """Who has a GPU to itself by the spec, or charges all that it holds to itself."""
    exclusive = {service.name for service in spec.services if service.placement.exclusive}
    on: dict[tuple[str, int], list[Replica]] = defaultdict(list)
    for replica in plan.replicas:
        for share in replica.shares:
            on[replica.host, share.gpu].append(replica)
    for place, here in sorted(on.items()):
        for replica in here if len(here) > 1 else ():
            if not engine_of(replica.engine).shares_gpus(replica.engine_version):
                yield f"`{replica.name}` on `{place[0]}/{place[1]}` cannot share it"
            if replica.service in exclusive:
                yield f"`{replica.name}` is to have `{place[0]}/{place[1]}` to itself"


def _apart(spec: Spec, plan: Plan) -> Iterator[str]:
    on: dict[tuple[str, int], set[str]] = defaultdict(set)
    for replica in plan.replicas:
        for share in replica.shares:
            on[replica.host, share.gpu].add(replica.service)
    for service in spec.services:
        for other in service.placement.apart_from:
            for place, services in sorted(on.items()):
                if {service.name, other} <= services:
                    yield f"`{service.name}` and `{other}` share `{place[0]}/{place[1]}`"


def _moves(spec: Spec, plan: Plan, previous: Plan | None, frozen: set[str]) -> Iterator[str]:
    if previous is None or spec.policy.max_moves is None:
        return
    moves = 0
    then, now = _by_service(previous), _by_service(plan)
    for service in spec.services:
        if service.name in frozen:
            continue
        before = Counter(map(_place, then[service.name]))
        after = Counter(map(_place, now[service.name]))
        staying = sum((before & after).values())
        moves += max(0, min(before.total(), after.total()) - staying)
    if moves > spec.policy.max_moves:
        yield f"{moves} replicas move, and `max_moves` is {spec.policy.max_moves}"


def _place(replica: Replica) -> tuple[str, tuple[int, ...]]:
    return replica.host, tuple(share.gpu for share in replica.shares)


def _frozen(replicas: list[Replica], kept: list[Replica]) -> Iterator[str]:
    # The start order changes when what stood before a frozen replica is gone; it is verified with
    # all others. Everything else stays to the letter.
    def core(replica: Replica) -> Replica:
        return replica.model_copy(update={"start_after": []})

    if [core(r) for r in replicas] != [core(r) for r in kept]:
        yield f"the frozen service `{kept[0].service}` was changed"


def _start_order(plan: Plan) -> Iterator[str]:
    """Every two replicas on a GPU must be in order, and the order must have no circle."""
    waits = {replica.name: set(replica.start_after) for replica in plan.replicas}
    before: dict[str, set[str]] = {}
    todo = dict(waits)
    while todo:
        ready = sorted(name for name, earlier in todo.items() if earlier <= before.keys())
        if not ready:
            yield f"the start order runs in a circle or waits for what is not there: {sorted(todo)}"
            return
        for name in ready:
            before[name] = set().union(todo[name], *(before[each] for each in todo[name]))
        todo = {name: earlier for name, earlier in todo.items() if name not in before}
    on: dict[tuple[str, int], list[str]] = defaultdict(list)
    for replica in plan.replicas:
        for share in replica.shares:
            on[replica.host, share.gpu].append(replica.name)
    for place, names in sorted(on.items()):
        for index, name in enumerate(names):
            for other in names[index + 1 :]:
                if name not in before[other] and other not in before[name]:
                    yield f"`{name}` and `{other}` on `{place[0]}/{place[1]}` may start at once"


def _consistent(replica: Replica) -> Iterator[str]:
    """The command line says what the plan says."""
    flags = flags_of(replica)
    inside = replica.target in CONTAINER_TARGETS
    listen = "0.0.0.0" if inside else replica.listen  # noqa: S104  Its container's own.
    expected = recount_of(replica.engine).flags(replica, listen)
    for flag, value in expected.items():
        if flags.get(flag) != value:
            yield f"`{replica.name}` has `{flag} {flags.get(flag)}`, and the plan says {value}"
    if replica.model_path not in replica.argv:
        yield f"`{replica.name}` loads another model than planned"
    if any(name in replica.env for name in replica.secrets):
        yield f"`{replica.name}` has the value of a secret in its environment"
    if any(map(looks_secret, (*replica.argv, *replica.env.values()))):
        yield f"`{replica.name}` has what looks like a secret in its command or its environment"


def _devices(replica: Replica, host: Host) -> Iterator[str]:
    """The environment lets the engine see the planned GPUs, in their order, and no other."""
    if not host.gpus:
        return
    visible = replica.env.get("CUDA_VISIBLE_DEVICES")
    chosen = [share.gpu for share in replica.shares]
    if all(share.minor is not None for share in replica.shares):
        # CUDA counts those that a process may open.
        chosen = [sorted(chosen).index(gpu) for gpu in chosen]
    uuids = [share.uuid or "" for share in replica.shares]
    if visible is None or visible not in (",".join(map(str, chosen)), ",".join(uuids)):
        yield f"`{replica.name}` sees other GPUs than planned"
    if replica.env.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        yield f"`{replica.name}` counts GPUs in another order than the inventory"


def _memory(replica: Replica, host: Host) -> Iterator[str]:
    """What the engine is told to take lies within its shares."""
    gpus = [host.gpus[share.gpu] for share in replica.shares]
    return recount_of(replica.engine).memory(replica, gpus)
