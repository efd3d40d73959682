"""The plan: the complete concrete answer, with nothing left to choose when it is carried out."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import Field

from compiler.ir.demand import PartSums
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import Record, Task
from compiler.ir.inventory import Bound, GpuState, HostState, Target
from compiler.ir.rollout import Address, HostRelease, Rollout

PLAN_VERSION = 1


class PlannedPart(Record):
    """One part of a breakdown: the estimate, its band, and how it was derived."""

    bytes: int
    low_bytes: int
    high_bytes: int
    why: str


class PlannedBreakdown(PartSums, Record):
    """Memory of one replica on one device, by part."""

    weights: PlannedPart
    kv: PlannedPart
    compute: PlannedPart
    graphs: PlannedPart
    runtime: PlannedPart


class PassedOver(Record):
    """A better variant that this replica does not run, and why not."""

    variant: str
    why: Literal["refused", "too-large", "offload", "crowded"]
    """`crowded`: it would fit an empty fleet, but not beside what else is placed.
    `offload`: it fits nowhere whole, only with layers in RAM."""
    device: str | None
    """The place that comes closest, `host/index,index`; none when crowded."""
    missing_bytes: int
    """What is missing there, over all devices; 0 unless too-large."""
    detail: str
    """The engine's own words when it is refused."""


class RoomierRung(Record):
    """The next rung of the ladder, where it would hold more than twice as many requests here."""

    variant: str
    room_permille: int
    """Its KV cache with the same share, of all that it would want."""


class Share(Record):
    """What a replica holds of one GPU."""

    gpu: int
    """Index of the GPU on the replica's host."""
    uuid: str | None
    minor: int | None = None
    """Number of the GPU's node, `/dev/nvidia<minor>`, where its unit may be allowed that one alone.
    CUDA then counts what the unit may open, and an index in the environment is counted so."""
    kind: str
    share_bytes: int
    """Granted to the replica: never less than the high side of its breakdown."""
    breakdown: PlannedBreakdown


class PlannedCompanion(Record):
    """A source that an argument names beside the model: a draft model, a projector, an adapter."""

    argument: str
    source: str
    revision: str | None
    path: str


class Replica(Record):
    """One running copy of a service, with everything that starting it takes."""

    name: str
    """`<service>-<number>`, unique in the fleet."""
    service: str
    task: Task
    labels: dict[str, str] = Field(default_factory=dict)
    """Of its service, for people and for rules of review."""
    variant: str
    engine: EngineName
    engine_version: str
    host: str
    target: Target
    shares: list[Share]
    """In the order the engine sees the GPUs; empty for a replica on the CPU."""
    ram_bytes: int
    ram_breakdown: PlannedBreakdown
    source: str
    revision: str | None
    model_path: str
    companions: list[PlannedCompanion] = Field(default_factory=list)
    """In the order of their arguments' names."""
    context: int
    concurrency: int
    kv_tokens: int
    kv_requests_permille: int
    """Full-length requests that the KV cache holds, in thousandths; 0 without a cache."""
    typical: int = 0
    """Tokens of a usual request: the room wanted is concurrency x typical."""
    kv_wanted_bytes: int = 0
    """KV cache on the GPU that has most of it with all the room wanted; 0 for one that has one size
    or none."""
    roomier: RoomierRung | None = None
    asked: str = ""
    """sha256 of what the spec and the lock ask of a replica. With another one it is changed."""
    tensor_parallel: int
    gpu_layers: int | None
    """Layers on GPUs of an engine that deals layers out; None for one that is cut into ranks."""
    host_layers: int
    host_experts: int = 0
    """Of the layers on GPUs, those whose experts stay in RAM."""
    host_permille: int = 0
    """Thousandths of the bytes that a token reads that lie in RAM, by the planned offload."""
    layers: int
    port: int
    listen: str = "0.0.0.0"  # noqa: S104  Plans that do not say it are of a time when all did.
    """The address on its host at which it is reached, or `none`: in its network of containers."""
    argv: list[str]
    env: dict[str, str]
    """Everything but secrets, device selection included."""
    device_env: list[str]
    """Names in `env` that select devices: a container runtime selects devices its own way."""
    secrets: list[str]
    image: str | None
    health_path: str
    start_after: list[str]
    """Replicas on the same GPUs that must answer their health check before this one starts."""
    start_timeout_seconds: int
    shm_bytes: int
    """Shared memory that the engine's processes need between them."""
    models_dir: str
    read_dirs: list[str] = Field(default_factory=list)
    """Files or folders outside models_dir that the engine reads: models, and files of arguments,
    that are named by absolute paths."""
    cache_dir: str
    """Writable folder of this replica on its host, kept over restarts."""
    bin_dirs: list[str]
    """Absolute folders that hold the programs of argv, for a service's path."""
    assumed: list[str]
    passed_over: list[PassedOver]
    """Better variants of the service, best first."""

    @property
    def cut_by_ranks(self) -> bool:
        """Whether its GPUs hold equal ranks, and not layers that were dealt out."""
        return self.gpu_layers is None

    @property
    def has_cache(self) -> bool:
        """Whether any memory is a KV cache: an encoder has requests in flight and keeps nothing."""
        held = (*(share.breakdown for share in self.shares), self.ram_breakdown)
        return bool(self.kv_tokens) and any(breakdown.kv.bytes for breakdown in held)

    @property
    def room_permille(self) -> int:
        """Usual requests that the KV cache holds, in thousandths; 0 without a cache."""
        if not self.has_cache:
            return 0
        if self.typical in (0, self.context):
            return self.kv_requests_permille
        return self.kv_tokens * 1000 // self.typical


