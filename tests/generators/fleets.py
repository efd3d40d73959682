"""Tiny fleets for the place pass: hosts, services and demands given in MiB, no engine asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

from compiler.ir.catalog import builtin_kinds
from compiler.ir.demand import Breakdown, Demand, Demands, Option, Part, Request, Site, Split
from compiler.ir.facts import ModelFacts
from compiler.ir.inventory import Gpu, GpuKind, Host, Inventory
from compiler.ir.spec import Pin, PlacementRules, Policy, Service, Spec, Variant
from compiler.ir.units import MIB

FACTS = ModelFacts(
    format="gguf", architecture="llama", task="generate", parameters=1, layers=4, vocabulary=1,
    position_limit=4096, quantization="f16", header={},
)  # fmt: skip
RAM_MIB = 10_000


@dataclass(frozen=True, kw_only=True)
class TinyService:
    """A service by its demands: for each variant, MiB on each GPU by number of GPUs."""

    name: str
    variants: tuple[dict[int, int], ...]
    replicas: int = 1
    priority: int = 50
    optional: bool = False
    spread: str | None = None
    apart_from: tuple[str, ...] = ()
    pin: tuple[str, tuple[int, ...]] | None = None
    survives: bool = False


@dataclass(frozen=True, kw_only=True)
class TinyFleet:
    """Budgets in MiB of each GPU of each host, and the services."""

    hosts: dict[str, tuple[int, ...]]
    services: tuple[TinyService, ...]
    max_moves: int | None = None
    freeze: tuple[str, ...] = field(default=())
    consolidate: bool = False

    def inventory(self) -> Inventory:
        """The hosts, with GPUs of exactly these budgets."""
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
        """The services as a spec."""
        services = sorted(self.services, key=lambda service: service.name)
        return Spec(
            services=tuple(_service(service) for service in services),
            policy=Policy(
                max_moves=self.max_moves, freeze=self.freeze, consolidate=self.consolidate
            ),
        )

    def demands(self) -> Demands:
        """Every set of GPUs of one host on which a variant fits, as the estimate gives them."""
        options = {
            service.name: tuple(
                Option(
                    service=service.name, variant=position, hosts=(host,), groups=(gpus,),
                    one_island=True, demands=(demand(mib, len(gpus)),),
                )
                for position, sizes in enumerate(service.variants)
                for size, mib in sorted(sizes.items())
                for host, budgets in sorted(self.hosts.items())
                for gpus in combinations(range(len(budgets)), size)
                if all(mib <= budgets[gpu] for gpu in gpus)
                and (service.pin is None or service.pin == (host, gpus))
            )
            for service in self.services
        }  # fmt: skip
        return Demands(
            options=options,
            too_large={service.name: () for service in self.services},
            refused={service.name: () for service in self.services},
        )


def demand(mib: int, n_gpus: int) -> Demand:
    """A demand of so many MiB of weights on each of n GPUs."""
    each = Breakdown(weights=Part.exact(mib * MIB, "given"))
    request = Request(
        engine="llama.cpp",
        version="9000",
        facts=FACTS,
        task="generate",
        context=1024,
        concurrency=1,
    )
    kinds = (builtin_kinds()["rtx-4090"],) * n_gpus
    return Demand(
        request=request, site=Site(kinds=kinds), split=Split(), devices=(each,) * n_gpus,
        host=Breakdown(), kv_tokens=0,
    )  # fmt: skip


def _gpu(index: int, mib: int) -> Gpu:
    kind = GpuKind(
        name=f"card-{mib}", memory_bytes=mib * MIB, cuda_total_bytes=mib * MIB, compute=(8, 9)
    )
    return Gpu(index=index, kind=kind, reserved_bytes=0, utilization_permille=1000, island=0)


def _service(service: TinyService) -> Service:
    variants = tuple(
        Variant(
            name=f"v{position}", model="./m.gguf", engine="llama.cpp", context=1024, concurrency=1,
            kv_tokens=None, offload="none",
        )
        for position in range(len(service.variants))
    )  # fmt: skip
    pin = Pin(host=service.pin[0], gpus=service.pin[1]) if service.pin else None
    return Service(
        name=service.name, task="generate", survives="host" if service.survives else None,
        replicas=service.replicas, priority=service.priority,
        optional=service.optional, variants=variants,
        placement=PlacementRules(
            spread=service.spread, apart_from=service.apart_from, pin=pin  # type: ignore[arg-type]
        ),
    )  # fmt: skip
