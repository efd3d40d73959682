"""The user's own vLLM flags: known to the version, set by modelc, costed, refused, or harmless."""

from __future__ import annotations

from compiler.diagnostics import closest
from compiler.engines.vllm.flags import values as argument_values
from compiler.engines.vllm.flags.rules import MANAGED, REFUSED, SUCCESSORS, UNHEALTHY
from compiler.engines.vllm.flags.table import Flag, FlagTable, flag_table
from compiler.engines.vllm.versions import Version, show_version
from compiler.ir.demand import ArgumentProblem
from compiler.ir.spec import ArgValue


def normalize_arguments(args: dict[str, ArgValue], version: Version) -> dict[str, ArgValue]:
    """Arguments by one name each: `no_x` and the younger of `enable_x` and `disable_x` negated."""
    table = flag_table()
    result: dict[str, ArgValue] = {}
    for name, value in args.items():
        flag_name = name.replace("_", "-")
        opposite = None
        if isinstance(value, bool):
            opposite = _opposite(table, flag_name, version)
        if opposite is None:
            result[flag_name.replace("-", "_")] = value
        else:
            result[opposite.replace("-", "_")] = not value
    return result


def check_arguments(args: dict[str, ArgValue], version: Version) -> list[ArgumentProblem]:
    """Everything that is wrong with the user's arguments, in their order."""
    table = flag_table()
    problems = [_check_one(table, name, value, version) for name, value in args.items()]
    return [problem for problem in problems if problem is not None]


def _opposite(table: FlagTable, name: str, version: Version) -> str | None:
    """The older flag that this one negates, where the version still has it."""
    if name.startswith("no-") and name.removeprefix("no-") in table.flags:
        return name.removeprefix("no-")
    verb, _, rest = name.partition("-")
    twin = {"enable": "disable-", "disable": "enable-"}.get(verb, "") + rest
    if name not in table.flags or not table.accepts(twin, version):
        return None
    return twin if table.first_release(twin) < table.first_release(name) else None


def _check_one(
    table: FlagTable, name: str, value: ArgValue, version: Version
) -> ArgumentProblem | None:
    flag_name = name.replace("_", "-")
    if (hint := MANAGED.get(name)) is not None:
        detail = f"modelc itself writes `--{flag_name}`."
        return ArgumentProblem(code="managed-argument", argument=name, detail=detail, hint=hint)
    if not table.accepts(flag_name, version):
        return _unknown(table, name, version)
    if (problem := _wrong_value(table.flags[flag_name], name, value)) is not None:
        return problem
    if name in UNHEALTHY and value is not False:
        detail = f"with `--{flag_name}` the service answers no health check, which asks over http."
        return ArgumentProblem(
            code="unsupported-argument", argument=name, detail=detail, hint=UNHEALTHY[name]
        )
    reason = REFUSED.get(name)
    if reason is not None and argument_values.changes_nothing(name, value):
        return None
    reason = reason or argument_values.uncovered(name, value)
    if reason is None:
        return None
    return ArgumentProblem(
        code="unsupported-argument",
        argument=name,
        detail=f"`--{flag_name}` changes what vLLM takes: {reason}.",
        hint=argument_values.hint_for(name, value),
    )


def _unknown(table: FlagTable, name: str, version: Version) -> ArgumentProblem:
    flag_name, shown = name.replace("_", "-"), show_version(version)
    hint = SUCCESSORS.get(name, "")
    if flag_name not in table.flags:
        detail = f"vLLM {shown} has no flag `--{flag_name}`."
        current = [known for known in table.flags if table.accepts(known, version)]
        close = closest(flag_name, current)
        if close and not hint:
            hint = f"Did you mean `{close.replace('-', '_')}`?"
    elif version < table.first_release(flag_name):
        first = show_version(table.first_release(flag_name))
        detail = f"vLLM {shown} does not have `--{flag_name}` yet; {first} has it."
    else:
        last = show_version(table.last_release(flag_name))
        detail = f"vLLM {shown} no longer has `--{flag_name}`; {last} was the last to accept it."
    return ArgumentProblem(code="unknown-argument", argument=name, detail=detail, hint=hint)


def _wrong_value(flag: Flag, name: str, value: ArgValue) -> ArgumentProblem | None:
    wanted = argument_values.mismatch(flag.kind, name, value)
    chosen = isinstance(value, str | int) and not isinstance(value, bool)
    if wanted is None and flag.choices and chosen and str(value) not in flag.choices:
        wanted = "one of " + ", ".join(f"`{choice}`" for choice in flag.choices)
    wanted = wanted or argument_values.out_of_range(name, value)
    if wanted is None:
        return None
    detail = f"`--{flag.name}` takes {wanted}, not `{argument_values.show(value)}`."
    return ArgumentProblem(code="wrong-argument", argument=name, detail=detail)
