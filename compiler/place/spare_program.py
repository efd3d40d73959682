"""A small fleet and the spares for the loss of each of its hosts as one exact program."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from compiler.place.exact import Model, merged
from compiler.place.problem import Problem, Way
from compiler.place.score import goals_of
from compiler.place.solver import Solution, UndecidedError, solve
from compiler.place.state import State

# Up to so many GPUs, and variables for spares.
_MOST_GPUS = 24
_MOST_VARIABLES = 20_000

# What is decided last: replicas of one service apart.
_TASTE = "apart"


def placed_with_spares(problem: Problem) -> tuple[State, bool] | None:
    """The best state whose spares have room, and whether that is proven; None when too large."""
    state = State(problem)
    wanted = +Counter(dict(enumerate(problem.possible)))
    runs: dict[int, list[Way]] = defaultdict(list)
    for each in problem.running:
        if each.way is not None:
            runs[each.service].append(each.way)
    n_hosts = len(problem.host_names)
    places = sum(
        len(problem.families[way.family].places)
        for i in wanted
        if problem.services[i].survives
        for way in problem.least[i]
    )
    if len(problem.gpu_host) > _MOST_GPUS or places * n_hosts > _MOST_VARIABLES:
        return None
    model = Model(state, range(n_hosts), wanted, lambda i: [*problem.ways[i], *runs[i]])
    _add_spares(model)
    kinds = [kind for kind, _ in goals_of(problem)]
    sums = [each for each in (*model.sums(), model.names()) if each.goal[0] in kinds and each.terms]
    for terms in merged(sums):
        model.program.minimise("objective", terms)
    model.program.minimise(_TASTE, _together(model))
    try:
        answer = solve(model.program)
    except UndecidedError:
        return None
    if not isinstance(answer, Solution):
        return None
    for way, n in model.chosen(list(answer.values[: len(model.columns)])):
        state.put(way, n)
    return state, answer.unproven in (None, _TASTE)


def _together(model: Model) -> dict[int, int]:
    """Variables that count replicas beside another of their service on a host, and on a GPU."""
    p, found = model.problem, dict[int, int]()
    hosts: dict[tuple[int, int], list[int]] = defaultdict(list)
    gpus: dict[tuple[int, int], list[int]] = defaultdict(list)
    for x, (way, n) in enumerate(model.columns):
        host, group = p.families[way.family].places[n]
        hosts[way.service, host].append(x)
        for gpu in group:
            gpus[way.service, gpu].append(x)
    weight = sum(model.wanted.values()) * max(1, len(p.gpu_host)) + 1
    for groups, worth in ((hosts, weight), (gpus, 1)):
        for (i, _), columns in groups.items():
            if model.wanted[i] > 1:
                more = model.program.variable(model.wanted[i])
                model.program.at_most("", {**dict.fromkeys(columns, 1), more: -1}, 1)
                found[more] = worth
    return found


def _add_spares(model: Model) -> None:
    """For each host that may be lost, variables for where its replicas would go."""
    p, program = model.problem, model.program
    surviving = sorted(i for i in model.wanted if p.services[i].survives)
    on_host: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    columns_on: dict[int, dict[int, int]] = defaultdict(dict)
    for x, (way, n) in enumerate(model.columns):
        host, gpus = p.families[way.family].places[n]
        on_host[host, way.service][x] = 1
        for gpu, mib in zip(gpus, way.mib, strict=True):
            columns_on[gpu][x] = mib
    ready = {n for n, host in enumerate(p.inventory.hosts) if host.state == "ready"}
    for lost in range(len(p.host_names)):
        spares = {
            i: _spare_variables(model, i, lost, ready) for i in surviving if on_host[lost, i]
        }  # fmt: skip
        for i, mine in spares.items():
            # As many spares as replicas that are lost.
            terms = {**on_host[lost, i], **{y: -1 for y, _, _ in mine}}
            program.at_most("", terms, 0)
        _limit_spares(model, lost, spares, columns_on)


def _spare_variables(
    model: Model, i: int, lost: int, ready: set[int]
) -> list[tuple[int, Way, int]]:  # fmt: skip
    p = model.problem
    found = []
    for way in p.least[i]:
        for n, (host, _) in enumerate(p.families[way.family].places):
            if host != lost and host in ready and model.state.fits(way, n):
                found.append((model.program.variable(model.wanted[i]), way, n))
    return found


def _limit_spares(
    model: Model,
    lost: int,
    spares: Mapping[int, list[tuple[int, Way, int]]],
    columns_on: Mapping[int, Mapping[int, int]],
) -> None:
    """Memory, RAM, ports and rules when this host is lost and its spares are taken."""
    p, state, add = model.problem, model.state, model.program.at_most
    left = {x for x, (way, n) in enumerate(model.columns)
            if p.families[way.family].places[n][0] != lost}  # fmt: skip
    by_gpu: dict[int, dict[int, int]] = defaultdict(dict)
    ram: dict[int, dict[int, int]] = defaultdict(dict)
    ports: dict[int, dict[int, int]] = defaultdict(dict)
    for mine in spares.values():
        for y, way, n in mine:
            host, gpus = p.families[way.family].places[n]
            ports[host][y] = 1
            if way.ram:
                ram[host][y] = way.ram
            for gpu, mib in zip(gpus, way.mib, strict=True):
                by_gpu[gpu][y] = mib
    for gpu, terms in by_gpu.items():
        add("", {**{x: m for x, m in columns_on[gpu].items() if x in left}, **terms},
            state.free[gpu])  # fmt: skip
    for host, terms in ports.items():
        here = {x for x in left if _host_of(model, x) == host}
        add("", {**dict.fromkeys(here, 1), **terms}, state.ports[host])
        if ram[host]:
            add("", {**{x: model.columns[x][0].ram for x in here}, **ram[host]}, state.ram[host])
    for i, mine in spares.items():
        _keep_apart(model, i, mine, spares, left)


def _host_of(model: Model, x: int) -> int:
    way, n = model.columns[x]
    return model.problem.families[way.family].places[n][0]


def _keep_apart(
    model: Model,
    i: int,
    mine: list[tuple[int, Way, int]],
    spares: Mapping[int, list[tuple[int, Way, int]]],
    left: set[int],
) -> None:
    """`spread` and `apart_from` for the spares of a service."""
    p, add = model.problem, model.program.at_most
    places = {x: p.families[model.columns[x][0].family].places[model.columns[x][1]] for x in left}
    spots = {y: p.families[way.family].places[n] for y, way, n in mine}
    spread = p.services[i].placement.spread
    if spread:
        own = {x: spot for x, spot in places.items() if model.columns[x][0].service == i}
        for host in {spot[0] for spot in spots.values()}:
            here = [z for z, spot in (*own.items(), *spots.items())
                    if spot[0] == host and (spread == "host" or not spot[1])]  # fmt: skip
            if len(here) > 1:
                add("", dict.fromkeys(here, 1), 1)
        for gpu in {gpu for spot in spots.values() for gpu in spot[1]} if spread == "gpu" else ():
            on = [z for z, spot in (*own.items(), *spots.items()) if gpu in spot[1]]
            add("", dict.fromkeys(on, 1), 1)
    for j in p.apart[i]:
        others = {x: spot for x, spot in places.items() if model.columns[x][0].service == j}
        others |= {y: p.families[w.family].places[n] for y, w, n in spares.get(j, ())}
        for gpu in {gpu for spot in spots.values() for gpu in spot[1]}:
            first = [y for y, spot in spots.items() if gpu in spot[1]]
            second = [z for z, spot in others.items() if gpu in spot[1]]
            if not second:
                continue
            either = model.program.variable(1)
            most = model.wanted[i]
            add("", {**dict.fromkeys(first, 1), either: -most}, 0)
            most = sum(model.wanted.values())
            add("", {**dict.fromkeys(second, 1), either: most}, most)
