"""Whether all that is needed can stand at all: an answer for trials, which need no plan."""

from __future__ import annotations

from compiler.place.construct import SMALLEST, Taste, construct
from compiler.place.problem import Problem
from compiler.place.score import Weights
from compiler.place.search import Search, cover
from compiler.place.state import State
from compiler.place.whole import cover_all

# Of a fleet so small one exact program is quick.
_SMALL_GPUS, _SMALL_REPLICAS = 24, 20

# Questions of one search, and deterministic work of the exact program.
_QUESTIONS = 3000
_LIMIT = 0.3


def fits_one_program(problem: Problem) -> bool:
    """Whether one exact program over the whole fleet is quick."""
    return len(problem.gpu_host) <= _SMALL_GPUS and sum(problem.possible) <= _SMALL_REPLICAS


def is_hopeless(problem: Problem) -> bool:
    """Whether memory alone rules out that all that is needed stands, whatever the placement."""
    least = 0
    for i, service in enumerate(problem.services):
        if service.optional:
            continue
        if problem.possible[i] < service.replicas:
            return True
        least += service.replicas * min(way.total for way in problem.least[i])
    return least > sum(max(0, mib) for mib in problem.free)


def holds_all(problem: Problem) -> bool:
    """Whether every replica of every service finds a place; a search may miss that it does."""
    if is_hopeless(problem):
        return False
    flat = [500] * len(problem.families)
    weights = Weights(problem, coverage_alone=True)
    for factor in (0, SMALLEST):
        for by_priority in (True, False):
            taste = Taste(factor=factor, by_priority=by_priority)
            state = construct(problem, weights, flat, taste)
            if _is_full(state):
                return True
    state = cover(problem, flat, _QUESTIONS // max(1, len(problem.priorities)), 1)
    if _is_full(state):
        return True
    search = Search(state, weights, flat, 2)
    search.run(_QUESTIONS, stop=search.is_full)
    if _is_full(state):
        return True
    if fits_one_program(problem):
        cover_all(state, _LIMIT)
    return _is_full(state)


def _is_full(state: State) -> bool:
    p = state.problem
    return all(len(state.of[i]) >= service.replicas for i, service in enumerate(p.services))
