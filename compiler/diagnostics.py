"""What the user reads when something is wrong: a code, a place, a reason and a way out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from compiler.codes import CODES


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
    remedies: tuple[object, ...] = ()
    """Changes that were tried, as records for programs; hints say them in words."""
    severity: Severity = Severity.ERROR

    @property
    def summary(self) -> str:
        """The fixed text of this code, so that readers learn to recognise it."""
        return CODES[self.code].summary

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
    import difflib  # Takes a while to load, and most runs have nobody to correct.

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
