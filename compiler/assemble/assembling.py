"""Assembles the plan: shares, ports, command lines, environments and ledgers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypedDict

from compiler.assemble.devices import devices_of
from compiler.assemble.files import (
    companion_places,
    located,
    planned_companions,
    read_dirs,
    revision_of,
)
from compiler.assemble.growth import kv_sizes
from compiler.assemble.layers import with_more_layers
from compiler.assemble.naming import Named, name_replicas
from compiler.assemble.order import Starter, start_order
from compiler.assemble.passed import passed_over, roomier_rung
from compiler.assemble.reached import reached
from compiler.diagnostics import CompileError, Diagnostic
from compiler.engines.companions import companions_of
from compiler.engines.file_arguments import files_read
from compiler.engines.registry import engine_of
from compiler.ir.asked import asked_of
from compiler.ir.demand import Breakdown, Demand, Demands, Endpoint
from compiler.ir.inventory import Gpu, Host, Inventory
from compiler.ir.listening import listen_on
from compiler.ir.lock import Lock, LockedSource
from compiler.ir.names import natural_key
from compiler.ir.placement import Placement, Placements, Spare
from compiler.ir.plan import (
    GpuLedger,
    HostLedger,
    InputDigests,
    Plan,
    PlannedBreakdown,
    PlannedPart,
    PlannedSpare,
    Replica,
    RoomierRung,
    Share,
    SpareShare,
)
from compiler.ir.pool import gpu_bytes
from compiler.ir.spec import Service, Spec
from compiler.ir.units import MIB

# A start reads the weights at disk or network speed.
_READ_BYTES_PER_SECOND = 50 * MIB

# A container has a network of its own, in which its runtime reaches it at an address that nobody
# knows beforehand; the host's address stands where its port is published.
_IN_CONTAINER = "0.0.0.0"  # noqa: S104


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The inputs that a plan is assembled from."""

    inventory: Inventory
    spec: Spec
    lock: Lock
    previous: Plan | None
    demands: Demands
    digests: InputDigests


def assemble(sources: Sources, placements: Placements) -> Plan:
    """The complete plan of the placements."""
    placements = with_more_layers(sources.inventory, sources.spec, placements)
    sizes = kv_sizes(sources.inventory, placements)
    chosen = tuple(map(_grown, placements.chosen, sizes))
    named = name_replicas(sources.spec, chosen, sources.previous)
    ports = _ports(sources.inventory, named, placements.frozen)
    waits = start_order(_starters(sources.spec, named, placements.frozen))
    replicas = [r.model_copy(update={"start_after": waits[r.name]}) for r in placements.frozen]
    replicas += [
        planned_replica(sources, each, ports[each.name], waits[each.name]) for each in named
    ]
    replicas.sort(key=lambda replica: natural_key(replica.name))
    return Plan(
        inputs=sources.digests,
        optimality=placements.optimality,
        objectives=reached(placements.objectives, sources.spec, replicas),
        replicas=replicas,
        gpus=_gpu_ledgers(sources.inventory, replicas),
        hosts=_host_ledgers(sources.inventory, replicas),
        unplaced=list(placements.unplaced),
        spares=[_planned_spare(sources.spec, spare) for spare in placements.spares],
        exposed=list(placements.exposed),
    )


def _planned_spare(spec: Spec, spare: Spare) -> PlannedSpare:
    return PlannedSpare(
        lost=spare.lost,
        service=spare.service,
        variant=spec.service(spare.service).variants[spare.variant].name,
        host=spare.host,
        shares=[
            SpareShare(gpu=gpu, mib=mib) for gpu, mib in zip(spare.gpus, spare.mib, strict=True)
        ],
        ram_mib=spare.ram_mib,
        tensor_parallel=spare.tensor_parallel,
    )


def _grown(placement: Placement, kv_bytes: int | None) -> Placement:
    if kv_bytes is None:
        return placement
    engine = engine_of(placement.demand.request.engine)
    return replace(placement, demand=engine.grow(placement.demand, kv_bytes))


