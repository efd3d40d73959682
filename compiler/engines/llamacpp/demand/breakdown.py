"""From usage in bytes to demands: the breakdown of each device, with how each part was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from compiler.engines.llamacpp.demand.reads import experts_on_host, host_permille
from compiler.engines.llamacpp.flags.builds import Build, eras_of
from compiler.engines.llamacpp.launch.options import Options
from compiler.engines.llamacpp.launch.requests import pooling_name
from compiler.engines.llamacpp.memory import host, runtime
from compiler.engines.llamacpp.memory.extras import Extra, extras, with_extras
from compiler.engines.llamacpp.memory.law import Usage, usage
from compiler.engines.llamacpp.memory.next_tokens import is_rebuilt
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.weights import adapter_bytes_by_device
from compiler.ir.demand import Breakdown, Demand, Part, Request, Site, Split
from compiler.ir.inventory import GpuKind
from compiler.ir.units import show_mib


@dataclass(frozen=True, slots=True, eq=False)
class _OnDevice:
    """What is on one GPU of any kind; `rows` is None where the process does not use it."""

    weights: Part
    kv: Part
    compute: Part
    rows: runtime.Rows | None


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What a model takes under explicit options on GPUs of any kind."""

    options: Options
    devices: tuple[_OnDevice, ...]
    host: Breakdown
    beside: tuple[Extra, ...]
    split: Split
    host_layers: int
    host_experts: int
    host_permille: int


def demand_for(
    request: Request,
    site: Site,
    shape: Shape,
    options: Options,
    build: Build,
) -> Demand:
    """The demand of a request on a site under explicit options."""
    assumed = assumptions(request, site, shape, options, build)
    return demand_of(request, site, taken(shape, options, build), assumed)


def demand_of(request: Request, site: Site, found: Taken, assumed: tuple[str, ...]) -> Demand:
    """The demand of a request on a site of which it is known what is taken on any GPU."""
    if found.devices:
        devices = tuple(
            _device(kind, own, found.beside, gpu)
            for gpu, (kind, own) in enumerate(zip(site.kinds, found.devices, strict=True))
        )
    else:
        devices = tuple(Breakdown(runtime=runtime.bare_context(kind)) for kind in site.kinds)
    return Demand(
        request=request,
        site=site,
        split=found.split,
        devices=devices,
        host=found.host,
        kv_tokens=found.options.all_cells,
        host_layers=found.host_layers if site.kinds else 0,
        host_experts=found.host_experts,
        host_permille=found.host_permille if site.kinds else 0,
        assumed=assumed,
    )


@lru_cache(maxsize=8192)
def taken(shape: Shape, options: Options, build: Build, expert_layers: int | None = None) -> Taken:
    """What a model takes under explicit options, whatever the kinds of the GPUs.

    `expert_layers`: of how many layers the law itself, and no argument, sends experts to RAM.
    """
    found = usage(shape, options, build)
    beside = extras(shape, options, build)
    running = found.layout.layers[: len(shape.layers)]
    host_layers = running.count(found.layout.host)
    chosen = expert_layers is not None or host_layers
    return Taken(
        options=options,
        devices=tuple(
            _on_device(shape, options, found, beside, gpu) for gpu in range(options.gpus)
        ),
        host=with_extras(_host(shape, options, found), beside, found.layout.host, None),
        beside=beside,
        split=Split(
            gpu_layers=min(options.gpu_layers, shape.layers_in_file + 1),
            tensor_split=options.tensor_split,
            expert_layers=expert_layers,
        ),
        host_layers=host_layers,
        host_experts=experts_on_host(shape, options, found.layout),
        host_permille=host_permille(shape, options, found.layout, eras_of(build.number)[-1])
        if chosen
        else 0,
    )


def _on_device(
    shape: Shape, options: Options, found: Usage, beside: tuple[Extra, ...], gpu: int
) -> _OnDevice:
    layers = found.layout.layers[: len(shape.layers)].count(gpu)
    output = " and the output layer" if found.layout.output == gpu else ""
    weights = f"{layers} of {len(shape.layers)} layers{output}, as in the file"
    next_layers = found.layout.next_layers.count(gpu) if options.next_tokens else 0
    if next_layers:
        weights += f", with {next_layers} for next tokens"
    weights += _adapters_why(shape, options, found, gpu)
    used = found.weights[gpu] or found.compute[gpu] or found.cache.total(gpu)
    used = used or any(each.on(gpu) for each in beside)
    return _OnDevice(
        weights=Part(
            bytes=found.weights[gpu],
            low_bytes=found.weights_low[gpu],
            high_bytes=found.weights_high[gpu],
            why=weights,
        ),
        kv=_cache_part(shape, options, found, gpu),
        compute=Part(
            bytes=found.compute[gpu],
            low_bytes=found.compute_low[gpu],
            high_bytes=found.compute_high[gpu],
            why=f"{found.how}; ubatch {options.ubatch:,}",
        ),
        rows=runtime.rows_of(shape, options, found.layout, gpu) if used else None,
    )


def _device(kind: GpuKind, own: _OnDevice, beside: tuple[Extra, ...], gpu: int) -> Breakdown:
    known = Breakdown(
        weights=own.weights,
        kv=own.kv,
        compute=own.compute,
        runtime=runtime.bare_context(kind)
        if own.rows is None
        else runtime.part_for(kind, own.rows),
    )
    return with_extras(known, beside, gpu, kind) if beside else known


