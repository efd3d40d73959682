"""inventory.yaml as the user writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, Tag
from pydantic.types import Discriminator

from compiler.engines.registry import engine_names, traits_of
from compiler.engines.traits import Traits
from compiler.ir.engine_name import EngineName
from compiler.ir.inventory import GpuState, HostState, Link, Target
from compiler.ir.units import GIB, MIB, format_size
from compiler.load.engine_keys import key_of, with_engine_keys
from compiler.load.fields import (
    Address,
    Compute,
    Entry,
    Folder,
    GpuUuid,
    Image,
    Listen,
    PortRange,
    Program,
    Share,
    Size,
    Slug,
    Text,
    Version,
)

# Twice what the largest machines have.
MAX_GPUS = 64

# Above these are the nodes that belong to no GPU: nvidia-modeset and nvidiactl.
MAX_MINOR = 253

# What an inventory that says nothing stands for; the descriptions of the keys name them.
DEFAULT_TARGET: Target = "systemd"
DEFAULT_RESERVED_BYTES = 512 * MIB
DEFAULT_UTILIZATION_PERMILLE = 950
DEFAULT_RAM_RESERVED_BYTES = 4 * GIB
# Of one pool for GPU and RAM, with which the whole host stops when it runs out: people who run such
# boxes keep 0.80 to 0.85, and of 121.7 GiB some find no more than 101 free at the start.
DEFAULT_POOL_UTILIZATION_PERMILLE = 820
DEFAULT_PORTS = (8000, 8999)
DEFAULT_MODELS_DIR = "/srv/models"
# Engines have no key unless a service names one among its secrets, and docker publishes ports past
# the host's firewall: whoever shall reach a service from elsewhere has to be let in on purpose.
DEFAULT_LISTEN = "127.0.0.1"

_FROM_DEFAULTS = "what `defaults` says"
_FROM_DEFAULTS_GPU = "what `defaults.gpu` says"


def _optional(description: str, default: str) -> Any:  # noqa: ANN401  As pydantic's Field.
    shown = default if default.startswith("what ") else f"`{default}`"
    return Field(None, description=f"{description} Default: {shown}.")


def _reserved(default: str) -> Any:  # noqa: ANN401
    return _optional(
        "Memory of a GPU that other software holds or must find free. One of two bounds, never "
        "subtracted from the other: the budget is the smaller of memory less `reserved` and memory "
        "times `utilization`.",
        default,
    )


def _utilization(default: str) -> Any:  # noqa: ANN401
    return _optional(
        "Largest share of a GPU's memory that services may take together, 0 to 1 in steps of "
        f"0.001. Of one pool for GPU and RAM it is {DEFAULT_POOL_UTILIZATION_PERMILLE / 1000:g}, "
        "and less if `defaults` says less, unless the GPU itself says another.",
        default,
    )


def _target(default: str) -> Any:  # noqa: ANN401
    return _optional(
        "What is written for the host: systemd units, docker compose files, podman quadlets or "
        "launch scripts.",
        default,
    )


def _ram_reserved(default: str) -> Any:  # noqa: ANN401
    return _optional(
        "RAM that services leave to the system and to other software. Of one pool for GPU and RAM "
        "it is kept besides `reserved`, by default an eighth if that is less.",
        default,
    )


def _ports(default: str) -> Any:  # noqa: ANN401
    return _optional("First and last port that services may take, such as `8000-8099`.", default)


def _models_dir(default: str) -> Any:  # noqa: ANN401
    return _optional("Absolute path of the folder on the host that holds model files.", default)


def _listen(default: str) -> Any:  # noqa: ANN401
    return _optional(
        "Address of the host on which services are reached: one such as `10.0.0.5`, `localhost`, "
        "`0.0.0.0` or `::` for all, a network such as `10.0.0.0/8` for the host's own `address` in "
        "it, or, for compose and quadlet, `none`: only by containers of the same network. A "
        "service may say its own.",
        default,
    )


def _kind() -> Any:  # noqa: ANN401
    return Field(
        description="Kind of the GPU, such as `rtx-4090`: one of `modelc kinds` or of `gpu_kinds`. "
        "Required."
    )


def _version(key: str, what: str) -> Any:  # noqa: ANN401
    known = [traits for name in engine_names() if (traits := traits_of(name)).version_key == key]
    return Field(
        None,
        description=f"{what} of {' or '.join(traits.title for traits in known)} that is installed, "
        f"such as `{known[0].newest}`: memory laws and flags change with it. Required, there or "
        "under `defaults`.",
    )


def _bins() -> str:
    usual = [traits_of(name) for name in engine_names()]
    return ", ".join(f"`{traits.usual_bin}` for {traits.title}" for traits in usual)


class EngineEntry(Entry):
    """How an engine is installed: `version` for vLLM, `build` for llama.cpp."""

    version: Version | None = _version("version", "Release")
    build: Version | None = _version("build", "Build number")
    bin: Program | None = Field(
        None,
        description="Absolute path of the program on the host, for the targets `systemd` and "
        f"`script`. Default: {_bins()}.",
    )
    image: Image | None = Field(
        None,
        description="Container image, for the targets `compose` and `quadlet`, best with its "
        "digest: `vllm/vllm-openai:v0.33.0@sha256:...`. Required for these; there is no default.",
    )


class EnginesEntry(Entry):
    """The engines of a host, by name."""

    def of(self, name: EngineName) -> EngineEntry | None:
        """How this one is installed; None where it is not."""
        found = key_of(self, name)
        return found if isinstance(found, EngineEntry) else None


def _installed(name: EngineName, traits: Traits) -> Any:  # noqa: ANN401
    return Field(
        None,
        alias=name,
        description=f"How {traits.title} is installed. Default: it is not installed.",
    )


if not TYPE_CHECKING:
    EnginesEntry = with_engine_keys(EnginesEntry, EngineEntry | None, _installed)


class GpuDefaultsEntry(Entry):
    """Reserve and utilization for GPUs that do not say their own."""

    reserved: Size | None = _reserved(format_size(DEFAULT_RESERVED_BYTES))
    utilization: Share | None = _utilization(f"{DEFAULT_UTILIZATION_PERMILLE / 1000:g}")


class DefaultsEntry(Entry):
    """What a host takes when it does not say its own."""

    target: Target | None = _target(DEFAULT_TARGET)
    gpu: GpuDefaultsEntry = Field(
        GpuDefaultsEntry(), description="Bounds of GPUs that do not say their own."
    )
    ram: Size | None = Field(
        None, description="RAM of each host that does not say its own. Default: each host says it."
    )
    ram_reserved: Size | None = _ram_reserved(format_size(DEFAULT_RAM_RESERVED_BYTES))
    ports: PortRange | None = _ports("{}-{}".format(*DEFAULT_PORTS))
    models_dir: Folder | None = _models_dir(DEFAULT_MODELS_DIR)
    listen: Listen | None = _listen("localhost")
    engines: EnginesEntry = Field(
        EnginesEntry(),
        description="Engines as they are installed on every host; a host's own keys stand over "
        "these, each key by itself.",
    )


Minor = Annotated[int, Field(ge=0, le=MAX_MINOR)]


class GpuEntry(Entry):
    """One GPU of a host."""

    kind: Text = _kind()
    minor: Minor | None = Field(
        None,
        description="Number of its node, `/dev/nvidia<minor>`, as `nvidia-smi -q` prints it. "
        "Default: without `uuid`, its place in the list, counted from 0.",
    )
    uuid: GpuUuid | None = Field(
        None,
        description="Its whole UUID as `nvidia-smi -L` prints it, `GPU-...` or `MIG-...`, by "
        "which the engine finds it. Required for one of several MIG slices. Default: it is found "
        "by its place in the list, in the order of nvidia-smi.",
    )
    reserved: Size | None = _reserved(_FROM_DEFAULTS_GPU)
    utilization: Share | None = _utilization(_FROM_DEFAULTS_GPU)
    state: GpuState = Field(
        "ready",
        description="`broken`: nothing is placed on this GPU, and what ran on it moves. It stays "
        "in the list, so that the others keep their places. Default: `ready`.",
    )
    island: Annotated[int, Field(ge=0, lt=MAX_GPUS)] | None = Field(
        None,
        description="GPUs of a host with the same number are joined by NVLink; a tensor-parallel "
        "service stays in one island when it can. Default: 0.",
    )


class GpuBlockEntry(Entry):
    """Several GPUs of one kind."""

    kind: Text = _kind()
    count: Annotated[int, Field(ge=1, le=MAX_GPUS)] = Field(
        description=f"How many GPUs of this kind the host has, 1 to {MAX_GPUS}. Required."
    )
    islands: list[list[int]] | None = Field(
        None,
        description="Which GPUs, counted from 0, are joined by NVLink, such as `[[0, 1], [2, 3]]`. "
        "Default: all in one island.",
    )
    minors: list[Minor] | None = Field(
        None,
        description="The number of each GPU's node, `/dev/nvidia<minor>`, in the order of "
        "nvidia-smi. Default: without `uuids`, 0, 1, 2 and so on.",
    )
    uuids: list[GpuUuid] | None = Field(
        None,
        description="The UUID of each GPU, in the order of nvidia-smi. Default: GPUs are found by "
        "their place.",
    )
    reserved: Size | None = _reserved(_FROM_DEFAULTS_GPU)
    utilization: Share | None = _utilization(_FROM_DEFAULTS_GPU)


def _shape(value: object) -> str:
    return "list" if isinstance(value, list) else "block"


GpusEntry = Annotated[
    Annotated[GpuBlockEntry, Tag("block")]
    | Annotated[list[GpuEntry], Field(max_length=MAX_GPUS), Tag("list")],
    Discriminator(_shape),
]


class HostEntry(Entry):
    """One host, or a range of equal hosts."""

    state: HostState = Field(
        "ready",
        description="`drained`: nothing new is placed here, and what runs here leaves; a service "
        "that has no other place stays until it has one, with a warning. Take the host out of the "
        "inventory once it is empty. Default: `ready`.",
    )
    address: Address | None = Field(
        None,
        description="Where the host is reached, a name or an IP address; `{name}` stands for the "
        "host's name, in a range for each one's. Default: the host's name.",
    )
    labels: dict[Text, Text] = Field(
        {},
        description="Names and values of your own, such as `zone: a`, by which `placement.hosts` "
        "of a service chooses. Default: none; the label `name` is always the host's name.",
    )
    target: Target | None = _target(_FROM_DEFAULTS)
    ram: Size | None = Field(
        None,
        description="RAM of the host. Required, there or under `defaults`: weights and caches also "
        "take RAM. Where GPU and RAM are one memory (`modelc kinds` says `unified`), that of the "
        "kind, or less if `free` shows less here.",
    )
    ram_reserved: Size | None = _ram_reserved(_FROM_DEFAULTS)
    ports: PortRange | None = _ports(_FROM_DEFAULTS)
    models_dir: Folder | None = _models_dir(_FROM_DEFAULTS)
    listen: Listen | None = _listen(_FROM_DEFAULTS)
    engines: EnginesEntry = Field(
        EnginesEntry(),
        description="Engines as they are installed on this host. Default: what `defaults` says; "
        "each key that is given here stands over it.",
    )
    gpus: GpusEntry = Field(
        [],
        description="Its NVIDIA GPUs, in the order of nvidia-smi: a list with an entry for each, "
        "or `{kind: ..., count: ...}` for equal ones. Default: none, so that only llama.cpp can "
        "serve here, on the CPU.",
    )


class GpuKindEntry(Entry):
    """A GPU kind of the user's own, or new values for a built-in one."""

    memory: Size = Field(
        description="Memory in all as NVML and nvidia-smi report it, such as `24564MiB`. Required."
    )
    compute: Compute = Field(
        description="Compute capability, such as `8.9`, as `nvidia-smi --query-gpu=compute_cap "
        "--format=csv` prints it. Required."
    )
    cuda_total: Size | None = Field(
        None,
        description="Memory in all as the CUDA runtime reports it, which vLLM takes its share of: "
        "what `torch.cuda.mem_get_info` prints last. Default: 98 % of `memory`, and all of it if "
        "`unified`.",
    )
    link: Link = Field(
        "pcie", description="What joins GPUs of this kind: `nvlink` or `pcie`. Default: `pcie`."
    )
    bandwidth: Size | None = Field(
        None, description="Memory bandwidth, per second. Default: not known."
    )
    multiprocessors: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None,
        description="Streaming multiprocessors (SMs); the CUDA context grows with them. Default: "
        "not known.",
    )
    mig: bool = Field(
        default=False,
        description="Whether it is a MIG slice, which cannot be split over. Default: `false`.",
    )
    unified: bool | None = Field(
        None,
        description="Whether the GPU has no memory of its own and takes its host's RAM, as on DGX "
        "Spark and Jetson: one pool, budgeted once, with `memory` as `MemTotal` of /proc/meminfo "
        "has it. Not for GPUs with memory of their own beside coherent RAM, such as GH200. "
        "Default: as the built-in kind of this name, else `false`.",
    )


class InventoryFile(Entry):
    """inventory.yaml."""

    version: Literal[1] = Field(description="Version of this file's format: 1. Required.")
    defaults: DefaultsEntry = Field(
        DefaultsEntry(), description="What hosts take when they do not say their own."
    )
    hosts: Annotated[dict[Text, HostEntry], Field(min_length=1)] = Field(
        description="Hosts by name. Required, at least one. `gpu-[01-08]` stands for eight, "
        "`gpu-[01-03,05]` for four; what an entry of one host says stands over what its range says."
    )
    states: dict[Text, Literal["ready", "drained", "broken"]] = Field(
        {},
        description="States of single hosts and GPUs, wherever they are described: a host of a "
        "range as `gpu-03: drained`, a GPU as `gpu-03/5: broken` or by its UUID. They stand over "
        "`state` of a host or a GPU. Default: none.",
    )
    gpu_kinds: dict[Slug, GpuKindEntry] = Field(
        {},
        description="GPU kinds of your own, or new values for built-in ones, by name. `modelc "
        "kinds` lists all.",
    )
