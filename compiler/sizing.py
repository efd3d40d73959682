"""Sizing: the fewest GPUs of given kinds that hold all services with all the room they want."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compiler.diagnostics import CompileError, Diagnostic, did_you_mean
from compiler.estimate import estimate
from compiler.inputs import Inputs, Loaded, gpu_kinds, load
from compiler.ir.demand import Demands, default_context
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import Task
from compiler.ir.inventory import EngineInstall, GpuKind, Host, Inventory
from compiler.ir.outcome import Sizing
from compiler.ir.placement import PlacementError
from compiler.ir.progress import Reporter, Step, silent
from compiler.ir.spec import Policy, Service, Spec, Variant
from compiler.ir.units import demand_mib
from compiler.load.stock import with_stock_gpus
from compiler.place.placing import place

# As many as an inventory may have of one make before nobody reads the answer.
_MOST_HOSTS = 256


def sizes(
    inputs: Inputs, kinds: Sequence[str], per_host: Sequence[int], report: Reporter = silent
) -> list[Sizing]:
    """For each kind and number of GPUs in a host the fewest such hosts, the fewest GPUs first.

    Every service counts, optional ones too, with its best variant, and with KV cache for all its
    requests. Rules about hosts and kinds are left out: these hosts have no names yet. Raises
    CompileError for files that cannot be read and for kinds that nobody knows.
    """
    loaded = load(inputs)
    known = {kind.name: kind for kind in gpu_kinds(inputs.inventory)}
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise CompileError(
            [
                Diagnostic(
                    code="unknown-gpu-kind",
                    detail=f"`modelc size` is asked about `{kind}`.",
                    hints=did_you_mean(kind, known),
                )
                for kind in unknown
            ]
        )
    spec = _with_full_room(loaded.spec)
    # A GPU without memory of its own is the only one of its host.
    makes = [
        (known[kind], count)
        for kind in kinds
        for count in ((1,) if known[kind].unified else per_host)
    ]
    found = []
    for number, (kind, count) in enumerate(makes):
        report(Step(stage="size", item=kind.name, done=number, total=len(makes)))
        found.append(_size(loaded, spec, kind, count))
    return sorted(found, key=lambda size: (not size.hosts, size.gpus, size.kind, size.per_host))


def _with_full_room(spec: Spec) -> Spec:
    """All services needed, on their best variants, with the KV cache of all their requests."""
    services = tuple(
        replace(
            service,
            optional=False,
            variants=(_with_room(service.variants[0], service.task),),
            placement=replace(
                service.placement, host_labels={}, kinds=(), pin=None, one_per_host={}
            ),
        )
        for service in spec.services
    )
    return Spec(services=services, policy=Policy())


def _with_room(variant: Variant, task: Task | None) -> Variant:
    typical = variant.typical or variant.context or default_context(task)
    wanted = max(variant.kv_tokens or 0, typical * variant.concurrency)
    return replace(variant, kv_tokens=wanted) if wanted else variant


def _size(loaded: Loaded, spec: Spec, kind: GpuKind, per_host: int) -> Sizing:
    def hold(count: int) -> bool:
        inventory = Inventory(
            hosts=tuple(_host(loaded.inventory, kind, per_host, n) for n in range(count))
        )
        demands = estimate(inventory, spec, loaded.lock, None)
        try:
            place(inventory, spec, demands, None)
        except (PlacementError, CompileError):
            return False
        return True

    alone = Inventory(hosts=(_host(loaded.inventory, kind, per_host, 0),))
    demands = estimate(alone, spec, loaded.lock, None)
    homeless = [s.name for s in spec.services if not demands.options[s.name]]
    if homeless:
        why = f"holds no {' and no '.join(homeless[:3])} with full room"
        return Sizing(kind=kind.name, per_host=per_host, hosts=0, gpus=0, at_least=0, why=why)
    least = _at_least(spec, demands, alone.hosts[0])
    low, high = least - 1, least
    while high <= _MOST_HOSTS and not hold(high):
        low, high = high, high * 2
    if high > _MOST_HOSTS:
        return Sizing(
            kind=kind.name, per_host=per_host, hosts=0, gpus=0, at_least=least,
            why=f"more than {_MOST_HOSTS} hosts",
        )  # fmt: skip
    while high - low > 1:
        middle = (low + high) // 2
        if hold(middle):
            high = middle
        else:
            low = middle
    return Sizing(
        kind=kind.name, per_host=per_host, hosts=high, gpus=high * per_host, at_least=least
    )


def _at_least(spec: Spec, demands: Demands, host: Host) -> int:
    """By memory alone: the least that each replica takes, over the budgets of a host.

    Replicas that keep apart from each other need hosts of their own besides.
    """
    budget = sum(gpu.budget_bytes for gpu in host.gpus) // (1 << 20)
    taken = 0
    most = 1
    for service in spec.services:
        least = min(
            sum(map(demand_mib, demand.taken_bytes))
            for option in demands.options[service.name]
            for demand in option.demands
        )
        taken += least * service.replicas
        most = max(most, _apart(service, len(host.gpus)))
    return max(most, -(-taken // budget) if budget else 1)


def _apart(service: Service, n_gpus: int) -> int:
    match service.placement.spread:
        case "host":
            return service.replicas
        case "gpu":
            return -(-service.replicas // max(1, n_gpus))
        case None:
            return 1


def _host(inventory: Inventory, kind: GpuKind, count: int, number: int) -> Host:
    """A host like the roomiest of the fleet, with these GPUs and every engine that there is."""
    like = max(inventory.hosts, key=lambda host: (host.ram_budget_bytes, host.name))
    engines: dict[EngineName, EngineInstall] = {}
    for host in inventory.hosts:
        engines.update(host.engines)
    name = f"host-{number:03}"
    like = replace(
        like, name=name, address=name, target="systemd", labels={}, state="ready", engines=engines
    )
    return with_stock_gpus(like, kind, count)
