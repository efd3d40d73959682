"""The memory law of vLLM: from a request on a site to a demand, and to other KV sizes."""

from __future__ import annotations

from dataclasses import replace

from compiler.engines.vllm.demand.explain import (
    assumptions,
    why_compute,
    why_graphs,
    why_kv,
    why_runtime,
    why_weights,
)
from compiler.engines.vllm.launch.decide import effective_header, options_of, request_shape
from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.launch.refusals import site_refusal
from compiler.engines.vllm.memory.band import learnt_bands
from compiler.engines.vllm.memory.kv import held_tokens
from compiler.engines.vllm.memory.law import Estimate, estimate_on
from compiler.engines.vllm.memory.runtime import process_bytes
from compiler.engines.vllm.model.config import ShapeError
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.model.studied import NO_DOUBTS, Doubts, doubts_of
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


def request_doubts(request: Request, shape: Shape) -> Doubts:
    """What of the request's model nobody has looked at; a GGUF's header is no config.json."""
    if request.facts.format == "gguf":
        return NO_DOUBTS
    return doubts_of(effective_header(request), shape, weighed=bool(request.facts.tensors))


def estimates_of(request: Request, site: Site) -> tuple[Estimate, ...]:
    """The estimates behind a demand, one for each of its GPUs, or for the host without any."""
    shape = request_shape(request)
    kind = site.kinds[0] if site.kinds else None
    options = options_of(request, shape, kind, len(site.kinds))
    return _ranks(request, shape, options, kind or _NO_GPU, linked=site.linked)


