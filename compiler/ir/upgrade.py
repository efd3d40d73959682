"""What another version of an engine does to the same fleet."""

from __future__ import annotations

from typing import Literal

from compiler.ir.changes import Diff
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import Record

StoppedWhy = Literal["refused", "too-large", "crowded"]


class VersionChange(Record):
    """One engine in one version, and the version that it is looked at with."""

    engine: EngineName
    before: str
    after: str
    hosts: list[str]


class Stopped(Record):
    """A service that does not run as before, and why.

    `refused`: the new version does not take what it is asked; `others` are variants that it takes.
    `too-large`: no empty GPU holds it any more. `crowded`: the fleet does not hold it beside the
    others.
    """

    service: str
    why: StoppedWhy
    details: list[str]
    others: list[str]
    replicas_before: int = 0
    replicas_after: int = 0


class PartChange(Record):
    """One part of a breakdown, the high side over all GPUs of a replica."""

    part: str
    before_bytes: int
    after_bytes: int


class Weighed(Record):
    """What a replica needs to start, guaranteed cache and all, before and after."""

    service: str
    variant: str
    n_gpus: int
    before_bytes: int
    after_bytes: int
    ram_before_bytes: int
    ram_after_bytes: int
    parts: list[PartChange]
    """Those that differ."""


class FlagChange(Record):
    """A flag that comes (`before` is none) or goes (`after` is none)."""

    flag: str
    before: str | None
    after: str | None
    services: list[str]


class Upgrade(Record):
    """The whole preview."""

    versions: list[VersionChange]
    stopped: list[Stopped]
    weighed: list[Weighed]
    flags: list[FlagChange]
    assumed: list[str]
    """What is only guessed of the new versions, and was not of the old."""
    diff: Diff

    @property
    def empty(self) -> bool:
        """Whether the same fleet would run as it does."""
        return self.diff.empty and not self.stopped
