"""What the spec and the inventory want of frozen services, and what waits until they are thawed."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.diagnostics import Diagnostic, Severity
from compiler.ir.asked import asked_of
from compiler.ir.demand import Demands, Request
from compiler.ir.document import Document
from compiler.ir.inventory import Inventory
from compiler.ir.plan import Plan, Replica
from compiler.ir.rules import barred_replicas
from compiler.ir.spec import Service, Spec


def held_back(
    inventory: Inventory, spec: Spec, demands: Demands, previous: Plan | None, document: Document
) -> Iterator[Diagnostic]:
    """A warning for each frozen service that goes on as something else than is wanted by now."""
    barred = barred_replicas(previous, spec, inventory)
    for service in (each for each in spec.services if each.name in spec.policy.freeze):
        running = [r for r in (previous.replicas if previous else ()) if r.service == service.name]
        said = [*_count(service, running)]
        for replica in running:
            said += [*_newer(inventory, replica), *_better(service, replica)]
            said += _sizes(service, replica, _wanted(demands, service, replica))
        if any(replica.name in barred for replica in running):
            said.append("a place that `placement` no longer allows")
        if said:
            yield Diagnostic(
                code="frozen",
                detail=f"Service `{service.name}` is frozen and keeps "
                f"{'; '.join(dict.fromkeys(said))}. What is wanted of it now waits for the thaw.",
                location=document.key("policy", "freeze"),
                severity=Severity.WARNING,
            )


def _count(service: Service, running: list[Replica]) -> Iterator[str]:
    if len(running) != service.replicas:
        counted = "1 replica" if len(running) == 1 else f"{len(running)} replicas"
        yield f"{counted}, not {service.replicas}"


def _newer(inventory: Inventory, replica: Replica) -> Iterator[str]:
    hosts = {host.name: host for host in inventory.hosts}
    host = hosts.get(replica.host)
    install = host.engines.get(replica.engine) if host else None
    if install is not None and install.version != replica.engine_version:
        yield f"{replica.engine} {replica.engine_version}, not {install.version}"


def _better(service: Service, replica: Replica) -> Iterator[str]:
    """A better variant that was not there when the replica was placed."""
    names = [variant.name for variant in service.variants]
    passed_over = {each.variant for each in replica.passed_over}
    if replica.variant in names:
        better = names[: names.index(replica.variant)]
        new = [name for name in better if name not in passed_over]
        yield from (f"variant `{replica.variant}`, not `{name}`" for name in new[:1])


def _wanted(demands: Demands, service: Service, replica: Replica) -> Request | None:
    """What the replica would be asked for where it stands; None when it could not stand there."""
    names = [variant.name for variant in service.variants]
    return next(
        (
            option.demands[0].request
            for option in demands.options[service.name]
            if names[option.variant] == replica.variant and replica.host in option.hosts
        ),
        None,
    )


def _sizes(service: Service, replica: Replica, wanted: Request | None) -> Iterator[str]:
    """Numbers that the spec has otherwise, and whatever else it asks in another way."""
    if wanted is None or replica.asked in ("", asked_of(wanted)):
        return
    if wanted.context != replica.context:
        yield f"{replica.context:,} tokens of `context`, not {wanted.context:,}"
    if wanted.concurrency != replica.concurrency:
        yield f"`concurrency` {replica.concurrency}, not {wanted.concurrency}"
    if (wanted.kv_tokens or 0) > replica.kv_tokens:
        yield f"{replica.kv_tokens:,} KV tokens, not the {wanted.kv_tokens:,} of `kv_tokens`"
    # Where the spec does not say it, it is the context, which is told already.
    by_default = wanted.typical is None and replica.typical in (0, replica.context)
    typical = wanted.typical or wanted.context
    if not by_default and typical != replica.typical:
        yield f"{replica.typical:,} tokens of `typical`, not {typical:,}"
    if service.min:
        yield "the room that it has, though `min` asks for none"
