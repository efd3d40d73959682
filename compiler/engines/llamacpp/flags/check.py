"""What is wrong with a user's engine arguments: unknown, managed, uncosted or of a bad value."""

from __future__ import annotations

import re
from collections.abc import Mapping

from compiler.diagnostics import did_you_mean
from compiler.engines.llamacpp.flags.builds import Build
from compiler.engines.llamacpp.flags.rules import ARGUMENTS, SHORT, TWINS, Argument
from compiler.engines.llamacpp.flags.table import flag_table, words_for
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
            else _unfit(written, argument, build)
            or _uncosted_choice(written, argument, value)
            or _wrong(written, argument, value)
            or _absent(name, argument, value, build)
        )
        if problem:
            problems.append(problem)
    return problems


def _unknown(name: str) -> ArgumentProblem:
    known = SHORT.get(name)
    if known and ARGUMENTS[known].effect == "managed":
        return _managed(name, ARGUMENTS[known].text)
    hints = (f"Did you mean `{known}`?",) if known else did_you_mean(name, ARGUMENTS)
    return ArgumentProblem(
        code="unknown-argument",
        argument=name,
        detail=f"llama-server has no flag `--{name.replace('_', '-')}` that modelc knows",
        hint=" ".join(hints),
    )


def _managed(name: str, text: str) -> ArgumentProblem:
    return ArgumentProblem(
        code="managed-argument",
        argument=name,
        detail=f"modelc sets `{name}` from {text}",
        hint=f"Remove `{name}`; it follows from {text}",
    )


def _unfit(name: str, argument: Argument, build: Build) -> ArgumentProblem | None:
    match argument.effect:
        case "managed":
            return _managed(name, argument.text)
        case "uncosted":
            return ArgumentProblem(
                code="unsupported-argument",
                argument=name,
                detail=f"`{name}` changes memory in a way no plan can promise: {argument.text}",
                hint=f"Remove `{name}`",
            )
        case "unhealthy":
            return ArgumentProblem(
                code="unsupported-argument",
                argument=name,
                detail=f"with `{name}` the service answers no health check, which asks over http",
                hint=f"Remove `{name}`; let a proxy before the service end TLS",
            )
        case "costed" | "passed":
            if argument.since <= build.number < argument.until:
                return None
            since = build.number < argument.since
            came = f"it came with b{argument.since}" if since else f"it went with b{argument.until}"
            return _gone(name, build, came)


def _absent(name: str, argument: Argument, value: ArgValue, build: Build) -> ArgumentProblem | None:
    """A flag that passes, and that the build's own parser would refuse in this form."""
    if argument.effect != "passed" or words_for(name, value, build.number) is not None:
        return None
    table, flag = flag_table(), name.replace("_", "-")
    spans = table.spans(flag) + (table.spans(f"no-{flag}") if argument.kind == "switch" else ())
    # Of a flag that takes a word in newer builds alone, only those count.
    fit = [span for span in spans if (span.kind == "switch") == (argument.kind == "switch")]
    first = min(span.first for span in fit)
    if build.number < first:
        return _gone(name, build, f"the first build that is known to have it is b{first}")
    last = max(span.last or 0 for span in fit if span.first <= build.number)
    return _gone(name, build, f"the last build that is known to have it is b{last}")


def _gone(name: str, build: Build, why: str) -> ArgumentProblem:
    twins = TWINS.get(name.removeprefix("no_"), ())
    words = " or ".join(f"`{twin}`" for twin in twins)
    return ArgumentProblem(
        code="unknown-argument",
        argument=name,
        detail=f"llama.cpp {build.text} has no `{name}`: {why}",
        hint=f"Write {words} instead" if twins else "",
    )


def _uncosted_choice(name: str, argument: Argument, value: ArgValue) -> ArgumentProblem | None:
    """A word that llama-server takes, and that the law does not follow."""
    why = argument.uncosted_choices.get(choice_word(value)) if argument.kind == "choice" else None
    if why is None:
        return None
    return ArgumentProblem(
        code="unsupported-argument",
        argument=name,
        detail=f"`{name}` {_shown(value)} changes memory in a way no plan can promise: {why}",
        hint=f"Choose one of {', '.join(argument.choices)}",
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
            if text and argument.pattern and not re.fullmatch(argument.pattern, str(value)):
                return argument.text
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
