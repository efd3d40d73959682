"""Conflicts in words: what is missing where, and changes that were tried and would fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, assert_never

from compiler.diagnostics import Diagnostic, Location
from compiler.ir.catalog import builtin_kinds
from compiler.ir.demand import DEFAULT_CONTEXT, Demand, Refused, TooLarge
from compiler.ir.document import Document
from compiler.ir.inventory import Gpu, GpuKind, Inventory
from compiler.ir.placement import (
    Conflict,
    Crowded,
    FitsNowhere,
    FreezeBroken,
    OutOfPorts,
    RulesClash,
    Shortage,
)
from compiler.ir.spec import PlacementRules, Service, Spec, Variant
from compiler.ir.units import show_mib

Trial = Callable[[Service], bool]
"""Whether the fleet can be placed with this service in place of the one of its name."""

KindTrial = Callable[[Service, GpuKind, int], bool]
"""Whether a service fits that many GPUs of a kind, empty and with default reserves."""

# A message names so many places or rules at most; the rest is counted.
MAX_LISTED = 4

# Steps of the bisections: 256 tokens is llama.cpp's own padding of a context.
_CONTEXT_STEP = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What an explanation draws on."""

    inventory: Inventory
    spec: Spec
    document: Document
    alone: Trial
    """Whether a service fits the fleet when it is the only one."""
    together: Trial
    on_kind: KindTrial
    quantized: Callable[[Service], Iterator[tuple[str, bool]]]
    """Smaller quantizations of a service's model, largest first, and whether each fits alone."""


def explain(case: Case, conflicts: tuple[Conflict, ...]) -> list[Diagnostic]:
    """One diagnostic for each conflict, with the changes that would resolve it."""
    return [_diagnostic(case, conflict) for conflict in conflicts]


def _diagnostic(case: Case, conflict: Conflict) -> Diagnostic:
    match conflict:
        case FitsNowhere():
            service = case.spec.service(conflict.service)
            lines = [f"Service `{service.name}` fits no place of the fleet, even an empty one."]
            lines += _too_large_lines(case, service, conflict.too_large)
            lines += _refused_lines(service, conflict.refused)
            hints = _changes(service, case.alone)
            hints += [*_fewer_bits(case, service), *_other_gpus(case, service)]
            if not hints and any(place.missing_ram_bytes for place in conflict.too_large):
                hints = ["Add RAM or GPUs, or take services out of the spec."]
            code = "no-placement"
        case Crowded():
            service = case.spec.service(conflict.service)
            missing = conflict.wanted - conflict.placed
            head = (
                f"{missing} of {conflict.wanted} replicas of service `{service.name}` (priority "
                f"{service.priority}) find no place beside the other services."
            )
            lines = [head]
            frozen = case.spec.policy.freeze
            lines += [_shortage_line(conflict, each, frozen) for each in conflict.shortages]
            hints = _changes(service, case.together)
            code = "fleet-full"
        case RulesClash():
            lines = [f"{_rule_list(conflict)} cannot all hold."]
            lines += [f"Without `{rule}` everything finds a place." for rule in conflict.without]
            return Diagnostic(
                code="rules-conflict",
                detail=" ".join(lines),
                location=_rule_location(case, conflict.without[0]),
                hints=tuple(_rule_hint(rule) for rule in conflict.without),
            )
        case OutOfPorts():
            first, last = conflict.ports
            return Diagnostic(
                code="ports-exhausted",
                detail=f"The replicas that must stand on `{conflict.host}` need more than its "
                f"{last - first + 1} ports, {first}-{last}.",
                location=case.document.key("services"),
                hints=("Widen `ports` of the host in the inventory.",),
            )
        case FreezeBroken():
            return Diagnostic(
                code="freeze-impossible",
                detail=f"Replica `{conflict.replica}` is frozen, and {conflict.why}.",
                location=case.document.key("policy", "freeze"),
                hints=("Take its service out of `policy.freeze`, or undo what changed.",),
            )
        case _:
            assert_never(conflict)
    return Diagnostic(
        code=code,
        detail="\n".join(lines),
        location=case.document.key("services", service.name),
        hints=tuple(hints) or ("Add GPUs, or take services out of the spec.",),
    )


