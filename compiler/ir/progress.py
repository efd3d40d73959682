"""How far a pass has come, told to whoever wants to know; a pass knows no clock and no terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Effort = Literal["low", "normal", "high"]
"""How much work a compile may spend on the placement."""

WAITING = "wait for the hub"
"""The stage of each wait for the hub, which is told in a line even where no terminal is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that a pass can say of its progress; figures that it does not know stay None."""

    stage: str
    """What is being done, in a few words: `lock`, `estimate`, `place: fewest moves`."""
    item: str = ""
    """What it is being done to, such as a source or a service."""
    done: int | None = None
    total: int | None = None
    """Of how many items, where that is known beforehand."""
    best: int | None = None
    """The best value of the stage's objective that was found so far, in the unit of the plan."""
    bound: int | None = None
    """No answer can be better than this."""


class Reporter(Protocol):
    """Is told each step, from the thread of the pass or from one of its workers.

    It changes no result: with another reporter, or `silent`, the same inputs give the same bytes.
    """

    def __call__(self, step: Step, /) -> None:
        """Takes note of a step; returns at once and raises nothing."""


def silent(step: Step, /) -> None:
    """Nobody wants to know."""
