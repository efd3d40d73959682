"""How sure the law is of each component: bands learnt from measured launches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pkgutil import get_data

from compiler.ir.demand import Part
from compiler.ir.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """How far a measured figure was from the law's: a share of the figure and a fixed amount."""

    low_permille: int
    high_permille: int
    low_mib: int
    high_mib: int

    def around(self, size_bytes: int, why: str) -> Part:
        """The part of a breakdown with this band; nothing stays nothing."""
        if size_bytes <= 0:
            return Part(why=why)
        low = size_bytes - size_bytes * self.low_permille // 1000 - self.low_mib * MIB
        high = size_bytes + -(-size_bytes * self.high_permille // 1000) + self.high_mib * MIB
        return Part(bytes=size_bytes, low_bytes=max(0, low), high_bytes=high, why=why)


@cache
def learnt_bands() -> dict[str, Band]:
    """The band of each component; tables/vllm_band.py writes the file."""
    # Package data comes through the import system: it is part of the program, not of the disk.
    raw = json.loads(get_data("compiler.engines.vllm.memory", "band.json") or b"{}")
    return {name: Band(**entry["band"]) for name, entry in raw["components"].items()}
