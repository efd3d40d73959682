"""Places the fleet: the program solved, refined, and turned into placements or conflicts."""

from __future__ import annotations

from compiler.diagnostics import CompileError, Diagnostic
from compiler.ir.demand import Demands
from compiler.ir.inventory import Inventory
from compiler.ir.placement import Conflict, FitsNowhere, PlacementError, Placements
from compiler.ir.plan import Objective, Plan, Unplaced
from compiler.ir.spec import Spec
from compiler.place.conflicts import conflicts_of
from compiler.place.fleet import Fleet, build, refine
from compiler.place.freeze import frozen_replicas
from compiler.place.settle import settle
from compiler.place.solver import Infeasible, Solution, UndecidedError, solve


def place(inventory: Inventory, spec: Spec, demands: Demands, previous: Plan | None) -> Placements:
    """The best placement; raises PlacementError with every conflict when there is none."""
    frozen, broken = frozen_replicas(inventory, spec, previous)
    conflicts: list[Conflict] = list(broken)
    conflicts += _homeless(spec, demands, {replica.service for replica in frozen})
    if conflicts:
        raise PlacementError(tuple(conflicts))
    fleet = build(inventory, spec, demands, frozen, previous)
    try:
        solution = solve(fleet.program)
        if isinstance(solution, Infeasible):
            raise PlacementError(
                conflicts_of(inventory, spec, demands, frozen, previous, solution.core)
            )
        return _answer(fleet, solution)
    except UndecidedError:
        raise CompileError([_UNDECIDED]) from None


_UNDECIDED = Diagnostic(
    code="undecided",
    detail="Neither a placement nor the proof that there is none was found within the "
    "deterministic limit.",
    hints=("Pin large services to hosts, or select fewer hosts for them.",),
)


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


def _answer(fleet: Fleet, solution: Solution) -> Placements:
    chosen = fleet.chosen(settle(fleet, solution))
    unproven, gap = solution.unproven, solution.gap
    finer = refine(fleet, chosen)
    if finer is not None:
        refined = solve(finer.program)
        # The coarse answer is one of the finer program's, so that there always is one.
        if isinstance(refined, Infeasible):
            raise AssertionError(refined.core)
        chosen = finer.chosen(settle(finer, refined))
        unproven = unproven or refined.unproven
        gap = max(gap, refined.gap)
    unplaced = []
    for service in fleet.services:
        placed = sum(1 for placement in chosen if placement.service == service.name)
        if placed < service.replicas:
            unplaced.append(Unplaced(service=service.name, wanted=service.replicas, placed=placed))
    return Placements(
        chosen=chosen,
        frozen=fleet.frozen,
        unplaced=tuple(unplaced),
        objectives=_objectives(unproven, gap),
    )


def _objectives(unproven: str | None, gap: int) -> tuple[Objective, ...]:
    if unproven is None:
        return ()
    return (Objective(name="gpus", priority=None, reached=gap, bound=0),)
