"""From usage in bytes to demands: the breakdown of each device, with how each part was found."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.engines.llamacpp import host, runtime
from compiler.engines.llamacpp.builds import Build
from compiler.engines.llamacpp.extras import Extra, extras, with_extras
from compiler.engines.llamacpp.law import Usage, usage
from compiler.engines.llamacpp.options import Options
from compiler.engines.llamacpp.requests import pooling_name
from compiler.engines.llamacpp.shape import Shape
from compiler.engines.llamacpp.weights import adapter_bytes_by_device
from compiler.ir.demand import Breakdown, Demand, Part, Request, Site, Split
from compiler.ir.units import show_mib


def demand_for(
    request: Request,
    site: Site,
    shape: Shape,
    options: Options,
    build: Build,
) -> Demand:
    """The demand of a request on a site under explicit options."""
    found = usage(shape, options, build)
    beside = extras(shape, options, build)
    in_file = shape.layers_in_file
    layers = sum(device == found.layout.host for device in found.layout.layers[: len(shape.layers)])
    return Demand(
        request=request,
        site=site,
        split=Split(
            gpu_layers=min(options.gpu_layers, in_file + 1),
            tensor_split=options.tensor_split,
        ),
        devices=tuple(
            _device(site, shape, options, found, beside, gpu) for gpu in range(len(site.kinds))
        ),
        host=with_extras(_host(shape, options, found), beside, found.layout.host, None),
        kv_tokens=options.all_cells,
        host_layers=layers if site.kinds else 0,
        assumed=_assumed(request, site, shape, options, build),
    )


def _device(
    site: Site,
    shape: Shape,
    options: Options,
    found: Usage,
    beside: tuple[Extra, ...],
    gpu: int,
) -> Breakdown:
    kind = site.kinds[gpu]
    if not options.gpus:
        return Breakdown(runtime=runtime.bare_context(kind))
    layers = sum(device == gpu for device in found.layout.layers[: len(shape.layers)])
    output = " and the output layer" if found.layout.output == gpu else ""
    weights = f"{layers} of {len(shape.layers)} layers{output}, as in the file"
    weights += _adapters_why(shape, options, found, gpu)
    used = found.weights[gpu] or found.compute[gpu] or found.cache.total(gpu)
    used = used or any(each.on(gpu) for each in beside)
    own = Breakdown(
        weights=Part.exact(found.weights[gpu], weights),
        kv=Part.exact(found.cache.total(gpu), _cache_why(shape, options, found, gpu)),
        compute=Part(
            bytes=found.compute[gpu],
            low_bytes=found.compute_low[gpu],
            high_bytes=found.compute_high[gpu],
            why=f"{found.how}; ubatch {options.ubatch:,}",
        ),
        runtime=runtime.runtime_part(kind, shape, options, found.layout, gpu)
        if used
        else runtime.bare_context(kind),
    )
    return with_extras(own, beside, gpu, kind)


def _host(shape: Shape, options: Options, found: Usage) -> Breakdown:
    end = found.layout.host
    rows = options.output_rows or options.slots
    mapped = "mapped from the file" if options.memory_map else "read into RAM"
    weights = found.weights[end]
    return Breakdown(
        weights=Part(
            bytes=weights,
            # Mapped pages are the kernel's to drop; they count in full all the same.
            low_bytes=0 if options.memory_map else weights,
            high_bytes=weights,
            why=f"token embedding and layers on the host, {mapped}"
            + _adapters_why(shape, options, found, end),
        ),
        kv=Part.exact(found.cache.total(end), _cache_why(shape, options, found, end)),
        compute=Part(
            bytes=found.compute[end] + found.output,
            low_bytes=found.compute_low[end] + found.output,
            high_bytes=found.compute_high[end] + found.output,
            why=f"{found.how}; output buffer of {rows} x {shape.vocabulary:,} logits",
        ),
        runtime=host.process_part(shape, options),
    )


def _adapters_why(shape: Shape, options: Options, found: Usage, device: int) -> str:
    size = adapter_bytes_by_device(shape, options, found.layout)[device]
    return f", with {show_mib(size)} of LoRA adapters" if size else ""


def _cache_why(shape: Shape, options: Options, found: Usage, device: int) -> str:
    """Such as `2 x 32 layers x 8 heads x 128 x 8,192 cells x f16`."""
    if not found.cache.total(device):
        return "no KV cache: an encoder" if shape.encoder else "none on this device"
    home = [
        index
        for index in range(len(shape.layers))
        if (found.layout.layers[index] if options.kv_on_gpu else found.layout.host) == device
    ]
    owning = [
        shape.layers[i] for i in home if shape.layers[i].attention and shape.layers[i].cache_of == i
    ]
    terms = []
    if owning:
        layer = owning[0]
        cells = f"{options.all_cells:,} cells"
        types = options.cache_type_k
        if options.cache_type_v != types:
            types += f"/{options.cache_type_v}"
        if shape.latent.absorbed:
            terms.append(f"{len(owning)} layers x {layer.head_k} x {cells} x {types}")
        else:
            terms.append(
                f"2 x {len(owning)} layers x {layer.heads_kv} heads x {layer.head_k} "
                f"x {cells} x {types}"
            )
        sliding = sum(each.sliding for each in owning)
        if sliding:
            terms[-1] += f", {sliding} layers with a window of {shape.window:,}"
    states = sum(shape.layers[index].recurrent for index in home)
    if states:
        size = shape.state.conv_elements + shape.state.state_elements
        terms.append(f"{states} layers x {size:,} x {options.slots} slots x f32 state")
    return "; ".join(terms)


def _assumed(
    request: Request, site: Site, shape: Shape, options: Options, build: Build
) -> tuple[str, ...]:
    sentences = [sentence for each in (shape, shape.draft) if each for sentence in _inexact(each)]
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
    if not shape.exact:
        yield (
            f"The graph of architecture `{shape.arch}` is not known to the memory law of "
            "llama.cpp; its compute buffer is that of the nearest known family, with a wide band."
        )
