"""How a plan is carried out: the release of each host, and the waves in which hosts change."""

from __future__ import annotations

from compiler.ir.facts import Record
from compiler.ir.inventory import Target

NO_RELEASE = "none"
"""The release of a host on which nothing runs that modelc has delivered."""


class ReleasedReplica(Record):
    """A replica of a release."""

    name: str
    digest: str
    """Of all that it is started with: with another one it has to be restarted."""


class HostRelease(Record):
    """What a host runs once the plan is carried out."""

    host: str
    address: str
    target: Target
    id: str
    """Digest of the release, or `none` where nothing runs."""
    replicas: list[ReleasedReplica]
    """In the order of their start."""


class SwitchStep(Record):
    """Replicas that stop, the first named first, and then those that start, in this order."""

    stop: list[str]
    start: list[str]


class Visit(Record):
    """The change of one host from the release that it has to that of the plan."""

    host: str
    base: str
    """The release that the host must have."""
    steps: list[SwitchStep]


class Shortfall(Record):
    """A service of which fewer replicas are up for a while than should be."""

    service: str
    up: int
    wanted: int


class Wave(Record):
    """Hosts that change at the same time; the next wave waits until all of them have."""

    visits: list[Visit]
    short: list[Shortfall]
    """Services that fall short in this wave, or stay short after an earlier one."""


class Rollout(Record):
    """The way from the previous plan to this one. Hosts of no wave have their release already."""

    waves: list[Wave]
    leaving: list[HostRelease]
    """Hosts that the inventory no longer has, and what they are told last: to run nothing."""
