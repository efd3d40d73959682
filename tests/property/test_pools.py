"""One memory for GPU and RAM: budgeted once, whoever takes of it, and never refused in vain."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ir.catalog import builtin_kinds
from compiler.ir.demand import Breakdown, Demand, Demands, Option, Part, Request, Site, Split
from compiler.ir.inventory import Gpu, GpuKind, Host, Inventory
from compiler.ir.placement import PlacementError, Placements
from compiler.ir.spec import PlacementRules, Policy, Service, Spec, Variant
from compiler.ir.units import MIB
from compiler.place.placing import place
from tests.generators.fleets import FACTS

KIND = builtin_kinds()["gb10"]
CARD = builtin_kinds()["rtx-4090"]

Sizes = tuple[int, int, bool]
"""MiB on the GPU and in RAM, and whether the replica is on the CPU and takes RAM alone."""


@settings(max_examples=150, deadline=None)
@given(
    hosts=st.lists(st.tuples(st.booleans(), st.integers(4, 12)), min_size=1, max_size=2),
    services=st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 5), st.booleans()), min_size=1, max_size=4
    ),
)
def test_a_pool_is_budgeted_once(hosts: list[tuple[bool, int]], services: list[Sizes]) -> None:
    """What GPU and RAM take together is within the pool; no placement only if none is."""
    inventory = Inventory(hosts=tuple(_host(n, *each) for n, each in enumerate(hosts)))
    spec = Spec(services=tuple(_service(f"s{n}") for n in range(len(services))), policy=Policy())
    options = {f"s{n}": _options(f"s{n}", inventory, each) for n, each in enumerate(services)}
    demands = Demands(
        options=options,
        too_large=dict.fromkeys(options, ()),
        refused=dict.fromkeys(options, ()),
    )
    possible = _possible(hosts, services)
    try:
        found = place(inventory, spec, demands, None)
    except PlacementError:
        assert not possible
        return
    assert possible
    for n, (pooled, mib) in enumerate(hosts):
        gpu, ram = _taken(found, f"h{n}")
        if pooled:
            assert gpu + ram <= mib
        else:
            assert max(gpu, ram) <= mib


def _taken(found: Placements, host: str) -> tuple[int, int]:
    here = [each for each in found.chosen if each.host == host]
    assert all(each.gpus == ((0,) if each.demand.devices else ()) for each in here)
    return (
        sum(device.high_bytes for each in here for device in each.demand.devices) // MIB,
        sum(each.demand.host.high_bytes for each in here) // MIB,
    )


def _possible(hosts: list[tuple[bool, int]], services: list[Sizes]) -> bool:
    for places in product(range(len(hosts)), repeat=len(services)):
        gpu, ram = [0] * len(hosts), [0] * len(hosts)
        for n, (on_gpu, in_ram, cpu) in zip(places, services, strict=True):
            gpu[n] += 0 if cpu else on_gpu
            ram[n] += in_ram
        if all(
            gpu[n] + ram[n] <= mib if pooled else max(gpu[n], ram[n]) <= mib
            for n, (pooled, mib) in enumerate(hosts)
        ):
            return True
    return False


def _host(number: int, pooled: bool, mib: int) -> Host:
    kind = GpuKind(
        name=f"{'pool' if pooled else 'card'}-{mib}", memory_bytes=mib * MIB,
        cuda_total_bytes=mib * MIB, compute=(8, 9), unified=pooled,
    )  # fmt: skip
    gpu = Gpu(index=0, kind=kind, reserved_bytes=0, utilization_permille=1000, island=0)
    return Host(
        name=f"h{number}", address=f"h{number}", target="script", ram_bytes=mib * MIB,
        ram_reserved_bytes=0, ports=(8000, 8999), models_dir="/srv/models", engines={}, gpus=(gpu,),
    )  # fmt: skip


def _options(name: str, inventory: Inventory, sizes: Sizes) -> tuple[Option, ...]:
    on_gpu, in_ram, cpu = sizes
    found = []
    for host in inventory.hosts:
        pooled = host.pool is not None
        device = Breakdown(weights=Part.exact(on_gpu * MIB, "given"))
        kinds = () if cpu else (host.gpus[0].kind,)
        demand = Demand(
            request=_request(), site=Site(kinds=kinds, unified=pooled), split=Split(),
            devices=() if cpu else (device,),
            host=Breakdown(runtime=Part.exact(in_ram * MIB, "given")), kv_tokens=0,
        )  # fmt: skip
        gpu = 0 if cpu else on_gpu
        if (
            gpu + in_ram <= host.ram_bytes // MIB
            if pooled
            else (max(gpu, in_ram) <= host.ram_bytes // MIB)
        ):
            found.append(
                Option(
                    service=name, variant=0, hosts=(host.name,), groups=(() if cpu else (0,),),
                    one_island=True, demands=(demand,),
                )
            )  # fmt: skip
    return tuple(found)


def _request() -> Request:
    return Request(
        engine="llama.cpp", version="9000", facts=FACTS, task="generate", context=1024,
        concurrency=1,
    )  # fmt: skip


def _service(name: str) -> Service:
    variant = Variant(
        name="v0", model="./m.gguf", engine="llama.cpp", context=1024, concurrency=1,
        kv_tokens=None, offload="none",
    )  # fmt: skip
    return Service(
        name=name, task="generate", replicas=1, priority=50, optional=False, variants=(variant,),
        placement=PlacementRules(),
    )  # fmt: skip
