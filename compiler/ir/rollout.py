"""How a plan is carried out: the release of each host, and the waves in which hosts change."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compiler.ir.facts import Record
from compiler.ir.inventory import Target

NO_RELEASE = "none"
"""The release of a host on which nothing runs that modelc has delivered."""


# What a rollout says is carried over from plan to plan and acted upon by hosts, so that its texts
# are names and digests and nothing else, whoever has written them.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
Address = Annotated[str, Field(pattern=r"^([A-Za-z0-9_:\[][A-Za-z0-9._:%\[\]-]{0,254})?$")]
ReleaseId = Annotated[str, Field(pattern=r"^([0-9a-f]{16}|none)$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ReleasedReplica(Record):
    """A replica of a release."""

    name: Name
    digest: Digest
    """Of all that it is started with: with another one it has to be restarted."""


class HostRelease(Record):
    """What a host runs once the plan is carried out."""

    host: Name
    address: Address
    target: Target
    id: ReleaseId
    """Digest of the release, or `none` where nothing runs."""
    replicas: list[ReleasedReplica]
    """In the order of their start."""


class SwitchStep(Record):
    """Replicas that stop, the first named first, and then those that start, in this order."""

    stop: list[Name]
    start: list[Name]


class Visit(Record):
    """The change of one host from the release that it has to that of the plan."""

    host: Name
    base: ReleaseId
    """The release that the host must have."""
    steps: list[SwitchStep]


class Shortfall(Record):
    """A service of which fewer replicas are up for a while than should be."""

    service: Name
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
