"""Which GPUs an engine is shown, and by which nodes its unit may open them."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.inventory import Gpu, Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The GPUs of one replica, in the order of its ranks."""

    env: dict[str, str]
    """Selects exactly these GPUs."""
    minors: tuple[int | None, ...]
    """Of each GPU the number of its node, where the replica may be allowed that node alone."""


def devices_of(gpus: list[Gpu], host: Host) -> Devices:
    """Selects GPUs by UUID where all have one, else by index.

    A process that may open some nodes only sees the GPUs of those, and CUDA counts them from 0.
    UUIDs mean the same GPU anyhow, and where an engine does not take them, what starts it looks
    their indices up (compiler/emit/starting.py). Other indices are counted so here, where a unit
    names single nodes.
    """
    if not host.gpus:
        return Devices(env={}, minors=())
    minors: tuple[int | None, ...] = (None,) * len(gpus)
    if all(gpu.uuid for gpu in gpus):
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
