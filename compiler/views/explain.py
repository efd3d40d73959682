"""One replica in full: what it takes on each device and why, its neighbours, its command line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import assert_never

from compiler.diff import place_of
from compiler.ir.plan import GpuLedger, HostLedger, PassedOver, Plan, Replica, Share
from compiler.ir.units import show_mib
from compiler.views.breakdown import breakdown_lines, breakdown_sizes
from compiler.views.terminal import columns, command_lines, indented, json_text, paint, safe_record
from compiler.views.words import bound_words, has_cache, kv_words, show_budget, split_words


def replica_text(plan: Plan, replica_name: str, *, color: bool) -> str:
    """One replica for people at a terminal; KeyError when the plan has none of this name."""
    return replicas_text(plan, [replica_name], color=color)


def replicas_text(plan: Plan, replica_names: Sequence[str], *, color: bool) -> str:
    """Several replicas, one after another."""
    # The figures of a few replicas are shown out of thousands: the rest is not looked at twice.
    texts = []
    for name in replica_names:
        replica = safe_record(plan.replica(name))
        blocks = [
            _summary(replica, color=color),
            *(_gpu_block(plan, replica, share, color=color) for share in replica.shares),
            _ram_block(plan, replica, color=color),
            _environment(replica, color=color),
            _passed_over(replica, color=color),
            [paint("Command", "bold", color=color), *indented(command_lines(replica.argv))],
            _assumed(replica, color=color),
        ]
        texts.append("\n\n".join("\n".join(block) for block in blocks if block) + "\n")
    return "\n".join(texts)


def replica_json(plan: Plan, replica_name: str) -> str:
    """One replica for programs; KeyError when the plan has none of this name."""
    return json_text(_document(plan, plan.replica(replica_name)))


def replicas_json(plan: Plan, replica_names: Sequence[str]) -> str:
    """Several replicas for programs, as a list under `replicas`."""
    documents = [_document(plan, plan.replica(name)) for name in replica_names]
    return json_text({"replicas": documents})


def _summary(replica: Replica, *, color: bool) -> list[str]:
    at_revision = f" at {replica.revision}" if replica.revision else ""
    rows = [
        ("service", f"{replica.service}, variant {replica.variant}, to {replica.task}"),
        ("model", f"{replica.source}{at_revision}"),
        *((each.argument, each.source) for each in replica.companions),
        ("engine", f"{replica.engine} {replica.engine_version}, {split_words(replica)}"),
        ("requests", f"{replica.context:,} tokens each, {replica.concurrency:,} at once"),
        (
            "KV cache",
            f"{replica.kv_tokens:,} tokens; {kv_words(replica)}" if has_cache(replica) else "none",
        ),
        ("port", f"{replica.port}, healthy when {replica.health_path} answers"),
        ("starts", f"after {', '.join(replica.start_after)}" if replica.start_after else "first"),
    ]
    title = paint(f"{replica.name} on {place_of(replica)}", "bold", color=color)
    return [title, *indented(columns(rows))]


def _gpu_block(plan: Plan, replica: Replica, share: Share, *, color: bool) -> list[str]:
    gpu = safe_record(_gpu_of(plan, replica.host, share.gpu))
    free = show_budget(gpu.budget_bytes - gpu.granted_bytes)
    neighbours = [
        (safe_record(other), size) for other, size in _neighbours(plan, replica, share.gpu)
    ]
    return [
        paint(f"{gpu.host}/{gpu.gpu}  {gpu.kind}", "bold", color=color),
        *indented(breakdown_lines(share.breakdown)),
        f"  share:  {show_mib(share.share_bytes)}",
        f"  budget: {show_budget(gpu.budget_bytes)}, bound by {bound_words(gpu)}",
        f"  beside: {_beside(neighbours)}; {free} free",
    ]


def _beside(neighbours: Sequence[tuple[Replica, int]]) -> str:
    return ", ".join(f"{other.name} ({show_mib(size)})" for other, size in neighbours) or "nothing"


def _ram_block(plan: Plan, replica: Replica, *, color: bool) -> list[str]:
    host = _host_of(plan, replica.host)
    free = show_budget(host.ram_budget_bytes - host.ram_granted_bytes)
    return [
        paint(f"RAM of {replica.host}", "bold", color=color),
        *indented(breakdown_lines(replica.ram_breakdown)),
        f"  share:  {show_mib(replica.ram_bytes)}",
        f"  budget: {show_budget(host.ram_budget_bytes)}, {free} free",
    ]


def _environment(replica: Replica, *, color: bool) -> list[str]:
    lines = [f"{name}={shlex.quote(value)}" for name, value in sorted(replica.env.items())]
    lines += [f"{name} (secret)" for name in replica.secrets]
    return [paint("Environment", "bold", color=color), *indented(lines)] if lines else []


def _passed_over(replica: Replica, *, color: bool) -> list[str]:
    lines = [f"{each.variant}: {_why_not(each)}" for each in replica.passed_over]
    return [paint("Why no better variant", "bold", color=color), *indented(lines)] if lines else []


def _why_not(passed: PassedOver) -> str:
    match passed.why:
        case "too-large":
            return f"{show_mib(passed.missing_bytes)} missing on {passed.device}, even if empty"
        case "refused":
            return f"not on {passed.device}: {passed.detail}"
        case "offload":
            return "fits only with layers in RAM; every rung on GPUs comes first"
        case "crowded":
            return "fits an empty fleet, not beside what else is placed"
        case _:
            assert_never(passed.why)


def _assumed(replica: Replica, *, color: bool) -> list[str]:
    lines = [f"- {sentence}" for sentence in replica.assumed]
    return [paint("Assumed", "bold", color=color), *indented(lines)] if lines else []


def _gpu_of(plan: Plan, host: str, index: int) -> GpuLedger:
    return next(gpu for gpu in plan.gpus if (gpu.host, gpu.gpu) == (host, index))


def _host_of(plan: Plan, name: str) -> HostLedger:
    return next(host for host in plan.hosts if host.host == name)


def _neighbours(plan: Plan, replica: Replica, index: int) -> list[tuple[Replica, int]]:
    return [
        (other, share.share_bytes)
        for other in plan.replicas
        if other.host == replica.host and other.name != replica.name
        for share in other.shares
        if share.gpu == index
    ]


def _document(plan: Plan, replica: Replica) -> dict[str, object]:
    host = _host_of(plan, replica.host)
    return {
        "replica": replica.model_dump(mode="json"),
        "place": place_of(replica),
        "devices": [_device(plan, replica, share) for share in replica.shares],
        "host": {
            "host": host.host,
            **breakdown_sizes(replica.ram_breakdown),
            "share_bytes": replica.ram_bytes,
            "budget_bytes": host.ram_budget_bytes,
            "free_bytes": host.ram_budget_bytes - host.ram_granted_bytes,
        },
    }


def _device(plan: Plan, replica: Replica, share: Share) -> dict[str, object]:
    gpu = _gpu_of(plan, replica.host, share.gpu)
    return {
        "gpu": f"{gpu.host}/{gpu.gpu}",
        "kind": gpu.kind,
        **breakdown_sizes(share.breakdown),
        "share_bytes": share.share_bytes,
        "budget_bytes": gpu.budget_bytes,
        "binding": gpu.binding,
        "free_bytes": gpu.budget_bytes - gpu.granted_bytes,
        "neighbours": [
            {"replica": other.name, "share_bytes": size}
            for other, size in _neighbours(plan, replica, share.gpu)
        ],
    }
