"""Who can reach a service: where it listens, and whether its engine asks for a key there."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.diagnostics import Diagnostic, Severity
from compiler.engines.registry import traits_of
from compiler.ir.document import Document
from compiler.ir.inventory import NOT_PUBLISHED, Host, Inventory
from compiler.ir.listening import is_open
from compiler.ir.rules import engine_hosts
from compiler.ir.spec import Service


def check_listening(
    inventory: Inventory, service: Service, document: Document
) -> Iterator[Diagnostic]:
    """A contradiction between `listen` and a target, and a warning for what has no key."""
    hosts: dict[str, Host] = {}
    for variant in service.variants:
        for host in engine_hosts(inventory, service, variant.engine):
            hosts[host.name] = host
    by_name = [hosts[name] for name in sorted(hosts)]
    bare = [
        host
        for host in by_name
        if _listen(service, host) == NOT_PUBLISHED and not host.runs_containers
    ]
    location = (
        document.key("services", service.name, "listen")
        if service.listen
        else document.key("services", service.name)
    )
    if bare:
        yield Diagnostic(
            code="contradiction",
            detail=f"Service `{service.name}` may stand on `{bare[0].name}` ({bare[0].target}), "
            "where `listen: none` is not possible: only containers have a network of their own.",
            location=location,
            hints=("Write `listen: localhost`, or give the host the target compose or quadlet.",),
        )
        return
    opened = [host for host in by_name if is_open(_listen(service, host))]
    keyless = _keyless(service)
    if opened and keyless:
        listen = _listen(service, opened[0])
        yield Diagnostic(
            code="open-service",
            detail=f"Service `{service.name}` listens on `{listen}` of `{opened[0].name}`"
            f"{f' and {len(opened) - 1} more hosts' if len(opened) > 1 else ''}, and whoever "
            "reaches that address may use it: its engine asks for no key.",
            location=location,
            hints=(
                f"Write `secrets: [{', '.join(keyless)}]` in the service, or `listen: localhost`.",
            ),
            severity=Severity.WARNING,
        )


def _listen(service: Service, host: Host) -> str:
    return service.listen or host.listen


def _keyless(service: Service) -> list[str]:
    """The variables that hold the keys of its engines, where it lacks them."""
    # An engine that reads its keys from a file of the host asks for them, too.
    keys = dict.fromkeys(
        traits.key_variable
        for variant in service.variants
        if not variant.args.get((traits := traits_of(variant.engine)).key_file)
    )
    return [key for key in keys if key not in service.secrets]
