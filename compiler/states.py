"""What a plan has to say of hosts that are drained or gone while something runs there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from compiler.diagnostics import Diagnostic, Location, Severity
from compiler.ir.document import Document
from compiler.ir.plan import Plan, Replica
from compiler.ir.spec import Spec

_WAY_OUT = (
    "If it still runs, put it back with `state: drained`, compile, and stop there what PLAN.md "
    "says; take it out once it is empty."
)


def state_warnings(
    plan: Plan, spec: Spec, previous: Plan | None, inventory: Document
) -> Iterator[Diagnostic]:
    """Drained hosts that are not empty yet, and hosts that are gone and were not empty."""
    drained = [host.host for host in plan.hosts if host.state == "drained"]
    now = _by_host(plan)
    for host in drained:
        if now[host]:
            yield _still_busy(host, now[host], spec, _stated(inventory, host))
    if plan.exposed:
        yield Diagnostic(
            code="spare-in-use",
            detail=f"No room is kept for {_listed(plan.exposed)}: the loss of one more host would "
            "not be borne.",
            severity=Severity.WARNING,
        )
    before = _by_host(previous) if previous else {}
    for host in sorted(before.keys() - {each.host for each in plan.hosts}):
        yield Diagnostic(
            code="host-gone",
            detail=f"The inventory no longer has `{host}`, where {_names(before[host])} ran. Only "
            "`modelc apply` of this very plan tells that host to stop them.",
            location=inventory.key("hosts"),
            hints=(_WAY_OUT,),
            severity=Severity.WARNING,
        )


def _by_host(plan: Plan) -> dict[str, list[Replica]]:
    found: dict[str, list[Replica]] = defaultdict(list)
    for replica in plan.replicas:
        found[replica.host].append(replica)
    return found


def _stated(inventory: Document, host: str) -> Location:
    """Where it is written that a host is drained, or the nearest that names it."""
    if inventory.holds("states", host):
        return inventory.key("states", host)
    return inventory.key("hosts", host, "state")


def _still_busy(host: str, replicas: list[Replica], spec: Spec, location: Location) -> Diagnostic:
    services = {replica.service for replica in replicas}
    frozen = sorted(services & set(spec.policy.freeze))
    homeless = services - set(frozen)
    hints = []
    if frozen:
        hints.append(f"Take {_listed(frozen)} out of `policy.freeze`.")
    if homeless and spec.policy.max_moves is not None:
        hints.append(
            f"`policy.max_moves` lets {spec.policy.max_moves} move at a time: carry this plan out, "
            "and compile again."
        )
    elif homeless:
        hints.append(
            f"Make room elsewhere for {_listed(sorted(homeless))}: `modelc whatif --without {host}`"
            " says what is missing."
        )
    return Diagnostic(
        code="not-drained",
        detail=f"Host `{host}` is drained, and {_names(replicas)} must stay there for now.",
        location=location,
        hints=tuple(hints),
        severity=Severity.WARNING,
    )


def _names(replicas: list[Replica]) -> str:
    return _listed([replica.name for replica in replicas])


def _listed(names: list[str]) -> str:
    shown = [f"`{name}`" for name in names[:4]]
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown)} more")
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