def _host(shape: Shape, options: Options, found: Usage) -> Breakdown:
    end = found.layout.host
    rows = options.output_rows or options.slots
    mapped = "mapped from the file" if options.memory_map else "read into RAM"
    weights = found.weights[end]
    return Breakdown(
        weights=Part(
            bytes=weights,
            # Mapped pages are the kernel's to drop; they count in full all the same.
            low_bytes=0 if options.memory_map else found.weights_low[end],
            high_bytes=found.weights_high[end],
            why=f"token embedding and layers on the host, {mapped}"
            + _adapters_why(shape, options, found, end),
        ),
        kv=_cache_part(shape, options, found, end),
        compute=Part(
            bytes=found.compute[end] + found.output,
            low_bytes=found.compute_low[end] + found.output,
            high_bytes=found.compute_high[end] + found.output,
            why=f"{found.how}; output buffer of {rows} x {shape.vocabulary:,} logits",
        ),
        runtime=host.process_part(shape, options),
    )


def _cache_part(shape: Shape, options: Options, found: Usage, device: int) -> Part:
    why = _cache_why(shape, options, found, device)
    if not shape.knowledge.cache and found.cache_high[device]:
        why = f"as plain attention, which is assumed: {why}"
    return Part(
        bytes=found.cache.total(device),
        low_bytes=found.cache_low[device],
        high_bytes=found.cache_high[device],
        why=why,
    )


def _adapters_why(shape: Shape, options: Options, found: Usage, device: int) -> str:
    size = adapter_bytes_by_device(shape, options, found.layout)[device]
    return f", with {show_mib(size)} of LoRA adapters" if size else ""


def _cache_why(shape: Shape, options: Options, found: Usage, device: int) -> str:
    """Such as `2 x 32 layers x 8 heads x 128 x 8,192 cells x f16`."""
    if not found.cache.total(device):
        return "no KV cache: an encoder" if shape.encoder else "none on this device"
    layers, homes = shape.layers, found.layout.layers
    if found.cache.next_layers:
        layers, homes = layers + shape.next_layers, homes + found.layout.next_layers
    home = [
        index
        for index in range(len(layers))
        if (homes[index] if options.kv_on_gpu else found.layout.host) == device
    ]
    owning = [layers[i] for i in home if layers[i].attention and layers[i].cache_of == i]
    terms = []
    if owning:
        layer = owning[0]
        cells = f"{options.all_cells:,} cells"
        types = options.cache_type_k
        if options.cache_type_v != types:
            types += f"/{options.cache_type_v}"
        if shape.latent.absorbed:
            row = f"{layer.head_k}"
            if found.cache.latent_values:
                row = f"({layer.head_k} + {layer.head_v})"
            terms.append(f"{len(owning)} layers x {row} x {cells} x {types}")
        else:
            terms.append(
                f"2 x {len(owning)} layers x {layer.heads_kv} heads x {layer.head_k} "
                f"x {cells} x {types}"
            )
        sliding = sum(each.sliding for each in owning)
        if sliding:
            terms[-1] += f", {sliding} layers with a window of {shape.window:,}"
    states = sum(layers[index].recurrent for index in home)
    if states:
        size = shape.state.conv_elements + shape.state.state_elements
        slots = f"{options.slots} slots"
        if options.rollbacks:
            slots += f" x {1 + options.rollbacks} to return to"
        terms.append(f"{states} layers x {size:,} x {slots} x f32 state")
    return "; ".join(terms)


def assumptions(
    request: Request, site: Site, shape: Shape, options: Options, build: Build
) -> tuple[str, ...]:
    """What the law had to guess, in sentences."""
    sentences = [sentence for each in (shape, shape.draft) if each for sentence in _inexact(each)]
    if options.next_tokens is not None and not is_rebuilt(shape):
        sentences.append(
            f"The layers for next tokens of architecture `{shape.arch}` are taken for layers of a "
            "known family; the compute buffer of their context has a wide band."
        )
    projector = shape.projector
    if projector is not None and not projector.exact:
        sentences.append(
            f"The graph of projector `{projector.kind}` is not known to the memory law of "
            "llama.cpp, nor is that of any which hears; its compute buffer is found by formula, "
            "with a wide band."
        )
    if build.newer:
        sentences.append(
            f"llama.cpp {build.text} is newer than the source that the memory law was checked "
            "against; its compute buffer has a wider band."
        )
    if options.pooling is not None and request.task == "embed" and not shape.pooling:
        sentences.append(
            "The file does not name a pooling; the service is started with "
            f"`{pooling_name(options.pooling)}`."
        )
    sentences += [
        f"The inventory does not say how many multiprocessors `{kind.name}` has; "
        "its CUDA context is taken as large as the largest known."
        for kind in site.kinds
        if options.gpus and not kind.multiprocessors
    ]
    return tuple(dict.fromkeys(sentences))


def _inexact(shape: Shape) -> Iterator[str]:
    known = shape.knowledge
    if not known.weights:
        yield (
            f"Architecture `{shape.arch}` is not known to the memory law of llama.cpp: nobody has "
            "looked at it. Weights, KV cache and compute buffer are those of plain attention, with "
            "wide bands."
        )
    elif not known.cache and not known.unread:
        yield (
            f"The cache of architecture `{shape.arch}` is not known to the memory law of "
            "llama.cpp; KV cache and compute buffer are those of plain attention, with wide bands."
        )
    elif not shape.exact and not known.unread:
        yield (
            f"The graph of architecture `{shape.arch}` is not known to the memory law of "
            "llama.cpp; its compute buffer is that of the nearest known family, with a wide band."
        )
    yield from known.sentences
