"""What the user reads when something is wrong: a code, a place, a reason and a way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a diagnostic is: an error stops the compile, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in one of the user's files; line and column count from one."""

    path: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding: a fixed summary by code, the exact detail, hints that each say what to do."""

    code: str
    detail: str
    location: Location | None = None
    hints: tuple[str, ...] = ()
    severity: Severity = Severity.ERROR

    @property
    def summary(self) -> str:
        """The fixed text of this code, so that readers learn to recognise it."""
        return SUMMARIES[self.code]


class CompileError(Exception):
    """The input cannot be compiled; carries every fault that was found."""

    def __init__(self, diagnostics: list[Diagnostic] | tuple[Diagnostic, ...]) -> None:
        super().__init__("; ".join(f"{d.code}: {d.detail}" for d in diagnostics))
        self.diagnostics = tuple(diagnostics)


def did_you_mean(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """A hint with the closest known name, or none."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return (f"Did you mean `{close[0]}`?",) if close else ()


# Every code there is. Fixed text, no names in it: what exactly is wrong goes into the detail.
SUMMARIES: dict[str, str] = {
    # load
    "file-missing": "This file does not exist",
    "file-unreadable": "This file cannot be read",
    "file-too-large": "This file is too large to be a modelc file",
    "yaml-syntax": "This is not valid YAML",
    "yaml-alias": "YAML anchors and aliases are not accepted",
    "yaml-depth": "This YAML is nested too deeply",
    "duplicate-key": "This key stands here twice",
    "unknown-key": "This key is not known here",
    "missing-key": "A required key is missing",
    "wrong-type": "This value has the wrong type",
    "wrong-value": "This value is not allowed here",
    "wrong-unit": "This size has no valid unit",
    "unsafe-text": "This text cannot be carried safely into a service file",
    "secret-in-spec": "This looks like a secret value",
    # check
    "unknown-gpu-kind": "No GPU kind has this name",
    "unknown-host": "No host has this name",
    "unknown-service": "No service has this name",
    "unknown-gpu": "The host has no GPU with this index",
    "host-collision": "Two entries give a host of the same name",
    "name-collision": "Two things have the same name",
    "bad-range": "This range cannot be expanded",
    "bad-budget": "Nothing of this GPU is left for services",
    "selector-empty": "No host or GPU matches this selector",
    "contradiction": "These rules contradict each other",
    "engine-missing": "No host in reach has this engine",
    "bad-engine-version": "This engine version is not understood",
    "task-mismatch": "The model cannot do this task",
    "engine-format": "The engine cannot load this kind of model",
    "context-too-long": "The context is longer than the model allows",
    "unknown-argument": "The engine does not know this argument",
    "managed-argument": "modelc sets this argument itself",
    "unsupported-argument": "The memory law does not cover this argument",
    "wrong-argument": "This argument has a value that the engine refuses",
    # lock
    "lock-missing": "A model source is not in modelc.lock",
    "lock-stale": "modelc.lock does not match the sources",
    "lock-version": "modelc.lock is of another schema version",
    "lock-corrupt": "modelc.lock is not valid",
    "source-missing": "This model source cannot be found",
    "source-invalid": "This model source is not understood",
    "source-corrupt": "This model file is damaged",
    "source-network": "The model hub cannot be reached",
    "facts-missing": "The model's files do not say enough",
    # discover
    "nvml-missing": "No NVIDIA driver answers on this host",
    "nvml-failed": "The NVIDIA driver reports an error",
    "host-in-range": "This host is one of a range",
    # previous plan
    "previous-corrupt": "The previous plan is not valid",
    "previous-missing": "The previous plan cannot be found",
    # place
    "no-placement": "This service fits nowhere",
    "fleet-full": "The services do not fit together",
    "rules-conflict": "These rules cannot all hold",
    "frozen": "A frozen service stays as it is",
    "freeze-impossible": "A frozen service cannot stay as it is",
    "ports-exhausted": "No port is left on this host",
    "undecided": "The solver found no answer within its limit",
    "not-optimal": "The solver stopped before it could prove the plan optimal",
    # estimate
    "assumed": "The estimate rests on an assumption",
    # workspace
    "stale-output": "The compiled files do not match the sources",
    "edited-output": "A compiled file was changed by hand",
    "unsafe-path": "This path cannot be written safely",
    "write-failed": "The compiled files cannot be written",
    # our own faults
    "internal": "modelc contradicts itself",
}
