"""What an explanation may try: each trial is a real estimate and, together, a real solve."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.drain import fits
from compiler.engines.companions import companion_facts, companions_of
from compiler.engines.registry import engine_of
from compiler.estimate import estimate
from compiler.ir.demand import Demands, request_of
from compiler.ir.document import Document
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import ModelFacts
from compiler.ir.inventory import EngineInstall, GpuKind, Host, Inventory
from compiler.ir.lock import Lock
from compiler.ir.plan import Plan
from compiler.ir.rules import engine_hosts
from compiler.ir.spec import Policy, Service, Spec
from compiler.load.stock import with_stock_gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The inputs of a compile that places too little, to be tried with changes."""

    inventory: Inventory
    spec: Spec
    """What must find a place when a change is tried."""
    written: Spec
    """What the user wrote: of these services is told."""
    lock: Lock
    previous: Plan | None
    document: Document
    demands: Demands
    """Of `spec`, so that a trial asks the engines only about what it changes."""

    def with_facts(self, source: str, facts: ModelFacts) -> Case:
        """The case as if a source were another model."""
        locked = self.lock.find(source)
        sources = [
            each.model_copy(update={"facts": facts}) if each is locked else each
            for each in self.lock.sources
        ]
        return replace(self, lock=self.lock.model_copy(update={"sources": sources}))

    def fits_on(self, inventory: Inventory, members: frozenset[str]) -> bool:
        """Whether the fleet can be placed on other hardware, these services anywhere on it.

        All others stay with the places that they have on what is there today.
        """
        anew = estimate(inventory, self.spec, self.lock, self.previous, only=members)
        return replace(self, inventory=inventory, demands=self.demands.updated(anew)).is_placed()

    def fits_alone(self, service: Service) -> bool:
        """Whether a service fits the fleet when it is the only one."""
        spec = Spec(services=(service,), policy=Policy())
        return not self._is_refused(service) and bool(
            estimate(self.inventory, spec, self.lock, None).options[service.name]
        )

    def fits_together(self, service: Service) -> bool:
        """Whether the fleet can be placed with this service in place of the one of its name."""
        return not self._is_refused(service) and self.with_service(service).is_placed()

    def with_service(self, service: Service) -> Case:
        """The case with this service in place of the one of its name."""
        services = tuple(service if s.name == service.name else s for s in self.spec.services)
        spec = replace(self.spec, services=services)
        anew = estimate(
            self.inventory, spec, self.lock, self.previous, only=frozenset({service.name})
        )
        return replace(self, spec=spec, demands=self.demands.updated(anew))

    def fits_thawed(self, names: tuple[str, ...]) -> bool:
        """Whether the fleet can be placed with these services taken out of `policy.freeze`."""
        kept = tuple(name for name in self.spec.policy.freeze if name not in names)
        spec = replace(self.spec, policy=replace(self.spec.policy, freeze=kept))
        return replace(self, spec=spec).is_placed()

    def is_placed(self) -> bool:
        """Whether the fleet can be placed."""
        return fits(self.inventory, self.spec, self.demands, self.previous)

    def fits_kind(self, service: Service, kind: GpuKind, count: int) -> bool:
        """Whether a service fits that many GPUs of a kind, on a host of its own."""
        options = self._on_kind(service, kind, count).options[service.name]
        return any(option.n_gpus == count for option in options)

    def refused_on_kind(self, service: Service, kind: GpuKind, count: int) -> str | None:
        """What an engine says against that many GPUs of a kind; None when it refuses nothing."""
        refused = self._on_kind(service, kind, count).refused[service.name]
        found = (each.refusal.detail for each in refused if len(each.gpus) == count)
        return next(found, None)

    def _on_kind(self, service: Service, kind: GpuKind, count: int) -> Demands:
        inventory = Inventory(hosts=(_trial_host(self.inventory, kind, count),))
        rules = replace(service.placement, host_labels={}, kinds=(), pin=None)
        trial = replace(service, placement=rules, replicas=1)
        return estimate(inventory, Spec(services=(trial,), policy=Policy()), self.lock, None)

    def _is_refused(self, service: Service) -> bool:
        """Whether the engine would refuse the arguments that a trial gives it."""
        for variant in service.variants:
            locked = self.lock.find(variant.model)
            companions = companion_facts(companions_of(variant, self.lock))
            hosts = engine_hosts(self.inventory, service, variant.engine)
            for version in {host.engines[variant.engine].version for host in hosts}:
                if locked and engine_of(variant.engine).check_request(
                    request_of(service, variant, locked.facts, version, companions)
                ):
                    return True
        return False


def _trial_host(inventory: Inventory, kind: GpuKind, count: int) -> Host:
    """A host with these GPUs, as much RAM as the fleet's roomiest, and every engine it has."""
    roomiest = max(inventory.hosts, key=lambda host: host.ram_budget_bytes)
    engines: dict[EngineName, EngineInstall] = {}
    for host in inventory.hosts:
        engines.update(host.engines)
    like = replace(
        inventory.hosts[0],
        target="systemd",
        labels={},
        ram_bytes=roomiest.ram_bytes,
        ram_reserved_bytes=roomiest.ram_reserved_bytes,
        engines=engines,
    )
    return with_stock_gpus(like, kind, count)
