"""Chooses among the placements that are equally good for the solver: one answer, by rule.

Of optional services of one priority that do not all fit, the first by name gets its replicas first.
Replica by replica, the largest services first, each takes the first place in order of preference
from which all others can still be placed as well as the solver proved possible: a place where it
runs today, then one on fewer GPUs, then the one that leaves most memory free on its GPUs, then on
its host, then by name.
The answer follows from the inputs alone, whatever the solver's version or seed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from compiler.ir.inventory import GpuKey
from compiler.ir.plan import Replica
from compiler.ir.spec import Service
from compiler.ir.units import budget_mib
from compiler.place.fleet import Column, Fleet, loss, span
from compiler.place.solver import Infeasible, Program, Solution, complete, solve

Way = tuple[str, str, tuple[int, ...], str]


def settle(fleet: Fleet, solution: Solution) -> tuple[int, ...]:
    """Values of the program as good as the solution's in every objective, chosen by rule."""
    optimal = fleet.program.held(solution.reached)
    rivals = _rivals(fleet, solution)
    if rivals:
        shared = Program(upper=optimal.upper, rules=list(optimal.rules))
        for service in rivals:
            shared.minimise(service, {column.variable: -1 for column in fleet.of(service)})
        answer = solve(shared)
        # The solution itself is one of this program's.
        if isinstance(answer, Infeasible):
            raise AssertionError(answer.core)
        optimal, solution = shared.held(answer.reached), answer
    wanted = _wanted(fleet, solution)
    # Without looking ahead first: if everything finds its place, every step was sound.
    quick = _Dive(fleet, optimal)
    if quick.run(wanted):
        values = complete(optimal, quick.taken)
        if values is not None:
            return values
    careful = _Dive(fleet, optimal, witness=solution.values, looks_ahead=True)
    if not careful.run(wanted):
        # The solution itself is always one way to go on.
        raise AssertionError
    return careful.witness


def _rivals(fleet: Fleet, solution: Solution) -> list[str]:
    """Optional services of one priority that could take each other's replicas, by name.

    Coverage counts their replicas together, so that which of them falls short is open.
    """
    found = []
    for priority in {service.priority for service in fleet.services}:
        here = [s for s in fleet.services if s.optional and s.priority == priority]
        placed = sum(solution.values[c.variable] for s in here for c in fleet.of(s.name))
        if len(here) > 1 and placed < sum(service.replicas for service in here):
            found += [service.name for service in here]
    return sorted(found)


def _wanted(fleet: Fleet, solution: Solution) -> list[tuple[Service, int]]:
    """Services with how many replicas are placed, the largest first."""
    placed = Counter[str]()
    size = Counter[str]()
    for column in fleet.columns:
        name = column.option.service
        placed[name] += solution.values[column.variable]
        mib = max((mib for _, mib in column.mib), default=0)
        size[name] = max(size[name], mib)
    ordered = sorted(fleet.services, key=lambda s: (-size[s.name], -s.priority, s.name))
    return [(service, placed[service.name]) for service in ordered]


@dataclass(slots=True)
class _Dive:
    """One descent through the decisions."""

    fleet: Fleet
    program: Program
    witness: tuple[int, ...] = ()
    looks_ahead: bool = False
    taken: Counter[int] = field(default_factory=Counter)
    free: dict[GpuKey, int] = field(default_factory=dict)
    free_on: Counter[str] = field(default_factory=Counter)
    free_ram: dict[str, int] = field(default_factory=dict)
    running: Counter[Way] = field(default_factory=Counter)
    rules_of: dict[int, list[int]] = field(default_factory=dict)
    least: list[int] = field(default_factory=list)

    def run(self, wanted: list[tuple[Service, int]]) -> bool:
        """Whether every replica found its place."""
        self._begin()
        return all(self._place(service) for service, count in wanted for _ in range(count))

    def _begin(self) -> None:
        self.free = dict(self.fleet.free_mib)
        for (host, _), mib in self.free.items():
            self.free_on[host] += mib
        self.free_ram = {
            host.name: budget_mib(host.ram_budget_bytes) for host in self.fleet.inventory.hosts
        }
        previous = self.fleet.previous
        self.running = Counter(_way_of(r) for r in (previous.replicas if previous else ()))
        self.rules_of = defaultdict(list)
        self.least = []
        for number, rule in enumerate(self.program.rules):
            self.least.append(rule.least(self.program.upper))
            for variable in rule.terms:
                self.rules_of[variable].append(number)

    def _place(self, service: Service) -> bool:
        columns = self.fleet.of(service.name)
        for column in sorted(columns, key=lambda each: self._preference(service, each)):
            if self._is_possible(column):
                self._take(service, column)
                return True
        return False

    def _preference(self, service: Service, column: Column) -> tuple[object, ...]:
        stays = self.running[self._way(service, column)] > 0
        left = min(
            (self.free[key] - mib for key, mib in column.mib),
            default=self.free_ram[column.host] - column.ram_mib,
        )
        return (
            loss(service, column), not stays, span(column), -left, -self.free_on[column.host],
            column.host, column.gpus, column.variable,
        )  # fmt: skip

    def _is_possible(self, column: Column) -> bool:
        variable = column.variable
        if self.taken[variable] >= self.program.upper[variable]:
            return False
        if not all(self._leaves_room(number, variable) for number in self.rules_of[variable]):
            return False
        if not self.looks_ahead or self.witness[variable] > self.taken[variable]:
            return True
        values = complete(self.program, self.taken + Counter({variable: 1}))
        if values is None:
            return False
        self.witness = values
        return True

    def _leaves_room(self, number: int, variable: int) -> bool:
        """Whether one more of this variable can be within the rule, at the best for all others."""
        rule = self.program.rules[number]
        weight = rule.terms[variable]
        return rule.high is None or weight <= 0 or self.least[number] + weight <= rule.high

    def _take(self, service: Service, column: Column) -> None:
        variable = column.variable
        self.taken[variable] += 1
        self.running[self._way(service, column)] -= 1
        for key, mib in column.mib:
            self.free[key] -= mib
            self.free_on[key[0]] -= mib
        self.free_ram[column.host] -= column.ram_mib
        for number in self.rules_of[variable]:
            self.least[number] += max(0, self.program.rules[number].terms[variable])

    def _way(self, service: Service, column: Column) -> Way:
        option = column.option
        return service.name, column.host, column.gpus, service.variants[option.variant].name


def _way_of(replica: Replica) -> Way:
    gpus = tuple(share.gpu for share in replica.shares)
    return replica.service, replica.host, gpus, replica.variant
