"""What a replica would take: requests to a memory law, and the demands it answers with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

from compiler.ir.engine_name import EngineName
from compiler.ir.facts import ModelFacts, Task
from compiler.ir.inventory import GpuKind
from compiler.ir.spec import ArgValue, Offload, Service, Variant

PART_NAMES = ("weights", "kv", "compute", "graphs", "runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a breakdown in bytes, its band, and how it was derived."""

    bytes: int = 0
    low_bytes: int = 0
    high_bytes: int = 0
    why: str = ""

    @staticmethod
    def exact(size_bytes: int, why: str) -> Part:
        """A part without doubt: the band is the figure."""
        return Part(bytes=size_bytes, low_bytes=size_bytes, high_bytes=size_bytes, why=why)


class BandedSize(Protocol):
    """A size with its band and derivation: a part of a breakdown, estimated or planned."""

    @property
    def bytes(self) -> int:
        """The estimate."""

    @property
    def low_bytes(self) -> int:
        """The low end of the band."""

    @property
    def high_bytes(self) -> int:
        """The high end of the band."""

    @property
    def why(self) -> str:
        """How it was derived."""


class PartSums:
    """The parts of a breakdown in order, and their sums."""

    __slots__ = ()

    def parts(self) -> tuple[tuple[str, BandedSize], ...]:
        """The parts in their fixed order."""
        return tuple((name, getattr(self, name)) for name in PART_NAMES)

    @property
    def total_bytes(self) -> int:
        """The estimate."""
        return sum(part.bytes for _, part in self.parts())

    @property
    def low_bytes(self) -> int:
        """The low end of the band."""
        return sum(part.low_bytes for _, part in self.parts())

    @property
    def high_bytes(self) -> int:
        """The high end of the band: what the solver reserves."""
        return sum(part.high_bytes for _, part in self.parts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown(PartSums):
    """Memory of one replica on one device, by part.

    weights: tensors as the engine holds them. kv: KV cache and recurrent state.
    The high end of kv is the room to keep for it, which something else may fill before it is there.
    compute: activations, compute buffers, workspaces. graphs: CUDA graphs.
    runtime: CUDA context, NCCL, libraries; on a host: the process and its pinned buffers.
    """

    weights: Part = field(default_factory=Part)
    kv: Part = field(default_factory=Part)
    compute: Part = field(default_factory=Part)
    graphs: Part = field(default_factory=Part)
    runtime: Part = field(default_factory=Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One variant of one service: what a law must know, and nothing of where it will stand."""

    engine: EngineName
    version: str
    facts: ModelFacts
    task: Task
    context: int
    """Longest request in tokens, prompt and answer together."""
    concurrency: int
    """Requests in flight at once."""
    kv_tokens: int | None = None
    """KV tokens guaranteed. None: one full-length request (vLLM), context x concurrency
    (llama.cpp)."""
    typical: int | None = None
    """Tokens of a usual request. None: the longest one."""
    grows: bool = True
    """Whether the KV cache may grow beyond what is guaranteed."""
    offload: Offload = "none"
    args: dict[str, ArgValue] = field(default_factory=dict)
    companions: Mapping[str, tuple[ModelFacts, ...]] = field(default_factory=dict)
    """Facts of the sources that arguments name (a draft model, a projector, adapters), by the
    argument's name, in the order in which the argument names them."""


DEFAULT_CONTEXT = 8192
"""Tokens of the longest request when the spec does not say: a full model limit would reserve the
memory of a whole GPU for requests that most services never see."""

DEFAULT_POOLING_CONTEXT = 2048
"""The same for embedders, rerankers and classifiers: what they are given is a passage of a few
hundred tokens, or a query and a passage, though many could read far more."""


def default_context(task: Task | None) -> int:
    """Tokens of the longest request of a service that does not say, by what it is used for."""
    return DEFAULT_CONTEXT if task in {None, "generate"} else DEFAULT_POOLING_CONTEXT


def request_of(
    service: Service,
    variant: Variant,
    facts: ModelFacts,
    version: str,
    companions: Mapping[str, tuple[ModelFacts, ...]],
) -> Request:
    """The request that one variant makes of an engine of this version."""
    task = service.task or facts.task
    usual = default_context(task)
    return Request(
        engine=variant.engine,
        version=version,
        facts=facts,
        task=task,
        context=variant.context or min(usual, facts.position_limit or usual),
        concurrency=variant.concurrency,
        kv_tokens=variant.kv_tokens,
        typical=variant.typical,
        grows=not service.min,
        offload=variant.offload,
        args=variant.args,
        companions=companions,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """Places for one replica of a service, all alike: any group of GPUs of any of the hosts."""

    service: str
    variant: int
    """Position of the variant in its service's ladder."""
    hosts: tuple[str, ...]
    """Alike in GPUs, RAM and engines; sorted by name."""
    groups: tuple[tuple[int, ...], ...]
    """Indices of GPUs of one host, in the order the engine sees them; empty for the CPU."""
    one_island: bool
    demands: tuple[Demand, ...]
    """Ways to run there that fit an empty host, best first; never empty."""

    @property
    def n_gpus(self) -> int:
        """How many GPUs a replica takes."""
        return len(self.groups[0])

    def places(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Every host with every group of its GPUs."""
        return product(self.hosts, self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """A place that is too small: what is missing there even when it is empty.

    The first of places that are alike stands for all of them.
    """

    service: str
    variant: int
    host: str
    gpus: tuple[int, ...]
    demand: Demand
    missing_bytes: tuple[int, ...]
    """One for each GPU, 0 where it fits."""
    missing_ram_bytes: int

    @property
    def total_missing_bytes(self) -> int:
        """Over all devices and the RAM."""
        return sum(self.missing_bytes) + self.missing_ram_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A place that is out of the question whatever memory is free, the first of its like."""

    service: str
    variant: int
    host: str
    gpus: tuple[int, ...]
    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """The answer of the estimate pass: every service's options, and why there are no others."""

    options: dict[str, tuple[Option, ...]]
    too_large: dict[str, tuple[TooLarge, ...]]
    refused: dict[str, tuple[Refused, ...]]

    def updated(self, anew: Demands) -> Demands:
        """These, with the answers for some services in place of the ones before."""
        return Demands(
            options={**self.options, **anew.options},
            too_large={**self.too_large, **anew.too_large},
            refused={**self.refused, **anew.refused},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Devices of one host on which a replica could stand, in the order the engine will see them.

    No GPU means CPU only. `budgets_bytes` is the whole budget of each GPU: llama.cpp splits layers
    in proportion to it. `linked`: all GPUs are in one NVLink island. `unified`: the only GPU of
    the host has its RAM for memory, whether or not the replica uses that GPU.
    """

    kinds: tuple[GpuKind, ...] = ()
    budgets_bytes: tuple[int, ...] = ()
    linked: bool = False
    unified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How a KV pool may grow beyond its guaranteed size, on every device of the replica alike."""

    step_bytes: int
    max_kv_bytes: int
    """Size of the pool on one device at concurrency x typical tokens: the room that is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How a replica is cut over its devices.

    vLLM: tensor_parallel x pipeline_parallel x data_parallel = number of GPUs. llama.cpp:
    gpu_layers (as -ngl counts them), tensor_split (as -ts, one number a GPU; empty for one GPU) and
    expert_layers (as --n-cpu-moe counts them) where the law chose it; None leaves it to the
    arguments.
    """

    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    gpu_layers: int | None = None
    tensor_split: tuple[int, ...] = ()
    expert_layers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a request takes on a site.

    `host_layers` > 0: that many layers stay in RAM. `host_experts` > 0: of the layers on GPUs, so
    many have their experts in RAM.
    """

    request: Request
    site: Site
    split: Split
    devices: tuple[Breakdown, ...]
    """One for each GPU of the site, with the guaranteed KV."""
    host: Breakdown
    """RAM."""
    kv_tokens: int
    """Tokens that the KV cache holds: guaranteed size, or after growth the real one."""
    growth: Growth | None = None
    utilization_permille: int | None = None
    """Share of each GPU's CUDA total that was asked for; None: as the share of the plan allows."""
    host_layers: int = 0
    host_experts: int = 0
    host_permille: int = 0
    """What the law's offload costs: of the bytes that a token reads, the thousandths that lie in
    RAM; 0 where arguments alone send something there."""
    assumed: tuple[str, ...] = ()
    """Whole sentences: what the law had to guess, for warnings."""

    @property
    def partial(self) -> bool:
        """Whether the law left layers, or experts of layers, in RAM; arguments aside."""
        return self.host_permille > 0

    @property
    def kv_bytes(self) -> int:
        """KV cache on the GPU that has most of it."""
        return max((device.kv.bytes for device in self.devices), default=0)

    @property
    def ram_high_bytes(self) -> int:
        """The high side in RAM that has a budget of its own: none where one pool serves both."""
        return 0 if self.site.unified else self.host.high_bytes

    def high_bytes_with(self, kv_bytes: int) -> tuple[int, ...]:
        """The high side in the memory of each GPU with this much KV on the one that has most.

        Of one pool with RAM this is what the replica takes of both, on the CPU alone as well. KV is
        in whole steps; stages of a pipeline have layers of their own: as many steps, each of its
        own size.
        """
        return self._taken(self._device_bytes_with(kv_bytes))

    def _device_bytes_with(self, kv_bytes: int) -> tuple[int, ...]:
        if self.growth is None:
            return tuple(device.high_bytes for device in self.devices)
        own, least = [device.kv.bytes for device in self.devices], self.kv_bytes
        kv = [each * kv_bytes // least if each < least else kv_bytes for each in own]
        return tuple(
            device.high_bytes + max(0, after - device.kv.high_bytes)
            for device, after in zip(self.devices, kv, strict=True)
        )

    @property
    def taken_bytes(self) -> tuple[int, ...]:
        """The high side in the memory of each GPU as the demand stands."""
        return self._taken(tuple(device.high_bytes for device in self.devices))

    def _taken(self, shares: tuple[int, ...]) -> tuple[int, ...]:
        return (sum(shares) + self.host.high_bytes,) if self.site.unified else shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where an engine finds a source: a path on its host or a hub id, and the hub's revision."""

    path: str
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What a command line needs besides the demand, decided by assemble."""

    bin: str
    model_path: str
    """vLLM: hub id or folder; llama.cpp: path of the (first) GGUF file."""
    revision: str | None
    served_name: str
    listen: str
    port: int
    shares_bytes: tuple[int, ...]
    """What each device grants this replica in all (KV growth included)."""
    companions: Mapping[str, tuple[Located, ...]] = field(default_factory=dict)
    """Where the engine finds what `Request.companions` describes, in the same order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command line and what belongs to it. The flags emitted are the flags costed."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    """Engine environment without device selection, which assemble adds."""
    health_path: str = "/health"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCheck:
    """What `--version` of the right engine prints, as extended regular expressions (`grep -E`)."""

    wanted: str
    """A line of the engine that the plan was made for."""
    readable: str
    """A line that says some version: without one, nothing can be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentProblem:
    """A user's engine argument that cannot be used. `code` is a diagnostic code."""

    code: str
    argument: str
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a site is out of the question for a request, whatever memory is free."""

    code: str
    """heads-not-divisible, compute-capability, format, task, mig, layers, ..."""
    detail: str
