"""Which GPUs an engine is shown, and by which nodes its unit may open them."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.inventory import EngineName, Gpu, Host

# vLLM up to 0.9 reads CUDA_VISIBLE_DEVICES as integers in its platform code.
_VLLM_TAKES_UUIDS = (0, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The GPUs of one replica, in the order of its ranks."""

    env: dict[str, str]
    """Selects exactly these GPUs."""
    minors: tuple[int | None, ...]
    """Of each GPU the number of its node, where the replica may be allowed that node alone."""


def devices_of(gpus: list[Gpu], host: Host, engine: EngineName, version: str) -> Devices:
    """Selects GPUs by UUID where all have one and the engine takes it, else by index.

    A process that may open some nodes only sees the GPUs of those, and CUDA counts them from 0.
    UUIDs mean the same GPU anyhow; indices are counted so here, where a unit names single nodes.
    """
    if not host.gpus:
        return Devices(env={}, minors=())
    minors: tuple[int | None, ...] = (None,) * len(gpus)
    if all(gpu.uuid for gpu in gpus) and _takes_uuids(engine, version):
        minors = tuple(gpu.minor for gpu in gpus)
        chosen = [gpu.uuid or "" for gpu in gpus]
    elif host.target == "systemd" and None not in (nodes := [gpu.node for gpu in gpus]):
        minors = tuple(nodes)
        seen = sorted(gpu.index for gpu in gpus)
        chosen = [str(seen.index(gpu.index)) for gpu in gpus]
    else:
        chosen = [str(gpu.index) for gpu in gpus]
    # Without an order by the bus CUDA numbers devices by speed, and an index means another GPU
    # than nvidia-smi's.
    env = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(chosen)}
    return Devices(env=env, minors=minors)


def _takes_uuids(engine: EngineName, version: str) -> bool:
    if engine == "llama.cpp":
        return True
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return tuple(numbers) >= _VLLM_TAKES_UUIDS
