"""Ways to run a request on a site: everything on the GPUs, and each step with less on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from compiler.engines.llamacpp.demand.breakdown import (
    Taken,
    assumptions,
    demand_for,
    demand_of,
    taken,
)
from compiler.engines.llamacpp.demand.reads import is_expert
from compiler.engines.llamacpp.demand.splits import best_split, budgets_of, next_split, too_large
from compiler.engines.llamacpp.flags import builds
from compiler.engines.llamacpp.flags.builds import Build, eras_of
from compiler.engines.llamacpp.flags.check import choice_word
from compiler.engines.llamacpp.ggml.cuda import attention_runs
from compiler.engines.llamacpp.graphs.job import telling_capabilities
from compiler.engines.llamacpp.launch.options import NO_MOVES, Options
from compiler.engines.llamacpp.launch.requests import MAX_CELLS, MAX_SLOTS, options_for
from compiler.engines.llamacpp.memory.nodes import too_large as too_many_nodes
from compiler.engines.llamacpp.model.quants import is_quantized
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.weights import loads
from compiler.ir.demand import Demand, Refusal, Request, Site

# llama.cpp is built for this many devices (llama.h `llama_max_devices`).
_MAX_GPUS = 16
# Steps of each kind that the ladder of a mixture has below the first that fits: about so many.
_MIXTURE_STEPS = 12


def demands_for(
    request: Request, site: Site, shape: Shape, build: Build
) -> tuple[Demand, ...] | Refusal:
    """Demands of a request on exactly this site, best first."""
    refusal = _refusal(request, site)
    if refusal:
        return refusal
    gpus = len(site.kinds)
    whole = _whole(request, site, shape, build)
    refusal = _unfit(whole, site) or _unstartable(shape, whole, build)
    if refusal:
        return refusal
    if not gpus:
        return (demand_for(request, site, shape, _without_gpus(whole), build),)
    most = shape.layers_in_file + 1
    if request.offload == "auto":
        return _ladder(request, site, shape, whole, build)
    gpu_layers = most if request.offload == "none" else min(int(request.offload), most)
    options = _without_gpus(whole)
    if gpu_layers:
        options = best_split(shape, replace(whole, gpu_layers=gpu_layers), build, site)
    return (demand_for(request, site, shape, options, build),)


def options_of(demand: Demand, shape: Shape, build: Build) -> Options:
    """The options that a demand was costed with."""
    gpus = len(demand.site.kinds)
    whole = _whole(demand.request, demand.site, shape, build)
    gpu_layers = demand.split.gpu_layers or 0
    if not gpu_layers or not gpus:
        return _without_gpus(whole)
    options = replace(whole, gpu_layers=gpu_layers, tensor_split=demand.split.tensor_split)
    experts = demand.split.expert_layers
    return options if experts is None else _with_experts_in_ram(options, experts)


def _ladder(
    request: Request, site: Site, shape: Shape, whole: Options, build: Build
) -> tuple[Demand, ...]:
    """Full offload, then experts in RAM layer by layer, then whole layers one by one."""
    without = demand_for(request, site, shape, _without_gpus(whole), build)
    assumed = assumptions(request, site, shape, whole, build)
    experts = tuple(_expert_steps(shape, whole, build))
    if experts:
        return (*_mixture_ladder(request, site, shape, whole, build, experts, assumed), without)
    if whole.gpus == 1:
        telling = replace(whole, capabilities=telling_capabilities(shape, whole))
        rungs = _rungs(shape, telling, build)
        return (*(demand_of(request, site, rung, assumed) for rung in rungs), without)
    options = best_split(shape, whole, build, site)
    found = [demand_of(request, site, taken(shape, options, build), assumed)]
    for gpu_layers in range(shape.layers_in_file, 0, -1):
        options = next_split(shape, replace(options, gpu_layers=gpu_layers), build, found[-1])
        found.append(demand_of(request, site, taken(shape, options, build), assumed))
    return (*found, without)


@lru_cache(maxsize=256)
def _rungs(shape: Shape, whole: Options, build: Build) -> tuple[Taken, ...]:
    """What is taken by every number of layers on one GPU, most first: the same on all kinds."""
    return tuple(
        taken(shape, replace(whole, gpu_layers=gpu_layers), build)
        for gpu_layers in (whole.gpu_layers, *range(shape.layers_in_file, 0, -1))
    )


def _mixture_ladder(  # noqa: PLR0913, PLR0917 - one a thing that decides a step
    request: Request,
    site: Site,
    shape: Shape,
    whole: Options,
    build: Build,
    experts: tuple[int, ...],
    assumed: tuple[str, ...],
) -> Iterator[Demand]:
    """The ladder of a mixture of experts.

    Experts go first: they are most of its bytes and few of those that a token reads, while
    attention and its cache, which each token reads whole, stay on the GPUs. Whole layers go when
    that is not enough. What is too large for these GPUs by weights and cache alone is left out,
    and below the first step that fits an empty site only some are given: what others leave of it
    is asked about anew.
    """
    options = best_split(shape, whole, build, site)
    above = demand_of(request, site, taken(shape, options, build), assumed)
    yield above
    fits = _fits(above)
    low = _with_experts_in_ram(whole, experts[-1])
    layers = tuple(range(shape.layers_in_file, 0, -1))
    for steps, lighten in (
        (experts, lambda step: (_with_experts_in_ram(whole, step), step)),
        (layers, lambda step: (replace(low, gpu_layers=step), experts[-1])),
    ):
        below = 0
        for place, step in enumerate(steps):
            options, kept = lighten(step)
            last = place == len(steps) - 1
            if not last and not fits and too_large(shape, options, build, site):
                continue
            below += fits
            if fits and not last and below % (1 + len(steps) // _MIXTURE_STEPS):
                continue
            if fits:
                options = next_split(shape, options, build, above)
            else:
                options = best_split(shape, options, build, site)
            above = demand_of(request, site, taken(shape, options, build, kept), assumed)
            yield above
            fits = fits or _fits(above)


def _fits(demand: Demand) -> bool:
    """Whether a demand fits the budgets of its site, when nobody else takes of them."""
    devices = zip(demand.devices, budgets_of(demand.site), strict=True)
    return all(device.high_bytes <= budget for device, budget in devices)


def _expert_steps(shape: Shape, whole: Options, build: Build) -> Iterator[int]:
    """Values of --n-cpu-moe that send one more layer's experts to RAM than the one before."""
    if whole.moves != NO_MOVES or build.number < builds.N_CPU_MOE_FLAG:
        return
    for index, layer in enumerate(loads(shape, NO_MOVES).layers):
        if any(is_expert(weight.suffix) for weight, _ in layer.weights):
            yield index + 1


