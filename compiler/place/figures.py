"""What an expert looks at where the objectives leave a choice, in whole numbers for each host.

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

from collections import Counter
from typing import Literal

from compiler.ir.spec import Preference
from compiler.place.levels import mib_with
from compiler.place.problem import Problem, Way
from compiler.place.state import State

Figure = Literal["hosts", "cards", "squeezed", "crowded", "large", "beside", "used", "names"]
Figures = tuple[int, ...]

ORDER: dict[Preference, tuple[Figure, ...]] = {
    "spread": ("hosts", "cards", "squeezed", "crowded", "large", "beside", "names"),
    "pack": ("used", "hosts", "cards", "squeezed", "large", "names"),
    "small-gpus": ("large", "hosts", "cards", "squeezed", "beside", "names"),
}


class Judge:
    """Figures of the hosts of a state; those of a plan are their sum."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.order = ORDER[problem.policy.prefer]
        self._wanted: dict[int, tuple[int, ...]] = {}
        self._keep: list[Way] = []
        """Ways whose identity is a key of `_wanted`."""

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

    def of_host(self, state: State, host: int) -> Figures:
        """The figures of one host, in their order."""
        p = self.problem
        mine: Counter[int] = Counter()
        own: Counter[tuple[int, int]] = Counter()
        on: Counter[int] = Counter()
        wanted: Counter[int] = Counter()
        lacking: Counter[int] = Counter()
        large = names = 0
        for key in state.here[host]:
            standing = state.placed[key]
            way, gpus = standing.way, state.place_of(standing)[1]
            mine[way.service] += 1
            large += way.bulk
            names += sum(gpus) if gpus else host
            for gpu, need, mib in zip(gpus, self.wanted(way), way.mib, strict=True):
                own[way.service, gpu] += 1
                on[gpu] += 1
                wanted[gpu] += need
                lacking[gpu] += need - mib
        value: dict[Figure, int] = {
            "hosts": _pairs(mine),
            "cards": _pairs(own),
            "squeezed": sum(max(0, lack - state.free[gpu]) for gpu, lack in lacking.items()),
            "crowded": sum(
                max(0, wanted[gpu] - p.budget[gpu] // 2) for gpu, n in on.items() if n > 1
            ),
            "large": large,
            "beside": _pairs(on),
            "used": len(on),
            "names": names,
        }
        return tuple(value[name] for name in self.order)


def _pairs(counts: Counter[int] | Counter[tuple[int, int]]) -> int:
    return sum(n * (n - 1) // 2 for n in counts.values() if n > 1)


def plus(first: Figures, second: Figures) -> Figures:
    """The sum of two."""
    return tuple(a + b for a, b in zip(first, second, strict=True))


def minus(first: Figures, second: Figures) -> Figures:
    """The difference of two."""
    return tuple(a - b for a, b in zip(first, second, strict=True))
