"""Recounts the spares of a plan, without the code of the passes: every loss of a host is borne."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from compiler.engines.registry import engine_of, traits_of
from compiler.ir.inventory import Host
from compiler.ir.plan import Plan, PlannedSpare, Replica
from compiler.ir.spec import Service, Spec
from compiler.ir.units import MIB, demand_mib


def spare_faults(spec: Spec, plan: Plan, hosts: Mapping[str, Host]) -> Iterator[str]:
    """Every way in which the plan keeps too little for the loss of a host."""
    services = {service.name: service for service in spec.services}
    surviving = {service.name for service in spec.services if service.survives}
    for name in plan.exposed:
        if name not in surviving:
            yield f"the plan says that `{name}` is exposed, which is not to survive anything"
    of_loss: dict[str, list[PlannedSpare]] = defaultdict(list)
    for spare in plan.spares:
        faults = list(_spare(spare, services, hosts))
        yield from faults
        if faults:
            return
        of_loss[spare.lost].append(spare)
    for lost in hosts:
        yield from _counts(plan, lost, of_loss[lost], surviving - set(plan.exposed))
        yield from _holds(plan, lost, of_loss[lost], hosts)
        yield from _apart(plan, lost, of_loss[lost], services)


def _spare(
    spare: PlannedSpare, services: Mapping[str, Service], hosts: Mapping[str, Host]
) -> Iterator[str]:
    what = f"the spare of `{spare.service}` for the loss of `{spare.lost}`"
    service, host = services.get(spare.service), hosts.get(spare.host)
    if service is None or not service.survives or spare.lost not in hosts:
        yield f"{what} is for nothing"
        return
    if host is None or host.state != "ready" or spare.host == spare.lost:
        yield f"{what} is on `{spare.host}`, where it cannot be"
        return
    variant = next((v for v in service.variants if v.name == spare.variant), None)
    if variant is None or variant.engine not in host.engines:
        yield f"{what} is of a variant that cannot run there"
        return
    indices = [share.gpu for share in spare.shares]
    if len(set(indices)) < len(indices) or any(not 0 <= i < len(host.gpus) for i in indices):
        yield f"{what} is on GPUs that do not exist"
        return
    rules = service.placement
    gpus = [host.gpus[index] for index in indices]
    for label, values in rules.host_labels.items():
        if (host.name if label == "name" else host.labels.get(label)) not in values:
            yield f"{what} is on a host that its selector excludes"
    if any(gpu.state == "broken" for gpu in gpus):
        yield f"{what} is on a broken GPU"
    if rules.kinds and (not gpus or any(gpu.kind.name not in rules.kinds for gpu in gpus)):
        yield f"{what} is on a GPU kind that its rules exclude"
    if rules.min_compute and (not gpus or any(g.kind.compute < rules.min_compute for g in gpus)):
        yield f"{what} is on a GPU of too low compute capability"
    if rules.pin and rules.pin.host != host.name:
        yield f"{what} is not where it is pinned"
    degrees = rules.tensor_parallel
    ranks = traits_of(variant.engine).cuts == "ranks"
    if ranks and gpus and degrees and spare.tensor_parallel not in degrees:
        yield f"{what} has a tensor parallel degree that its rules exclude"


def _counts(
    plan: Plan, lost: str, spares: list[PlannedSpare], surviving: set[str]
) -> Iterator[str]:
    stood = Counter(replica.service for replica in plan.replicas if replica.host == lost)
    kept = Counter(spare.service for spare in spares)
    for name in sorted(surviving):
        if stood[name] != kept[name]:
            yield (
                f"`{name}` has {stood[name]} replicas on `{lost}` and {kept[name]} spares for its "
                "loss"
            )


def _holds(
    plan: Plan, lost: str, spares: list[PlannedSpare], hosts: Mapping[str, Host]
) -> Iterator[str]:
    """Memory, RAM and ports of all hosts when this one is lost and its spares are taken."""
    if not spares:
        return
    held, ram, ports = _taken(plan, lost, spares, hosts)
    after = f"after the loss of `{lost}`"
    for name in sorted({spare.host for spare in spares}):
        host = hosts[name]
        for gpu in host.gpus:
            if held[name, gpu.index] * MIB > gpu.budget_bytes:
                yield f"{after}, `{name}/{gpu.index}` would hold more than its budget"
        pooled = any(gpu.kind.unified for gpu in host.gpus)
        if not pooled and ram[name] > host.ram_bytes - host.ram_reserved_bytes:
            yield f"{after}, `{name}` would hold more RAM than its budget"
        first, last = host.ports
        if ports[name] > last - first + 1:
            yield f"{after}, `{name}` would need more ports than it has"


def _taken(
    plan: Plan, lost: str, spares: list[PlannedSpare], hosts: Mapping[str, Host]
) -> tuple[Counter[tuple[str, int]], Counter[str], Counter[str]]:
    """MiB of each GPU, bytes of RAM and ports of each host that are taken then."""
    held: Counter[tuple[str, int]] = Counter()
    ram: Counter[str] = Counter()
    ports: Counter[str] = Counter()
    for replica in plan.replicas:
        if replica.host == lost:
            continue
        ports[replica.host] += 1
        ram[replica.host] += replica.ram_bytes
        # A GPU without memory of its own takes the RAM of its host.
        for gpu in hosts[replica.host].gpus:
            if gpu.kind.unified:
                held[replica.host, gpu.index] += demand_mib(replica.ram_bytes)
        for share in replica.shares:
            held[replica.host, share.gpu] += demand_mib(share.share_bytes)
    for spare in spares:
        ports[spare.host] += 1
        ram[spare.host] += spare.ram_mib * MIB
        for each in spare.shares:
            held[spare.host, each.gpu] += each.mib
    return held, ram, ports


def _apart(
    plan: Plan, lost: str, spares: list[PlannedSpare], services: Mapping[str, Service]
) -> Iterator[str]:
    """`spread`, `apart_from` and `exclusive` when the spares are taken, and their least size."""
    after = f"after the loss of `{lost}`"
    left = [replica for replica in plan.replicas if replica.host != lost]
    on: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    on_host: Counter[tuple[str, str]] = Counter()
    cpu: Counter[tuple[str, str]] = Counter()
    alone: set[tuple[str, int]] = set()
    for replica in left:
        shared = engine_of(replica.engine).shares_gpus(replica.engine_version)
        service = services.get(replica.service)
        for share in replica.shares:
            if not shared or (service is not None and service.placement.exclusive):
                alone.add((replica.host, share.gpu))
    stands = [(r.service, r.host, [s.gpu for s in r.shares]) for r in left]
    stands += [(s.service, s.host, [each.gpu for each in s.shares]) for s in spares]
    for name, host, gpus in stands:
        on_host[name, host] += 1
        cpu[name, host] += not gpus
        for gpu in gpus:
            on[host, gpu][name] += 1
    for spare in spares:
        rules = services[spare.service].placement
        key = (spare.service, spare.host)
        together = [on[spare.host, share.gpu] for share in spare.shares]
        crowd = any(users[spare.service] > 1 for users in together) or cpu[key] > 1
        if (rules.spread == "host" and on_host[key] > 1) or (rules.spread == "gpu" and crowd):
            yield f"{after}, replicas of `{spare.service}` would stand together"
        apart = {n for n, s in services.items() if spare.service in s.placement.apart_from}
        apart |= set(rules.apart_from)
        if any(apart & set(users) for users in together):
            yield f"{after}, `{spare.service}` would share a GPU with what it is apart from"
        places = [(spare.host, share.gpu) for share in spare.shares]
        many = any(sum(users.values()) > 1 for users in together)
        if any(place in alone for place in places) or (rules.exclusive and many):
            yield f"{after}, `{spare.service}` would share a GPU that is to be had alone"
        yield from _least(spare, plan.replicas)


def _least(spare: PlannedSpare, replicas: list[Replica]) -> Iterator[str]:
    """What a replica that runs alike takes without its cache, a spare takes as well."""
    for replica in replicas:
        alike = (replica.service, replica.variant, replica.tensor_parallel) == (
            spare.service, spare.variant, spare.tensor_parallel,
        )  # fmt: skip
        if not alike or len(replica.shares) != len(spare.shares) or not replica.cut_by_ranks:
            continue
        bare = max(s.breakdown.weights.bytes for s in replica.shares) if replica.shares else 0
        if any(each.mib * MIB < bare for each in spare.shares):
            yield f"the spare of `{spare.service}` on `{spare.host}` holds no weights"
