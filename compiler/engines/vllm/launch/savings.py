"""Arguments by which vLLM takes less memory, and what a new plan keeps of an old one's sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

from compiler.engines.interface import Saving
from compiler.engines.vllm.versions import OLDEST, parse_version
from compiler.ir.spec import ArgValue

# docs/features/quantization/online of 0.20.0: weights are converted while they are loaded. Versions
# before loaded all of them in 16 bits first, which must fit then.
_STREAMED = (0, 20, 0)

_UTILIZATION = "--gpu-memory-utilization"
_FRACTION = re.compile(r"0[.][0-9]{1,6}")
# As much as a law for one engine has ever moved between two of our versions.
_DRIFT = Fraction(5, 100)


def leaner(
    saving: Saving, args: Mapping[str, ArgValue], version: str
) -> dict[str, ArgValue] | None:
    """Arguments that save memory so; None where this version cannot, or they do it already."""
    match saving:
        case "cache-8-bit":
            return {"kv_cache_dtype": "fp8"}
        case "weights-8-bit":
            streamed = (parse_version(version) or OLDEST) >= _STREAMED
            return {"quantization": "fp8"} if streamed and "quantization" not in args else None
        case "experts-in-ram":
            return None


def with_utilization_of(old: Sequence[str], new: list[str]) -> list[str]:
    """The new command with the old utilization, if the share allows it.

    It is a size, and not what the sources say: a law that was measured anew rounds it otherwise.
    """
    before, after = (dict(pairwise(each)).get(_UTILIZATION, "") for each in (old, new))
    if not _FRACTION.fullmatch(before) or not _FRACTION.fullmatch(after):
        return new
    if not Fraction(after) - _DRIFT <= Fraction(before) <= Fraction(after):
        return new
    at = new.index(_UTILIZATION) + 1
    return [*new[:at], before, *new[at + 1 :]]