def planned_replica(
    sources: Sources,
    named: Named,
    port: int,
    start_after: list[str],
    granted: tuple[int, ...] | None = None,
) -> Replica:
    """A replica as it is to be started; `granted` bytes of each GPU, or else what it takes."""
    placement = named.placement
    demand = placement.demand
    granted = granted or tuple(breakdown.high_bytes for breakdown in demand.devices)
    service = sources.spec.service(placement.service)
    variant = service.variants[placement.variant]
    host = sources.inventory.host(placement.host)
    engine = engine_of(variant.engine)
    install = host.engines[variant.engine]
    locked = sources.lock.find(variant.model)
    if locked is None:
        raise AssertionError(variant.model)
    gpus = [host.gpus[index] for index in placement.gpus]
    place = located(locked, variant.engine, host)
    companions = companions_of(variant, sources.lock)
    places = companion_places(companions, variant.engine, host)
    loaded = [locked, *chain(*companions.values())]
    listen = listen_on(host, service.listen)
    program = engine.traits.image_program if host.runs_containers else install.bin
    launch = engine.launch(
        demand,
        Endpoint(
            bin=program,
            model_path=place.path,
            revision=place.revision,
            served_name=service.name,
            listen=_IN_CONTAINER if host.runs_containers else listen,
            port=port,
            shares_bytes=granted,
            companions=places,
        ),
    )
    models = (each.path for each in (place, *chain(*places.values())))
    opened = (*models, *files_read(variant.engine, variant.args, host))
    cache_dir = _cache_dir(host, named.name)
    devices = devices_of(gpus, host)
    env = launch.env | engine.cache_env(host.models_dir, cache_dir) | service.env | devices.env
    return Replica(
        name=named.name,
        service=service.name,
        task=demand.request.task,
        labels=service.labels,
        variant=variant.name,
        engine=variant.engine,
        engine_version=engine.release(install.version),
        host=host.name,
        target=host.target,
        shares=_shares(gpus, demand, granted, devices.minors),
        ram_bytes=demand.host.high_bytes,
        ram_breakdown=_planned(demand.host),
        source=variant.model,
        revision=revision_of(locked),
        model_path=place.path,
        companions=planned_companions(companions, places),
        context=demand.request.context,
        concurrency=demand.request.concurrency,
        **_room(sources.demands, service, placement),
        tensor_parallel=demand.split.tensor_parallel,
        gpu_layers=demand.split.gpu_layers,
        host_layers=demand.host_layers,
        host_permille=demand.host_permille,
        host_experts=demand.host_experts,
        layers=locked.facts.layers,
        port=port,
        listen=listen,
        argv=list(launch.argv),
        env=dict(sorted(env.items())),
        device_env=sorted(devices.env),
        secrets=list(service.secrets),
        image=install.image if host.runs_containers else None,
        health_path=launch.health_path,
        start_after=start_after,
        start_timeout_seconds=_start_timeout(engine.traits.start_seconds, loaded),
        shm_bytes=engine.shm_bytes(len(demand.devices)),
        models_dir=host.models_dir,
        read_dirs=read_dirs(opened, host.models_dir),
        cache_dir=cache_dir,
        bin_dirs=[program.rpartition("/")[0]] if program.startswith("/") else [],
        assumed=list(demand.assumed),
        passed_over=passed_over(sources.demands, service, placement.variant),
    )  # fmt: skip


class _Room(TypedDict):
    """The fields of a replica that tell of its KV cache."""

    kv_tokens: int
    kv_requests_permille: int
    typical: int
    kv_wanted_bytes: int
    roomier: RoomierRung | None
    asked: str


def _room(demands: Demands, service: Service, placement: Placement) -> _Room:
    demand = placement.demand
    return _Room(
        kv_tokens=demand.kv_tokens,
        kv_requests_permille=demand.kv_tokens * 1000 // demand.request.context,
        typical=demand.request.typical or demand.request.context,
        kv_wanted_bytes=demand.growth.max_kv_bytes if demand.growth else 0,
        roomier=roomier_rung(demands, service, placement),
        asked=asked_of(demand.request),
    )


def _shares(
    gpus: list[Gpu], demand: Demand, granted: tuple[int, ...], minors: Sequence[int | None]
) -> list[Share]:
    return [
        Share(
            gpu=gpu.index,
            uuid=gpu.uuid,
            minor=minor,
            kind=gpu.kind.name,
            share_bytes=share_bytes,
            breakdown=_planned(breakdown),
        )
        for gpu, minor, share_bytes, breakdown in zip(
            gpus, minors, granted, demand.devices, strict=True
        )
    ]


