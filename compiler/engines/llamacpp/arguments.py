"""What is wrong with a user's engine arguments: unknown, managed, uncosted or of a bad value."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from compiler.engines.llamacpp.builds import Build
from compiler.engines.llamacpp.flags import ARGUMENTS, SHORT, Argument
from compiler.ir.demand import ArgumentProblem
from compiler.ir.spec import ArgValue


def positive(name: str, value: ArgValue) -> tuple[str, ArgValue]:
    """The flag behind a negated name: `no_mmap: true` is `mmap: false`."""
    if name.startswith("no_") and name not in ARGUMENTS and name[3:] in ARGUMENTS:
        argument = ARGUMENTS[name[3:]]
        if argument.kind == "switch" and isinstance(value, bool):
            return name[3:], not value
    return name, value


def check_arguments(args: Mapping[str, ArgValue], build: Build) -> list[ArgumentProblem]:
    """Every argument that this build does not know, that modelc manages or that no law covers."""
    problems = []
    for written, given in sorted(args.items()):
        name, value = positive(written, given)
        argument = ARGUMENTS.get(name)
        problem = (
            _unknown(written)
            if argument is None
            else _unfit(written, argument, build) or _wrong(written, argument, value)
        )
        if problem:
            problems.append(problem)
    return problems


def _unknown(name: str) -> ArgumentProblem:
    known = SHORT.get(name)
    matches = [known] if known else get_close_matches(name, ARGUMENTS, n=1)
    return ArgumentProblem(
        code="unknown-argument",
        argument=name,
        detail=f"llama-server has no flag `--{name.replace('_', '-')}` that modelc knows",
        hint=f"Did you mean `{matches[0]}`?" if matches else "",
    )


def _unfit(name: str, argument: Argument, build: Build) -> ArgumentProblem | None:
    match argument.effect:
        case "managed":
            return ArgumentProblem(
                code="managed-argument",
                argument=name,
                detail=f"modelc sets `{name}` from {argument.text}",
                hint=f"Remove `{name}`; it follows from {argument.text}",
            )
        case "uncosted":
            return ArgumentProblem(
                code="unsupported-argument",
                argument=name,
                detail=f"`{name}` changes memory in a way no plan can promise: {argument.text}",
                hint=f"Remove `{name}`",
            )
        case "costed" | "passed":
            if argument.since <= build.number < argument.until:
                return None
            since = build.number < argument.since
            return ArgumentProblem(
                code="unknown-argument",
                argument=name,
                detail=(
                    f"llama.cpp {build.text} has no `{name}`: it "
                    + (f"came with b{argument.since}" if since else f"went with b{argument.until}")
                ),
                hint="" if since else "Write `load_mode` instead",
            )


def _wrong(name: str, argument: Argument, value: ArgValue) -> ArgumentProblem | None:
    detail = _fault(argument, value)
    if detail is None:
        return None
    return ArgumentProblem(
        code="wrong-argument",
        argument=name,
        detail=f"`{name}` is {_shown(value)}, but {detail}",
        hint=f"Choose one of {', '.join(argument.choices)}" if argument.choices else "",
    )


def _fault(argument: Argument, value: ArgValue) -> str | None:
    match argument.kind:
        case "switch":
            return None if isinstance(value, bool) else "it must be true or false"
        case "integer":
            if isinstance(value, bool) or not isinstance(value, int):
                return "it must be a whole number"
            if argument.low is not None and not argument.low <= value <= 1 << 24:
                return f"it must be between {argument.low} and {1 << 24:,}"
            return None
        case "number":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return None if number else "it must be a number"
        case "choice":
            word = choice_word(value)
            return None if word in argument.choices else "llama-server does not take that"
        case "text":
            text = isinstance(value, str | int | float) and not isinstance(value, bool)
            return None if text else "it must be text"
        case "list":
            items = value if isinstance(value, list) else [value]
            return None if all(isinstance(i, str) for i in items) else "it must be text"


def choice_word(value: ArgValue) -> str:
    """The word of a choice; YAML reads a bare `on` of some writers as true."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _shown(value: ArgValue) -> str:
    text = str(value)
    return f"`{text[:60]}`"