def _too_large_lines(case: Case, service: Service, places: tuple[TooLarge, ...]) -> Iterator[str]:
    """For each variant the place where the least is missing."""
    for position, variant in enumerate(service.variants):
        mine = [place for place in places if place.variant == position]
        if mine:
            best = min(mine, key=lambda place: (place.total_missing_bytes, place.host, place.gpus))
            yield _place_line(case, variant, best)


def _place_line(case: Case, variant: Variant, place: TooLarge) -> str:
    host = case.inventory.host(place.host)
    parts = []
    for index, missing, breakdown in zip(
        place.gpus, place.missing_bytes, place.demand.devices, strict=True
    ):
        gpu = host.gpus[index]
        parts.append(
            f"{show_mib(breakdown.high_bytes)} on `{host.name}/{index}` ({gpu.kind.name}, budget "
            f"{_budget(gpu)})" + (f": {show_mib(missing)} missing" if missing else "")
        )
    if place.missing_ram_bytes or not parts:
        parts.append(
            f"{show_mib(place.demand.host.high_bytes)} of RAM on `{host.name}` (budget "
            f"{show_mib(host.ram_budget_bytes)}): {show_mib(place.missing_ram_bytes)} missing"
        )
    return f"Variant `{variant.name}` comes closest with {', '.join(parts)}. {_sizes(place.demand)}"


def _budget(gpu: Gpu) -> str:
    """The budget and the bound that gives it: only one of the bounds ever counts."""
    why = {
        "reserved": f"memory less {show_mib(gpu.reserved_bytes)} reserved",
        "utilization": f"{gpu.utilization_permille / 10:g} % of the memory",
        "cuda_total": "all that CUDA can allocate",
    }
    return f"{gpu.budget_bytes // (1 << 20):,} MiB, {why[gpu.binding]}"


def _sizes(demand: Demand) -> str:
    breakdowns = demand.devices or (demand.host,)
    parts = [
        f"{name} {show_mib(sum(getattr(each, name).high_bytes for each in breakdowns))}"
        for name, _ in breakdowns[0].parts()
    ]
    return f"In all: {', '.join(parts)}."


def _refused_lines(service: Service, refused: tuple[Refused, ...]) -> list[str]:
    lines = []
    for position, variant in enumerate(service.variants):
        details: dict[str, list[str]] = {}
        for each in refused:
            if each.variant == position:
                where = f"`{each.host}/{','.join(map(str, each.gpus)) or 'cpu'}`"
                details.setdefault(each.refusal.detail, []).append(where)
        for detail, places in details.items():
            more = f" and {len(places) - MAX_LISTED} more" if len(places) > MAX_LISTED else ""
            shown = f"{', '.join(places[:MAX_LISTED])}{more}"
            lines.append(f"Variant `{variant.name}` cannot run on {shown}: {detail.rstrip('.')}.")
    return lines


def _shortage_line(conflict: Crowded, shortage: Shortage, frozen: tuple[str, ...]) -> str:
    tenants = ", ".join(
        f"`{t.service}` ({'frozen' if t.service in frozen else f'priority {t.priority}'}) "
        f"takes {t.share_mib:,} MiB"
        for t in shortage.tenants
    )
    missing = shortage.need_mib - shortage.free_mib
    return (
        f"Because variant `{conflict.variant}` needs {shortage.need_mib:,} MiB on "
        f"`{shortage.device}` and {tenants or 'others take memory'}, {missing:,} MiB are missing "
        f"of a budget of {shortage.budget_mib:,} MiB."
    )


