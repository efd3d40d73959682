"""Which flags llama-server has in which build, and of what kind.

`flags.json` was written by tables/llamacpp_flags.py from `common/arg.cpp` of some 30 builds:
for each flag the spans of builds that are known to take it. A build between one that has a flag
and one that has not may be of either kind, and counts as having none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pkgutil import get_data
from typing import Literal

FlagKind = Literal["switch", "integer", "text", "pair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Builds in a row that take a flag in the same way."""

    kind: FlagKind
    """What follows the flag: nothing, a whole number, a word, two words."""
    first: int
    last: int | None
    """None: it was there in the newest source that was read."""

    def holds(self, build: int) -> bool:
        """Whether a build is one of them."""
        return self.first <= build and (self.last is None or build <= self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagTable:
    """All flags of all builds whose source was read."""

    builds: tuple[int, ...]
    flags: dict[str, tuple[Span, ...]]

    def spans(self, flag: str) -> tuple[Span, ...]:
        """When a flag, written without its dashes, was there; empty where it never was."""
        return self.flags.get(flag, ())

    def kind(self, flag: str, build: int) -> FlagKind | None:
        """What a build's flag takes; None where it has no such flag."""
        found = (span.kind for span in self.spans(flag) if span.holds(max(build, self.builds[0])))
        return next(found, None)


@cache
def flag_table() -> FlagTable:
    """The table, read once."""
    data = get_data(__package__, "flags.json")
    if data is None:
        raise FileNotFoundError("flags.json is missing from the installation")
    table = json.loads(data)
    return FlagTable(
        builds=tuple(table["builds"]),
        flags={
            flag: tuple(Span(kind=kind, first=first, last=last) for kind, first, last in spans)
            for flag, spans in table["flags"].items()
        },
    )


def words_for(name: str, value: object, build: int) -> tuple[str, ...] | None:
    """The words that give a build's llama-server a flag by its name with underscores.

    A switch that is on by default has, in older builds, a `--no-` form alone, and one that is off
    by default often the plain form alone: what is the default then needs no words.
    None: the build has no such flag, or not in this form.
    """
    table = flag_table()
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        forms = {True: flag, False: f"no-{flag}"}
        if table.kind(forms[value], build) == "switch":
            return (f"--{forms[value]}",)
        return () if table.kind(forms[not value], build) == "switch" else None
    if table.kind(flag, build) in ("integer", "text"):
        return (f"--{flag}", str(value))
    return None
