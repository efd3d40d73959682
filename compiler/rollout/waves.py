"""The waves of a plan: the order of the hosts, and which of them change at the same time.

Hosts that share no service that is touched have nothing to wait for each other; those that do form
a group. The order within a group of few hosts is the cheapest of all; within a larger one the next
host is always the cheapest, then one that gives more than it takes. Then each wave takes from the
front of each group what can change at once without taking more from a service than a visit alone
would. One host goes before all others, so that what is wrong with a plan shows on it alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import zip_longest

from compiler.ir.names import natural_key
from compiler.ir.plan import Plan, Replica
from compiler.ir.rollout import NO_RELEASE, HostRelease, Rollout, Shortfall, Visit, Wave
from compiler.ir.spec import Spec
from compiler.rollout.availability import Cost, Group, wanted_up, weights_of
from compiler.rollout.change import HostChange, host_changes
from compiler.rollout.steps import switch_steps

# All orders of so many hosts are looked at: 2^7 states with 7 ways on from each.
MAX_EXACT_HOSTS = 7

Pack = tuple[list[str], dict[str, tuple[int, int]]]
"""Hosts of one group that change at once; of services that fall short, replicas up and wanted."""


def rollout(previous: Plan | None, plan: Plan, spec: Spec) -> Rollout:
    """The way from the previous plan to this one.

    Where no release differs it is that of the previous plan, so that to compile once more changes
    nothing.
    """
    if previous is not None and previous.rollout and previous.releases == plan.releases:
        return previous.rollout
    groups = _groups(previous, plan, spec)
    groups.sort(key=lambda group: min(_rank(group, host) for host in group.changes))
    packs = [_packs(group, canary=not number) for number, group in enumerate(groups)]
    # The canary is alone; what else its group has follows with the first hosts of the others.
    waves = [[packs[0][0]]] if packs else []
    rest = [packs[0][1:], *packs[1:]] if packs else []
    waves += [[pack for pack in wave if pack] for wave in zip_longest(*rest)]
    by_host = {host: group for group in groups for host in group.changes}
    return Rollout(waves=[_wave(wave, by_host) for wave in waves], leaving=_leaving(previous, plan))


def _groups(previous: Plan | None, plan: Plan, spec: Spec) -> list[Group]:
    running = list(previous.replicas) if previous else []
    changes = host_changes(previous, plan)
    wanted = wanted_up(previous, plan, spec)
    weights = weights_of(running, spec)
    counts = Counter(replica.service for replica in running)
    quotas = {name: max(1, counts[name] - least) for name, least in wanted.items()}
    place_before = {replica.name: replica.host for replica in running}
    place_after = {replica.name: replica.host for replica in plan.replicas}
    groups = []
    for members in _related(changes):
        services = {name for change in members for name in change.services()}
        groups.append(
            Group(
                changes={change.host: change for change in members},
                steps={each.host: switch_steps(each, quotas, weights) for each in members},
                wanted={name: least for name, least in wanted.items() if name in services},
                weights={name: weight for name, weight in weights.items() if name in services},
                steady=_steady(plan.replicas, {change.host for change in members}, services),
                place_before=place_before,
                place_after=place_after,
            )
        )
    return groups


def _related(changes: Iterable[HostChange]) -> list[list[HostChange]]:
    """Hosts that share a service that is touched, directly or through others."""
    groups: list[tuple[list[HostChange], set[str]]] = []
    for change in changes:
        members, services = [change], set(change.services())
        apart = []
        for other in groups:
            if services & other[1]:
                members = [*other[0], *members]
                services |= other[1]
            else:
                apart.append(other)
        groups = [*apart, (members, services)]
    return [members for members, _ in groups]


def _steady(
    replicas: Iterable[Replica], hosts: AbstractSet[str], services: AbstractSet[str]
) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for replica in replicas:
        if replica.host not in hosts and replica.service in services:
            found.setdefault(replica.service, set()).add(replica.name)
    return found


def _rank(group: Group, host: str) -> tuple[object, ...]:
    """Which of equally good hosts goes first: one that tries something, at the least risk."""
    change = group.changes[host]
    touched = max((group.weights.get(name, 0) for name in change.services()), default=0)
    return not change.starts, touched, natural_key(host)


def _ordered(group: Group) -> list[str]:
    by_rank = sorted(group.changes, key=lambda host: _rank(group, host))
    exact = len(by_rank) <= MAX_EXACT_HOSTS
    return _best_order(group, by_rank) if exact else _good_order(group, by_rank)


def _best_order(group: Group, by_rank: list[str]) -> list[str]:
    """The cheapest of all orders; of equally cheap ones that with the hosts of least risk first.

    What a visit costs depends on which hosts have changed before and not on their order, so that
    the best way to a set of hosts is the best of the ways over the sets that lack one of them.
    """
    best: dict[frozenset[str], tuple[Cost, tuple[int, ...]]] = {frozenset(): ((), ())}
    for _ in by_rank:
        reached: dict[frozenset[str], tuple[Cost, tuple[int, ...]]] = {}
        for done, (spent, way) in best.items():
            up, gap_seconds = group.up(done), group.gap_seconds(done)
            for number, host in enumerate(by_rank):
                if host in done:
                    continue
                there = done | {host}
                *missing, seconds = group.cost(host, done, up)
                found = _sum(spent, (*missing, seconds + gap_seconds)), (*way, number)
                if there not in reached or found < reached[there]:
                    reached[there] = found
        best = reached
    _, way = best[frozenset(by_rank)]
    return [by_rank[number] for number in way]


def _good_order(group: Group, by_rank: list[str]) -> list[str]:
    left = list(by_rank)
    order: list[str] = []
    while left:
        done = frozenset(order)
        up = group.up(done)
        # `min` keeps the first of equals.
        following = min(left, key=lambda host: (group.cost(host, done, up), -group.net(host)))
        left.remove(following)
        order.append(following)
    return order


def _sum(first: Cost, second: Cost) -> Cost:
    return tuple(a + b for a, b in zip(first, second, strict=True)) if first else second


def _packs(group: Group, *, canary: bool) -> list[Pack]:
    """The hosts of a group in their order, those together that can change at once."""
    packs: list[Pack] = []
    done: set[str] = set()
    members: list[str] = []
    alone: dict[str, int] = {}
    up = group.up(done)
    for host in _ordered(group):
        own = {
            service: wanted - n_up
            for service, (n_up, wanted) in _short(group, [host], done | {*members}, None).items()
        }
        most = {name: max(own.get(name, 0), alone.get(name, 0)) for name in own.keys() | alone}
        together = _short(group, [*members, host], done, up)
        joins = not _exchange(group, host, members) and all(
            wanted - n_up <= most.get(name, 0) for name, (n_up, wanted) in together.items()
        )
        if members and (not joins or (canary and not packs)):
            packs.append((members, _short(group, members, done, up)))
            done |= {*members}
            up = group.up(done)
            members, alone = [], {}
            most = own
        members.append(host)
        alone = most
    return [*packs, (members, _short(group, members, done, up))]


def _exchange(group: Group, host: str, members: Iterable[str]) -> bool:
    """Whether a replica moves between them: its new self must be up before the old one stops."""
    mine = group.changes[host]
    return any(
        not mine.old.keys().isdisjoint(group.changes[other].new)
        or not mine.new.keys().isdisjoint(group.changes[other].old)
        for other in members
    )


def _short(
    group: Group, hosts: Sequence[str], done: AbstractSet[str], up: dict[str, set[str]] | None
) -> dict[str, tuple[int, int]]:
    """Of each service that falls short while these change at once: replicas up, and wanted."""
    names = group.up(done) if up is None else up
    dips = Counter[str]()
    for host in hosts:
        dips.update(group.dips(host, done))
    left = {name: len(names.get(name, ())) - dips[name] for name in group.wanted}
    return {
        name: (left[name], wanted) for name, wanted in group.wanted.items() if left[name] < wanted
    }


def _wave(packs: Sequence[Pack], by_host: dict[str, Group]) -> Wave:
    hosts = sorted((host for members, _ in packs for host in members), key=natural_key)
    short = {name: found for _, services in packs for name, found in services.items()}
    return Wave(
        visits=[
            Visit(
                host=host,
                base=by_host[host].changes[host].base,
                steps=list(by_host[host].steps[host]),
            )
            for host in hosts
        ],
        short=[
            Shortfall(service=service, up=up, wanted=wanted)
            for service, (up, wanted) in sorted(short.items())
        ],
    )


def _leaving(previous: Plan | None, plan: Plan) -> list[HostRelease]:
    """Hosts of the previous plan that ran something and that the inventory no longer has."""
    known = {host.host for host in plan.hosts}
    busy = {replica.host for replica in previous.replicas} if previous else set()
    return [
        HostRelease(
            host=host.host,
            address=host.address or host.host,
            target=host.target,
            id=NO_RELEASE,
            replicas=[],
        )
        for host in (previous.hosts if previous else ())
        if host.host in busy - known
    ]
