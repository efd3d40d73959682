"""Fleets by figures that a person can check: services with KV caches that grow, no engine asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

from compiler.ir.demand import (
    Breakdown,
    Demand,
    Demands,
    Growth,
    Option,
    Part,
    Request,
    Site,
    Split,
)
from compiler.ir.inventory import Gpu, GpuKind, Host, Inventory
from compiler.ir.spec import PlacementRules, Policy, Service, Spec, Variant
from compiler.ir.units import MIB
from tests.generators.fleets import FACTS

RAM_MIB = 512 * 1024


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A service by MiB of weights, of one request and of overhead on each GPU, and requests."""

    name: str
    weights: int
    request: int
    wanted: int
    overhead: int = 0
    sizes: tuple[int, ...] = (1,)
    replicas: int = 1
    priority: int = 50
    optional: bool = False
    rules: PlacementRules = field(default_factory=PlacementRules)

    def demand(self, n_gpus: int) -> Demand:
        """A replica cut over so many GPUs."""
        kv = -(-self.request // n_gpus)
        rest = -(-self.weights // n_gpus) + self.overhead + (300 if n_gpus > 1 else 0)
        device = Breakdown(weights=Part.exact(rest * MIB, ""), kv=Part.exact(kv * MIB, ""))
        return Demand(
            request=Request(
                engine="vllm", version="0.33.0", facts=FACTS, task="generate", context=1024,
                concurrency=self.wanted,
            ),
            site=Site(), split=Split(tensor_parallel=n_gpus), devices=(device,) * n_gpus,
            host=Breakdown(), kv_tokens=1024,
            growth=Growth(step_bytes=MIB, max_kv_bytes=kv * self.wanted * MIB),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RoomFleet:
    """Hosts by the budgets of their GPUs in MiB, and wishes."""

    hosts: Mapping[str, tuple[int, ...]]
    wishes: tuple[Wish, ...]
    policy: Policy = field(default_factory=Policy)

    def inventory(self) -> Inventory:
        """The hosts."""
        return Inventory(
            hosts=tuple(
                Host(
                    name=name, address=name, target="script", ram_bytes=RAM_MIB * MIB,
                    ram_reserved_bytes=0, ports=(8000, 8999), models_dir="/srv/models", engines={},
                    gpus=tuple(_gpu(index, mib) for index, mib in enumerate(budgets)),
                )
                for name, budgets in sorted(self.hosts.items())
            )
        )  # fmt: skip

    def spec(self) -> Spec:
        """The wishes as services."""
        return Spec(services=tuple(map(_service, self.wishes)), policy=self.policy)

    def demands(self) -> Demands:
        """Options by classes of equal hosts, as the estimate gives them."""
        classes: dict[tuple[int, ...], list[str]] = {}
        for name, budgets in sorted(self.hosts.items()):
            classes.setdefault(budgets, []).append(name)
        return Demands(
            options={
                wish.name: tuple(
                    Option(
                        service=wish.name, variant=0, hosts=tuple(names), groups=groups,
                        one_island=True, demands=(wish.demand(size),),
                    )
                    for size in wish.sizes
                    for budgets, names in classes.items()
                    if (groups := _groups(budgets, size, wish.demand(size)))
                )
                for wish in self.wishes
            },
            too_large={wish.name: () for wish in self.wishes},
            refused={wish.name: () for wish in self.wishes},
        )  # fmt: skip


def _groups(budgets: tuple[int, ...], size: int, demand: Demand) -> tuple[tuple[int, ...], ...]:
    """Equal GPUs that hold the demand; runs of neighbours where there are many."""
    most = [demand.devices[0].high_bytes <= mib * MIB for mib in budgets]
    found = [
        group
        for group in combinations(range(len(budgets)), size)
        if len({budgets[gpu] for gpu in group}) == 1 and all(most[gpu] for gpu in group)
    ]
    if len(found) > 10:
        found = [g for g in found if g[0] % size == 0 and g == tuple(range(g[0], g[0] + size))]
    return tuple(found)


def _gpu(index: int, mib: int) -> Gpu:
    kind = GpuKind(
        name=f"card-{mib}", memory_bytes=mib * MIB, cuda_total_bytes=mib * MIB, compute=(8, 0)
    )
    return Gpu(index=index, kind=kind, reserved_bytes=0, utilization_permille=1000, island=0)


def _service(wish: Wish) -> Service:
    variant = Variant(
        name="v", model="org/m", engine="vllm", context=1024, concurrency=wish.wanted,
        kv_tokens=None, offload="none",
    )  # fmt: skip
    return Service(
        name=wish.name, task="generate", replicas=wish.replicas, priority=wish.priority,
        optional=wish.optional, variants=(variant,), placement=wish.rules,
    )  # fmt: skip
