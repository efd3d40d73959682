"""Who can reach a service: where it listens, and whether its engine asks for a key there."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from compiler.diagnostics import Diagnostic, Location, Severity
from compiler.engines.registry import traits_of
from compiler.ir.document import Document
from compiler.ir.inventory import NOT_PUBLISHED, Host, Inventory
from compiler.ir.listening import is_open, listen_on
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
    location = (
        document.key("services", service.name, "listen")
        if service.listen
        else document.key("services", service.name)
    )
    outside = [host for host in by_name if _listen(service, host) is None]
    if outside:
        yield _not_in_network(service, outside, location)
        return
    bare = [
        host
        for host in by_name
        if _listen(service, host) == NOT_PUBLISHED and not host.runs_containers
    ]
    if bare:
        yield Diagnostic(
            code="contradiction",
            detail=f"Service `{service.name}` may stand on `{bare[0].name}` ({bare[0].target}), "
            "where `listen: none` is not possible: only containers have a network of their own.",
            location=location,
            hints=("Write `listen: localhost`, or give the host the target compose or quadlet.",),
        )
        return
    opened = [host for host in by_name if is_open(_listen(service, host) or NOT_PUBLISHED)]
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


def _listen(service: Service, host: Host) -> str | None:
    """None where a network is asked for, and the host's address is not known to be in it."""
    try:
        return listen_on(host, service.listen)
    except ValueError:
        return None


def _not_in_network(service: Service, outside: list[Host], location: Location | None) -> Diagnostic:
    host = outside[0]
    network = service.listen or host.listen
    more = f" and {len(outside) - 1} more hosts" if len(outside) > 1 else ""
    hint = (
        f"Write in `{host.name}` the address that it has there, `listen: {ip_network(network)[1]}` "
        "or another one, or write its `address` as a number."
    )
    return Diagnostic(
        code="contradiction",
        detail=f"Service `{service.name}` is to listen in the network `{network}` and may stand on "
        f"`{host.name}`{more}, whose `address` is `{host.address}`: nobody can tell which address "
        "it has in that network.",
        location=location,
        hints=(hint,),
    )


def _keyless(service: Service) -> list[str]:
    """The variables that hold the keys of its engines, where it lacks them."""
    # An engine that reads its keys from a file of the host asks for them, too.
    keys = dict.fromkeys(
        traits.key_variable
        for variant in service.variants
        if not variant.args.get((traits := traits_of(variant.engine)).key_file)
    )
    return [key for key in keys if key not in service.secrets]
