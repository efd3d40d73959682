"""What an explanation may try: each trial is a real estimate and, together, a real solve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from compiler.diagnostics import CompileError
from compiler.engines.companions import companion_facts, companions_of
from compiler.engines.registry import engine_of
from compiler.estimate import estimate
from compiler.ir.demand import request_of
from compiler.ir.document import Document
from compiler.ir.inventory import EngineInstall, EngineName, Gpu, GpuKind, Host, Inventory
from compiler.ir.lock import Lock
from compiler.ir.placement import PlacementError
from compiler.ir.plan import Plan
from compiler.ir.rules import engine_hosts
from compiler.ir.spec import Policy, Service, Spec
from compiler.ir.units import GIB, TIB
from compiler.load.inventory import DEFAULT_RESERVED_BYTES, DEFAULT_UTILIZATION_PERMILLE
from compiler.place.explain import Case
from compiler.place.placing import place


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """The inputs of a compile that failed, to be tried with changes."""

    inventory: Inventory
    spec: Spec
    lock: Lock
    previous: Plan | None
    document: Document

    def case(self) -> Case:
        """The case as an explanation sees it."""
        return Case(
            inventory=self.inventory,
            spec=self.spec,
            document=self.document,
            alone=self.fits_alone,
            together=self.fits_together,
            on_kind=self.fits_kind,
            quantized=self.quantized,
        )

    def quantized(self, service: Service) -> Iterator[tuple[str, bool]]:
        """Smaller quantizations of the service's last variant, and whether each fits alone."""
        last = service.variants[-1]
        locked = self.lock.find(last.model)
        smaller = engine_of(last.engine).smaller_quantizations(locked.facts) if locked else ()
        trial = replace(service, variants=(last,))
        for name, facts in smaller:
            sources = [
                each.model_copy(update={"facts": facts}) if each is locked else each
                for each in self.lock.sources
            ]
            lock = self.lock.model_copy(update={"sources": sources})
            yield name, replace(self, lock=lock).fits_alone(trial)

    def fits_alone(self, service: Service) -> bool:
        """Whether a service fits the fleet when it is the only one."""
        spec = Spec(services=(service,), policy=Policy())
        return not self._is_refused(service) and bool(
            estimate(self.inventory, spec, self.lock, None).options[service.name]
        )

    def fits_together(self, service: Service) -> bool:
        """Whether the fleet can be placed with this service in place of the one of its name."""
        if self._is_refused(service):
            return False
        services = tuple(service if s.name == service.name else s for s in self.spec.services)
        spec = replace(self.spec, services=services)
        demands = estimate(self.inventory, spec, self.lock, self.previous)
        try:
            place(self.inventory, spec, demands, self.previous)
        except (PlacementError, CompileError):
            return False
        return True

    def fits_kind(self, service: Service, kind: GpuKind, count: int) -> bool:
        """Whether a service fits that many GPUs of a kind, on a host of its own."""
        inventory = Inventory(hosts=(_trial_host(self.inventory, kind, count),))
        rules = replace(service.placement, host_labels={}, kinds=(), pin=None, tensor_parallel=())
        trial = replace(service, placement=rules, replicas=1)
        spec = Spec(services=(trial,), policy=Policy())
        options = estimate(inventory, spec, self.lock, None).options[service.name]
        return any(len(option.gpus) == count for option in options)

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
    """A roomy host with these GPUs and every engine that the fleet has."""
    engines: dict[EngineName, EngineInstall] = {}
    for host in inventory.hosts:
        engines.update(host.engines)
    gpus = tuple(
        Gpu(
            index=index,
            kind=kind,
            reserved_bytes=DEFAULT_RESERVED_BYTES,
            utilization_permille=DEFAULT_UTILIZATION_PERMILLE,
            island=0,
        )
        for index in range(count)
    )
    return replace(
        inventory.hosts[0],
        target="systemd",
        labels={},
        ram_bytes=TIB,
        ram_reserved_bytes=GIB,
        engines=engines,
        gpus=gpus,
    )
