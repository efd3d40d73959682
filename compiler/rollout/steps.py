"""The steps of one host: what stops and what starts, so that everything fits at every moment.

A step stops replicas and then starts others. What it starts must fit beside all that runs then, old
and new. As few as possible are down at once, and what ends for good runs until its room is needed,
or until the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from compiler.ir.plan import Replica
from compiler.ir.rollout import SwitchStep
from compiler.rollout.change import HostChange, fits


def switch_steps(
    change: HostChange, quotas: Mapping[str, int], weights: Mapping[str, int]
) -> tuple[SwitchStep, ...]:
    """The steps of a host.

    `quotas`: how many replicas of a service a step may take down, at least one. `weights`: what it
    costs to have one of a service down; where replicas are in each other's way, the cheapest gives
    way, and is down until the others run.
    """
    state = _State(change=change, running=dict(change.old))
    pending = list(change.starts)
    steps = []
    while pending:
        running = dict(state.running)
        batch, stopped = _batch(state, pending, quotas)
        if not batch:
            first, stopped = _forced(state, pending, weights)
            state.running = {n: r for n, r in running.items() if n not in stopped}
            batch, more = _batch(state, pending, quotas, first)
            stopped |= more
        state.running = {n: r for n, r in running.items() if n not in stopped}
        state.running |= {name: change.new[name] for name in batch}
        pending = [name for name in pending if name not in batch]
        steps.append(_step(change, stopped, batch))
    left = set(change.stops) & state.running.keys()
    if left:
        steps.append(_step(change, left, ()))
    return tuple(steps)


@dataclass(slots=True)
class _State:
    """What runs on the host between two steps."""

    change: HostChange
    running: dict[str, Replica] = field(default_factory=dict)

    def fits_with(self, batch: Iterable[str], without: Iterable[str] = ()) -> bool:
        """Whether a batch of new replicas can run in the place of their old selves."""
        gone = {*batch, *without}
        stay = [replica for name, replica in self.running.items() if name not in gone]
        return fits([*stay, *(self.change.new[name] for name in batch)], self.change)


def _batch(
    state: _State, pending: list[str], quotas: Mapping[str, int], first: str | None = None
) -> tuple[list[str], set[str]]:
    """Replicas that can start together, and those of them that run already and stop for it."""
    change = state.change
    batch = [first] if first else []
    grew = True
    while grew:
        grew = False
        for name in pending:
            if name in batch or not state.fits_with([*batch, name]):
                continue
            service = change.new[name].service
            down = sum(
                1 for n in (*batch, name) if n in state.running and change.new[n].service == service
            )
            if name in state.running and down > quotas.get(service, 1):
                continue
            batch.append(name)
            # What has made room by its smaller self lets in others that came before it.
            grew = True
    return batch, {name for name in batch if name in state.running}


def _forced(state: _State, pending: list[str], weights: Mapping[str, int]) -> tuple[str, set[str]]:
    """The replica that can start when the cheapest others stop for it, and who stops."""
    change = state.change
    ends = [name for name in change.stops if name in state.running]
    choices = []
    for position, name in enumerate(pending):
        waiting = [n for n in pending if n in state.running and n != name]
        cost = {n: weights.get(state.running[n].service, 1) for n in waiting}
        candidates = [*ends, *sorted(waiting, key=lambda n: (cost[n], n))]
        stopped: list[str] = []
        while candidates and not state.fits_with([name], stopped):
            stopped.append(candidates.pop(0))
        # Those that turn out not to be in the way, the dearest first.
        for other in reversed(stopped.copy()):
            without = [n for n in stopped if n != other]
            if state.fits_with([name], without):
                stopped = without
        if state.fits_with([name], stopped):
            price = sum(cost.get(n, 0) for n in stopped)
            choices.append((price, position, name, {*stopped, *({name} & state.running.keys())}))
    if not choices:
        # Only a plan that does not fit by itself comes here: all that is old has to go.
        return pending[0], {n for n in (*ends, *pending) if n in state.running}
    _, _, name, stopped_names = min(choices, key=lambda choice: choice[:2])
    return name, stopped_names


def _step(change: HostChange, stopped: Iterable[str], batch: Iterable[str]) -> SwitchStep:
    """Stops in the reverse order of the start, and what ends for good before all others."""
    place = {name: number for number, name in enumerate(change.order)}
    return SwitchStep(
        stop=sorted(stopped, key=lambda name: (-place.get(name, len(place)), name)),
        start=sorted(batch, key=lambda name: place[name]),
    )
