"""The verify pass: recounts a plan from the inputs alone, trusting neither solver nor assembler."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from compiler.ir.inventory import Host, Inventory
from compiler.ir.plan import Plan, Replica
from compiler.ir.spec import Service, Spec


def verify(inventory: Inventory, spec: Spec, plan: Plan, previous: Plan | None) -> list[str]:
    """Every way in which a plan breaks a budget or a rule; empty for a sound plan."""
    hosts = {host.name: host for host in inventory.hosts}
    faults = [*_places_exist(plan, hosts)]
    if faults:
        # What stands nowhere cannot be counted.
        return faults
    faults += _budgets(plan, hosts)
    faults += _ledgers(plan, inventory)
    faults += _ports(plan, hosts)
    faults += _coverage(spec, plan)
    faults += _start_order(plan)
    frozen = set(spec.policy.freeze) if previous else set()
    for service in spec.services:
        replicas = [r for r in plan.replicas if r.service == service.name]
        kept = [r for r in previous.replicas if r.service == service.name] if previous else []
        if service.name in frozen and kept:
            faults += _frozen(replicas, kept)
            continue
        for replica in replicas:
            faults += _rules(service, replica, hosts[replica.host])
        faults += _spread(service, replicas)
    faults += _apart(spec, plan)
    faults += _moves(spec, plan, previous, frozen)
    for replica in plan.replicas:
        faults += _consistent(replica)
    return faults


def _places_exist(plan: Plan, hosts: dict[str, Host]) -> Iterator[str]:
    names = Counter(replica.name for replica in plan.replicas)
    yield from (f"the name `{name}` is given {n} times" for name, n in names.items() if n > 1)
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
            elif host.gpus[share.gpu].kind.name != share.kind:
                yield f"`{replica.name}` takes `{host.name}/{share.gpu}` for a `{share.kind}`"


def _budgets(plan: Plan, hosts: dict[str, Host]) -> Iterator[str]:
    held: dict[tuple[str, int], int] = defaultdict(int)
    ram: dict[str, int] = defaultdict(int)
    for replica in plan.replicas:
        ram[replica.host] += replica.ram_bytes
        for share in replica.shares:
            held[replica.host, share.gpu] += share.share_bytes
            if share.breakdown.high_bytes > share.share_bytes:
                yield f"`{replica.name}` is granted less than it takes on GPU {share.gpu}"
    for (name, index), granted in sorted(held.items()):
        gpu = hosts[name].gpus[index]
        # Counted anew: two bounds on the same memory, and what the driver keeps for itself.
        budget = min(
            gpu.kind.memory_bytes - gpu.reserved_bytes,
            gpu.kind.memory_bytes * gpu.utilization_permille // 1000,
            gpu.kind.cuda_total_bytes,
        )
        if granted > budget:
            yield f"`{name}/{index}` grants {granted:,} bytes of a budget of {budget:,}"
    for name, granted in sorted(ram.items()):
        budget = max(0, hosts[name].ram_bytes - hosts[name].ram_reserved_bytes)
        if granted > budget:
            yield f"`{name}` grants {granted:,} bytes of RAM of a budget of {budget:,}"


def _ledgers(plan: Plan, inventory: Inventory) -> Iterator[str]:
    held: dict[tuple[str, int], int] = defaultdict(int)
    for replica in plan.replicas:
        for share in replica.shares:
            held[replica.host, share.gpu] += share.share_bytes
    expected = {
        (host.name, gpu.index): held[host.name, gpu.index]
        for host in inventory.hosts
        for gpu in host.gpus
    }
    found = {(ledger.host, ledger.gpu): ledger.granted_bytes for ledger in plan.gpus}
    if expected != found:
        yield "the GPU ledger does not add up to the replicas' shares"


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
    short = {each.service: each for each in plan.unplaced}
    for service in spec.services:
        if service.name in spec.policy.freeze and placed[service.name]:
            continue
        missing = service.replicas - placed[service.name]
        if missing < 0:
            yield f"`{service.name}` has {-missing} replicas too many"
        if missing > 0 and not service.optional:
            yield f"`{service.name}` lacks {missing} replicas and is not optional"
        listed = short.get(service.name)
        if (missing > 0) != (listed is not None):
            yield f"`{service.name}` lacks {missing} replicas, and the plan says otherwise"


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
    if replica.engine == "vllm" and len({gpu.kind.name for gpu in gpus}) > 1:
        yield f"`{replica.name}` splits tensors over unequal GPUs"
    if replica.engine == "vllm" and gpus and replica.tensor_parallel != len(gpus):
        yield f"`{replica.name}` has {len(gpus)} GPUs for {replica.tensor_parallel} ranks"
    degrees = rules.tensor_parallel
    if replica.engine == "vllm" and gpus and degrees and replica.tensor_parallel not in degrees:
        yield f"`{replica.name}` has a tensor parallel degree that its rules exclude"
    if host.engines.get(replica.engine) is None:
        yield f"`{replica.name}` needs `{replica.engine}`, which `{host.name}` does not have"
    offload = next(v.offload for v in service.variants if v.name == replica.variant)
    if replica.engine == "llama.cpp" and offload == "none" and (replica.host_layers or not gpus):
        yield f"`{replica.name}` keeps layers in RAM though `offload` is `none`"


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
    for service in spec.services:
        if service.name in frozen:
            continue
        before = Counter(_place(r) for r in previous.replicas if r.service == service.name)
        after = Counter(_place(r) for r in plan.replicas if r.service == service.name)
        staying = sum((before & after).values())
        moves += max(0, min(before.total(), after.total()) - staying)
    if moves > spec.policy.max_moves:
        yield f"{moves} replicas move, and `max_moves` is {spec.policy.max_moves}"


def _place(replica: Replica) -> tuple[str, tuple[int, ...]]:
    return replica.host, tuple(share.gpu for share in replica.shares)


def _frozen(replicas: list[Replica], kept: list[Replica]) -> Iterator[str]:
    # The start order may lose replicas that are gone; everything else stays to the letter.
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
    """The command line says what the ledger says."""
    flags = dict(zip(replica.argv, [*replica.argv[1:], ""], strict=True))
    if flags.get("--port") != str(replica.port):
        yield f"`{replica.name}` listens on another port than planned"
    visible = replica.env.get("CUDA_VISIBLE_DEVICES")
    chosen = [str(share.gpu) for share in replica.shares]
    uuids = [share.uuid or "" for share in replica.shares]
    if visible is not None and visible.split(",") not in (chosen or [""], uuids or [""]):
        yield f"`{replica.name}` sees other GPUs than planned"
    kv = flags.get("--kv-cache-memory-bytes")
    for share in replica.shares:
        if kv is not None and int(kv) != share.breakdown.kv.bytes:
            yield f"`{replica.name}` asks for another KV size than planned"
    utilization = flags.get("--gpu-memory-utilization")
    if utilization is not None and not 0 < float(utilization) <= 1:
        yield f"`{replica.name}` has an impossible utilization"
    if any(name in replica.env for name in replica.secrets):
        yield f"`{replica.name}` has the value of a secret in its environment"
