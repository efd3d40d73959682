"""The memory law of vLLM: from a request on a site to a demand, and to other KV sizes."""

from __future__ import annotations

from dataclasses import replace

from compiler.engines.vllm.band import learnt_bands
from compiler.engines.vllm.config import ShapeError
from compiler.engines.vllm.decide import options_of, request_shape
from compiler.engines.vllm.estimate import Estimate, estimate_on
from compiler.engines.vllm.explain import (
    assumptions,
    why_compute,
    why_graphs,
    why_kv,
    why_runtime,
    why_weights,
)
from compiler.engines.vllm.kv import layout_of, logged_tokens
from compiler.engines.vllm.options import Options
from compiler.engines.vllm.refusals import site_refusal
from compiler.engines.vllm.runtime import process_bytes
from compiler.engines.vllm.shape import Shape
from compiler.ir.demand import Breakdown, Demand, Growth, Part, Refusal, Request, Site, Split
from compiler.ir.inventory import GpuKind
from compiler.ir.units import GIB, round_up

# A GPU that stands in where a formula asks for one on a host without any.
_NO_GPU = GpuKind(name="cpu", memory_bytes=0, cuda_total_bytes=0, compute=(0, 0))


def demands_of(request: Request, site: Site) -> tuple[Demand, ...] | Refusal:
    """The one way to run the request on exactly this site, or why there is none."""
    try:
        shape = request_shape(request)
    except ShapeError as error:
        return Refusal(code="format", detail=f"{error}.")
    refusal = site_refusal(request, shape, site)
    if refusal is not None:
        return refusal
    if not site.kinds:
        return (_cpu_demand(request, shape, site),)
    return (_gpu_demand(request, shape, site),)


def estimate_of(request: Request, site: Site) -> Estimate:
    """The estimate behind a demand, recomputed from its request and site."""
    shape = request_shape(request)
    kind = site.kinds[0] if site.kinds else None
    options = options_of(request, shape, kind, len(site.kinds))
    return estimate_on(request.facts, shape, options, kind or _NO_GPU, linked=site.linked)


def grown(demand: Demand, kv_bytes: int) -> Demand:
    """The demand with this much KV on each GPU: whole blocks, from what it has to its maximum."""
    if demand.growth is None:
        return demand
    step = demand.growth.step_bytes
    own_bytes = demand.devices[0].kv.bytes
    target_bytes = min(kv_bytes, demand.growth.max_kv_bytes) // step * step
    return _with_kv(demand, max(own_bytes, target_bytes))


