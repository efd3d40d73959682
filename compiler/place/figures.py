"""What an expert looks at where the objectives leave a choice, in whole numbers.

The smaller the better, and the order is that of `policy.prefer`:

- hosts, cards: pairs of replicas of one service on one host, and on one GPU.
- squeezed: MiB of all the room wanted that its GPUs do not have.
- crowded: MiB that replicas on a shared GPU want beyond half of it. Up to the half small services
  share the GPUs of their size; beyond, an idle GPU is better, even a larger one.
- large: MiB of the GPUs taken, so that large ones stay free for what needs them.
- beside: pairs of replicas on one GPU: idle GPUs of one size are taken before any is shared.
- used: GPUs in use.
- names: places further down the inventory.
"""

from __future__ import annotations

from typing import Literal

from compiler.ir.spec import Preference
from compiler.place.levels import mib_with
from compiler.place.problem import Problem, Way
from compiler.place.state import Standing, State

Figure = Literal["hosts", "cards", "squeezed", "crowded", "large", "beside", "used", "names"]
Figures = tuple[int, ...]

ORDER: dict[Preference, tuple[Figure, ...]] = {
    "spread": ("hosts", "cards", "squeezed", "crowded", "large", "beside", "names"),
    "pack": ("used", "hosts", "cards", "squeezed", "large", "names"),
    "small-gpus": ("large", "hosts", "cards", "squeezed", "beside", "names"),
}


class Ledger:
    """A state, and of each of its GPUs what the figures need; all changes go through here."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.problem: Problem = state.problem
        self.order = ORDER[self.problem.policy.prefer]
        self._on = [0] * len(state.free)
        self._wants = [0] * len(state.free)
        self._lacks = [0] * len(state.free)
        self._wanted: dict[int, tuple[int, ...]] = {}
        self._keep: list[Way] = []
        """Ways whose identity is a key of `_wanted`."""
        for standing in state.placed.values():
            self._count(standing.way, state.place_of(standing)[1], 1)

    def put(self, way: Way, place: int, key: int) -> None:
        """Stands a replica there."""
        self.state.put(way, place, key)
        self._count(way, self.problem.families[way.family].places[place][1], 1)

    def take(self, key: int) -> Standing:
        """Takes a replica away."""
        standing = self.state.take(key)
        self._count(standing.way, self.state.place_of(standing)[1], -1)
        return standing

    def _count(self, way: Way, gpus: tuple[int, ...], sign: int) -> None:
        for gpu, need, mib in zip(gpus, self.wanted(way), way.mib, strict=True):
            self._on[gpu] += sign
            self._wants[gpu] += sign * need
            self._lacks[gpu] += sign * (need - mib)

    def is_idle(self, gpus: tuple[int, ...]) -> bool:
        """Whether nothing stands on these GPUs."""
        return not any(self._on[gpu] for gpu in gpus)

    def wanted(self, way: Way) -> tuple[int, ...]:
        """MiB of each GPU with all the room that a replica wants."""
        known = self._wanted.get(id(way))
        if known is None:
            growth = way.demand.growth
            known = way.mib
            if growth is not None:
                most = mib_with(way.demand, growth.max_kv_bytes)
                known = tuple(max(a, b) for a, b in zip(most, way.mib, strict=True))
            self._wanted[id(way)] = known
            self._keep.append(way)
        return known

    def cost(self, way: Way, place: int) -> Figures:
        """What the figures of the plan gain when one more replica stands there."""
        p, state = self.problem, self.state
        host, gpus = p.families[way.family].places[place]
        own = state.on_gpu[way.service]
        cards = squeezed = crowded = beside = used = 0
        for gpu, need in zip(gpus, self.wanted(way), strict=True):
            n, wants, lacks = self._on[gpu], self._wants[gpu], self._lacks[gpu]
            free = state.free[gpu]
            cards += own[gpu]
            beside += n
            # What it is given is wanted and no longer free: the lack grows by all that it wants.
            squeezed += max(0, lacks + need - free) - max(0, lacks - free)
            if n:
                half = p.budget[gpu] // 2
                crowded += max(0, wants + need - half) - (max(0, wants - half) if n > 1 else 0)
            else:
                used += 1
        value: dict[Figure, int] = {
            "hosts": state.on_host[way.service][host],
            "cards": cards,
            "squeezed": squeezed,
            "crowded": crowded,
            "large": way.bulk,
            "beside": beside,
            "used": used,
            "names": sum(gpus) if gpus else host,
        }
        return tuple([value[name] for name in self.order])


def plus(first: Figures, second: Figures) -> Figures:
    """The sum of two."""
    return tuple([a + b for a, b in zip(first, second, strict=True)])
