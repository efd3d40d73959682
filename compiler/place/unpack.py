"""Which of several equal hosts carries what: by rule, and not by the path of the search."""

from __future__ import annotations

from collections import defaultdict

from compiler.place.problem import Problem
from compiler.place.score import score_of
from compiler.place.state import State


def unpack(state: State) -> State:
    """The same plan with the loads of equal hosts dealt out anew, the heaviest to the first name.

    No objective changes: hosts are equal only when every family that holds one holds the other.
    """
    problem = state.problem
    result = State(problem)
    dealt: dict[int, int] = {}
    for hosts in _alike(problem):
        loads = sorted(hosts, key=lambda host: (_load(state, host), host))
        dealt.update(zip(loads, hosts, strict=True))
    number = {
        (family.number, place): n
        for family in problem.families
        for n, place in enumerate(family.places)
    }
    for key in sorted(state.placed):
        standing = state.placed[key]
        host, gpus = state.place_of(standing)
        to = dealt[host]
        at = {gpu: n for n, gpu in enumerate(problem.host_gpus[host])}
        place = (to, tuple(problem.host_gpus[to][at[gpu]] for gpu in gpus))
        result.put(standing.way, number[standing.way.family, place], key)
    return result if score_of(result) == score_of(state) else state


def _alike(problem: Problem) -> list[list[int]]:
    """Hosts in sets of equals, each in the order of names."""
    families: dict[int, list[int]] = defaultdict(list)
    for family in problem.families:
        for host in family.hosts:
            families[host].append(family.number)
    found: dict[object, list[int]] = defaultdict(list)
    for host in range(len(problem.host_names)):
        gpus = problem.host_gpus[host]
        key = (
            tuple(families[host]),
            tuple(problem.free[gpu] for gpu in gpus),
            tuple(problem.budget[gpu] for gpu in gpus),
            tuple(
                tuple(i for i, barred in enumerate(problem.barred) if gpu in barred) for gpu in gpus
            ),
            problem.ram[host],
            problem.ports[host],
        )
        found[key].append(host)
    return list(found.values())


def _load(state: State, host: int) -> tuple[object, ...]:
    """What a host carries, so that the heaviest comes first."""
    first = state.problem.host_gpus[host][0] if state.problem.host_gpus[host] else 0
    carried = []
    for key in state.here[host]:
        standing = state.placed[key]
        way = standing.way
        gpus = tuple(gpu - first for gpu in state.place_of(standing)[1])
        carried.append((gpus, way.service, way.variant, way.mib))
    total = sum(state.placed[key].way.total for key in state.here[host])
    return (-total, tuple(sorted(carried)))
