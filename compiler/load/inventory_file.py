"""inventory.yaml as the user writes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag
from pydantic.types import Discriminator

from compiler.ir.inventory import Link, Target
from compiler.load.fields import (
    Compute,
    Entry,
    Image,
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


class EngineEntry(Entry):
    """How an engine is installed: `version` for vLLM, `build` for llama.cpp."""

    version: Version | None = None
    build: Version | None = None
    bin: Program | None = None
    image: Image | None = None


class EnginesEntry(Entry):
    """The engines of a host, by name."""

    vllm: EngineEntry | None = None
    llama_cpp: EngineEntry | None = Field(None, alias="llama.cpp")


class GpuDefaultsEntry(Entry):
    """Reserve and utilization for GPUs that do not say their own."""

    reserved: Size | None = None
    utilization: Share | None = None


class DefaultsEntry(Entry):
    """What a host takes when it does not say its own."""

    target: Target | None = None
    gpu: GpuDefaultsEntry = GpuDefaultsEntry()
    ram: Size | None = None
    ram_reserved: Size | None = None
    ports: PortRange | None = None
    models_dir: Program | None = None
    engines: EnginesEntry = EnginesEntry()


Minor = Annotated[int, Field(ge=0, le=MAX_MINOR)]


class GpuEntry(Entry):
    """One GPU of a host."""

    kind: Text
    minor: Minor | None = None
    uuid: Annotated[str, Field(pattern=r"^(GPU|MIG)-[0-9a-zA-Z/_-]{4,100}$")] | None = None
    reserved: Size | None = None
    utilization: Share | None = None
    island: Annotated[int, Field(ge=0, lt=MAX_GPUS)] | None = None


class GpuBlockEntry(Entry):
    """Several GPUs of one kind."""

    kind: Text
    count: Annotated[int, Field(ge=1, le=MAX_GPUS)]
    islands: list[list[int]] | None = None
    minors: list[Minor] | None = None
    uuids: list[Annotated[str, Field(pattern=r"^(GPU|MIG)-[0-9a-zA-Z/_-]{4,100}$")]] | None = None
    reserved: Size | None = None
    utilization: Share | None = None


def _shape(value: object) -> str:
    return "list" if isinstance(value, list) else "block"


GpusEntry = Annotated[
    Annotated[GpuBlockEntry, Tag("block")]
    | Annotated[list[GpuEntry], Field(max_length=MAX_GPUS), Tag("list")],
    Discriminator(_shape),
]


class HostEntry(Entry):
    """One host, or a range of equal hosts."""

    address: Text | None = None
    labels: dict[Text, Text] = {}
    target: Target | None = None
    ram: Size | None = None
    ram_reserved: Size | None = None
    ports: PortRange | None = None
    models_dir: Program | None = None
    engines: EnginesEntry = EnginesEntry()
    gpus: GpusEntry = []


class GpuKindEntry(Entry):
    """A GPU kind of the user's own, or new values for a built-in one."""

    memory: Size
    compute: Compute
    cuda_total: Size | None = None
    link: Link = "pcie"
    bandwidth: Size | None = None
    multiprocessors: Annotated[int, Field(ge=1, le=1024)] | None = None
    mig: bool = False


class InventoryFile(Entry):
    """inventory.yaml."""

    version: Literal[1]
    defaults: DefaultsEntry = DefaultsEntry()
    hosts: Annotated[dict[Text, HostEntry], Field(min_length=1)]
    gpu_kinds: dict[Slug, GpuKindEntry] = {}
