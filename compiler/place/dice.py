"""Random numbers of our own: the same on every machine and in every version."""

from __future__ import annotations

_MASK = (1 << 64) - 1


class Dice:
    """splitmix64 (Steele, Lea, Flood 2014); no clock and no seed of the system."""

    def __init__(self, seed: int) -> None:
        self._state = (seed * 0x9E3779B97F4A7C15 + 0x1234567) & _MASK

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) * n >> 53