def at_utilization(demand: Demand, utilization_permille: int) -> Demand:
    """What vLLM would make of --gpu-memory-utilization alone, without a KV size said."""
    if not demand.site.kinds or not demand.devices:
        return demand
    estimate = estimate_of(demand.request, demand.site)
    total_bytes = min(kind.cuda_total_bytes for kind in demand.site.kinds)
    # gpu_worker.py `request_memory`: ceil(total x utilization).
    budget_bytes = -(-total_bytes * utilization_permille // 1000)
    return _with_kv(demand, estimate.kv_within(budget_bytes))


def _with_kv(demand: Demand, kv_bytes: int) -> Demand:
    request, site = demand.request, demand.site
    shape = request_shape(request)
    options = options_of(request, shape, site.kinds[0] if site.kinds else None, len(site.kinds))
    layout = layout_of(shape, options)
    why = why_kv(layout, options, kv_bytes)
    devices = tuple(device.with_kv(kv_bytes, why) for device in demand.devices)
    tokens = logged_tokens(layout, options, kv_bytes)
    return replace(demand, devices=devices, kv_tokens=tokens)


def _gpu_demand(request: Request, shape: Shape, site: Site) -> Demand:
    kind, ranks = site.kinds[0], len(site.kinds)
    options = options_of(request, shape, kind, ranks)
    estimate = estimate_on(request.facts, shape, options, kind, linked=site.linked)
    kv_bytes = estimate.kv_bytes(request.kv_tokens or request.context)
    device = Breakdown(
        weights=_part("weights", estimate.weights_bytes, why_weights(shape, estimate)),
        kv=Part.exact(kv_bytes, why_kv(estimate.layout, options, kv_bytes)),
        compute=_compute_part(estimate, kv_bytes),
        graphs=_part("graphs", estimate.graphs.larger_bytes, why_graphs(estimate)),
        runtime=_runtime_part(estimate),
    )
    return Demand(
        request=request,
        site=site,
        split=Split(tensor_parallel=ranks),
        devices=(device,) * ranks,
        host=_gpu_host(estimate, ranks),
        kv_tokens=estimate.tokens(kv_bytes),
        growth=_growth(request, estimate),
        assumed=assumptions(request, shape, options, kind),
    )


def _gpu_host(estimate: Estimate, gpus: int) -> Breakdown:
    """RAM of the processes, with the weights that are kept or may be moved there."""
    options = estimate.options
    moved_bytes = options.cpu_offload_bytes
    if options.sleeps:
        moved_bytes += estimate.weights_bytes
    weights = Part()
    if moved_bytes:
        weights = Part.exact(moved_bytes * gpus, "Weights in pinned RAM.")
    processes = _processes(options, gpus)
    # The API server and the engine core each keep processed images as they come.
    cache_bytes = options.image_cache_bytes * (options.api_servers + 1)
    processes = replace(processes, high_bytes=processes.high_bytes + cache_bytes)
    return Breakdown(weights=weights, runtime=processes)


def _processes(options: Options, gpus: int) -> Part:
    workers = f" and {gpus} workers" if gpus > 1 else ""
    why = f"RSS of {options.api_servers} API server, the engine core{workers}."
    return _part("processes", process_bytes(options, gpus), why)


def _cpu_demand(request: Request, shape: Shape, site: Site) -> Demand:
    """On the CPU everything lies in RAM, and the KV cache is said in whole GiB."""
    options = options_of(request, shape, None, 1)
    estimate = estimate_on(request.facts, shape, options, _NO_GPU, linked=False)
    kv_bytes = round_up(estimate.kv_bytes(request.kv_tokens or request.context), GIB)
    compute_bytes = estimate.activation.transient_bytes + estimate.activation.persistent_bytes
    host = Breakdown(
        weights=_part("weights", estimate.weights_bytes, why_weights(shape, estimate)),
        kv=Part.exact(kv_bytes, why_kv(estimate.layout, options, kv_bytes)),
        compute=_part("compute", compute_bytes, why_compute(estimate)),
        runtime=_processes(options, 0),
    )
    return Demand(
        request=request,
        site=site,
        split=Split(),
        devices=(),
        host=host,
        kv_tokens=estimate.tokens(kv_bytes),
        growth=None,
        assumed=assumptions(request, shape, options, None),
    )


def _growth(request: Request, estimate: Estimate) -> Growth | None:
    if not estimate.layout.exists:
        return None
    return Growth(
        step_bytes=estimate.layout.block_bytes,
        max_kv_bytes=estimate.kv_bytes(request.context * request.concurrency),
    )


def _compute_part(estimate: Estimate, kv_bytes: int) -> Part:
    """Activation and tables; on the high side also what a first start needs to compile.

    Compiling happens before the KV cache is allocated, so that its peak may use that room. What
    an older version keeps of it is reused by later activations.
    """
    activation = estimate.activation
    persistent_bytes = activation.persistent_bytes
    part = _part("compute", activation.transient_bytes + persistent_bytes, why_compute(estimate))
    cold_bytes = persistent_bytes + max(
        activation.cold_stays_bytes, activation.cold_peak_bytes - kv_bytes
    )
    return replace(part, high_bytes=max(part.high_bytes, cold_bytes))


def _runtime_part(estimate: Estimate) -> Part:
    bands, runtime = learnt_bands(), estimate.runtime
    charged = bands["charged"].around(runtime.charged_bytes, "")
    context = bands["context"].around(runtime.context_bytes, "")
    return Part(
        bytes=charged.bytes + context.bytes,
        low_bytes=charged.low_bytes + context.low_bytes,
        high_bytes=charged.high_bytes + context.high_bytes,
        why=why_runtime(estimate),
    )


def _part(component: str, size_bytes: int, why: str) -> Part:
    return learnt_bands()[component].around(size_bytes, why)
