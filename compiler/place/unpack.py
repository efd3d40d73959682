"""Which of several equal hosts carries what: by rule, and not by the path of the search."""

from __future__ import annotations

from collections import defaultdict

from compiler.place.problem import Problem, Way
from compiler.place.score import score_of
from compiler.place.state import State


def unpack(state: State) -> State:
    """The same plan with the loads of equal hosts dealt out anew, the heaviest to the first name.

    No objective changes: hosts are equal only when every family that holds one holds the other.
    """
    problem = state.problem
    before = score_of(state)
    result = State(problem)
    for host in range(len(problem.host_names)):
        _order_gpus(state, host)
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
    return result if score_of(result) == before else state


def _order_gpus(state: State, host: int) -> None:
    """Deals what stands on single GPUs of a host out by rule, among GPUs that are alike.

    Alike are equal GPUs that carry the same replicas of several GPUs: the heaviest load comes
    first, then the first service.
    """
    p = state.problem
    alone: dict[int, list[int]] = {gpu: [] for gpu in p.host_gpus[host]}
    wide: dict[int, list[tuple[int, int]]] = {gpu: [] for gpu in p.host_gpus[host]}
    for key in sorted(state.here[host]):
        standing = state.placed[key]
        for gpu, mib in zip(state.place_of(standing)[1], standing.way.mib, strict=True):
            if standing.way.size == 1:
                alone[gpu].append(key)
            else:
                wide[gpu].append((key, mib))
    sets: dict[object, list[int]] = defaultdict(list)
    for gpu in p.host_gpus[host]:
        families = tuple(family for family, _ in p.place_at[host, (gpu,)])
        barred = tuple(i for i, those in enumerate(p.barred) if gpu in those)
        sets[p.free[gpu], p.budget[gpu], families, barred, tuple(wide[gpu])].append(gpu)

    def load(gpu: int) -> tuple[object, ...]:
        ways = [state.placed[key].way for key in alone[gpu]]
        return -sum(w.total for w in ways), sorted((w.service, w.variant, w.mib) for w in ways), gpu

    moves: list[tuple[int, Way, int]] = []
    for gpus in sets.values():
        for old, new in zip(sorted(gpus, key=load), gpus, strict=True):
            at = dict(p.place_at[host, (new,)])
            if old != new:
                ways = [(key, state.placed[key].way) for key in alone[old]]
                moves += [(key, way, at[way.family]) for key, way in ways]
    for key, _, _ in moves:
        state.take(key)
    for key, way, place in moves:
        state.put(way, place, key)


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
