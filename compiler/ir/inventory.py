"""What hardware there is: hosts, GPUs, GPU kinds and the budget of each GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from compiler.ir.engine_name import EngineName
from compiler.ir.units import permille_of

Target = Literal["systemd", "compose", "quadlet", "script"]
Link = Literal["nvlink", "pcie"]
HostState = Literal["ready", "drained"]
GpuState = Literal["ready", "broken"]
Bound = Literal["reserved", "utilization", "cuda_total"]
HIDDEN_FROM_UNITS = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")  # noqa: S108
"""Folders that a unit sees empty: ProtectHome=tmpfs and PrivateTmp=yes (systemd.exec)."""
CONTAINER_TARGETS: frozenset[Target] = frozenset({"compose", "quadlet"})
"""Targets that start an engine's image, and not the program that is installed on the host."""
NOT_PUBLISHED = "none"
"""What a replica listens on that only the other containers of its network may reach."""
GpuKey = tuple[str, int]
"""Host and index: what `host/index` addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKind:
    """A kind of GPU, as the catalog or the inventory's gpu_kinds describes it."""

    name: str
    memory_bytes: int
    """Total as NVML and nvidia-smi report it."""
    cuda_total_bytes: int
    """Total as cudaMemGetInfo reports it; vLLM multiplies this one by its utilization."""
    compute: tuple[int, int]
    """Compute capability, (8, 9) for 8.9."""
    link: Link = "pcie"
    bandwidth_bytes: int = 0
    """Memory bandwidth, bytes a second; 0 when unknown."""
    multiprocessors: int = 0
    """SMs; the size of a CUDA context grows with them. 0 when unknown."""
    assumed: bool = False
    """Nobody was found who had seen the driver print its memory."""
    mig: bool = False
    """A MIG slice: a device of its own, tensor parallelism is not possible."""
    unified: bool = False
    """It has no memory of its own: its memory is its host's RAM, one pool for both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU of a host, addressed as `host/index`."""

    index: int
    kind: GpuKind
    uuid: str | None = None
    minor: int | None = None
    """Number of its node, `/dev/nvidia<minor>`, which is not always its index. None: not known."""
    reserved_bytes: int
    shared_reserved_bytes: int = 0
    """What its host's `ram_reserved` keeps of the same memory; 0 for a GPU with its own."""
    utilization_permille: int
    island: int
    """GPUs of one host with the same island number are joined by NVLink."""
    state: GpuState = "ready"
    """`broken`: nothing may stand on it; it keeps its index, and so do the others."""

    @property
    def node(self) -> int | None:
        """Number of its node where it is known: without a UUID a GPU is its place in the list."""
        if self.minor is not None or self.uuid is not None or self.kind.mig:
            return self.minor
        return self.index

    @property
    def budget_bytes(self) -> int:
        """What is left for services: the smallest of three bounds, never two of them subtracted."""
        return min(self.bounds().values())

    @property
    def kept_back_bytes(self) -> int:
        """What is kept of its memory for others: of one pool, what GPU and host keep together."""
        return self.reserved_bytes + self.shared_reserved_bytes

    @property
    def binding(self) -> Bound:
        """Which bound gives the budget."""
        bounds = self.bounds()
        return min(bounds, key=lambda name: bounds[name])

    def bounds(self) -> dict[Bound, int]:
        """The three bounds in bytes.

        The CUDA total bounds too: what the driver keeps for itself no process can allocate.
        """
        return {
            "reserved": self.kind.memory_bytes - self.kept_back_bytes,
            "utilization": permille_of(self.kind.memory_bytes, self.utilization_permille),
            "cuda_total": self.kind.cuda_total_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInstall:
    """How one engine is installed on a host."""

    version: str
    """vLLM: `0.33.0`; llama.cpp: the build number, `9000`."""
    bin: str
    image: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host with everything the inventory says of it, defaults applied and ranges expanded."""

    name: str
    address: str
    labels: dict[str, str] = field(default_factory=dict)
    target: Target
    ram_bytes: int
    ram_reserved_bytes: int
    ports: tuple[int, int]
    """First and last port that services may take."""
    models_dir: str
    listen: str = "127.0.0.1"
    """The address on which services are reached, or `none`; a service may say another."""
    engines: dict[EngineName, EngineInstall]
    gpus: tuple[Gpu, ...]
    state: HostState = "ready"
    """`drained`: nothing comes here, and what runs here leaves as soon as it has another place."""

    @property
    def runs_containers(self) -> bool:
        """Whether engines start from their images here."""
        return self.target in CONTAINER_TARGETS

    @property
    def pool(self) -> Gpu | None:
        """The GPU whose memory is this host's RAM, where one pool serves both; it is the only GPU.

        What a replica takes of either is taken of this GPU's budget.
        """
        return next((gpu for gpu in self.gpus if gpu.kind.unified), None)

    @property
    def ram_budget_bytes(self) -> int:
        """RAM that services may take; of one pool, its budget."""
        if self.pool is not None:
            return max(0, self.pool.budget_bytes)
        return max(0, self.ram_bytes - self.ram_reserved_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The fleet, hosts sorted by name."""

    hosts: tuple[Host, ...]

    def host(self, name: str) -> Host:
        """The host of this name; KeyError when there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)
