"""A diff as data: what happens to every replica between two plans, and why."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compiler.ir.facts import Record

Action = Literal["create", "keep", "update", "move", "delete"]
SYMBOLS: dict[Action, str] = {"create": "+", "keep": " ", "update": "~", "move": ">", "delete": "-"}


class ServiceAdded(Record):
    """The service is new in the spec, or had no replica before."""

    kind: Literal["service-added"] = "service-added"


class LeftOut(Record):
    """The service is optional, and not all of its replicas could be placed."""

    kind: Literal["left-out"] = "left-out"
    placed: int
    wanted: int


class ServiceRemoved(Record):
    """The service is gone from the spec."""

    kind: Literal["service-removed"] = "service-removed"


class ReplicasChanged(Record):
    """The number of replicas changed."""

    kind: Literal["replicas-changed"] = "replicas-changed"
    before: int
    after: int


MoveCause = Literal[
    "host-gone",
    "gpu-gone",
    "host-drained",
    "gpu-broken",
    "gpu-smaller",
    "rule",
    "variant",
    "split",
    "taken",
    "replanned",
]


class Moved(Record):
    """The replica stands on other devices; `cause` names what became of the old place.

    `rule`: what the spec says bars it; `variant`: another rung runs, elsewhere; `split`: more GPUs
    are held than before, or fewer; `taken`: others came there or need more there than before, and
    are named; `replanned`: none of these, so that the fleet as a whole gains.
    """

    kind: Literal["moved"] = "moved"
    before: str
    after: str
    cause: MoveCause
    taken_by: list[str] = Field(default_factory=list)


class VariantChanged(Record):
    """Another rung of the service runs."""

    kind: Literal["variant-changed"] = "variant-changed"
    before: str
    after: str


class EngineChanged(Record):
    """The engine or its version changed."""

    kind: Literal["engine-changed"] = "engine-changed"
    before: str
    after: str


class ModelChanged(Record):
    """The source, its revision or its path changed."""

    kind: Literal["model-changed"] = "model-changed"
    before: str
    after: str


class CompanionChanged(Record):
    """What an argument names beside the model (draft model, projector, adapter) is another one."""

    kind: Literal["companion-changed"] = "companion-changed"
    argument: str
    before: str
    after: str


class ArgumentChanged(Record):
    """A flag of the command line changed; none means absent."""

    kind: Literal["argument-changed"] = "argument-changed"
    argument: str
    before: str | None
    after: str | None


class EnvironmentChanged(Record):
    """An environment variable changed; none means absent."""

    kind: Literal["environment-changed"] = "environment-changed"
    name: str
    before: str | None
    after: str | None


class ShareChanged(Record):
    """The memory granted on a device changed."""

    kind: Literal["share-changed"] = "share-changed"
    gpu: str
    before_bytes: int
    after_bytes: int


class NeighboursChanged(Record):
    """Others came to a GPU or left it, and with them what is left there for this replica."""

    kind: Literal["neighbours-changed"] = "neighbours-changed"
    gpu: str
    came: list[str]
    left: list[str]


class RoomGained(Record):
    """What is left on its GPUs gives a replica so much more of its room that a restart is worth it:
    at least a quarter. Thousandths of the room wanted.
    """

    kind: Literal["room-gained"] = "room-gained"
    before_permille: int
    after_permille: int


class SettingChanged(Record):
    """Another field of the replica changed (port, image, secrets, start order, target, ...)."""

    kind: Literal["setting-changed"] = "setting-changed"
    field: str
    before: str
    after: str


Reason = Annotated[
    ServiceAdded
    | ServiceRemoved
    | LeftOut
    | ReplicasChanged
    | Moved
    | VariantChanged
    | EngineChanged
    | ModelChanged
    | CompanionChanged
    | ArgumentChanged
    | EnvironmentChanged
    | ShareChanged
    | NeighboursChanged
    | RoomGained
    | SettingChanged,
    Field(discriminator="kind"),
]


class ReplicaChange(Record):
    """What happens to one replica."""

    replica: str
    service: str
    action: Action
    before: str | None
    """Where it stood, `host/index,index`; none if it is created."""
    after: str | None
    reasons: list[Reason]


class LedgerChange(Record):
    """One GPU before and after; none where it is not in that plan."""

    gpu: str
    kind: str
    budget_bytes: int | None
    before_bytes: int | None
    after_bytes: int | None


class Counts(Record):
    """How many replicas each action touches."""

    create: int
    keep: int
    update: int
    move: int
    delete: int


class Diff(Record):
    """A plan against the one before."""

    counts: Counts
    changes: list[ReplicaChange]
    """Sorted by replica name; kept replicas are included."""
    ledger: list[LedgerChange]
    notes: list[str]
    """Fleet-wide changes without a replica, such as an optional service left out."""

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return self.counts.keep == len(self.changes) and not self.notes
