"""Arguments by which llama-server takes less memory, and how a command line deals layers out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from compiler.engines.interface import Saving
from compiler.ir.spec import ArgValue

_NUMBER = re.compile(r"[0-9]{1,6}")


def leaner(saving: Saving, args: Mapping[str, ArgValue], layers: int) -> dict[str, ArgValue] | None:
    """Arguments that save memory so; None where they do it already, or nothing does."""
    match saving:
        case "cache-8-bit":
            # V is quantized only with flash attention.
            return {"cache_type_k": "q8_0", "cache_type_v": "q8_0", "flash_attn": "on"}
        case "weights-8-bit":
            return None
        case "experts-in-ram":
            return None if "cpu_moe" in args else {"n_cpu_moe": layers}


def layers_of_experts(args: Mapping[str, ArgValue]) -> int:
    """Of how many layers the experts are in RAM by these arguments."""
    count = args.get("n_cpu_moe", 0)
    return count if isinstance(count, int) else 0


def planned_split(argv: Sequence[str]) -> tuple[int, ...]:
    """The numbers of --tensor-split, or nothing."""
    values = dict(pairwise(argv)).get("--tensor-split", "").split(",")
    return tuple(map(int, values)) if all(_NUMBER.fullmatch(value) for value in values) else ()