class GpuLedger(Record):
    """One GPU of the fleet and what the plan takes of it."""

    host: str
    gpu: int
    uuid: str | None
    kind: str
    memory_bytes: int
    reserved_bytes: int
    utilization_permille: int
    budget_bytes: int
    binding: Bound
    granted_bytes: int
    unified: bool = False
    """One pool with the host's RAM: the budget is of both, and so is what is granted of it."""
    state: GpuState = "ready"


class HostLedger(Record):
    """One host of the fleet and what the plan takes of its RAM."""

    host: str
    address: Address = ""
    """Where the host is reached; plans that do not say it are of a time when none was."""
    target: Target
    ram_budget_bytes: int
    ram_granted_bytes: int
    unified: bool = False
    """One pool with the host's only GPU, whose ledger says the same."""
    state: HostState = "ready"


class SpareShare(Record):
    """What a spare would take of one GPU."""

    gpu: int
    mib: int


class PlannedSpare(Record):
    """Where a replica of a service that survives would go if its host were lost.

    The memory is kept free. Spares for the loss of different hosts may be the same memory.
    """

    lost: str
    service: str
    variant: str
    host: str
    shares: list[SpareShare]
    ram_mib: int
    tensor_parallel: int


class Unplaced(Record):
    """An optional service of which fewer replicas run than wanted."""

    service: str
    wanted: int
    placed: int


ObjectiveName = Literal["required", "coverage", "rungs", "room", "gpus"]


Optimality = Literal["optimal", "feasible", "calm"]


class Objective(Record):
    """What a plan reached in one objective, and what none could better, given those before it.

    required, coverage: replicas placed, and the most that could be. rungs: thousandths of rungs
    given up. room: points, 3 for a replica with less than a quarter of the room it wants and 1
    below half. gpus: twice the GPUs of each replica, and one more for a split over islands. Of
    these three less is better.
    """

    name: ObjectiveName
    priority: int | None
    reached: int
    bound: int


class InputDigests(Record):
    """sha256 of each input by content, so that a stale plan is recognised."""

    inventory: str
    spec: str
    lock: str


class Plan(Record):
    """The answer for the whole fleet. Replicas by name, ledgers by host and index."""

    version: int = PLAN_VERSION
    inputs: InputDigests
    optimality: Optimality
    """`feasible`: for some objective it is not proven that no plan is better. `calm`: a better one
    may move what runs, and this one left it where it is."""
    objectives: list[Objective] = Field(default_factory=list)
    """In their order of importance."""
    replicas: list[Replica]
    gpus: list[GpuLedger]
    hosts: list[HostLedger]
    unplaced: list[Unplaced]
    releases: list[HostRelease] = Field(default_factory=list)
    """One for each host, in the same order."""
    rollout: Rollout | None = None
    """A plan that changes nothing keeps that of the plan before it, which may not be carried out
    yet."""
    spares: list[PlannedSpare] = Field(default_factory=list)
    """By the lost host, the service and the place."""
    exposed: list[str] = Field(default_factory=list)
    """Services that are to survive the loss of a host and would not: one is being borne, or they
    are frozen."""

    def replica(self, name: str) -> Replica:
        """The replica of this name; KeyError when there is none."""
        for replica in self.replicas:
            if replica.name == name:
                return replica
        raise KeyError(name)


def plan_text(plan: Plan) -> str:
    """Canonical JSON of a plan: sorted keys, two spaces, a final newline."""
    # What most fleets never ask for is no part of their plans.
    unused = {name for name in ("spares", "exposed") if not getattr(plan, name)}
    document = plan.model_dump(mode="json", exclude=unused)
    return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def digest(text: str) -> str:
    """sha256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
