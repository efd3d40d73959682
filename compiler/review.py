"""Rules of review, judged on a plan and its diff: the figures of the plan alone decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from compiler.ir.changes import STARTS_AGAIN, Diff, Effect
from compiler.ir.names import folded, grouped, natural_key
from compiler.ir.plan import Plan, Replica
from compiler.ir.review import Quota, ReviewRules, Verdict
from compiler.ir.source import is_local
from compiler.ir.units import budget_mib, show_mib

_TOUCHED: frozenset[Effect] = STARTS_AGAIN | {"gone"}


def review(rules: ReviewRules, plan: Plan, diff: Diff) -> list[Verdict]:
    """Every rule that is asked, for the fleet first and then service by service."""
    return [
        *_headroom(rules, plan),
        *_max_restarts(rules, diff),
        *_placed(plan),
        *_unmoved(rules, diff),
        *_pinned(rules, plan),
        *_quota(rules.quota, plan),
        *_survives(rules, plan),
    ]


def _placed(plan: Plan) -> Iterator[Verdict]:
    """Every service runs with all its replicas, or says that it is optional."""
    short = {each.service: each for each in plan.unplaced}
    sizes = Counter(replica.service for replica in plan.replicas)
    for name in sorted(sizes.keys() | short.keys(), key=natural_key):
        wanted = short[name].wanted if name in short else sizes[name]
        yield Verdict(
            rule="placed",
            service=name,
            kept=True,
            skipped=name in short,
            detail=f"{sizes[name]} of {wanted} replicas have a place.",
        )


def _headroom(rules: ReviewRules, plan: Plan) -> Iterator[Verdict]:
    if rules.headroom_permille is None:
        return
    fuller = [
        f"{gpu.host}/{gpu.gpu}"
        for gpu in plan.gpus
        if gpu.granted_bytes
        and (gpu.budget_bytes - gpu.granted_bytes) * 1000
        < gpu.budget_bytes * rules.headroom_permille
    ]
    asked = f"{rules.headroom_permille / 10:g} % of the budget"
    yield Verdict(
        rule="headroom",
        service=None,
        kept=not fuller,
        detail=f"Less than {asked} is free on {folded(fuller)}."
        if fuller
        else f"Every GPU in use keeps {asked} free.",
    )


def _max_restarts(rules: ReviewRules, diff: Diff) -> Iterator[Verdict]:
    if rules.max_restarts is None:
        return
    started = [change.replica for change in diff.changes if change.effect in STARTS_AGAIN]
    told = f": {folded(started)}" if started else ""
    yield Verdict(
        rule="max_restarts",
        service=None,
        kept=len(started) <= rules.max_restarts,
        detail=f"{len(started)} replicas start again, {rules.max_restarts} may{told}.",
    )


def _unmoved(rules: ReviewRules, diff: Diff) -> Iterator[Verdict]:
    for name in rules.unmoved:
        touched = [
            change.replica
            for change in diff.changes
            if change.service == name and change.effect in _TOUCHED
        ]
        yield Verdict(
            rule="unmoved",
            service=name,
            kept=not touched,
            detail=f"{folded(touched)} would move, start again or go."
            if touched
            else "No replica is touched.",
        )


def _pinned(rules: ReviewRules, plan: Plan) -> Iterator[Verdict]:
    if not rules.pinned_revisions:
        return
    for name, replicas in _by_service(plan):
        loaded = {(replica.source, replica.revision) for replica in replicas}
        loaded |= {(each.source, each.revision) for r in replicas for each in r.companions}
        loose = sorted(
            {source for source, revision in loaded if revision is None and not is_local(source)}
        )
        yield Verdict(
            rule="pinned_revisions",
            service=name,
            kept=not loose,
            detail=f"{', '.join(loose)} has no revision in modelc.lock."
            if loose
            else "Every model has a revision.",
        )


def _quota(quota: Quota | None, plan: Plan) -> Iterator[Verdict]:
    if quota is None:
        return
    taken_bytes = dict.fromkeys(quota.limits_bytes, 0)
    for name, replicas in _by_service(plan):
        value = replicas[0].labels.get(quota.label)
        if value in taken_bytes:
            taken_bytes[value] += sum(_gpu_bytes(replica) for replica in replicas)
            continue
        yield Verdict(
            rule="quota",
            service=name,
            kept=False,
            detail=f"It has no label `{quota.label}`."
            if value is None
            else f"Its label `{quota.label}: {value}` has no limit.",
        )
    for value, limit_bytes in quota.limits_bytes.items():
        taken = taken_bytes[value]
        yield Verdict(
            rule="quota",
            service=None,
            kept=taken <= limit_bytes,
            detail=f"Services of `{quota.label}: {value}` take {show_mib(taken)} of "
            f"{budget_mib(limit_bytes):,} MiB.",
        )


def _survives(rules: ReviewRules, plan: Plan) -> Iterator[Verdict]:
    if rules.survives_host is None:
        return
    for name, replicas in _by_service(plan):
        if rules.survives_host and name not in rules.survives_host:
            continue
        hosts = sorted({replica.host for replica in replicas}, key=natural_key)
        yield Verdict(
            rule="survives_host",
            service=name,
            kept=len(hosts) > 1,
            detail=f"Its replicas stand on {len(hosts)} hosts."
            if len(hosts) > 1
            else f"All its replicas stand on {hosts[0]}.",
        )
    running = {replica.service for replica in plan.replicas}
    for name in rules.survives_host:
        if name not in running:
            yield Verdict(
                rule="survives_host", service=name, kept=False, detail="It does not run at all."
            )


def _by_service(plan: Plan) -> list[tuple[str, list[Replica]]]:
    found = grouped((replica.service, replica) for replica in plan.replicas)
    return sorted(found.items(), key=lambda item: natural_key(item[0]))


def _gpu_bytes(replica: Replica) -> int:
    return sum(share.share_bytes for share in replica.shares)
