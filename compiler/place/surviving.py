"""`survives: host`: room is kept so that the loss of any one host is borne.

For each host what its replicas of such services would take elsewhere, beside all others as they
stand, is a spare. Spares for different hosts may be the same memory, as one host is lost at a time.
The best plan without the rule is the best with it when its own free memory holds all spares. Else
a small fleet is one exact program over the plan and the spares of every loss; in a larger one the
memory of spares that find no room is kept free, and all is placed anew beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from compiler.diagnostics import CompileError
from compiler.ir.demand import Demands
from compiler.ir.inventory import GpuKey, Inventory
from compiler.ir.placement import PlacementError, Placements
from compiler.ir.plan import Objective, Plan
from compiler.ir.spec import Spec
from compiler.place import placing
from compiler.place.placing import How, place
from compiler.place.problem import Problem
from compiler.place.running import problem_of
from compiler.place.score import goals_of, score_of
from compiler.place.spare_program import placed_with_spares
from compiler.place.spares import (
    Spared,
    conflicts_of_spares,
    keep_free,
    spare_of,
    spares_of,
    state_of,
)
from compiler.place.state import State

# Times that a large fleet is placed anew beside memory that is kept.
_ROUNDS = 6


def place_surviving(
    inventory: Inventory,
    spec: Spec,
    demands: Demands,
    previous: Plan | None,
    how: How | None = None,
) -> Placements:
    """As `place`, with the spares of services that are to survive the loss of a host.

    Raises PlacementError when the rule cannot hold, unless a loss is being borne: then the services
    that no spare is left for are told as exposed.
    """
    found = place(inventory, spec, demands, previous, how)
    if not any(service.survives for service in spec.services):
        return found
    return _Surviving(inventory, spec, demands, previous, how or How()).of(found)


def fits(inventory: Inventory, spec: Spec, demands: Demands, previous: Plan | None) -> bool:
    """Whether all that is not optional can be placed, with its spares."""
    if not any(service.survives for service in spec.services):
        return placing.fits(inventory, spec, demands, previous)
    needed = tuple(service for service in spec.services if not service.optional)
    alone = Spec(services=needed, policy=spec.policy)
    try:
        place_surviving(inventory, alone, demands, previous, How(effort="low"))
    except (PlacementError, CompileError):
        return False
    return True


class _Surviving:
    def __init__(
        self,
        inventory: Inventory,
        spec: Spec,
        demands: Demands,
        previous: Plan | None,
        how: How,
    ) -> None:
        self.args = (inventory, spec, demands, previous)
        self.inventory, self.spec, self.previous, self.how = inventory, spec, previous, how

    def of(self, first: Placements) -> Placements:
        """The plan with its spares, or another one that has them."""
        problem = problem_of(*self.args[:3], first.frozen, self.previous)
        state = state_of(problem, first)
        spared = spares_of(state, self.previous)
        if not spared.short:
            return self._with(state, first, spared)
        if self._is_lost_now():
            # This is what the spare was kept for; nothing is moved to make another at once.
            return self._with(state, first, spared)
        found = self._exact(problem, first) or self._beside_kept(first, spared, state)
        if found is not None:
            return found
        p = state.problem
        short = {p.services[i].name for of in spared.short.values() for i in of}
        if self.previous is not None and short <= set(self.previous.exposed):
            return self._with(state, first, spared)
        raise PlacementError(tuple(conflicts_of_spares(state, spared)))

    def _with(self, state: State, placements: Placements, spared: Spared) -> Placements:
        p = state.problem
        frozen = set(self.spec.policy.freeze)
        short = {p.services[i].name for of in spared.short.values() for i in of}
        held = {r.service for r in placements.frozen if r.service in frozen}
        exposed = {s.name for s in self.spec.services if s.survives} & (short | held)
        spares = [
            spare_of(p, lost, way, n)
            for lost, entries in sorted(spared.entries.items())
            for way, n in entries
        ]
        spares.sort(key=lambda s: (p.host_number[s.lost], s.service, s.host, s.gpus))
        return replace(placements, spares=tuple(spares), exposed=tuple(sorted(exposed)))

    def _is_lost_now(self) -> bool:
        """Whether hosts or GPUs that served the previous plan do so no longer."""
        if self.previous is None:
            return False
        hosts = {host.name: host for host in self.inventory.hosts}
        for ledger in self.previous.hosts:
            host = hosts.get(ledger.host)
            if host is None or (host.state != "ready" and ledger.state == "ready"):
                return True
        for gpu in self.previous.gpus:
            gpus = hosts[gpu.host].gpus
            if gpu.gpu >= len(gpus) or (gpus[gpu.gpu].state, gpu.state) == ("broken", "ready"):
                return True
        return False

    # Another plan

    def _exact(self, problem: Problem, first: Placements) -> Placements | None:
        """The plan and the spares of every loss as one program; None where that is too large."""
        found = placed_with_spares(problem)
        if found is None:
            return None
        state, proven = found
        spared = spares_of(state, self.previous)
        if spared.short or _lacks(state):
            return None
        return self._told(state, spared, first, proven=proven)

    def _beside_kept(
        self, first: Placements, spared: Spared, state: State
    ) -> Placements | None:  # fmt: skip
        """The fleet placed anew beside memory that is kept for what found no room."""
        kept: Counter[GpuKey] = Counter()
        low = replace(self.how, effort="low", same=False)
        found: Placements | None = None
        for _ in range(_ROUNDS):
            keep_free(state, spared, kept)
            answer = self._try(kept, low)
            if answer is None:
                return None
            state, spared = answer
            if not spared.short:
                found = self._told(state, spared, first, proven=False)
                break
        if found is None or self.how.effort == "low":
            return found
        longer = self._try(kept, replace(self.how, same=False))
        if longer is None or longer[1].short or score_of(longer[0]) >= score_of(state):
            return found
        return self._told(*longer, first, proven=False)

    def _try(self, kept: Mapping[GpuKey, int], how: How) -> tuple[State, Spared] | None:
        try:
            found = place(*self.args, replace(how, kept=dict(kept)))
        except (PlacementError, CompileError):
            return None
        problem = problem_of(*self.args[:3], found.frozen, self.previous)
        state = state_of(problem, found)
        return state, spares_of(state, self.previous)

    def _told(
        self, state: State, spared: Spared, first: Placements, *, proven: bool
    ) -> Placements:  # fmt: skip
        """The answer, with bounds that the rule does not loosen.

        Without the rule no plan is better than its bounds say; behind the first objective in which
        this plan is worse, nothing is known.
        """
        found = placing.placements_of(state, first.objectives, first.optimality)
        reached = {(n, p): v for (n, p), v in zip(
            goals_of(state.problem), score_of(state), strict=True)}  # fmt: skip
        objectives: list[Objective] = []
        same = True
        for each in first.objectives:
            sign = -1 if each.name == "coverage" else 1
            value = sign * reached[each.name, each.priority]
            bound = each.bound if same else self._trivial(each)
            if proven:
                bound = value
            bound = max(bound, value) if sign < 0 else min(bound, value)
            objectives.append(each.model_copy(update={"reached": value, "bound": bound}))
            same = same and value == each.reached
        beside = bool(state.problem.running)
        optimality = placing.optimality_of(objectives, beside=beside, spec=self.spec)
        found = replace(found, objectives=tuple(objectives), optimality=optimality)
        return self._with(state, found, spared)

    def _trivial(self, each: Objective) -> int:
        if each.name != "coverage":
            return 0
        frozen = {r.service for r in self.previous.replicas} if self.previous else set()
        frozen &= set(self.spec.policy.freeze)
        return sum(
            service.replicas
            for service in self.spec.services
            if service.priority == each.priority and service.name not in frozen
        )


def _lacks(state: State) -> bool:
    p = state.problem
    return any(
        len(state.of[i]) < service.replicas
        for i, service in enumerate(p.services)
        if not service.optional
    )
