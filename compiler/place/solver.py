"""The wall round the solver: integers in, integers or a named core out; no fleet, no services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ortools.sat.python import cp_model_helper as sat

# CP-SAT's deterministic clock, not seconds: the same fleet stops at the same point on any machine.
# On a present-day core one unit takes about one second.
STAGE_LIMIT = 5.0

Terms = Mapping[int, int]


class UndecidedError(Exception):
    """The solver reached its limit without any answer."""


@dataclass(slots=True)
class Program:
    """An integer program: bounded variables, named linear rules, objectives in order.

    Objectives are minimised one after another; each is held at its optimum before the next.
    """

    upper: list[int] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    objectives: list[Objective] = field(default_factory=list)

    def variable(self, upper: int) -> int:
        """A new variable from 0 to upper."""
        self.upper.append(upper)
        return len(self.upper) - 1

    def at_most(self, name: str, terms: Terms, bound: int) -> None:
        """The weighted sum is at most bound."""
        self.rules.append(Rule(name, dict(terms), None, bound))

    def at_least(self, name: str, terms: Terms, bound: int) -> None:
        """The weighted sum is at least bound."""
        self.rules.append(Rule(name, dict(terms), bound, None))

    def minimise(self, name: str, terms: Terms) -> None:
        """Adds the next objective."""
        self.objectives.append(Objective(name, {var: w for var, w in terms.items() if w}))


@dataclass(frozen=True, slots=True)
class Rule:
    """One named linear rule. An empty name marks a definition that no core ever names."""

    name: str
    terms: dict[int, int]
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Objective:
    """One weighted sum to be made small."""

    name: str
    terms: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Values of all variables. `unproven`: the first objective whose optimum was not proven."""

    values: tuple[int, ...]
    reached: tuple[int, ...]
    unproven: str | None
    gap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible:
    """No values satisfy all rules; those that `core` names alone contradict each other."""

    core: tuple[str, ...]


def feasible(program: Program, *, core: bool = True) -> tuple[int, ...] | Infeasible:
    """Values that satisfy all rules; UndecidedError if the limit leaves that open.

    Without `core` it is not looked for which rules contradict each other.
    """
    model = _model(program)
    response = _run(model)
    if response.status == sat.CpSolverStatus.INFEASIBLE:
        return Infeasible(core=_core(program) if core else ())
    return _values(response)


def solve(program: Program) -> Solution | Infeasible:
    """Minimises the objectives in order; UndecidedError if the limit leaves no answer at all."""
    model = _model(program)
    response = _run(model)
    if response.status == sat.CpSolverStatus.INFEASIBLE:
        return Infeasible(core=_core(program))
    values = _values(response)
    reached: list[int] = []
    unproven: str | None = None
    gap = 0
    for objective in program.objectives:
        values, bound = _improve(program, model, objective, values)
        best = _sum(objective.terms, values)
        if bound < best and unproven is None:
            unproven, gap = objective.name, best - bound
        reached.append(best)
        _add(model, Rule("", objective.terms, None, best))
    return Solution(values=values, reached=tuple(reached), unproven=unproven, gap=gap)


def improve(
    program: Program, sums: Iterable[Terms], values: list[int], limit: float
) -> tuple[list[int], bool, float]:
    """Minimises sums one after another, from values that satisfy all rules.

    Gives values at least as good, whether that is proven, and the deterministic work it took.
    """
    proven, used = True, 0.0
    best = tuple(values)
    model = _model(program)
    for terms in sums:
        _aim(model, terms, best)
        response = _solve(model, limit)
        used += response.deterministic_time
        proven &= response.status == sat.CpSolverStatus.OPTIMAL
        if response.status in (sat.CpSolverStatus.OPTIMAL, sat.CpSolverStatus.FEASIBLE):
            best = min(best, _values(response), key=lambda each: _sum(terms, each))
        model.clear_objective()
        _add(model, Rule("", dict(terms), None, _sum(terms, best)))
    return list(best), proven, used