def _changes(service: Service, fits: Trial) -> list[str]:
    """Changes of the service itself that were tried and would fit, smallest first."""
    found = [
        *_less_context(service, fits),
        *_less_concurrency(service, fits),
        *_smaller_cache(service, fits),
        *_shared_cache(service, fits),
        *_more_offload(service, fits),
    ]
    if service.replicas > 1 and fits(replace(service, replicas=service.replicas - 1)):
        found.append(f"Lower `replicas` to {service.replicas - 1}.")
    kept = service.placement
    rules = PlacementRules(spread=kept.spread, apart_from=kept.apart_from)
    freed = replace(service, placement=rules)
    if freed != service and fits(freed):
        found.append("Widen `placement`: without its host and GPU rules the service finds a place.")
    if not found and not any(_is_quantized(variant) for variant in service.variants):
        found.append(
            "Add a variant with fewer bits (AWQ, GPTQ or a GGUF quantization): 4-bit weights take "
            "about a third of 16-bit ones."
        )
    return found


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


def _more_offload(service: Service, fits: Trial) -> Iterator[str]:
    stricter = any(v.engine == "llama.cpp" and v.offload != "auto" for v in service.variants)
    if stricter and fits(_with_variants(service, offload="auto")):
        yield "Write `offload: auto`: layers that do not fit then stay in RAM, which is slower."


def _fewer_bits(case: Case, service: Service) -> Iterator[str]:
    name = next((name for name, fits in case.quantized(service) if fits), None)
    if name:
        yield f"Add a variant with the model in `{name}`: by its shapes it would fit whole."


def _other_gpus(case: Case, service: Service) -> list[str]:
    """The smallest kind of which one GPU would do, or two, or four."""
    kinds = sorted(
        (kind for kind in builtin_kinds().values() if not kind.mig),
        key=lambda kind: (kind.memory_bytes, kind.name),
    )
    kinds = [kind for kind in kinds if kind.compute >= (service.placement.min_compute or (7, 0))]
    for count in (1, 2, 4):
        low, high = 0, len(kinds)
        # Fitting grows with memory, but for compute capability: bisect, then try the answer.
        while low < high:
            middle = (low + high) // 2
            if case.on_kind(service, kinds[middle], count):
                high = middle
            else:
                low = middle + 1
        if low < len(kinds) and case.on_kind(service, kinds[low], count):
            kind = kinds[low]
            # A card that the fleet has already: what is reserved of it stands in the way.
            known = any(g.kind.name == kind.name for h in case.inventory.hosts for g in h.gpus)
            reserve = " with the default `reserved`" if known else ""
            memory = show_mib(kind.memory_bytes)
            return [f"It would fit {count} x `{kind.name}` ({memory} each){reserve}."]
    return []


def _rule_list(conflict: RulesClash) -> str:
    """The rules that clash as the start of a sentence; first those that could be left out.

    Budgets come last: they are the most, and the least that a user can do something about.
    """
    rules = sorted(conflict.rules, key=lambda rule: _rank(conflict, rule))
    shown = [_rule_words(rule) for rule in rules[:MAX_LISTED]]
    if len(rules) > MAX_LISTED:
        shown.append(f"{len(rules) - MAX_LISTED} more")
    text = f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
    return text[0].upper() + text[1:]


def _rank(conflict: RulesClash, rule: str) -> tuple[bool, bool]:
    kind = rule.partition(" ")[0]
    return kind not in conflict.without, kind in {"budget", "ram"}


def _rule_words(rule: str) -> str:
    """The name that the program gives a rule, in the words of the user's files."""
    kind, _, of = rule.partition(" ")
    words = {
        "replicas": f"the replicas of `{of}`",
        "budget": f"the budget of `{of}`",
        "ram": f"the RAM of `{of}`",
        "spread": f"`spread` of `{of}`",
        "apart_from": f"`apart_from` between `{'` and `'.join(of.split())}`",
    }
    return words.get(kind, f"`{rule}`")


def _rule_location(case: Case, rule: str) -> Location:
    if rule == "max_moves":
        return case.document.key("policy", "max_moves")
    for service in case.spec.services:
        if ("services", service.name, "placement", rule) in case.document.keys:
            return case.document.key("services", service.name, "placement", rule)
    return case.document.key("services")


def _rule_hint(rule: str) -> str:
    hints = {
        "max_moves": "Raise `policy.max_moves`, or leave it out for this change.",
        "spread": "Lower `replicas`, add hosts or GPUs, or loosen `spread`.",
        "apart_from": "Take one service out of `apart_from`.",
    }
    return hints[rule]
