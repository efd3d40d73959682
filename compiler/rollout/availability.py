"""How many replicas of each service are up while hosts change, and what it costs when one is not.

A replica is up that runs somewhere, in its old or its new form. One that moves is up all the time
if its new host changes before its old one does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from compiler.ir.plan import Plan, Replica
from compiler.ir.rollout import SwitchStep
from compiler.ir.spec import Service, Spec
from compiler.rollout.change import HostChange

Cost = tuple[int, ...]
"""Replicas that are missing, of the most important services first; then seconds of absence.
Smaller is better, and costs add up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Hosts that change and share services, and all that bears on their order."""

    changes: Mapping[str, HostChange]
    """By host."""
    steps: Mapping[str, tuple[SwitchStep, ...]]
    wanted: Mapping[str, int]
    """Replicas of each service of the group that should always be up."""
    weights: Mapping[str, int]
    """Of each service: what cannot be left out is dearer than what can, then by priority."""
    steady: Mapping[str, AbstractSet[str]]
    """Replicas by service on all other hosts; none of them is touched."""
    place_before: Mapping[str, str]
    """The host of each replica that runs."""
    place_after: Mapping[str, str]

    def up(self, done: AbstractSet[str]) -> dict[str, set[str]]:
        """The replicas that are up, by service, when these hosts have changed."""
        found = {service: set(names) for service, names in self.steady.items()}
        for host, change in self.changes.items():
            for replica in (change.new if host in done else change.old).values():
                found.setdefault(replica.service, set()).add(replica.name)
        return found

    def dips(self, host: str, done: AbstractSet[str]) -> dict[str, int]:
        """The most replicas of each service that a visit takes down at one moment.

        One that the visit has started before stands in for one of its service that stops.
        """
        change = self.changes[host]
        most: Counter[str] = Counter()
        for down, come in self._moments(host, done):
            lost = Counter(change.old[name].service for name in down)
            lost.subtract(change.new[name].service for name in come)
            most |= lost
        return dict(most)

    def cost(self, host: str, done: AbstractSet[str], up: Mapping[str, AbstractSet[str]]) -> Cost:
        """What it costs to change this host when these have changed and these replicas are up."""
        missing = dict.fromkeys(sorted(set(self.weights.values()), reverse=True), 0)
        dips = self.dips(host, done)
        for service, wanted in self.wanted.items():
            short = wanted - (len(up.get(service, ())) - dips.get(service, 0))
            missing[self.weights[service]] += max(0, short)
        old = self.changes[host].old
        down = {name for moment, _ in self._moments(host, done) for name in moment}
        seconds = sum(old[name].start_timeout_seconds for name in down)
        return (*missing.values(), seconds)

    def net(self, host: str) -> int:
        """Replicas that the host has more than before."""
        return len(self.changes[host].new) - len(self.changes[host].old)

    def gap_seconds(self, done: AbstractSet[str]) -> int:
        """What is absent between two visits: replicas that have left their old host, and whose new
        one has not changed yet.
        """
        return sum(
            replica.start_timeout_seconds
            for host in done
            for name, replica in self.changes[host].old.items()
            if (there := self.place_after.get(name, host)) != host
            and there in self.changes
            and there not in done
        )

    def _moments(self, host: str, done: AbstractSet[str]) -> Iterator[tuple[set[str], set[str]]]:
        """After each stop of a visit: who was up before and is not, and who is up and was not."""
        before = self.changes[host].old.keys()
        running = set(before)
        for step in self.steps[host]:
            running -= set(step.stop)
            yield (
                {name for name in before - running if not self._is_elsewhere(name, host, done)},
                {name for name in running - before if self._was_down(name, done)},
            )
            running |= set(step.start)

    def _was_down(self, name: str, done: AbstractSet[str]) -> bool:
        """Whether a replica that starts here is not still up at its old place."""
        place = self.place_before.get(name)
        return place is None or place in done

    def _is_elsewhere(self, name: str, host: str, done: AbstractSet[str]) -> bool:
        other = self.place_after.get(name)
        return other is not None and other != host and other in done


def wanted_up(previous: Plan | None, plan: Plan, spec: Spec) -> dict[str, int]:
    """Of each service in both plans, how many replicas should always be up."""
    before = Counter(r.service for r in previous.replicas) if previous else Counter[str]()
    after = Counter(r.service for r in plan.replicas)
    return {
        service.name: min(_least(service, after[service.name]), before[service.name])
        for service in spec.services
        if before[service.name] and after[service.name]
    }


def weights_of(replicas: list[Replica], spec: Spec) -> dict[str, int]:
    """What it costs that a replica is down; a service that the spec no longer has costs least."""
    weights = {
        each.name: 1 + each.priority + (0 if each.optional else 1001) for each in spec.services
    }
    return {replica.service: 0 for replica in replicas} | weights


def _least(service: Service, n_replicas: int) -> int:
    if service.min_available is not None:
        return min(service.min_available, n_replicas)
    # Of a single replica that one: it moves without a gap where that is possible.
    return max(1, n_replicas - max(1, n_replicas // 4))
