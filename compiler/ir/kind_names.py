"""Names of GPUs as people write them: which kinds they may mean, and whose are not served."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from compiler.diagnostics import did_you_mean

_WORD = re.compile(r"[a-z0-9.]+")
_BRANDS = frozenset({"nvidia", "geforce", "tesla", "gpu", "graphics"})
# A size as the box says it: `80g`, `80gb`, `80gib`.
_SIZE = re.compile(r"([0-9]+)g(?:i?b)?")
_MAX_LISTED = 16

# Names by which others sell what computes; none of them is the beginning of one of NVIDIA's.
_OTHERS = re.compile(
    r"amd|radeon|instinct|mi[0-9]{2,3}[a-z]?|rx|rx[0-9]{3,4}.*|w[67][0-9]00|v620|strix|phoenix|halo"
    r"|[78][0-9]{2}m|80[56]0s|gfx[0-9a-f]+"
    r"|intel|arc|arc-.*|b[5-7][0-9]0|a[357][0-9]0|iris|xe|gaudi[0-9]?|max-?1[15]50|flex"
    r"|apple|metal|m[1-9]|m[1-9](?:max|pro|ultra)"
    r"|ascend|910[a-d]?|310p|mtt|s[45]000|tpu|v[2-7][ep]|trainium[0-9]?|inferentia[0-9]?|npu|vulkan"
    r"|hygon|dcu|k100|biren|iluvatar|metax|c500|kunlun|cambricon|mlu[0-9]+"
)
ONLY_NVIDIA = (
    "Only NVIDIA GPUs are planned for; a host with others is written with `gpus: []`, and "
    "llama.cpp serves there on the CPU."
)


def kind_hints(name: str, kinds: Iterable[str]) -> tuple[str, ...]:
    """What somebody who wrote an unknown kind may have meant: all forms of that card, or one."""
    known = sorted(kinds)
    forms = [kind for kind in known if _is_form(name, kind)]
    whole = [kind for kind in forms if not _SLICE.search(kind)] or forms
    if len(whole) > 1:
        listed = ", ".join(f"`{kind}`" for kind in whole[:_MAX_LISTED])
        return (f"Did you mean one of {listed}?",)
    if whole:
        return (f"Did you mean `{whole[0]}`?",)
    if is_of_others(name):
        return (ONLY_NVIDIA,)
    return did_you_mean(name, known)


def is_of_others(name: str) -> bool:
    """Whether the name is one of a maker's whose GPUs are not served."""
    words = _WORD.findall(name.lower())
    if _NVIDIAS & set(words):
        return False
    return any(_OTHERS.fullmatch(word) for word in words)


_NVIDIAS = _BRANDS | {"gtx", "rtx", "quadro", "titan"}
_SLICE = re.compile(r"-[0-9]+g\.[0-9]+gb$")


def _is_form(name: str, kind: str) -> bool:
    """Whether the kind has every word of the name: `a100` and `a100-80gb` of `a100-sxm-80gb`."""
    words = _words(kind)
    # `rtx4090` is written for `rtx-4090`, and `4090d` for `4090-d`.
    joined = {first + second for first, second in pairwise(words)}
    wanted = [word for word in _words(name) if word not in _BRANDS]
    return bool(wanted) and set(wanted) <= {*words, *joined}


def _words(name: str) -> list[str]:
    return [_SIZE.sub(r"\1gb", word) for word in _WORD.findall(name.lower())]
