"""Changes of a service's own settings and rules that would let everything find a place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from compiler.engines.interface import Saving
from compiler.engines.registry import engine_of, traits_of, usual_engine
from compiler.explain.trials import Case
from compiler.ir.demand import default_context
from compiler.ir.facts import ModelFacts
from compiler.ir.lock import LockedSource
from compiler.ir.remedy import Remedy
from compiler.ir.rules import engine_hosts
from compiler.ir.spec import PlacementRules, Service, Variant


class Trial(Protocol):
    """Whether everything finds a place with this service in place of the one of its name."""

    def __call__(self, service: Service, within: Case | None = None) -> bool:
        """`within` is another case than the one that is explained."""


Kind = Callable[[Case, Service, Trial], Iterator[Remedy]]

# Steps of the bisections: 256 tokens is llama.cpp's own padding of a context.
_CONTEXT_STEP = 256

# Of so many frozen services each is tried alone.
_MAX_THAWS = 4

# Nobody gains by fewer bits of a model whose files have less: 3 billion parameters in 16 bits.
_SMALL_BYTES = 6_000_000_000

_SIXTEEN_BITS = ("", "none", "bf16", "f16", "fp16", "bfloat16", "float16")

# What is given up, so that the least change comes first. A setting that is lowered costs up to
# this, by the part of it that is gone; the others stand where their owners would put them.
_LOWERED = 3000
_THAW = 800
_ONE_POOL = 1000
_STAGES = 1000
_SMALL_CACHE = 1200
_RULE = 1500
_RULES = 1900
_EIGHT_BITS = 1600
_RUNG = 2000
_FEWER_BITS = 2200
_ONE_REPLICA = 2500
_EXPERTS_IN_RAM = 3200
_IN_RAM = 3500
_EXPOSED = 3800
_LEFT_OUT = 4000


def thaws(case: Case, spend: Callable[[], None]) -> Iterator[Remedy]:
    """The frozen service without whose freeze everything finds a place, or all of them."""
    frozen = case.written.policy.freeze

    def tried(names: tuple[str, ...]) -> bool:
        spend()
        return case.fits_thawed(names)

    if frozen and tried(frozen):
        one = ((name,) for name in frozen[:_MAX_THAWS] if len(frozen) > 1)
        names = next(filter(tried, one), frozen)
        yield Remedy(code="thaw", subject=names[0], value=" ".join(names), cost=_THAW)


def exposed(
    case: Case, members: list[Service], spend: Callable[[], None]
) -> Iterator[Remedy]:  # fmt: skip
    """The one service without whose `survives` all others keep theirs."""
    for service in members:
        if service.survives:
            spend()
            if case.fits_together(replace(service, survives=None)):
                yield Remedy(
                    code="survives", subject=service.name, value="none", now="host", cost=_EXPOSED
                )


def left_out(case: Case, members: list[Service], fits: Trial) -> Iterator[Remedy]:
    """The least important of those that lack room, left out while there is none."""
    needed = [case.written.service(each.name) for each in members]
    needed = [service for service in needed if not service.optional]
    lowest = min((service.priority for service in needed), default=0)
    if len(needed) < len(members) or len(needed) > 1:
        for service in needed:
            if service.priority == lowest and fits(replace(service, optional=True)):
                yield Remedy(
                    code="optional", subject=service.name, value="true",
                    now=str(service.priority), cost=_LEFT_OUT,
                )  # fmt: skip


def _with_variants(service: Service, **changes: Any) -> Service:  # noqa: ANN401  Fields of Variant.
    return replace(
        service, variants=tuple(replace(variant, **changes) for variant in service.variants)
    )


def _less_context(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:  # noqa: ARG001
    """The longest context that fits, found by bisection."""
    now = min(variant.context or default_context(service.task) for variant in service.variants)

    def fits_with(steps: int) -> bool:
        return fits(_with_variants(service, context=steps * _CONTEXT_STEP))

    low = _highest((now - 1) // _CONTEXT_STEP, fits_with)
    if low:
        value = low * _CONTEXT_STEP
        yield _lowered("context", service, value, now)


def _highest(most: int, fits_with: Callable[[int], bool]) -> int:
    """The largest number from 1 to most that fits, 0 if not even 1 does."""
    if most < 1 or not fits_with(1):
        return 0
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits_with(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _lowered(code: Any, service: Service, value: int, now: int) -> Remedy:  # noqa: ANN401
    cost = _LOWERED * (now - value) // now
    return Remedy(code=code, subject=service.name, value=str(value), now=str(now), cost=cost)


def _has_cache(case: Case, variant: Variant) -> bool:
    locked = case.lock.find(variant.model)
    return locked is not None and locked.facts.task == "generate"


def _less_concurrency(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:  # noqa: ARG001
    now = max(variant.concurrency for variant in service.variants)
    if now <= 1 or not fits(_with_variants(service, concurrency=1)):
        return
    smaller = now // 2
    while smaller > 1 and not fits(_with_variants(service, concurrency=smaller)):
        smaller //= 2
    yield _lowered("concurrency", service, max(1, smaller), now)


def _smaller_cache(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:
    """A KV cache of 8 bits an element."""
    if not any(_has_cache(case, variant) for variant in service.variants):
        return
    engines = sorted({variant.engine for variant in service.variants})
    leaner = [_leaner(case, service, variant, "cache-8-bit") for variant in service.variants]
    variants = tuple(variant for variant in leaner if variant is not None)
    if len(variants) == len(leaner) and fits(replace(service, variants=variants)):
        yield Remedy(
            code="kv-8-bit", subject=service.name, value=" ".join(engines), cost=_SMALL_CACHE
        )


def _leaner(
    case: Case, service: Service, variant: Variant, saving: Saving, layers: int = 0
) -> Variant | None:
    """The variant with arguments that save memory so; None where a version in reach has none."""
    engine = engine_of(variant.engine)
    hosts = engine_hosts(case.inventory, service, variant.engine)
    versions = sorted({host.engines[variant.engine].version for host in hosts})
    found = [engine.leaner(saving, variant.args, version, layers) for version in versions]
    args = found[0] if found else None
    if args is None or None in found:
        return None
    return replace(variant, args={**variant.args, **args})


def _shared_cache(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:  # noqa: ARG001
    """A KV cache that holds one full-length request, shared by those in flight."""
    longest = max(variant.context or default_context(service.task) for variant in service.variants)
    guaranteed = [
        variant.kv_tokens or engine_of(variant.engine).usual_kv_tokens(longest, variant.concurrency)
        for variant in service.variants
    ]
    if max(guaranteed) > longest and fits(_with_variants(service, kv_tokens=longest)):
        yield Remedy(
            code="kv-tokens", subject=service.name, value=str(longest), now=str(max(guaranteed)),
            cost=_ONE_POOL,
        )  # fmt: skip


def staged(service: Service) -> str:
    """The arguments by which a replica takes several times as many GPUs, divided by spaces."""
    names = dict.fromkeys(
        name
        for variant in service.variants
        for name in traits_of(variant.engine).stages
        if name in variant.args
    )
    return " ".join(names)


def without_stages(service: Service) -> Service:
    """The service without pipeline stages and data parallel engines."""
    variants = tuple(
        replace(
            v, args={k: each for k, each in v.args.items() if k not in traits_of(v.engine).stages}
        )
        for v in service.variants
    )
    return replace(service, variants=variants)


def _one_stage(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:  # noqa: ARG001
    if staged(service) and fits(without_stages(service)):
        yield Remedy(code="stages", subject=service.name, value=staged(service), cost=_STAGES)


def _eight_bit_weights(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:
    """Weights made FP8 while they are loaded: half of 16 bits, without another source."""
    variants = tuple(
        _leaner(case, service, v, "weights-8-bit") or v if _is_large(case, v) else v
        for v in service.variants
    )
    if variants != service.variants and fits(replace(service, variants=variants)):
        yield Remedy(code="weights-8-bit", subject=service.name, value="fp8", cost=_EIGHT_BITS)


def _is_large(case: Case, variant: Variant) -> bool:
    """Whether fewer bits are worth a word: 16-bit weights of a model that is not small already."""
    locked = case.lock.find(variant.model)
    if locked is None or "quantization" in variant.args:
        return False
    return _bytes(locked) >= _SMALL_BYTES and locked.facts.quantization.lower() in _SIXTEEN_BITS


def _bytes(locked: LockedSource) -> int:
    return sum(file.bytes for file in locked.files)


def _known_rung(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:
    """A variant of the same model in fewer bits that the lock knows."""
    last = service.variants[-1]
    locked = case.lock.find(last.model)
    if locked is None:
        return
    known = {variant.model for variant in service.variants}
    for other in case.lock.sources:
        if other.source in known or not _same_model(locked.facts, other.facts):
            continue
        if not 0 < _bytes(other) < _bytes(locked):
            continue
        engine = usual_engine(other.source, other.facts.format)
        rung = replace(last, name="added", model=other.source, engine=engine)
        if engine != last.engine:
            rung = replace(rung, args={})
        if fits(replace(service, variants=(*service.variants, rung))):
            yield Remedy(code="rung", subject=service.name, value=other.source, cost=_RUNG)
            return


def _same_model(facts: ModelFacts, other: ModelFacts) -> bool:
    def shape(each: ModelFacts) -> tuple[object, ...]:
        return each.task, each.layers, each.vocabulary, each.position_limit

    return shape(facts) == shape(other)


def _fewer_bits(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:
    """A smaller quantization of a GGUF model, by its shapes."""
    last = service.variants[-1]
    locked = case.lock.find(last.model)
    smaller = engine_of(last.engine).smaller_quantizations(locked.facts) if locked else ()
    for name, facts in smaller:
        # By its shapes: as if the last variant were the model in these bits.
        if fits(replace(service, variants=(last,)), case.with_facts(last.model, facts)):
            yield Remedy(
                code="fewer-bits", subject=service.name, value=name, now=service.variants[-1].name,
                cost=_FEWER_BITS,
            )  # fmt: skip
            return


def _experts_in_ram(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:
    """Experts of as few layers in RAM as will do, of a mixture of experts."""
    experts = [
        variant
        for variant in service.variants
        if _has_experts(case, variant) and _leaner(case, service, variant, "experts-in-ram")
    ]
    if not experts:
        return
    locked = case.lock.find(experts[-1].model)
    layers = locked.facts.layers if locked else 0
    now = max(engine_of(each.engine).layers_of_experts(each.args) for each in experts)

    def with_experts(layers: int) -> Service:
        variants = (
            _leaner(case, service, variant, "experts-in-ram", layers) or variant
            for variant in service.variants
        )
        return replace(service, variants=tuple(variants))

    def fits_with(kept: int) -> bool:
        return fits(with_experts(layers - kept))

    if now < layers and fits(with_experts(layers)):
        kept = _highest(layers - now - 1, fits_with)
        yield Remedy(
            code="experts-in-ram", subject=service.name, value=str(layers - kept),
            now=str(now), cost=_EXPERTS_IN_RAM,
        )  # fmt: skip


def _has_experts(case: Case, variant: Variant) -> bool:
    locked = case.lock.find(variant.model)
    header = locked.facts.header if locked else {}
    return bool(header.get("expert_count"))


def _more_offload(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:  # noqa: ARG001
    stricter = any(traits_of(v.engine).offloads and v.offload != "auto" for v in service.variants)
    if stricter and fits(_with_variants(service, offload="auto")):
        yield Remedy(code="offload", subject=service.name, value="auto", cost=_IN_RAM)


def _no_offload(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:  # noqa: ARG001
    on_cpu = any(variant.offload == "cpu" for variant in service.variants)
    if on_cpu and fits(_with_variants(service, offload="none")):
        yield Remedy(code="no-offload", subject=service.name, value="none", cost=_RULE)


def _fewer_replicas(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:  # noqa: ARG001
    fewer = service.replicas - 1
    if fewer and fits(replace(service, replicas=fewer)):
        yield Remedy(
            code="replicas", subject=service.name, value=str(fewer), now=str(service.replicas),
            cost=_ONE_REPLICA,
        )  # fmt: skip


def _wider_placement(case: Case, service: Service, fits: Trial) -> Iterator[Remedy]:  # noqa: ARG001
    """The one rule without which the service finds a place, or all rules about hosts and GPUs."""
    rules = service.placement
    alone = {
        "hosts": replace(rules, host_labels={}),
        "kinds": replace(rules, kinds=()),
        "min_compute": replace(rules, min_compute=None),
        "tensor_parallel": replace(rules, tensor_parallel=()),
        "pin": replace(rules, pin=None),
        "exclusive": replace(rules, exclusive=False),
    }
    for name, loosened in alone.items():
        if loosened != rules and fits(replace(service, placement=loosened)):
            yield Remedy(code="rule", subject=service.name, value=name, cost=_RULE)
            return
    freed = PlacementRules(
        spread=rules.spread, apart_from=rules.apart_from, exclusive=rules.exclusive
    )
    if freed != rules and fits(replace(service, placement=freed)):
        yield Remedy(code="rules", subject=service.name, value="hosts gpus", cost=_RULES)


def gpu_counts(service: Service) -> tuple[int, ...]:
    """Numbers of GPUs to try for a replica: those of its rule and its arguments, else 1, 2 and 4.

    What is cut by layers takes any number.
    """
    found: set[int] = set()
    for variant in service.variants:
        by_ranks = traits_of(variant.engine).cuts == "ranks"
        ranks = service.placement.tensor_parallel if by_ranks else ()
        size = engine_of(variant.engine).gpus_per_shard(variant.args)
        found |= {size * n for n in ranks or (1, 2, 4)}
    return tuple(sorted(found))


KINDS: tuple[Kind, ...] = (
    _less_context, _less_concurrency, _smaller_cache, _shared_cache, _one_stage,
    _wider_placement, _eight_bit_weights, _known_rung, _fewer_bits, _experts_in_ram,
    _more_offload, _no_offload, _fewer_replicas,
)  # fmt: skip
