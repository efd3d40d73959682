"""What becomes of the replicas of one host between two plans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from compiler.ir.inventory import NOT_PUBLISHED
from compiler.ir.plan import Plan, Replica
from compiler.ir.pool import held_bytes
from compiler.ir.rollout import NO_RELEASE, HostRelease

Resource = tuple[str, int]
"""A GPU by its index, the RAM, or a port of one host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChange:
    """A host whose release changes."""

    host: str
    base: str
    old: Mapping[str, Replica]
    new: Mapping[str, Replica]
    order: tuple[str, ...]
    """The new replicas as they start."""
    restarts: frozenset[str]
    """Of those that are in both, the ones that are started anew."""
    budgets: Mapping[Resource, int]
    """Bytes of each GPU and of the RAM; no less than what ran before, which is there."""
    unified: bool
    """GPU and RAM are one pool, which is the RAM here."""

    @property
    def starts(self) -> tuple[str, ...]:
        """What is started, restarts among them, in the order of the start."""
        return tuple(n for n in self.order if n not in self.old or n in self.restarts)

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends here for good, in the order of the names."""
        return tuple(sorted(self.old.keys() - self.new.keys()))

    def services(self) -> frozenset[str]:
        """The services of all that stops or starts."""
        touched = (*map(self.new.get, self.starts), *map(self.old.get, self.stops))
        return frozenset(replica.service for replica in touched if replica)


def host_changes(previous: Plan | None, plan: Plan) -> list[HostChange]:
    """Every host whose release is another one than before, those that have left among them."""
    before = {each.host: each for each in previous.releases} if previous else {}
    after = {each.host: each for each in plan.releases}
    old, new = _by_host(previous), _by_host(plan)
    hosts = [*after, *(host for host in old if host not in after)]
    changes = (
        _change(host, before.get(host), after.get(host), old.get(host, {}), new.get(host, {}), plan)
        for host in hosts
    )
    return [change for change in changes if change is not None]


def taken(replica: Replica, *, unified: bool) -> dict[Resource, int]:
    """What a replica holds of its host while it runs."""
    held = held_bytes(replica, unified=unified)
    return {("ram", 0) if gpu is None else ("gpu", gpu): size for gpu, size in held.items()}


def fits(running: Iterable[Replica], change: HostChange) -> bool:
    """Whether these replicas can run at once: within every budget, each on ports of its own."""
    held: dict[Resource, int] = {}
    ports = []
    for replica in running:
        for resource, size in taken(replica, unified=change.unified).items():
            held[resource] = held.get(resource, 0) + size
        if replica.listen != NOT_PUBLISHED:
            ports.append(replica.port)
    within = all(size <= change.budgets.get(resource, 0) for resource, size in held.items())
    return within and len(ports) == len(set(ports))


def _change(
    host: str,
    before: HostRelease | None,
    after: HostRelease | None,
    old: Mapping[str, Replica],
    new: Mapping[str, Replica],
    plan: Plan,
) -> HostChange | None:
    base = before.id if before else NO_RELEASE
    if base == (after.id if after else NO_RELEASE) and (before or not old):
        return None
    digests = {each.name: each.digest for each in before.replicas} if before else {}
    started = after.replicas if after else []
    unified = any(ledger.unified for ledger in plan.hosts if ledger.host == host)
    return HostChange(
        host=host,
        base=base,
        old=old,
        new=new,
        order=tuple(each.name for each in started),
        restarts=frozenset(
            each.name
            for each in started
            if each.name in old and digests.get(each.name) != each.digest
        ),
        budgets=_budgets(host, plan, old.values(), unified=unified),
        unified=unified,
    )


def _budgets(
    host: str, plan: Plan, old: Iterable[Replica], *, unified: bool
) -> dict[Resource, int]:
    """Those of the plan, raised to what runs: a budget that shrinks evicts, and undoes no past."""
    budgets: dict[Resource, int] = {}
    for replica in old:
        for resource, size in taken(replica, unified=unified).items():
            budgets[resource] = budgets.get(resource, 0) + size
    planned: dict[Resource, int] = {
        ("gpu", each.gpu): each.budget_bytes for each in plan.gpus if each.host == host
    }
    planned["ram", 0] = sum(each.ram_budget_bytes for each in plan.hosts if each.host == host)
    return {
        resource: max(planned.get(resource, 0), budgets.get(resource, 0))
        for resource in planned.keys() | budgets.keys()
    }


def _by_host(plan: Plan | None) -> dict[str, dict[str, Replica]]:
    found: dict[str, dict[str, Replica]] = {}
    replicas: Sequence[Replica] = plan.replicas if plan else ()
    for replica in replicas:
        found.setdefault(replica.host, {})[replica.name] = replica
    return found
