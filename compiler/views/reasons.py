"""The sentences of a diff: one for each reason, written here and nowhere else."""

from __future__ import annotations

from typing import assert_never

from compiler.ir.changes import (
    ArgumentChanged,
    CompanionChanged,
    EngineChanged,
    EnvironmentChanged,
    LeftOut,
    ModelChanged,
    Moved,
    Reason,
    ReplicasChanged,
    ServiceAdded,
    ServiceRemoved,
    SettingChanged,
    ShareChanged,
    VariantChanged,
)
from compiler.ir.units import show_mib

_CAUSES = {
    "gpu-gone": "a GPU it stood on is gone",
    "host-gone": "the host it stood on is gone",
    "replanned": "a rule, the room of others or a better plan asks for it",
}


def reason_text(reason: Reason) -> str:  # noqa: C901, PLR0912  One case for each reason there is.
    """One reason in words."""
    match reason:
        case ServiceAdded():
            return "the service is new"
        case ServiceRemoved():
            return "the service is gone from the spec"
        case LeftOut(placed=placed, wanted=wanted):
            return f"optional and left out: {placed} of {wanted} replicas find a place"
        case ReplicasChanged(before=before, after=after):
            return f"replicas {before} -> {after}"
        case Moved(cause=cause):
            return f"moved: {_CAUSES[cause]}"
        case VariantChanged(before=before, after=after):
            return f"variant {before} -> {after}"
        case EngineChanged(before=before, after=after):
            return f"engine {before} -> {after}"
        case ModelChanged(before=before, after=after):
            return f"model {before} -> {after}"
        case CompanionChanged(argument=argument, before=before, after=after):
            return f"{argument} {before} -> {after}"
        case ArgumentChanged(argument=argument, before=before, after=after):
            return _from_to(argument, " ", before, after)
        case EnvironmentChanged(name=name, before=before, after=after):
            return _from_to(name, "=", before, after)
        case ShareChanged(gpu=gpu, before_bytes=before_bytes, after_bytes=after_bytes):
            return f"share of {gpu} {show_mib(before_bytes)} -> {show_mib(after_bytes)}"
        case SettingChanged(field=field, before=before, after=after):
            return f"{field.replace('_', ' ')} {before} -> {after}"
        case _:
            assert_never(reason)


def _from_to(name: str, glue: str, before: str | None, after: str | None) -> str:
    """`--flag 1 -> 2`, `--flag 1 added`; a flag without a value stands alone."""
    if before is None:
        return f"{name}{glue if after else ''}{after} added"
    if after is None:
        return f"{name}{glue if before else ''}{before} removed"
    return f"{name}{glue}{before or 'without a value'} -> {after or 'without a value'}"
