"""The sentences of a diff: one for each reason, written here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from compiler.ir.changes import (
    ArgumentChanged,
    CompanionChanged,
    EngineChanged,
    EnvironmentChanged,
    LeftOut,
    ModelChanged,
    MoveCause,
    Moved,
    NeighboursChanged,
    Reason,
    ReplicasChanged,
    RoomGained,
    ServiceAdded,
    ServiceRemoved,
    SettingChanged,
    ShareChanged,
    VariantChanged,
)
from compiler.ir.names import folded
from compiler.ir.units import show_mib

_CAUSES: dict[MoveCause, str] = {
    "host-gone": "the host it stood on is gone",
    "gpu-gone": "a GPU it stood on is gone",
    "host-drained": "the host it stood on is drained",
    "gpu-broken": "a GPU it stood on is broken",
    "gpu-smaller": "a GPU it stood on has too small a budget now",
    "rule": "its `placement` no longer allows the old place",
    "variant": "the new variant stands elsewhere",
    "split": "it is split over another number of GPUs",
    "taken": "others take the old place",
    "replanned": "nothing bars the old place, and the fleet as a whole is better so",
}

# Fields of a replica whose names are no words.
_SETTINGS = {
    "listen": "listens on",
    "start_after": "starts after",
    "start_timeout_seconds": "start timeout",
    "shm_bytes": "shared memory",
    "bin_dirs": "program folders",
    "read_dirs": "folders it reads",
    "models_dir": "model folder",
    "cache_dir": "cache folder",
    "device_env": "variables that select devices",
    "gpu_order": "order of GPUs",
}

# A reason names so many others at most; the rest is counted.
_MAX_LISTED = 4


def reason_of_many(reasons: Sequence[Reason]) -> str:
    """Reasons of several replicas that are equal but for GPUs and neighbours, in words of one."""
    first = reasons[0]
    match first:
        case ShareChanged():
            gpus = folded([r.gpu for r in reasons if isinstance(r, ShareChanged)])
            return reason_text(first.model_copy(update={"gpu": gpus}))
        case NeighboursChanged():
            alike = [r for r in reasons if isinstance(r, NeighboursChanged)]
            update = {
                "gpu": folded([r.gpu for r in alike]),
                "came": _position_by_position([r.came for r in alike]),
                "left": _position_by_position([r.left for r in alike]),
            }
            return reason_text(first.model_copy(update=update))
        case SettingChanged(field="start_after"):
            settings = [r for r in reasons if isinstance(r, SettingChanged)]
            words = {
                "before": " ".join(_position_by_position([r.before.split() for r in settings])),
                "after": " ".join(_position_by_position([r.after.split() for r in settings])),
            }
            return reason_text(first.model_copy(update=words))
        case _:
            return reason_text(first)


def _position_by_position(names: Sequence[Sequence[str]]) -> list[str]:
    """The first names of all lists folded, then the second ones, and so on."""
    return [folded(alike) for alike in zip(*names, strict=True)]


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
        case Moved(cause="taken", taken_by=names) if names:
            return f"moved: the old place is taken by {_list(names)}"
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
            return _from_to(argument, " ", before, after) + _more_bytes(argument, before, after)
        case EnvironmentChanged(name=name, before=before, after=after):
            return _from_to(name, "=", before, after)
        case ShareChanged(gpu=gpu, before_bytes=before_bytes, after_bytes=after_bytes):
            return f"share of {gpu} {show_mib(before_bytes)} -> {show_mib(after_bytes)}"
        case RoomGained(before_permille=before, after_permille=after):
            return (
                f"restarted for room: what is left there holds {after // 10} % of the requests "
                f"wanted, before {before // 10} %"
            )
        case NeighboursChanged(gpu=gpu, came=came, left=left):
            return f"beside it on {gpu}: {_came_and_left(came, left)}"
        case SettingChanged(field=field, before=before, after=after):
            unit = " s" if field.endswith("_seconds") else ""
            words = _SETTINGS.get(field, field.replace("_", " "))
            return f"{words} {before}{unit} -> {after}{unit}"
        case _:
            assert_never(reason)


def _from_to(name: str, glue: str, before: str | None, after: str | None) -> str:
    """`--flag 1 -> 2`, `--flag 1 added`; a flag without a value stands alone."""
    if before is None:
        return f"{name}{glue if after else ''}{after} added"
    if after is None:
        return f"{name}{glue if before else ''}{before} removed"
    return f"{name}{glue}{before or 'without a value'} -> {after or 'without a value'}"


def _list(names: list[str], glue: str = ", ") -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return glue.join(names[:_MAX_LISTED]) + more


def _more_bytes(argument: str, before: str | None, after: str | None) -> str:
    """By how much a flag in bytes changes, in MiB: nobody reads ten digits."""
    if not argument.endswith("-bytes") or before is None or after is None:
        return ""
    if not (before.isdecimal() and after.isdecimal()):
        return ""
    more = int(after) - int(before)
    return f" ({'+' if more > 0 else '-'}{show_mib(abs(more))})"


def _came_and_left(came: list[str], left: list[str]) -> str:
    names = [f"+{name}" for name in came] + [f"-{name}" for name in left]
    return _list(names, " ")
