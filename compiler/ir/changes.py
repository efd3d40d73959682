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


Effect = Literal["new", "restart", "stop-first", "no-restart", "gone", "none"]
"""What carrying out a change does on the machine.

`new`: starts beside what runs. `restart`: stops and starts again. `stop-first`: others, named in
`waits_for`, must stop before it can start. `no-restart`: its files change, what runs goes on.
`gone`: stops. `none`: nothing is touched.
"""


STARTS_AGAIN: frozenset[Effect] = frozenset({"restart", "stop-first"})
"""Effects on what runs: it stops and starts."""


class Capacity(Record):
    """What a replica holds for its users."""

    variant: str
    context: int
    concurrency: int
    typical: int
    """Tokens of a usual request."""
    requests_permille: int | None
    """Usual requests that its KV cache holds, in thousandths; none without a cache."""


class ReplicaChange(Record):
    """What happens to one replica."""

    replica: str
    service: str
    action: Action
    effect: Effect
    waits_for: list[str] = Field(default_factory=list)
    """Replicas that hold its memory now and must stop, or start again with less, before it."""
    overlaps: bool = False
    """Whether it can be up at its new place before it stops at the old one."""
    start_timeout_seconds: int | None = None
    """How long it may take to start at most; none where it does not start."""
    before: str | None
    """Where it stood, `host/index,index`; none if it is created."""
    after: str | None
    address_before: str | None = None
    """`host:port`; none where nothing outside its containers' network reaches it."""
    address_after: str | None = None
    capacity_before: Capacity | None = None
    capacity_after: Capacity | None = None
    reasons: list[Reason]


Impact = Literal["gone", "interrupted", "loses", "restarts", "gains", "new", "none"]
"""What the users of a service notice, the worst first.

`gone`: no replica runs any more. `interrupted`: for a while none does. `loses`: fewer requests fit
than before, or shorter ones. `restarts`: replicas start again, others serve meanwhile. `gains`:
more fits, and nobody waits for it.
"""


class ServiceChange(Record):
    """One service before and after, as its users see it."""

    service: str
    impact: Impact
    replicas_before: int
    replicas_after: int
    requests_before_permille: int | None
    """Usual requests that the KV caches of all replicas hold, in thousandths; none without one."""
    requests_after_permille: int | None
    wanted_before: int
    """Requests at once that all replicas together are to take."""
    wanted_after: int
    context_before: int | None
    """Of the replica with the shortest one; none where the service does not run."""
    context_after: int | None
    variants_before: list[str]
    variants_after: list[str]
    without_seconds: int | None
    """For how long no replica serves at most, by its start timeout; none where one always does."""
    holds_less: bool
    """Whether fewer replicas run, shorter requests fit, or fewer of those that are wanted."""
    addresses_gone: list[str]
    addresses_new: list[str]


class FieldChange(Record):
    """A value before and after."""

    field: str
    before: str
    after: str


HostEvent = Literal["new", "gone", "drained", "ready", "changed"]
GpuEvent = Literal["new", "gone", "broken", "ready", "changed"]


class HostChange(Record):
    """A host that is new, gone, drained, taken back, or changed."""

    host: str
    event: HostEvent
    target: str
    gpus: int
    fields: list[FieldChange]


class GpuChange(Record):
    """A GPU of a host of both plans that is new, gone, broken, taken back, or changed."""

    gpu: str
    kind: str
    event: GpuEvent
    fields: list[FieldChange]


class KindTotals(Record):
    """All GPUs of one kind: how many, how many are used, and what their budgets have left."""

    kind: str
    gpus_before: int
    gpus_after: int
    used_before: int
    used_after: int
    free_before_bytes: int
    free_after_bytes: int


class VersionsChange(Record):
    """The versions of an engine, or the revisions of a model, that all replicas together run."""

    name: str
    before: list[str]
    after: list[str]


class FleetChange(Record):
    """What changes of the fleet itself."""

    hosts: list[HostChange]
    gpus: list[GpuChange]
    engines: list[VersionsChange]
    models: list[VersionsChange]
    kinds: list[KindTotals]
    """Every kind of either plan."""


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


FORMAT_VERSION = "1.0"


class Diff(Record):
    """A plan against the one before.

    Programs that read it ignore keys that they do not know. The first number of the version grows
    when a key goes or means something else, the second when one comes.
    """

    format_version: str = FORMAT_VERSION
    anything_to_do: bool
    counts: Counts
    services: list[ServiceChange]
    """Every service of either plan, the worst off first."""
    changes: list[ReplicaChange]
    """The worst first, then by service and replica; kept replicas are included, at the end."""
    fleet: FleetChange
    ledger: list[LedgerChange]
    notes: list[str]
    """Fleet-wide changes without a replica, such as an optional service left out."""

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return not self.anything_to_do
