"""What the user reads when something is wrong: a code, a place, a reason and a way out."""

from __future__ import annotations

import difflib
import re
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
class Group:
    """Names that a finding is about, such as files: what they have in common, and all of them."""

    title: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding: a fixed summary by code, the exact detail, hints that each say what to do."""

    code: str
    detail: str
    location: Location | None = None
    hints: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    severity: Severity = Severity.ERROR

    @property
    def summary(self) -> str:
        """The fixed text of this code, so that readers learn to recognise it."""
        return SUMMARIES[self.code]

    @property
    def advice(self) -> tuple[str, ...]:
        """The finding's own hints, and then what helps whatever has this code."""
        general = _ADVICE.get(self.code)
        return (*self.hints, general) if general else self.hints


class CompileError(Exception):
    """The input cannot be compiled; carries every fault that was found."""

    def __init__(self, diagnostics: list[Diagnostic] | tuple[Diagnostic, ...]) -> None:
        super().__init__("; ".join(f"{d.code}: {d.detail}" for d in diagnostics))
        self.diagnostics = tuple(diagnostics)


def did_you_mean(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """A hint with the closest known name, or none."""
    close = closest(name, known)
    return (f"Did you mean `{close}`?",) if close else ()


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that somebody who wrote this one may have meant, or None.

    One of the same words and more, or fewer (`rtx-3060` for `rtx-3060-12gb`), comes before one that
    is spelt alike; one that starts with another word must be very much alike, or have the same
    letters.
    """
    words = _words(name)
    best: tuple[bool, bool, float, bool, str] | None = None
    for other in sorted(known):
        its_words = _words(other)
        inside = set(words) <= set(its_words) or set(its_words) <= set(words)
        same_start = words[0] == its_words[0]
        alike = difflib.SequenceMatcher(None, other.lower(), name.lower()).ratio()
        least = _ALIKE_INSIDE if inside else _ALIKE if same_start else _VERY_ALIKE
        same_letters = sorted(other.lower()) == sorted(name.lower())
        rank = (inside, same_start, alike, same_letters)
        if (alike >= least or same_letters) and (best is None or rank > best[:4]):
            best = (*rank, other)
    return best[4] if best else None


# Of difflib's ratio: 1 for equal texts, 0 for such without a letter in common.
_ALIKE_INSIDE = 0.4
_ALIKE = 0.55
_VERY_ALIKE = 0.75


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", name.lower())


# Where a name of a GPU is wanted and not known.
LIST_KINDS = "`modelc kinds` lists every GPU kind there is."

_ADVICE: dict[str, str] = {
    "source-network": "Check the network, HTTPS_PROXY, HF_ENDPOINT and HF_HUB_OFFLINE, and run the "
    "command again: what modelc.lock holds is not asked for anew.",
}

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
    "unused-setting": "Nothing reads this setting",
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
    "file-out-of-reach": "An argument names a file that the replica cannot reach",
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
    "left-out": "An optional service is left out",
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
    "write-failed": "The files cannot be written",
    # our own faults
    "internal": "modelc contradicts itself",
}
