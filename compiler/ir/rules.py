"""Which hosts and GPUs a service's rules let it stand on, before any memory is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compiler.ir.engine_name import EngineName
from compiler.ir.inventory import Gpu, Host, Inventory
from compiler.ir.plan import Plan, Replica
from compiler.ir.spec import PlacementRules, Service, Spec


def hosts_of(inventory: Inventory, rules: PlacementRules) -> list[Host]:
    """Hosts that the selector and the pin let through."""
    return [host for host in inventory.hosts if _host_matches(host, rules)]


def gpus_of(host: Host, rules: PlacementRules) -> list[Gpu]:
    """GPUs of a host that the service may take."""
    pinned = rules.pin.gpus if rules.pin else None
    return [gpu for gpu in host.gpus if _gpu_matches(gpu, rules, pinned)]


def with_daemons(spec: Spec, inventory: Inventory) -> Spec:
    """The spec with every `one_per_host` spelt out: as many replicas as hosts, one on each."""

    def spelt_out(service: Service) -> Service:
        labels = service.placement.one_per_host
        if not labels:
            return service
        rules = replace(
            service.placement,
            host_labels={**service.placement.host_labels, **labels},
            spread="host",
        )
        count = sum(1 for host in hosts_of(inventory, rules) if host.state == "ready")
        return replace(service, replicas=max(1, count), placement=rules)

    return replace(spec, services=tuple(map(spelt_out, spec.services)))


def with_freeze_of_what_runs(spec: Spec, previous: Plan | None) -> Spec:
    """The spec without a freeze of services that run nowhere: they are placed like any other."""
    running = {replica.service for replica in previous.replicas} if previous else set()
    held = tuple(name for name in spec.policy.freeze if name in running)
    return replace(spec, policy=replace(spec.policy, freeze=held))


def working_gpus(host: Host, rules: PlacementRules) -> list[Gpu]:
    """GPUs of a host that the service may take, but for those that are broken."""
    return [gpu for gpu in gpus_of(host, rules) if gpu.state == "ready"]


def leaving(inventory: Inventory, previous: Plan | None) -> tuple[Replica, ...]:
    """Replicas of a previous plan that run on hosts which are drained, and leave them."""
    drained = {host.name for host in inventory.hosts if host.state == "drained"}
    return tuple(r for r in (previous.replicas if previous else ()) if r.host in drained)


def takes_gpus_only(rules: PlacementRules) -> bool:
    """Whether a rule about GPUs rules the CPU out."""
    return bool(rules.kinds or rules.min_compute or (rules.pin and rules.pin.gpus))


def runs_engine(host: Host, engine: EngineName) -> bool:
    """Whether the host can run the engine: a host of containers also needs its image."""
    install = host.engines.get(engine)
    return install is not None and (not host.runs_containers or install.image is not None)


def engine_hosts(inventory: Inventory, service: Service, engine: EngineName) -> list[Host]:
    """Hosts that a service may take with this engine."""
    return [host for host in hosts_of(inventory, service.placement) if runs_engine(host, engine)]


def are_apart(first: Service, second: Service) -> bool:
    """Whether two services must not share a GPU; either may say so."""
    return first.name in second.placement.apart_from or second.name in first.placement.apart_from


def barred_replicas(previous: Plan | None, spec: Spec, inventory: Inventory) -> frozenset[str]:
    """Replicas of a previous plan whose place the rules of the spec no longer allow."""
    services = {service.name: service for service in spec.services}
    hosts = {host.name: host for host in inventory.hosts}
    known = [
        replica
        for replica in (previous.replicas if previous else ())
        if replica.service in services and replica.host in hosts
    ]
    barred = {
        replica.name
        for replica in known
        if _is_barred(replica, services[replica.service].placement, hosts[replica.host])
    }
    return frozenset(barred | set(_too_close(known, services)))


def _is_barred(replica: Replica, rules: PlacementRules, host: Host) -> bool:
    if not hosts_of(Inventory(hosts=(host,)), rules):
        return True
    if not replica.shares:
        return takes_gpus_only(rules)
    ranks = replica.tensor_parallel
    if replica.cut_by_ranks and rules.tensor_parallel and ranks not in rules.tensor_parallel:
        return True
    return not _indices(replica) <= {gpu.index for gpu in gpus_of(host, rules)}


def _too_close(replicas: list[Replica], services: dict[str, Service]) -> Iterator[str]:
    """Replicas beside each other that `spread` or `apart_from` now keeps apart."""
    by_host: dict[str, list[Replica]] = {}
    for replica in replicas:
        for other in by_host.setdefault(replica.host, []):
            first, second = services[replica.service], services[other.service]
            on_one_gpu = bool(_indices(replica) & _indices(other))
            if replica.service == other.service:
                spread = first.placement.spread
                on_cpu = not (replica.shares and other.shares)
                close = spread == "host" or (spread == "gpu" and (on_one_gpu or on_cpu))
            else:
                close = on_one_gpu and are_apart(first, second)
            if close:
                yield from (replica.name, other.name)
        by_host[replica.host].append(replica)


def _indices(replica: Replica) -> frozenset[int]:
    return frozenset(share.gpu for share in replica.shares)


def _host_matches(host: Host, rules: PlacementRules) -> bool:
    if rules.pin and rules.pin.host != host.name:
        return False
    return all(
        (host.name if label == "name" else host.labels.get(label)) in values
        for label, values in rules.host_labels.items()
    )


def _gpu_matches(gpu: Gpu, rules: PlacementRules, pinned: tuple[int, ...] | None) -> bool:
    if pinned is not None and gpu.index not in pinned:
        return False
    if rules.kinds and gpu.kind.name not in rules.kinds:
        return False
    return rules.min_compute is None or gpu.kind.compute >= rules.min_compute
