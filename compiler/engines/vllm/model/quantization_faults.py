"""What no checkpoint can mean in its quantization_config, and patterns that would never end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from compiler.engines.vllm.model.modules import pattern_text
from compiler.engines.vllm.model.quantization import first_int, ignore_list, pair
from compiler.ir.facts import HeaderValue

# Weights are at most 16 bits wide; packed ones take whole bytes at least.
_MOST_BITS = 16
_BYTE_BITS = 8
_REPEATED_GROUP = re.compile(r"\)[*+?]?[*+{]")
_REPETITION = re.compile(r"(?<!\\)(?:[*+]|\{\d*,\d*\})")
_NAME_LETTERS = 100
_MOST_STEPS = 4 * _NAME_LETTERS**3


def quantization_fault(config: Mapping[str, HeaderValue] | None) -> str | None:
    """What no checkpoint can mean in its quantization_config, as the end of a sentence."""
    if not config:
        return None
    parts = [config, *_weight_groups(config)]
    for part in parts:
        for key in ("weight_block_size", "block_structure"):
            sides = pair(part.get(key))
            if sides is not None and min(sides) < 1:
                return f"a `{key}` of {list(sides)}"
        bits = first_int(part, ("bits", "w_bit", "num_bits"), _BYTE_BITS)
        if not 0 < bits <= _MOST_BITS:
            return f"weights of {bits} bits"
    return _pattern_fault(config)


def _weight_groups(config: Mapping[str, HeaderValue]) -> list[Mapping[str, HeaderValue]]:
    """What compressed-tensors says of the weights of each group."""
    weights = [each.get("weights") for each in _groups(config)]
    return [each for each in weights if isinstance(each, dict)]


def _groups(config: Mapping[str, HeaderValue]) -> Iterator[Mapping[str, HeaderValue]]:
    groups = config.get("config_groups")
    for each in groups.values() if isinstance(groups, dict) else ():
        if isinstance(each, dict):
            yield each


def _listed(config: Mapping[str, HeaderValue]) -> Iterator[str]:
    """Every entry that may be a pattern: modules that are left alone, and the targets of groups."""
    yield from ignore_list(config)
    for group in _groups(config):
        targets = group.get("targets")
        yield from (
            (item for item in targets if isinstance(item, str)) if isinstance(targets, list) else ()
        )


def _pattern_fault(config: Mapping[str, HeaderValue]) -> str | None:
    """Patterns of module names are the checkpoint's own: one can be wrong, or never end.

    A repeated group can take time that doubles with each letter of a name, and each repetition
    multiplies it by the name's length, some hundred letters.
    """
    steps = 0
    for text in _listed(config):
        pattern = pattern_text(text)
        if pattern is None:
            continue
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError):
            return f"a pattern of module names that is none, `{text[:60]}`"
        if _REPEATED_GROUP.search(pattern):
            return f"a pattern of module names that could take forever, `{text[:60]}`"
        steps += _NAME_LETTERS ** len(_REPETITION.findall(pattern))
        if steps > _MOST_STEPS:
            return f"patterns of module names that could take forever, `{text[:60]}`"
    return None