def grown(demand: Demand, kv_bytes: int) -> Demand:
    """The demand with this much KV on the GPU that has most: whole blocks, up to its maximum."""
    if demand.growth is None:
        return demand
    step = demand.growth.step_bytes
    own = max(device.kv.bytes for device in demand.devices) // step
    return _with_blocks(demand, max(own, min(kv_bytes, demand.growth.max_kv_bytes) // step))


def at_utilization(demand: Demand, utilization_permille: int) -> Demand:
    """What vLLM would make of --gpu-memory-utilization alone, without a KV size said."""
    if not demand.site.kinds or not demand.devices:
        return demand
    total_bytes = min(kind.cuda_total_bytes for kind in demand.site.kinds)
    # gpu_worker.py `request_memory`: ceil(total x utilization).
    budget_bytes = -(-total_bytes * utilization_permille // 1000)
    estimates = estimates_of(demand.request, demand.site)
    # The GPU with the fewest blocks decides for all (v1/core/kv_cache_utils.py).
    fewest = min(estimate.blocks_within(budget_bytes) for estimate in estimates)
    return replace(_with_blocks(demand, fewest), utilization_permille=utilization_permille)


def _ranks(
    request: Request, shape: Shape, options: Options, kind: GpuKind, *, linked: bool
) -> tuple[Estimate, ...]:
    """One estimate a GPU: ranks are numbered by tensor, then pipeline, then data parallelism."""
    stages = [
        estimate_on(request.facts, shape, replace(options, stage=stage), kind, linked=linked)
        for stage in range(options.pipeline_parallel)
    ]
    one_engine = [stage for stage in stages for _ in range(options.tensor_parallel)]
    return tuple(one_engine * options.data_parallel)


def _with_blocks(demand: Demand, blocks: int) -> Demand:
    estimates = estimates_of(demand.request, demand.site)
    devices = tuple(
        replace(device, kv=_pool(estimate, blocks, device.compute, device.graphs))
        for device, estimate in zip(demand.devices, estimates, strict=True)
    )
    return replace(demand, devices=devices, kv_tokens=_held_tokens(estimates[0], blocks))


def _held_tokens(estimate: Estimate, blocks: int) -> int:
    """Tokens of the whole replica: each data parallel rank has a cache of its own."""
    tokens = held_tokens(estimate.layout, estimate.options, blocks)
    return tokens * estimate.options.data_parallel


def _gpu_demand(request: Request, shape: Shape, site: Site) -> Demand:
    kind, gpus = site.kinds[0], len(site.kinds)
    options = options_of(request, shape, kind, gpus)
    estimates = _ranks(request, shape, options, kind, linked=site.linked)
    blocks = _blocks(request.kv_tokens or request.context, estimates)
    doubts = request_doubts(request, shape)
    return Demand(
        request=request,
        site=site,
        split=Split(
            tensor_parallel=options.tensor_parallel,
            pipeline_parallel=options.pipeline_parallel,
            data_parallel=options.data_parallel,
        ),
        devices=tuple(_device(shape, estimate, blocks, doubts) for estimate in estimates),
        host=_gpu_host(estimates, gpus),
        kv_tokens=_held_tokens(estimates[0], blocks),
        # A pool of which nobody knows what a token takes does not grow.
        growth=None if "kv" in doubts.parts else _growth(request, estimates),
        assumed=(*assumptions(request, shape, options, kind), *doubts.sentences),
    )


def _blocks(tokens: int, estimates: tuple[Estimate, ...]) -> int:
    """Blocks on every GPU that hold these tokens, each data parallel rank its part of them."""
    own = -(-tokens // estimates[0].options.data_parallel)
    return max(estimate.blocks(own) for estimate in estimates)


def _device(shape: Shape, estimate: Estimate, blocks: int, doubts: Doubts) -> Breakdown:
    compute = doubts.widen("compute", _compute_part(estimate))
    graphs = _part("graphs", estimate.graphs.larger_bytes, why_graphs(estimate))
    graphs = doubts.widen("graphs", graphs)
    pool = _pool(estimate, blocks, compute, graphs)
    if "kv" in doubts.parts:
        # vLLM takes what it is told to take, and starts only if a full-length request fits: where
        # nobody knows what a token takes, the pool is as large as the band says that it may be.
        pool = doubts.widen("kv", pool)
        pool = replace(pool, bytes=pool.high_bytes)
    return Breakdown(
        weights=doubts.widen("weights", _weights_part(shape, estimate)),
        kv=pool,
        compute=compute,
        graphs=graphs,
        runtime=_runtime_part(estimate),
    )


def _pool(estimate: Estimate, blocks: int, compute: Part, graphs: Part) -> Part:
    """So many blocks of the KV cache, and the room that a first start needs before it is there.

    Then kernels are compiled, with neither cache nor graphs on the GPU yet: what that takes beyond
    the room of graphs and of later activations must be free where the cache will be. A cache that
    is larger makes nothing else wider.
    """
    kv_bytes = blocks * estimate.layout.block_bytes
    activation = estimate.activation
    peak_bytes = activation.persistent_bytes + activation.cold_peak_bytes
    room_bytes = peak_bytes - compute.high_bytes - graphs.high_bytes
    why = why_kv(estimate.layout, estimate.options, blocks, max(0, room_bytes - kv_bytes))
    return replace(Part.exact(kv_bytes, why), high_bytes=max(kv_bytes, room_bytes))


def _gpu_host(estimates: tuple[Estimate, ...], gpus: int) -> Breakdown:
    """RAM of the processes, with the weights that are kept or may be moved there."""
    options = estimates[0].options
    moved_bytes = sum(estimate.offloaded_bytes for estimate in estimates)
    if options.sleeps:
        moved_bytes += sum(estimate.weights_bytes for estimate in estimates)
    weights = Part()
    if moved_bytes:
        weights = Part.exact(moved_bytes, "Weights in pinned RAM.")
    processes = _processes(options, gpus)
    # Each engine pins its own RAM for KV that leaves the GPU (config/cache.py, 0.12 to 0.33).
    ram_bytes = options.kv_ram_bytes * options.data_parallel
    kv = Part.exact(ram_bytes, "KV in pinned RAM.") if ram_bytes else Part()
    # The API servers and the engine cores each keep processed images as they come.
    cache_bytes = options.image_cache_bytes * (options.api_servers + options.data_parallel)
    processes = replace(processes, high_bytes=processes.high_bytes + cache_bytes)
    return Breakdown(weights=weights, kv=kv, runtime=processes)


def _processes(options: Options, gpus: int) -> Part:
    workers = f" and {gpus} workers" if gpus > options.data_parallel else ""
    why = f"RSS of {options.api_servers} API server, the engine core{workers}."
    if options.data_parallel > 1:
        cores = f"{options.data_parallel} engine cores{workers}"
        why = f"RSS of {options.api_servers} API servers, a coordinator, {cores}."
    return _part("processes", process_bytes(options, gpus), why)


def _cpu_demand(request: Request, shape: Shape, site: Site) -> Demand:
    """On the CPU everything lies in RAM, and the KV cache is said in whole GiB."""
    options = options_of(request, shape, None, 1)
    estimate = estimate_on(request.facts, shape, options, _NO_GPU, linked=False)
    kv_bytes = round_up(estimate.kv_bytes(request.kv_tokens or request.context), GIB)
    blocks = kv_bytes // estimate.layout.block_bytes if estimate.layout.exists else 0
    compute_bytes = estimate.activation.transient_bytes + estimate.activation.persistent_bytes
    doubts = request_doubts(request, shape)
    weights = _part("weights", estimate.weights_bytes, why_weights(shape, estimate))
    host = Breakdown(
        weights=doubts.widen("weights", weights),
        kv=Part.exact(kv_bytes, why_kv(estimate.layout, options, blocks)),
        compute=doubts.widen("compute", _part("compute", compute_bytes, why_compute(estimate))),
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
        assumed=(*assumptions(request, shape, options, None), *doubts.sentences),
    )


def _growth(request: Request, estimates: tuple[Estimate, ...]) -> Growth | None:
    """By blocks of the GPU that has the largest of them."""
    block_bytes = max(estimate.layout.block_bytes for estimate in estimates)
    if not block_bytes or not request.grows:
        return None
    most = _blocks((request.typical or request.context) * request.concurrency, estimates)
    return Growth(step_bytes=block_bytes, max_kv_bytes=most * block_bytes)


def _compute_part(estimate: Estimate) -> Part:
    """Activation and tables; on the high side also what older versions keep of a first start.

    What they keep of compiling is reused by later activations.
    """
    activation = estimate.activation
    persistent_bytes = activation.persistent_bytes
    part = _part("compute", activation.transient_bytes + persistent_bytes, why_compute(estimate))
    cold_bytes = persistent_bytes + activation.cold_stays_bytes
    return replace(part, high_bytes=max(part.high_bytes, cold_bytes))


def _weights_part(shape: Shape, estimate: Estimate) -> Part:
    """The weights; on the high side in the layout that other installed kernels want."""
    part = _part("weights", estimate.weights_bytes, why_weights(shape, estimate))
    return replace(part, high_bytes=part.high_bytes + estimate.possible_weights_bytes)


def _runtime_part(estimate: Estimate) -> Part:
    bands, runtime = learnt_bands(), estimate.runtime
    charged = bands["charged"].around(runtime.charged_bytes, "")
    context = bands["context"].around(runtime.context_bytes, "")
    return Part(
        bytes=charged.bytes + context.bytes,
        low_bytes=charged.low_bytes + context.low_bytes,
        high_bytes=charged.high_bytes + context.high_bytes + runtime.possible_bytes,
        why=why_runtime(estimate),
    )


def _part(component: str, size_bytes: int, why: str) -> Part:
    return learnt_bands()[component].around(size_bytes, why)
