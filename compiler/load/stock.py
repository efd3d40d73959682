"""A host that no inventory describes: like one that is there, with GPUs of another kind."""

from __future__ import annotations

from dataclasses import replace

from compiler.ir.inventory import Gpu, GpuKind, Host
from compiler.load.inventory_file import (
    DEFAULT_POOL_UTILIZATION_PERMILLE,
    DEFAULT_RAM_RESERVED_BYTES,
    DEFAULT_RESERVED_BYTES,
    DEFAULT_UTILIZATION_PERMILLE,
)


def with_stock_gpus(like: Host, kind: GpuKind, count: int, pattern: Gpu | None = None) -> Host:
    """The host with so many GPUs of a kind in place of its own, bounded as `pattern` is.

    A kind whose memory is the RAM of its host brings that RAM along, and stands alone: with more
    than one of them there is no such host, and the one that is returned has a single GPU.
    """
    if kind.unified:
        ram = kind.memory_bytes
        kept = (
            pattern.shared_reserved_bytes if pattern else min(DEFAULT_RAM_RESERVED_BYTES, ram // 8)
        )
        usual = DEFAULT_POOL_UTILIZATION_PERMILLE
        like = replace(like, ram_bytes=ram, ram_reserved_bytes=kept)
        count = 1
    else:
        kept, usual = 0, DEFAULT_UTILIZATION_PERMILLE
    gpus = tuple(
        Gpu(
            index=index,
            kind=kind,
            reserved_bytes=pattern.reserved_bytes if pattern else DEFAULT_RESERVED_BYTES,
            shared_reserved_bytes=kept,
            utilization_permille=pattern.utilization_permille if pattern else usual,
            island=0,
        )
        for index in range(count)
    )
    return replace(like, gpus=gpus)
