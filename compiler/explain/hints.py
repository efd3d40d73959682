"""Hints: changes of a service, of a rule or of the hardware that were tried and would fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from compiler.engines.registry import engine_of
from compiler.explain.trials import Case
from compiler.ir.catalog import builtin_kinds
from compiler.ir.demand import DEFAULT_CONTEXT
from compiler.ir.placement import FitsNowhere
from compiler.ir.spec import PlacementRules, Service, Variant
from compiler.ir.units import show_mib

Trial = Callable[[Service], bool]
"""Whether the fleet can be placed with this service in place of the one of its name."""

# Steps of the bisections: 256 tokens is llama.cpp's own padding of a context.
_CONTEXT_STEP = 256
# More layers than any model has; llama.cpp takes what is beyond for all of them.
_MOST_LAYERS = 512

# Of so many frozen services each is tried alone.
_MAX_THAWS = 4


def changes_of(service: Service, fits: Trial) -> list[str]:
    """Changes of the service itself that were tried and would fit, smallest first."""
    found = [
        *_less_context(service, fits),
        *_less_concurrency(service, fits),
        *_smaller_cache(service, fits),
        *_shared_cache(service, fits),
        *_more_experts(service, fits),
        *_more_offload(service, fits),
        *_no_offload(service, fits),
    ]
    if service.replicas > 1 and fits(replace(service, replicas=service.replicas - 1)):
        found.append(f"Lower `replicas` to {service.replicas - 1}.")
    found += _wider_placement(service, fits)
    return found


def hints_of_homeless(case: Case, conflict: FitsNowhere) -> list[str]:
    """For a service that not even an empty fleet holds.

    Where every place is refused, or there is none, fewer bits would not help.
    """
    service = case.written.service(conflict.service)
    found = changes_of(service, case.fits_alone)
    if conflict.too_large:
        found = [*(found or any_fewer_bits(service)), *_fewer_bits(case, service)]
    return [*found, *_more_ram(conflict), *_other_gpus(case, service)]


def any_fewer_bits(service: Service) -> Iterator[str]:
    """Of a service whose variants all are in 16 bits, as far as their names tell."""
    if not any(_is_quantized(variant) for variant in service.variants):
        yield (
            "Add a variant with fewer bits (AWQ, GPTQ or a GGUF quantization): 4-bit weights take "
            "about a third of 16-bit ones."
        )


def _wider_placement(service: Service, fits: Trial) -> Iterator[str]:
    """The one rule without which the service finds a place, or all rules about hosts and GPUs."""
    rules = service.placement
    alone = {
        "hosts": replace(rules, host_labels={}),
        "kinds": replace(rules, kinds=()),
        "min_compute": replace(rules, min_compute=None),
        "tensor_parallel": replace(rules, tensor_parallel=()),
        "pin": replace(rules, pin=None),
    }
    for name, loosened in alone.items():
        if loosened != rules and fits(replace(service, placement=loosened)):
            yield f"Widen `placement`: without its `{name}` the service finds a place."
            return
    freed = PlacementRules(spread=rules.spread, apart_from=rules.apart_from)
    if freed != rules and fits(replace(service, placement=freed)):
        yield "Widen `placement`: without its host and GPU rules the service finds a place."


def thaws(case: Case) -> Iterator[str]:
    """The frozen service without whose freeze everything finds a place, or all of them."""
    frozen = case.written.policy.freeze
    if frozen and case.fits_thawed(frozen):
        tried = ((name,) for name in frozen[:_MAX_THAWS] if len(frozen) > 1)
        names = next(filter(case.fits_thawed, tried), frozen)
        listed = " and ".join(f"`{name}`" for name in names)
        yield f"Take {listed} out of `policy.freeze`: everything then finds a place."


def gpu_counts(service: Service) -> tuple[int, ...]:
    """Numbers of GPUs to try for a replica: those of its rule and its arguments, else 1, 2 and 4.

    llama.cpp takes any number.
    """
    found: set[int] = set()
    for variant in service.variants:
        ranks = service.placement.tensor_parallel if variant.engine == "vllm" else ()
        size = engine_of(variant.engine).gpus_per_shard(variant.args)
        found |= {size * n for n in ranks or (1, 2, 4)}
    return tuple(sorted(found))


def _is_quantized(variant: Variant) -> bool:
    name = variant.model.lower()
    return any(word in name for word in ("awq", "gptq", "gguf", "fp8", "int4", "int8", "4bit"))


def _with_variants(service: Service, **changes: Any) -> Service:  # noqa: ANN401  Fields of Variant.
    return replace(
        service, variants=tuple(replace(variant, **changes) for variant in service.variants)
    )


def _less_context(service: Service, fits: Trial) -> Iterator[str]:
    """The longest context that fits, found by bisection."""
    now = min(variant.context or DEFAULT_CONTEXT for variant in service.variants)

    def fits_with(context: int) -> bool:
        return fits(_with_variants(service, context=context))

    low, high = 0, (now - 1) // _CONTEXT_STEP
    while low < high:
        middle = (low + high + 1) // 2
        if fits_with(middle * _CONTEXT_STEP):
            low = middle
        else:
            high = middle - 1
    if low:
        yield f"Lower `context` to {low * _CONTEXT_STEP} (now {now})."


def _less_concurrency(service: Service, fits: Trial) -> Iterator[str]:
    now = max(variant.concurrency for variant in service.variants)
    smaller = now // 2
    while smaller >= 1:
        if fits(_with_variants(service, concurrency=smaller)):
            yield f"Lower `concurrency` to {smaller} (now {now})."
            return
        smaller //= 2


def _smaller_cache(service: Service, fits: Trial) -> Iterator[str]:
    """A KV cache of 8 bits an element."""
    if fits(replace(service, variants=tuple(map(_eight_bit, service.variants)))):
        engines = {variant.engine for variant in service.variants}
        if "llama.cpp" in engines:
            cache = 'cache_type_k: q8_0, cache_type_v: q8_0, flash_attn: "on"'
            yield f"Write `llama.cpp: {{args: {{{cache}}}}}`."
        if "vllm" in engines:
            yield "Write `vllm: {args: {kv_cache_dtype: fp8}}`."


def _eight_bit(variant: Variant) -> Variant:
    if variant.engine == "vllm":
        return replace(variant, args={**variant.args, "kv_cache_dtype": "fp8"})
    # llama.cpp quantizes V only with flash attention.
    cache = {"cache_type_k": "q8_0", "cache_type_v": "q8_0", "flash_attn": "on"}
    return replace(variant, args={**variant.args, **cache})


def _shared_cache(service: Service, fits: Trial) -> Iterator[str]:
    """A KV cache that holds one full-length request, shared by those in flight."""
    longest = max(variant.context or DEFAULT_CONTEXT for variant in service.variants)
    guaranteed = [
        variant.kv_tokens
        or (longest * variant.concurrency if variant.engine == "llama.cpp" else longest)
        for variant in service.variants
    ]
    if max(guaranteed) > longest and fits(_with_variants(service, kv_tokens=longest)):
        yield f"Write `kv_tokens: {longest}`: requests then share one pool of that size."


def _more_experts(service: Service, fits: Trial) -> Iterator[str]:
    """The least number of layers whose experts must stay in RAM, where the spec gives one."""
    given = [variant.args.get("n_cpu_moe") for variant in service.variants]
    counts = [count for count in given if isinstance(count, int) and not isinstance(count, bool)]
    if not counts:
        return

    def with_experts(count: int) -> Service:
        variants = tuple(
            replace(variant, args={**variant.args, "n_cpu_moe": count})
            if "n_cpu_moe" in variant.args
            else variant
            for variant in service.variants
        )
        return replace(service, variants=variants)

    low, high = max(counts) + 1, _MOST_LAYERS
    if not fits(with_experts(high)):
        return
    while low < high:
        middle = (low + high) // 2
        if fits(with_experts(middle)):
            high = middle
        else:
            low = middle + 1
    yield f"Write `n_cpu_moe: {low}` (now {max(counts)}): the experts of so many layers in RAM."


def _more_offload(service: Service, fits: Trial) -> Iterator[str]:
    stricter = any(v.engine == "llama.cpp" and v.offload != "auto" for v in service.variants)
    if stricter and fits(_with_variants(service, offload="auto")):
        yield "Write `offload: auto`: layers that do not fit then stay in RAM, which is slower."


def _no_offload(service: Service, fits: Trial) -> Iterator[str]:
    on_cpu = any(variant.offload == "cpu" for variant in service.variants)
    if on_cpu and fits(_with_variants(service, offload="none")):
        yield "Take out `offload: cpu`."


def _fewer_bits(case: Case, service: Service) -> Iterator[str]:
    name = next((name for name, fits in case.quantized(service) if fits), None)
    if name:
        yield f"Add a variant with the model in `{name}`: by its shapes it would fit whole."


def _more_ram(conflict: FitsNowhere) -> Iterator[str]:
    """The least RAM with which a place would do whose GPUs are large enough."""
    places = [place for place in conflict.too_large if not any(place.missing_bytes)]
    if places:
        best = min(places, key=lambda place: (place.missing_ram_bytes, place.host))
        yield f"Give `{best.host}` {show_mib(best.missing_ram_bytes)} more RAM."


def _other_gpus(case: Case, service: Service) -> list[str]:
    """The smallest kind of which one GPU would do, or two, or four, or as many as a rule says."""
    rules = service.placement
    kinds = sorted(
        (kind for kind in builtin_kinds().values() if not (kind.mig or kind.assumed)),
        key=lambda kind: (kind.memory_bytes, kind.name),
    )
    kinds = [
        kind
        for kind in kinds
        if kind.compute >= (rules.min_compute or (7, 0))
        and (not rules.kinds or kind.name in rules.kinds)
    ]
    for count in gpu_counts(service):
        low, high = 0, len(kinds)
        # Fitting grows with memory, but for compute capability: bisect, then try the answer.
        while low < high:
            middle = (low + high) // 2
            if case.fits_kind(service, kinds[middle], count):
                high = middle
            else:
                low = middle + 1
        if low < len(kinds) and case.fits_kind(service, kinds[low], count):
            kind = kinds[low]
            # A card that the fleet has already: what is reserved of it stands in the way.
            known = any(g.kind.name == kind.name for h in case.inventory.hosts for g in h.gpus)
            reserve = " with the default `reserved`" if known else ""
            memory = show_mib(kind.memory_bytes)
            return [f"It would fit {count} x `{kind.name}` ({memory} each){reserve}."]
    return []
