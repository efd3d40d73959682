"""Values of llama-server's arguments as the law needs them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from compiler.engines.llamacpp.launch.options import Override
from compiler.ir.demand import ArgumentProblem
from compiler.ir.spec import ArgValue

_OVERRIDE = re.compile(r"(.{1,200})=(CPU|CUDA_Host|CUDA(\d{1,2}))")


def integer_of(args: Mapping[str, ArgValue], name: str, default: int) -> int:
    """A whole number that an argument gives, or the default."""
    value = args.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def overrides_of(value: ArgValue) -> list[Override]:
    """The rules of a tensor override; what is none is left out."""
    rules = []
    for part in _parts(value):
        match = _OVERRIDE.fullmatch(part)
        if match:
            gpu = None if match[3] is None else int(match[3])
            rules.append(Override(pattern=match[1], gpu=gpu))
    return rules


def override_problems(argument: str, value: ArgValue) -> list[ArgumentProblem]:
    """What is wrong with the rules of a tensor override."""
    rule = f"`{argument}` takes a pattern, `=` and CPU or CUDA<n>"
    problems = []
    for part in _parts(value):
        match = _OVERRIDE.fullmatch(part)
        detail = None if match else f"{rule}, as `{part[:80]}` is not"
        try:
            re.compile(match[1] if match else "")
        except re.error as error:
            detail = f"{rule}; `{part[:80]}` is no regular expression: {error}"
        if detail:
            problems.append(
                ArgumentProblem(code="wrong-argument", argument=argument, detail=detail)
            )
    return problems


def _parts(value: ArgValue) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        yield from str(item).split(",")
