"""Conflicts in words: what is missing where, and changes that were tried and would fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from compiler.diagnostics import Diagnostic, Location, Severity
from compiler.engines.registry import traits_of
from compiler.explain.advice import advice
from compiler.explain.remedies import (
    remedies_for_group,
    remedies_for_homeless,
    remedies_for_spares,
)
from compiler.explain.settings import gpu_counts
from compiler.explain.trials import Case
from compiler.ir.catalog import builtin_kinds
from compiler.ir.demand import Demand, Refused, TooLarge
from compiler.ir.inventory import Gpu
from compiler.ir.names import folded, grouped
from compiler.ir.placement import (
    Alone,
    Conflict,
    Crowded,
    FitsNowhere,
    FreezeBroken,
    NoSpare,
    OutOfPorts,
    RulesClash,
    Shortage,
    Tenant,
)
from compiler.ir.rules import engine_hosts, gpus_of, working_gpus
from compiler.ir.spec import Service, Variant
from compiler.ir.units import show_mib

# A message names so many places or rules at most; the rest is counted.
MAX_LISTED = 4

# When nothing that was tried would fit.
_LESS_OR_MORE = (
    "No single change that was tried is enough: take services out, or add GPUs; `modelc size` says "
    "how many of a kind would do."
)


def explain(case: Case, conflicts: tuple[Conflict, ...]) -> list[Diagnostic]:
    """What is in conflict, with the changes that would resolve it.

    Services that lack room beside each other are one group: what helps one may help all.
    """
    crowded = [each for each in conflicts if isinstance(each, Crowded)]
    spares = [each for each in conflicts if isinstance(each, NoSpare)]
    others = [each for each in conflicts if not isinstance(each, Crowded | NoSpare)]
    group = [_group_diagnostic(case, crowded)] if crowded else []
    group += [_spare_diagnostic(case, spares)] if spares else []
    return [*group, *(_diagnostic(case, conflict, conflicts) for conflict in others)]


def explain_left_out(
    case: Case, service: str, n_placed: int, conflicts: tuple[Conflict, ...]
) -> Diagnostic:
    """Why a plan leaves out an optional service, or some of its replicas, and what would help."""
    found = explain(case, conflicts)
    wanted = case.written.service(service).replicas
    which = f"{wanted - n_placed} of its {wanted} replicas" if n_placed else "it"
    return Diagnostic(
        code="left-out",
        detail="\n".join(
            [
                f"Service `{service}` is optional, and the plan leaves {which} out.",
                *(each.detail for each in found),
            ]
        ),
        location=case.document.key("services", service),
        hints=tuple(dict.fromkeys(hint for each in found for hint in each.hints)),
        remedies=tuple(remedy for each in found for remedy in each.remedies),
        severity=Severity.WARNING if n_placed else Severity.ERROR,
    )


def _group_diagnostic(case: Case, crowded: list[Crowded]) -> Diagnostic:
    """Of all services that lack room beside each other."""
    remedies = remedies_for_group(case, crowded)
    lines = [_missing_line(crowded)] if len(crowded) > 1 else []
    for conflict in crowded[:MAX_LISTED]:
        lines.append(_crowded_line(conflict, case.written.service(conflict.service)))
        lines += _shortage_lines(case, conflict)
    if len(crowded) > MAX_LISTED:
        lines.append(f"So do {len(crowded) - MAX_LISTED} more services.")
    return Diagnostic(
        code="fleet-full",
        detail="\n".join(lines),
        location=case.document.key("services", crowded[0].service),
        hints=advice(case, remedies, alone=len(case.written.services) == 1) or (_LESS_OR_MORE,),
        remedies=tuple(remedies),
    )


def _spare_diagnostic(case: Case, spares: list[NoSpare]) -> Diagnostic:
    """Of services that would not survive the loss of a host."""
    remedies = remedies_for_spares(case, spares)
    lines = [_spare_line(each) for each in spares[:MAX_LISTED]]
    if len(spares) > MAX_LISTED:
        lines.append(f"So it is with {len(spares) - MAX_LISTED} more losses.")
    return Diagnostic(
        code="no-spare",
        detail="\n".join(lines),
        location=case.document.key("services", spares[0].service, "survives"),
        hints=advice(case, remedies, alone=False) or (_LESS_OR_MORE,),
        remedies=tuple(remedies),
    )


def _spare_line(each: NoSpare) -> str:
    which = "replica" if each.replicas == 1 else "replicas"
    text = (
        f"If `{each.lost}` were lost, {each.replicas} {which} of service `{each.service}` would "
        "find no place beside the others as they stand"
    )
    if each.host is None:
        return f"{text}: no other host could hold it."
    place = f"{each.host}/{','.join(map(str, each.gpus))}"
    need = " + ".join(f"{mib:,}" for mib in each.need_mib)
    held = ", ".join(f"`{tenant.service}` {tenant.share_mib:,} MiB" for tenant in each.tenants)
    beside = f" beside {held}" if held else ""
    return (
        f"{text}. Variant `{each.variant}` comes closest with {need} MiB on `{place}`: "
        f"{each.missing_mib:,} MiB missing{beside}."
    )


def _missing_line(crowded: list[Crowded]) -> str:
    """What is missing in all, and where."""
    shortages = [shortage for each in crowded for shortage in each.shortages]
    missing = sum(shortage.need_mib - shortage.free_mib for shortage in shortages)
    devices = list(dict.fromkeys(f"`{shortage.device}`" for shortage in shortages))
    more = f" and {len(devices) - MAX_LISTED} more" if len(devices) > MAX_LISTED else ""
    return (
        f"{len(crowded)} services find no place beside the others: {missing:,} MiB are missing in "
        f"all, on {', '.join(devices[:MAX_LISTED])}{more}."
    )


def _diagnostic(case: Case, conflict: Conflict, conflicts: tuple[Conflict, ...]) -> Diagnostic:
    match conflict:
        case FitsNowhere():
            service = case.written.service(conflict.service)
            lines = [f"Service `{service.name}` fits no place of the fleet, even an empty one."]
            lines += _too_large_lines(case, service, conflict.too_large)
            lines += _refused_lines(service, conflict.refused)
            lines += _placeless_lines(case, service, conflict)
            remedies = remedies_for_homeless(case, conflict, conflicts)
            return Diagnostic(
                code="no-placement",
                detail="\n".join(lines),
                location=case.document.key("services", service.name),
                hints=advice(case, remedies, alone=True) or (_LESS_OR_MORE,),
                remedies=tuple(remedies),
            )
        case NoSpare():
            return _spare_diagnostic(case, [conflict])
        case Crowded():
            return _group_diagnostic(case, [conflict])
        case RulesClash():
            return _clash_diagnostic(case, conflict)
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


def _too_large_lines(case: Case, service: Service, places: tuple[TooLarge, ...]) -> Iterator[str]:
    """For each variant the place where the least is missing."""
    for position, variant in enumerate(service.variants):
        mine = [place for place in places if place.variant == position]
        if mine:
            best = min(mine, key=lambda place: (place.total_missing_bytes, place.host, place.gpus))
            yield _place_line(case, variant, best)


def _place_line(case: Case, variant: Variant, place: TooLarge) -> str:
    host = case.inventory.host(place.host)
    taken = place.demand.taken_bytes if place.gpus else ()
    figures = zip(place.gpus, place.missing_bytes, taken, strict=True)
    equal = grouped(
        (
            (
                show_mib(size),
                f"{host.gpus[index].kind.name}, budget {_budget(host.gpus[index])}",
                f": {show_mib(missing)} missing" if missing else "",
            ),
            f"{host.name}/{index}",
        )
        for index, missing, size in figures
    )
    parts = [
        f"{size} on {'each of ' if len(names) > 1 else ''}`{folded(names)}` ({gpu}){missing}"
        for (size, gpu, missing), names in equal.items()
    ]
    if place.missing_ram_bytes or not parts:
        parts.append(
            f"{show_mib(place.demand.host.high_bytes)} of RAM on `{host.name}` (budget "
            f"{show_mib(host.ram_budget_bytes)}): {show_mib(place.missing_ram_bytes)} missing"
        )
    return f"Variant `{variant.name}` comes closest with {', '.join(parts)}. {_sizes(place.demand)}"


def _budget(gpu: Gpu) -> str:
    """The budget and the bound that gives it: only one of the bounds ever counts."""
    why = {
        "reserved": f"memory less {show_mib(gpu.kept_back_bytes)} reserved",
        "utilization": f"{gpu.utilization_permille / 10:g} % of the memory",
        "cuda_total": "all that CUDA can allocate",
    }
    both = ", one memory with the RAM" if gpu.kind.unified else ""
    return f"{gpu.budget_bytes // (1 << 20):,} MiB, {why[gpu.binding]}{both}"


def _sizes(demand: Demand) -> str:
    breakdowns = demand.devices or (demand.host,)
    if demand.devices and demand.site.unified:
        breakdowns = (*breakdowns, demand.host)
    parts = [
        f"{name} {show_mib(sum(getattr(each, name).high_bytes for each in breakdowns))}"
        for name, _ in breakdowns[0].parts()
    ]
    return f"In all: {', '.join(parts)}."


def _refused_lines(service: Service, refused: tuple[Refused, ...]) -> list[str]:
    lines = []
    for position, variant in enumerate(service.variants):
        details = grouped(
            (each.refusal.detail, f"{each.host}/{','.join(map(str, each.gpus)) or 'cpu'}")
            for each in refused
            if each.variant == position
        )
        for detail, names in details.items():
            places = [f"`{place}`" for place in folded(names).split(", ")]
            more = f" and {len(places) - MAX_LISTED} more" if len(places) > MAX_LISTED else ""
            shown = f"{', '.join(places[:MAX_LISTED])}{more}"
            lines.append(f"Variant `{variant.name}` cannot run on {shown}: {detail.rstrip('.')}.")
    return lines


def _placeless_lines(case: Case, service: Service, conflict: FitsNowhere) -> Iterator[str]:
    """Variants for which there was no place to try."""
    tried = {each.variant for each in conflict.too_large}
    tried |= {each.variant for each in conflict.refused}
    for position, variant in enumerate(service.variants):
        if position not in tried:
            why = _why_placeless(case, replace(service, variants=(variant,)))
            yield f"Variant `{variant.name}` has no place to try: {why}."


def _why_placeless(case: Case, service: Service) -> str:
    """Of a service with one variant."""
    (variant,) = service.variants
    traits = traits_of(variant.engine)
    if variant.offload == "cpu" and not traits.cpu_beside_gpus:
        return f"with `offload: cpu` {traits.title} runs only on hosts that have no GPU"
    reach = engine_hosts(case.inventory, service, variant.engine)
    hosts = [host for host in reach if host.state == "ready"]
    most = max((len(working_gpus(host, service.placement)) for host in hosts), default=0)
    if reach and not hosts:
        return f"every host in its reach is drained ({', '.join(f'`{h.name}`' for h in reach)})"
    broken = [
        f"`{host.name}/{gpu.index}`"
        for host in hosts
        for gpu in gpus_of(host, service.placement)
        if gpu.state == "broken"
    ]
    if broken and (not most or service.placement.pin):
        return f"the GPUs in its reach are broken ({', '.join(broken[:MAX_LISTED])})"
    counts = gpu_counts(service)
    if not most or counts[0] <= most:
        return "no host in its reach has GPUs for it"
    least = "" if len(counts) == 1 else "at least "
    why = (
        f"it needs {least}{counts[0]} GPUs of one host, as a replica never spans hosts, and the "
        f"largest in its reach has {most}"
    )
    largest = max(builtin_kinds().values(), key=lambda kind: (kind.memory_bytes, kind.name))
    refusals = {case.refused_on_kind(service, largest, count) for count in counts}
    said = {refusal.rstrip(".") for refusal in refusals if refusal}
    return "; besides, ".join([why, *sorted(said)])


def _crowded_line(conflict: Crowded, service: Service) -> str:
    name = f"`{service.name}` (priority {service.priority})"
    if conflict.wanted == 1:
        return f"Service {name} finds no place beside the other replicas."
    missing = conflict.wanted - conflict.placed
    finds = "finds" if missing == 1 else "find"
    some = f"{missing} of {conflict.wanted} replicas of service {name}"
    return f"{some} {finds} no place beside the others."


def _shortage_lines(case: Case, conflict: Crowded) -> list[str]:
    """Of the place that comes closest, equal devices together."""
    equal = grouped((replace(each, device=""), each) for each in conflict.shortages)
    return [
        _shortage_line(case, conflict, replace(alike[0], device=folded([s.device for s in alike])))
        for alike in equal.values()
    ]


def _shortage_line(case: Case, conflict: Crowded, shortage: Shortage) -> str:
    tenants = ", ".join(
        f"{_tenant_words(case, conflict, tenant)} {tenant.share_mib:,} MiB"
        for tenant in shortage.tenants
    )
    missing = shortage.need_mib - shortage.free_mib
    each = "each of " if "[" in shortage.device else ""
    if shortage.alone:
        return (
            f"Variant `{conflict.variant}` comes closest on {each}`{shortage.device}`, where "
            f"{tenants}, and {_alone_words(shortage.alone)}."
        )
    return (
        f"Variant `{conflict.variant}` comes closest with {shortage.need_mib:,} MiB on "
        f"{each}`{shortage.device}` (budget {shortage.budget_mib:,} MiB): "
        f"{tenants or 'nobody else is there'}; {missing:,} MiB missing."
    )


def _alone_words(alone: Alone) -> str:
    if alone.engine is None:
        return f"`exclusive` lets nobody stand beside `{alone.service}`"
    return (
        f"`{alone.service}` runs {alone.engine} {alone.version}, which charges to itself what "
        "others hold on its GPUs and so shares none; newer versions do"
    )


def _tenant_words(case: Case, conflict: Crowded, tenant: Tenant) -> str:
    """Who takes memory, and why it comes first."""
    if tenant.service == conflict.service:
        return "its own replicas take"
    why = f"priority {tenant.priority}"
    if tenant.service in case.written.policy.freeze:
        why = "frozen"
    elif (
        case.written.service(conflict.service).optional
        > case.written.service(tenant.service).optional
    ):
        why = "not optional"
    return f"`{tenant.service}` ({why}) takes"


def _clash_diagnostic(case: Case, conflict: RulesClash) -> Diagnostic:
    # Of rules of which no single one is to blame, those that a user can loosen.
    loose = conflict.without or tuple(
        name for name in _RULE_HINTS if any(_kind(rule) == name for rule in conflict.rules)
    )
    lines = [f"{_rule_list(conflict.rules, loose)} cannot all hold."]
    lines += [f"Without `{rule}` everything finds a place." for rule in conflict.without]
    if not conflict.without:
        lines.append("To loosen one of them alone is not enough.")
    return Diagnostic(
        code="rules-conflict",
        detail=" ".join(lines),
        location=_rule_location(case, conflict, loose),
        hints=tuple(_rule_hint(conflict, rule) for rule in loose) or (_LESS_OR_MORE,),
    )


def _rule_list(rules: tuple[str, ...], loose: tuple[str, ...]) -> str:
    """The rules that clash as the start of a sentence; first those that could be left out.

    Budgets come last: they are the most, and the least that a user can do something about.
    """
    ordered = sorted(
        rules, key=lambda rule: (_kind(rule) not in loose, _kind(rule) in {"budget", "ram"})
    )
    shown = [_rule_words(rule) for rule in ordered[:MAX_LISTED]]
    if len(ordered) > MAX_LISTED:
        shown.append(f"{len(ordered) - MAX_LISTED} more")
    text = f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
    return text[0].upper() + text[1:]


def _kind(rule: str) -> str:
    return rule.partition(" ")[0]


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


def _rule_location(case: Case, conflict: RulesClash, loose: tuple[str, ...]) -> Location:
    """Where the first rule that can be loosened is written."""
    for kind in loose:
        if kind == "max_moves":
            return case.document.key("policy", "max_moves")
        for service in (name for rule in conflict.rules if _kind(rule) == kind
                        for name in rule.split()[1:]):  # fmt: skip
            if ("services", service, "placement", kind) in case.document.keys:
                return case.document.key("services", service, "placement", kind)
    return case.document.key("services")


def _rule_hint(conflict: RulesClash, rule: str) -> str:
    if rule == "max_moves" and conflict.moves is not None:
        return f"Raise `policy.max_moves` to {conflict.moves}, or leave it out for this change."
    return _RULE_HINTS[rule]


_RULE_HINTS = {
    "max_moves": "Raise `policy.max_moves`, or leave it out for this change.",
    "spread": "Lower `replicas`, add hosts or GPUs, or loosen `spread`.",
    "apart_from": "Take one service out of `apart_from`.",
}