def _with_experts_in_ram(options: Options, layers: int) -> Options:
    return replace(options, moves=replace(options.moves, cpu_moe_layers=layers))


def _whole(request: Request, site: Site, shape: Shape, build: Build) -> Options:
    """Everything on the GPUs, with flash attention where they have it for model and cache."""
    gpus = len(site.kinds)
    options = replace(
        options_for(request, shape, build, gpus=gpus),
        capabilities=tuple(10 * kind.compute[0] + kind.compute[1] for kind in site.kinds),
    )
    if "flash_attn" in request.args and choice_word(request.args["flash_attn"]) != "auto":
        return options
    types = (options.cache_type_k, options.cache_type_v)
    runs = not gpus or attention_runs(shape, *types, build.number)
    return replace(options, flash_attention=runs)


def _without_gpus(whole: Options) -> Options:
    """llama.cpp is told to use no GPU, or it would copy host weights to one."""
    return replace(
        whole,
        gpus=0,
        capabilities=(),
        gpu_layers=0,
        main_gpu=0,
        split_mode="layer",
        moves=NO_MOVES,
        draft=whole.draft and replace(whole.draft, gpu_layers=0, moves=NO_MOVES),
        projector=whole.projector and replace(whole.projector, gpu=None),
    )


def _refusal(request: Request, site: Site) -> Refusal | None:
    offload = request.offload
    if not site.kinds and (offload == "none" or (isinstance(offload, int) and offload)):
        return Refusal(code="offload", detail="the layers must be on a GPU, and there is none")
    if site.kinds and offload == "cpu":
        return Refusal(code="offload", detail="the service is to run without a GPU")
    if len(site.kinds) > _MAX_GPUS:
        return Refusal(code="layers", detail=f"llama.cpp uses at most {_MAX_GPUS} GPUs")
    if request.context < 1 or not 0 < request.concurrency <= MAX_SLOTS:
        detail = f"llama.cpp serves 1 to {MAX_SLOTS} requests at once, of at least one token"
        return Refusal(code="slots", detail=detail)
    cells = max(request.context * request.concurrency, request.kv_tokens or 0)
    if cells > MAX_CELLS:
        return Refusal(code="context", detail=f"{cells:,} tokens of context are out of reach")
    return None


def _unfit(options: Options, site: Site) -> Refusal | None:
    if options.main_gpu >= max(1, options.gpus):
        detail = f"`main_gpu` is {options.main_gpu}, and there are {len(site.kinds)} GPUs"
        return Refusal(code="main-gpu", detail=detail)
    for argument, named in _named_gpus(options).items():
        if options.gpus and named >= options.gpus:
            detail = f"`{argument}` names CUDA{named}, and there are {options.gpus} GPUs"
            return Refusal(code=argument.replace("_", "-"), detail=detail)
    types = {"cache_type_v": options.cache_type_v}
    if options.draft:
        types["cache_type_v_draft"] = options.draft.cache_type_v
    for argument, v_type in types.items():
        if is_quantized(v_type) and not options.flash_attention:
            detail = (
                f"`{argument}` {v_type} needs flash attention, which CUDA does not "
                "have for the head size of this model and this pair of cache types"
            )
            return Refusal(code="flash-attention", detail=detail)
    return None


def _unstartable(shape: Shape, options: Options, build: Build) -> Refusal | None:
    """What libllama itself refuses, or aborts with."""
    if shape.latent.absorbed and options.cache_type_k != options.cache_type_v:
        detail = (
            f"`cache_type_k` {options.cache_type_k} and `cache_type_v` {options.cache_type_v} "
            "differ, and latent attention keeps one row for both"
        )
        return Refusal(code="cache-types", detail=detail)
    *_, graph = eras_of(build.number)
    # The limit is that of the builds that rotate a quantized cache; before, graphs were smaller.
    if graph.rotation and too_many_nodes(shape, options, graph):
        detail = (
            f"llama.cpp {build.text} aborts at start: with these slots and cache types its graph "
            "has more nodes than it makes room for; a cache of f16 or slots that share one "
            "(`kv_tokens` below context x concurrency) start"
        )
        return Refusal(code="graph-size", detail=detail)
    return None


def _named_gpus(options: Options) -> dict[str, int]:
    """The highest GPU that each argument names."""
    rules = {"override_tensor": options.moves.overrides}
    if options.draft:
        rules["override_tensor_draft"] = options.draft.moves.overrides
    found = {
        argument: max((rule.gpu for rule in overrides if rule.gpu is not None), default=-1)
        for argument, overrides in rules.items()
    }
    if options.projector and options.projector.gpu is not None:
        found["mmproj_device"] = options.projector.gpu
    return found
