"""Sizes and shares: the only place where memory is parsed, printed or rounded."""

from __future__ import annotations

import re
from fractions import Fraction

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

_PERMILLE = 1000

_UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?\s?(B|KiB|MiB|GiB|TiB)")
# As YAML and Python write numbers; Fraction also reads `1/3` and powers that never end.
_SHARE = re.compile(r"[-+]?([0-9]{1,9}\.?|[0-9]{0,9}\.[0-9]{1,30})([eE][-+]?[0-9]{1,2})?")


def parse_size(text: str) -> int:
    """Bytes of a size with a binary unit, such as `24GiB` or `1.5GiB`.

    Raises ValueError for a bare number, a decimal unit, or a fraction that is no whole byte count.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        message = f"`{text[:40]}` is not a size; write a number and B, KiB, MiB, GiB or TiB"
        raise ValueError(message)
    whole, fraction, unit = match.groups()
    value = Fraction(f"{whole}.{fraction or 0}") * _UNITS[unit]
    if value.denominator != 1:
        message = f"`{text[:40]}` is not a whole number of bytes"
        raise ValueError(message)
    return int(value)


def format_size(size_bytes: int) -> str:
    """The shortest exact spelling with a binary unit; `parse_size` reads it back."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _UNITS[unit] == 0:
            return f"{size_bytes // _UNITS[unit]}{unit}"
    return f"{size_bytes}B"


def demand_mib(size_bytes: int) -> int:
    """MiB of a demand, rounded up: a rounding never makes a misfit fit."""
    return -(-size_bytes // MIB)


def budget_mib(size_bytes: int) -> int:
    """MiB of a budget, rounded down."""
    return size_bytes // MIB


def show_mib(size_bytes: int) -> str:
    """MiB for people, rounded up, with thousands separators: `12,345 MiB`."""
    return f"{demand_mib(size_bytes):,} MiB"


def permille(share: float | str) -> int:
    """A share between 0 and 1 as whole permille; 0.95 gives 950.

    Raises ValueError when the share is not a multiple of 0.001 in the range 0 to 1.
    """
    text = str(share)
    value = Fraction(text) * _PERMILLE if _SHARE.fullmatch(text) else Fraction(-1)
    if value.denominator != 1 or not 0 <= value <= _PERMILLE:
        message = f"`{text[:40]}` is not a share between 0 and 1 in steps of 0.001"
        raise ValueError(message)
    return int(value)


def permille_of(size_bytes: int, share_permille: int) -> int:
    """The share of a size in bytes, rounded down: shares of memory are budgets."""
    return size_bytes * share_permille // _PERMILLE


def round_up(value: int, step: int) -> int:
    """The smallest multiple of step that is not below value."""
    return -(-value // step) * step