def _improve(
    program: Program, model: sat.CpModelProto, objective: Objective, values: tuple[int, ...]
) -> tuple[tuple[int, ...], int]:
    """Better values for one objective, and its proven lower bound."""
    least = sum(min(0, weight) * program.upper[var] for var, weight in objective.terms.items())
    if _sum(objective.terms, values) == least:
        return values, least
    _aim(model, objective.terms, values)
    try:
        response = _run(model)
    except UndecidedError:
        return values, least
    finally:
        model.clear_objective()
    found = _values(response)
    better = min((found, values), key=lambda each: _sum(objective.terms, each))
    if response.status == sat.CpSolverStatus.OPTIMAL:
        return found, _sum(objective.terms, found)
    # The bound of an integer objective rounds up; a hair less guards against the float's error.
    bound = -int(-(response.best_objective_bound - 1e-6) // 1)
    return better, bound


def _aim(model: sat.CpModelProto, terms: Terms, values: Iterable[int]) -> None:
    """Sets the objective, and the answer that there is as a hint."""
    model.objective.vars.clear()
    model.objective.coeffs.clear()
    model.objective.vars.extend(list(terms))
    model.objective.coeffs.extend(list(terms.values()))
    hint = list(values)
    model.solution_hint.vars.clear()
    model.solution_hint.values.clear()
    model.solution_hint.vars.extend(list(range(len(hint))))
    model.solution_hint.values.extend(hint)


def _run(model: sat.CpModelProto) -> sat.CpSolverResponse:
    response = _solve(model, STAGE_LIMIT)
    if response.status == sat.CpSolverStatus.UNKNOWN:
        raise UndecidedError
    return response


def _solve(model: sat.CpModelProto, limit: float) -> sat.CpSolverResponse:
    wrapper = sat.SolveWrapper()
    parameters = sat.SatParameters()
    parameters.num_workers = 1
    parameters.random_seed = 0
    parameters.max_deterministic_time = limit
    # The relaxation of what multiplies several objectives is weak; level 2 only costs.
    parameters.linearization_level = 1
    wrapper.set_parameters(parameters)
    # Its stub says nothing of types.
    response: sat.CpSolverResponse = wrapper.solve(model)  # type: ignore[no-untyped-call]
    if response.status == sat.CpSolverStatus.MODEL_INVALID:
        message = "the solver finds the model invalid"
        raise RuntimeError(message)
    return response


def _values(response: sat.CpSolverResponse) -> tuple[int, ...]:
    return tuple(int(value) for value in response.solution)


def _sum(terms: Terms, values: tuple[int, ...]) -> int:
    return sum(weight * values[var] for var, weight in terms.items())


def _model(program: Program) -> sat.CpModelProto:
    model = sat.CpModelProto()
    for upper in program.upper:
        model.variables.add().domain.extend([0, upper])
    for rule in program.rules:
        _add(model, rule)
    return model


def _add(model: sat.CpModelProto, rule: Rule, enforced_by: int | None = None) -> None:
    constraint = model.constraints.add()
    if enforced_by is not None:
        constraint.enforcement_literal.append(enforced_by)
    constraint.linear.vars.extend(list(rule.terms))
    constraint.linear.coeffs.extend(list(rule.terms.values()))
    low = -(1 << 62) if rule.low is None else rule.low
    high = (1 << 62) if rule.high is None else rule.high
    constraint.linear.domain.extend([low, high])


def _core(program: Program) -> tuple[str, ...]:
    """A small set of rule names that cannot hold together, shrunk by leaving out one at a time."""
    names = list(dict.fromkeys(rule.name for rule in program.rules if rule.name))
    kept = _sufficient(program, names)
    for name in list(kept):
        rest = [each for each in kept if each != name]
        if not _feasible(program, rest):
            kept = rest
    return tuple(kept)


def _sufficient(program: Program, names: list[str]) -> list[str]:
    model = sat.CpModelProto()
    for upper in program.upper:
        model.variables.add().domain.extend([0, upper])
    literal: dict[str, int] = {}
    for name in names:
        literal[name] = len(program.upper) + len(literal)
        model.variables.add().domain.extend([0, 1])
    for rule in program.rules:
        _add(model, rule, literal.get(rule.name))
    model.assumptions.extend(list(literal.values()))
    try:
        response = _run(model)
    except UndecidedError:
        return names
    found = set(response.sufficient_assumptions_for_infeasibility)
    kept = [name for name in names if literal[name] in found]
    return kept or names


def _feasible(program: Program, names: Iterable[str]) -> bool:
    wanted = set(names)
    reduced = Program(
        upper=program.upper,
        rules=[rule for rule in program.rules if not rule.name or rule.name in wanted],
    )
    try:
        return bool(_run(_model(reduced)).status != sat.CpSolverStatus.INFEASIBLE)
    except UndecidedError:
        return True
