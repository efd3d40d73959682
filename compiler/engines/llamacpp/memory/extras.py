"""What a draft model and a projector take beside the model, and how a breakdown holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from compiler.engines.llamacpp.flags.builds import Build
from compiler.engines.llamacpp.launch.draft import options_of_draft
from compiler.engines.llamacpp.launch.options import Options, ProjectorOptions
from compiler.engines.llamacpp.memory import runtime
from compiler.engines.llamacpp.memory.host import checkpoint_bytes, vocabulary_bytes
from compiler.engines.llamacpp.memory.law import usage
from compiler.engines.llamacpp.memory.next_tokens import NextUsage, next_usage
from compiler.engines.llamacpp.model.projector import Projector
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.vision.law import projector_bytes
from compiler.ir.demand import Breakdown, Part
from compiler.ir.inventory import GpuKind
from compiler.ir.units import show_mib


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """Bytes of one companion by device, host last."""

    name: str
    sized_for: str
    """What its compute buffers are large enough for; empty where its model says it."""
    weights: tuple[int, ...]
    mapped: int
    """Of the weights on the host, those that are mapped from the file."""
    kv: tuple[int, ...]
    compute: tuple[int, ...]
    compute_low: tuple[int, ...]
    compute_high: tuple[int, ...]
    process: int
    """In RAM beside ggml's buffers: a vocabulary, checkpoints."""
    rows: tuple[runtime.Rows, ...]
    """What decides the scratch memory of its products, on each GPU."""

    def held(self, device: int) -> int:
        """Weights and KV cache on a device."""
        return self.weights[device] + self.kv[device]

    def on(self, device: int) -> int:
        """All of its buffers on a device, at most."""
        return self.held(device) + self.compute_high[device]


@lru_cache(maxsize=8192)
def extras(shape: Shape, options: Options, build: Build) -> tuple[Extra, ...]:
    """What the companions of a model take under its options."""
    found = []
    under = options_of_draft(options)
    if shape.draft is not None and under is not None:
        found.append(_draft(shape.draft, under, build))
    own = next_usage(shape, options, build)
    if own is not None:
        found.append(_next(own))
    if shape.projector is not None and options.projector is not None:
        found.append(_projector(shape.projector, options.projector, options, build))
    return tuple(found)


def extra_high_bytes(found: Sequence[Extra], kind: GpuKind, gpu: int) -> int:
    """What the companions take on a GPU at most."""
    return sum(each.on(gpu) + _runtime(each, kind, gpu).high_bytes for each in found)


def with_extras(
    own: Breakdown, found: Sequence[Extra], device: int, kind: GpuKind | None
) -> Breakdown:
    """The breakdown of a device with the companions in it; no kind: the host."""
    for each in found:
        part = Part(
            bytes=each.compute[device],
            low_bytes=each.compute_low[device],
            high_bytes=each.compute_high[device],
        )
        weights = Part.exact(each.weights[device], "")
        process = Part.exact(each.process, "")
        if kind is None:
            weights = replace(weights, low_bytes=weights.bytes - each.mapped)
        else:
            process = _runtime(each, kind, device)
        own = replace(
            own,
            weights=_joined(own.weights, weights, each.name),
            kv=_joined(own.kv, Part.exact(each.kv[device], ""), each.name),
            compute=_joined(own.compute, part, each.name + each.sized_for),
            runtime=_joined(own.runtime, process, each.name),
        )
    return own


def _joined(own: Part, more: Part, name: str) -> Part:
    if not more.high_bytes:
        return own
    return Part(
        bytes=own.bytes + more.bytes,
        low_bytes=own.low_bytes + more.low_bytes,
        high_bytes=own.high_bytes + more.high_bytes,
        why=f"{own.why} + {show_mib(more.bytes)} {name}",
    )


def _runtime(each: Extra, kind: GpuKind, gpu: int) -> Part:
    """A backend of its own: cuBLAS workspace and pool (ggml-cuda/common.cuh)."""
    return runtime.second_backend(kind, each.rows[gpu]) if each.on(gpu) else Part()


def _draft(shape: Shape, options: Options, build: Build) -> Extra:
    found = usage(shape, options, build)
    end = found.layout.host
    saved = checkpoint_bytes(shape, options) * (options.checkpoints + 1) * options.slots
    return Extra(
        name="draft model",
        sized_for="",
        weights=found.weights,
        mapped=found.weights[end] if options.memory_map else 0,
        kv=tuple(found.cache.total(device) for device in range(end + 1)),
        compute=_with(found.compute, end, found.output),
        compute_low=_with(found.compute_low, end, found.output),
        compute_high=_with(found.compute_high, end, found.output),
        process=vocabulary_bytes(shape) + saved,
        rows=tuple(runtime.rows_of(shape, options, found.layout, gpu) for gpu in range(end)),
    )


def _next(found: NextUsage) -> Extra:
    nothing = (0,) * len(found.kv)
    return Extra(
        name="context for next tokens",
        sized_for="",
        weights=nothing,
        mapped=0,
        kv=found.kv,
        compute=found.compute,
        compute_low=found.compute_low,
        compute_high=found.compute_high,
        process=0,
        rows=found.rows,
    )


def _projector(
    projector: Projector, own: ProjectorOptions, options: Options, build: Build
) -> Extra:
    found = projector_bytes(projector, own, options.flash_attention, build)
    end = options.gpus
    home = end if own.gpu is None else own.gpu

    def spread(on_device: int, on_host: int) -> tuple[int, ...]:
        sizes = [0] * (end + 1)
        sizes[home] += on_device
        sizes[end] += on_host
        return tuple(sizes)

    compute = spread(*found.compute)
    return Extra(
        name="projector",
        sized_for=f" for pictures of {found.tokens:,} tokens" if projector.sees else "",
        weights=spread(found.weights, 0),
        mapped=0,
        kv=(0,) * (end + 1),
        compute=compute,
        compute_low=tuple(map(min, spread(*found.warm), compute)),
        compute_high=tuple(size + size * found.percent // 100 for size in compute),
        process=found.pictures,
        rows=tuple(
            runtime.Rows(tokens=1, quantized=0, plain=found.scratch if gpu == own.gpu else 0)
            for gpu in range(end)
        ),
    )


def _with(sizes: tuple[int, ...], device: int, more: int) -> tuple[int, ...]:
    return tuple(size + (more if index == device else 0) for index, size in enumerate(sizes))
