"""Places the fleet: one plan within one budget of work, or the conflicts why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from compiler.diagnostics import CompileError, Diagnostic
from compiler.ir.demand import Demands
from compiler.ir.inventory import GpuKey, Inventory
from compiler.ir.placement import (
    Conflict,
    FitsNowhere,
    Placement,
    PlacementError,
    Placements,
)
from compiler.ir.plan import Objective, Optimality, Plan, Unplaced
from compiler.ir.progress import Effort, Reporter, silent
from compiler.ir.spec import Spec
from compiler.place.conflicts import conflicts_of, crowded_in
from compiler.place.covering import fits_one_program, holds_all, is_hopeless
from compiler.place.fleet import build
from compiler.place.freeze import frozen_replicas
from compiler.place.fresh import Best, Budget, Fresh
from compiler.place.problem import Problem, Way
from compiler.place.replan import Replan, keep
from compiler.place.running import problem_of
from compiler.place.score import score_of
from compiler.place.search import cover
from compiler.place.settle import settle
from compiler.place.solver import Infeasible, UndecidedError, feasible
from compiler.place.state import State
from compiler.place.unpack import unpack

# Questions to the state, for each priority, where not all that is needed can be there.
_HOPELESS = 2000

# One column for each place of each service; beyond, clashing rules are not looked for.
_MOST_COLUMNS = 6000


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a placement is to be found."""

    effort: Effort = "normal"
    same: bool = False
    """Whether inventory, spec and lock are those of the previous plan."""
    report: Reporter = silent
    reasons: bool = True
    """Whether it is looked for what is in the way when not all that is needed finds a place."""
    kept: Mapping[GpuKey, int] = field(default_factory=dict)
    """MiB of GPUs that nothing may take."""


def place(
    inventory: Inventory,
    spec: Spec,
    demands: Demands,
    previous: Plan | None,
    how: How | None = None,
) -> Placements:
    """The best placement found; raises PlacementError with every conflict when there is none."""
    how = how or How()
    frozen, broken = frozen_replicas(inventory, spec, previous)
    conflicts: list[Conflict] = list(broken)
    conflicts += _homeless(spec, demands, {replica.service for replica in frozen})
    if conflicts:
        raise PlacementError(tuple(conflicts))
    problem = problem_of(inventory, spec, demands, frozen, previous)
    problem.keep_free(how.kept)
    if how.same and previous is not None and previous.objectives:
        state = _unchanged(problem, previous)
        if state is not None:
            return placements_of(state, previous.objectives, previous.optimality)
    budget = Budget.of(problem, how.effort)
    fresh = Fresh(problem, budget, how.report)
    beside = bool(problem.running)
    if is_hopeless(problem):
        # A short search is enough to tell who is left out.
        best = fresh.best
        best.consider(cover(problem, fresh.flat, _HOPELESS, 1))
    else:
        best = Replan(fresh, budget, _left_out(previous)).run() if beside else fresh.run()
    state = best.state
    if best.score[0] > 0 and (how.kept or not how.reasons):
        raise PlacementError(())
    if best.score[0] > 0:
        state = _rescued(problem, demands, previous, best)
    best.tell("settle")
    settle(state)
    if not beside:
        state = unpack(state)
    best.score = score_of(state)
    objectives = _objectives(best)
    return placements_of(state, objectives, optimality_of(objectives, beside=beside, spec=spec))


def fits(inventory: Inventory, spec: Spec, demands: Demands, previous: Plan | None) -> bool:
    """Whether all that is not optional can be placed."""
    needed = tuple(service for service in spec.services if not service.optional)
    alone = Spec(services=needed, policy=spec.policy)
    if spec.policy.max_moves is None and not spec.policy.freeze:
        return holds_all(problem_of(inventory, alone, demands))
    try:
        place(inventory, alone, demands, previous, How(effort="low", reasons=False))
    except (PlacementError, CompileError):
        return False
    return True


def _homeless(spec: Spec, demands: Demands, frozen: set[str]) -> list[FitsNowhere]:
    """Required services for which not even an empty fleet has a place."""
    return [
        FitsNowhere(
            service=service.name,
            too_large=demands.too_large[service.name],
            refused=demands.refused[service.name],
        )
        for service in spec.services
        if not service.optional and service.name not in frozen and not demands.options[service.name]
    ]


def _left_out(previous: Plan | None) -> frozenset[str]:
    return frozenset(each.service for each in previous.unplaced) if previous else frozenset()


def _unchanged(problem: Problem, previous: Plan) -> State | None:
    """The placement that is there, when all of it goes on; no solver is asked."""
    state = keep(problem, _left_out(previous)).state
    n_frozen = len(problem.frozen)
    goes_on = all(state.goes_on(key) for key in state.placed)
    return state if goes_on and len(state.placed) + n_frozen == len(previous.replicas) else None


def _rescued(problem: Problem, demands: Demands, previous: Plan | None, best: Best) -> State:
    """A placement of all that is needed, which the search did not find; or why there is none."""
    args = (problem.inventory, problem.spec, demands, problem.frozen, previous)
    places = sum(len(problem.families[way.family].places) for ways in problem.least for way in ways)
    if places > _MOST_COLUMNS:
        conflicts = crowded_in(*args, _chosen(best.state))
        raise PlacementError(conflicts) if conflicts else CompileError([_undecided(best)])
    best.tell("proof that not all fits")
    fleet = build(*args)
    small = fits_one_program(problem)
    ruled = small or _is_ruled(problem)
    try:
        answer = feasible(fleet.program, core=ruled) if not is_hopeless(problem) or small else None
    except UndecidedError:
        answer = None
    if answer is None or (isinstance(answer, Infeasible) and not ruled):
        conflicts = crowded_in(*args, _chosen(best.state))
        raise PlacementError(conflicts) if conflicts else CompileError([_undecided(best)])
    if isinstance(answer, Infeasible):
        try:
            raise PlacementError(conflicts_of(*args, answer.core))
        except UndecidedError:
            raise CompileError([_undecided(best)]) from None
    state = State(problem)
    ways: dict[tuple[int, int, str], Way] = {
        (way.service, way.family, repr(way.demand.split) + str(way.variant)): way
        for ways in problem.least
        for way in ways
    }
    for column, n in zip(fleet.columns, answer, strict=False):
        for _ in range(n):
            i = problem.index[column.option.service]
            host = problem.host_number[column.host]
            place = (host, tuple(problem.host_gpus[host][index] for index in column.draws_on))
            told = repr(column.demand.split) + str(column.option.variant)
            for family, at in problem.place_at[place]:
                way = ways.get((i, family, told))
                if way is not None:
                    state.put(way, at)
                    break
    for _ in state.raise_all(sorted(state.placed)):
        pass
    return state


def _is_ruled(problem: Problem) -> bool:
    """Whether anything but memory could keep what is needed apart."""
    needed = [service for service in problem.services if not service.optional]
    if problem.policy.max_moves is not None or any(each.placement.spread for each in needed):
        return True
    if any(each.placement.apart_from for each in needed):
        return True
    return sum(each.replicas for each in needed) > min(problem.ports, default=0)


def _undecided(best: Best) -> Diagnostic:
    p = best.problem
    short = [
        f"`{service.name}` ({len(best.state.of[i])} of {service.replicas} replicas)"
        for i, service in enumerate(p.services)
        if not service.optional and len(best.state.of[i]) < service.replicas
    ]
    return Diagnostic(
        code="undecided",
        detail="No placement of all that is needed was found within the deterministic budget, nor "
        f"the proof that there is none. The best one lacks {', '.join(short)}.",
        hints=(
            "Try `--effort high`.",
            "Mark services as `optional`, or add GPUs.",
        ),
    )


def _chosen(state: State) -> tuple[Placement, ...]:
    p = state.problem
    found = []
    for key in sorted(state.placed):
        standing = state.placed[key]
        way = standing.way
        host, gpus = state.place_of(standing)
        found.append(
            Placement(
                service=p.services[way.service].name,
                variant=way.variant,
                host=p.host_names[host],
                gpus=tuple(p.gpu_index[gpu] for gpu in gpus) if way.demand.devices else (),
                demand=way.demand,
                kv_bytes=way.kv_bytes,
                stays=bool(state.was) and state.goes_on(key),
            )
        )
    return tuple(
        sorted(
            found,
            key=lambda each: (
                each.service, p.host_number[each.host], each.gpus, each.variant, each.kv_bytes or 0
            ),
        )
    )  # fmt: skip


def placements_of(
    state: State, objectives: tuple[Objective, ...] | list[Objective], optimality: Optimality
) -> Placements:
    """All that stands, as the answer of the pass."""
    p = state.problem
    return Placements(
        chosen=_chosen(state),
        frozen=p.frozen,
        unplaced=tuple(
            Unplaced(service=service.name, wanted=service.replicas, placed=len(state.of[i]))
            for i, service in enumerate(p.services)
            if len(state.of[i]) < service.replicas
        ),
        objectives=tuple(objectives),
        optimality=optimality,
        disturbed=state.disturbed,
        moved=state.moved,
    )


def _objectives(best: Best) -> tuple[Objective, ...]:
    """What was reached and the bound, in the words of the plan."""
    found = []
    for (kind, priority), value, bound in zip(best.goals, best.score, best.bounds, strict=True):
        if kind == "disturbed" or kind == "moved" or kind == "required":  # noqa: PLR1714  For types.
            continue
        sign = -1 if kind == "coverage" else 1
        found.append(
            Objective(
                name=kind,
                priority=priority,
                reached=sign * value,
                bound=sign * min(value, bound),
            )
        )
    return tuple(found)


def optimality_of(objectives: Sequence[Objective], *, beside: bool, spec: Spec) -> Optimality:
    """How sure the pass is of its answer."""
    if all(each.reached == each.bound for each in objectives):
        return "optimal"
    return "calm" if beside and not spec.policy.consolidate else "feasible"
