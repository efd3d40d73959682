"""Pairs of plans with releases, and a spec for them: what a rollout has to lead through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from compiler.ir.plan import Plan, Replica, digest
from compiler.ir.rollout import NO_RELEASE, HostRelease, ReleasedReplica
from compiler.ir.spec import PlacementRules, Policy, Service, Spec
from tests.generators.small_plans import BUDGET_BYTES, plan, replica, share

_BUDGET_MIB = BUDGET_BYTES >> 20
_SERVICES = ("chat", "embed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A plan that runs, the plan that is to be carried out, and the spec of the latter."""

    previous: Plan
    plan: Plan
    spec: Spec


def service(name: str, replicas: int, **changes: object) -> Service:
    """A service as the rollout looks at it."""
    fields = {"min_available": None, "optional": False, "priority": 50, **changes}
    return Service(
        name=name,
        task=None,
        replicas=replicas,
        variants=(),
        placement=PlacementRules(),
        **fields,  # type: ignore[arg-type]
    )


def released(plan_: Plan, marks: Mapping[str, str]) -> Plan:
    """The plan with its releases; a replica with another mark has another digest."""
    releases = []
    for host in plan_.hosts:
        names = [
            ReleasedReplica(name=r.name, digest=digest(f"{r.port} {marks.get(r.name, '')}"))
            for r in plan_.replicas
            if r.host == host.host
        ]
        said = digest(f"{host.host} {names}")[:16] if names else NO_RELEASE
        releases.append(
            HostRelease(
                host=host.host, address=host.host, target="systemd", id=said, replicas=names
            )
        )
    return plan_.model_copy(update={"releases": releases})


@st.composite
def pairs(draw: st.DrawFn, n_hosts: int = 3) -> Pair:
    """Plans over the same names, each within its budgets, as any two that follow each other."""
    names = [f"{s}-{number}" for s in _SERVICES for number in range(3)]
    hosts = [f"host-{number}" for number in range(n_hosts)]
    plans = []
    for _ in range(2):
        chosen = draw(st.sets(st.sampled_from(names)))
        kept = draw(st.lists(st.sampled_from(hosts), min_size=1, unique=True))
        marks = {name: draw(st.sampled_from("ab")) for name in sorted(chosen)}
        replicas = draw(_placed(sorted(chosen), sorted(kept)))
        plans.append(released(plan(dict.fromkeys(sorted(kept), 2), replicas), marks))
    services = tuple(
        service(
            name,
            max(1, sum(r.service == name for r in plans[1].replicas)),
            min_available=draw(st.sampled_from([None, None, 0, 1, 2])),
            optional=draw(st.booleans()),
            priority=draw(st.sampled_from([10, 50])),
        )
        for name in _SERVICES
    )
    return Pair(previous=plans[0], plan=plans[1], spec=Spec(services=services, policy=Policy()))


@st.composite
def _placed(draw: st.DrawFn, names: Sequence[str], hosts: Sequence[str]) -> list[Replica]:
    """Replicas where they fit, with ports of their own; what fits nowhere is left out."""
    free = {(host, gpu): _BUDGET_MIB for host in hosts for gpu in (0, 1)}
    placed: list[Replica] = []
    for name in names:
        host = draw(st.sampled_from(hosts))
        gpus = draw(st.sampled_from([(0,), (1,), (0, 1)]))
        size = draw(st.sampled_from([6_000, 11_000, 20_000]))
        taken = {each.port for each in placed if each.host == host}
        port = draw(st.sampled_from([p for p in range(8_000, 8_008) if p not in taken][:3]))
        if all(free[host, gpu] >= size for gpu in gpus):
            for gpu in gpus:
                free[host, gpu] -= size
            shares = [share(gpu, size) for gpu in gpus]
            placed.append(replica(name, host, shares, port=port))
    return placed