def _cache_dir(host: Host, name: str) -> str:
    """Systemd makes /var/cache/<name> for the service; a script's user may write models_dir."""
    if host.target == "script":
        return f"{host.models_dir}/.cache/modelc-{name}"
    return f"/var/cache/modelc-{name}"


def _start_timeout(base: int, loaded: Iterable[LockedSource]) -> int:
    size = sum(file.bytes for locked in loaded for file in locked.files)
    return base + size // _READ_BYTES_PER_SECOND


def _starters(spec: Spec, named: list[Named], frozen: tuple[Replica, ...]) -> list[Starter]:
    priority = {service.name: service.priority for service in spec.services}
    starters = [
        Starter(
            name=replica.name,
            priority=priority.get(replica.service, 0),
            gpus=tuple((replica.host, share.gpu) for share in replica.shares),
            frozen_after=tuple(replica.start_after),
        )
        for replica in frozen
    ]
    starters += [
        Starter(
            name=each.name,
            priority=priority[each.placement.service],
            gpus=tuple((each.placement.host, gpu) for gpu in each.placement.gpus),
            frozen_after=None,
        )
        for each in named
    ]
    return starters


def _ports(inventory: Inventory, named: list[Named], frozen: tuple[Replica, ...]) -> dict[str, int]:
    """One port each: the one it had on this host, else the lowest free one of the host's range."""
    taken: dict[str, set[int]] = {host.name: set() for host in inventory.hosts}
    for replica in frozen:
        taken[replica.host].add(replica.port)
    ports: dict[str, int] = {}
    for each in named:
        first, last = inventory.host(each.placement.host).ports
        before = each.before
        stays = before is not None and before.host == each.placement.host
        in_range = before is not None and first <= before.port <= last
        if before and stays and in_range and before.port not in taken[before.host]:
            ports[each.name] = before.port
            taken[before.host].add(before.port)
    for each in named:
        if each.name in ports:
            continue
        host = inventory.host(each.placement.host)
        free = (p for p in range(host.ports[0], host.ports[1] + 1) if p not in taken[host.name])
        port = next(free, None)
        if port is None:
            detail = f"Host `{host.name}` has the ports {host.ports[0]}-{host.ports[1]}."
            hint = "Widen `ports` of the host."
            raise CompileError([Diagnostic(code="ports-exhausted", detail=detail, hints=(hint,))])
        ports[each.name] = port
        taken[host.name].add(port)
    return ports


def _planned(breakdown: Breakdown) -> PlannedBreakdown:
    parts = {
        name: PlannedPart(
            bytes=part.bytes, low_bytes=part.low_bytes, high_bytes=part.high_bytes, why=part.why
        )
        for name, part in breakdown.parts()
    }
    return PlannedBreakdown(**parts)


def _gpu_ledgers(inventory: Inventory, replicas: list[Replica]) -> list[GpuLedger]:
    granted = Counter[tuple[str, int]]()
    for replica in replicas:
        for index, size in gpu_bytes(replica, inventory.host(replica.host)).items():
            granted[replica.host, index] += size
    return [
        GpuLedger(
            host=host.name,
            gpu=gpu.index,
            uuid=gpu.uuid,
            kind=gpu.kind.name,
            memory_bytes=gpu.kind.memory_bytes,
            reserved_bytes=gpu.kept_back_bytes,
            utilization_permille=gpu.utilization_permille,
            budget_bytes=gpu.budget_bytes,
            binding=gpu.binding,
            granted_bytes=granted[host.name, gpu.index],
            unified=gpu.kind.unified,
            state=gpu.state,
        )
        for host in inventory.hosts
        for gpu in host.gpus
    ]


def _host_ledgers(inventory: Inventory, replicas: list[Replica]) -> list[HostLedger]:
    granted = Counter[str]()
    for replica in replicas:
        host = inventory.host(replica.host)
        # Of one pool, RAM and GPU have one ledger, and both say the same of it.
        pool = sum(gpu_bytes(replica, host).values())
        granted[replica.host] += replica.ram_bytes if host.pool is None else pool
    return [
        HostLedger(
            host=host.name,
            address=host.address,
            target=host.target,
            ram_budget_bytes=host.ram_budget_bytes,
            ram_granted_bytes=granted[host.name],
            unified=host.pool is not None,
            state=host.state,
        )
        for host in inventory.hosts
    ]
