"""Which flags `vllm serve` has in which version, and of what kind.

`flags.json` was written from the parsers of twelve releases: for each flag the spans of releases
that accept it, the kind of its value, and its choices in the newest of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pkgutil import get_data
from typing import Literal

from compiler.engines.vllm.versions import Version, parse_version

FlagKind = Literal["bool", "int", "float", "text", "list", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag, its name without leading dashes."""

    name: str
    kind: FlagKind
    spans: tuple[tuple[int, int], ...]
    """First and last release, as places in the table's list of releases."""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagTable:
    """All flags of all known releases."""

    releases: tuple[Version, ...]
    flags: dict[str, Flag]

    def emits(self, name: str, version: Version) -> bool:
        """Whether modelc may write this flag: the newest release up to the version has it."""
        return self._has(name, self._floor(version))

    def accepts(self, name: str, version: Version) -> bool:
        """Whether a user may write it: between two releases, what either of them has may pass."""
        floor = self._floor(version)
        after = min(floor + 1, len(self.releases) - 1)
        exact = self.releases[floor] >= version
        return self._has(name, floor) or (not exact and self._has(name, after))

    def negative(self, name: str, version: Version) -> str | None:
        """The flag that turns a boolean one off, in the spelling of the version."""
        candidates = [f"no-{name}"]
        if name.startswith("enable-"):
            # 0.33 lists --disable-x where older parsers list --no-enable-x.
            candidates.append("disable-" + name.removeprefix("enable-"))
        if name.startswith("disable-"):
            candidates.append("enable-" + name.removeprefix("disable-"))
        return next((found for found in candidates if self.emits(found, version)), None)

    def last_release(self, name: str) -> Version:
        """The newest known release that has the flag."""
        return self.releases[self.flags[name].spans[-1][1]]

    def first_release(self, name: str) -> Version:
        """The oldest known release that has the flag."""
        return self.releases[self.flags[name].spans[0][0]]

    def _floor(self, version: Version) -> int:
        below = [place for place, release in enumerate(self.releases) if release <= version]
        return below[-1] if below else 0

    def _has(self, name: str, place: int) -> bool:
        flag = self.flags.get(name)
        return flag is not None and any(first <= place <= last for first, last in flag.spans)


@cache
def flag_table() -> FlagTable:
    """The table, read once and only when a command line or an argument is looked at."""
    # Package data comes through the import system: it is part of the program, not of the disk.
    raw = json.loads(get_data("compiler.engines.vllm.flags.table", "flags.json") or b"{}")
    releases = tuple(parse_version(release) or (0, 0, 0) for release in raw["versions"])
    flags = {
        name: Flag(
            name=name,
            kind=entry[1],
            spans=tuple((first, last) for first, last in entry[0]),
            choices=tuple(entry[2]),
        )
        for name, entry in raw["flags"].items()
    }
    return FlagTable(releases=releases, flags=flags)
