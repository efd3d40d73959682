"""Which device owns which layer."""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

from compiler.engines.llamacpp.launch.options import Options
from compiler.engines.llamacpp.model.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The device of each running layer and of the output layer; `host` is the number of GPUs."""

    host: int
    layers: tuple[int, ...]
    output: int
    next_layers: tuple[int, ...] = ()
    """The device of each layer behind those that run."""

    def on(self, device: int) -> list[int]:
        """The layers on a device."""
        return [index for index, home in enumerate(self.layers) if home == device]


@lru_cache(maxsize=16384)
def lay_out(shape: Shape, options: Options, *, output_counts: bool = True) -> Layout:
    """Where the layers of a model go (llama-model.cpp `load_tensors`)."""
    host, in_file = options.gpus, shape.layers_in_file
    gpus = (options.main_gpu,) if options.split_mode == "none" else tuple(range(options.gpus))
    gpus = gpus if options.gpus else ()
    split = options.tensor_split if options.split_mode == "layer" else ()
    active = min(options.gpu_layers, in_file + 1)
    # Until December 2025 -ngl N meant N layers, and the output went to a GPU with all of them.
    first = in_file + 1 - active if output_counts or active > in_file else in_file - active
    devices = _devices(in_file, active, first, gpus, split, host)
    output = devices[-1] if output_counts or active > in_file else host
    running = len(shape.layers)
    behind = devices[running:in_file]
    return Layout(host=host, layers=devices[:running], output=output, next_layers=behind)


def _devices(
    in_file: int, active: int, first: int, gpus: tuple[int, ...], split: tuple[int, ...], host: int
) -> tuple[int, ...]:
    """The device of each layer and, last, of the output (`get_layer_buft_list`).

    llama.cpp computes in float32, and a layer on a boundary falls to one side or the other by it.
    """
    total = 0.0
    sums = []
    for share in split or (1,) * len(gpus):
        total = _float32(total + share)
        sums.append(total)
    ends = [_float32(end / total) if total else 0.0 for end in sums]
    devices = []
    for index in range(in_file + 1):
        if not gpus or index < first or index - first >= active:
            devices.append(host)
            continue
        place = bisect_right(ends, _float32((index - first) / active))
        devices.append(gpus[min(place, len(gpus) - 1)])
    return tuple(devices)


def _float32(value: float) -> float:
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded
