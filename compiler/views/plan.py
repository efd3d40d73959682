"""A plan as a ledger: every GPU with its budget, and under it what stands there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from compiler.diff import place_of
from compiler.ir.plan import GpuLedger, HostLedger, Plan, Replica
from compiler.ir.units import demand_mib, show_mib
from compiler.views.markdown import code, escaped, table
from compiler.views.terminal import columns, indented, paint, safe_record
from compiler.views.words import bound_words, fleet_words, kv_words, show_budget, split_words

# Wide enough to tell a twentieth apart, narrow enough to leave room for words.
BAR_WIDTH = 20

# Who stands on a GPU by host and index, or on the CPU by host and None, and with how many bytes.
Standing = Mapping[tuple[str, int | None], Sequence[tuple[Replica, int]]]


def plan_text_view(plan: Plan, *, color: bool) -> str:
    """The ledger for people at a terminal, host by host."""
    shown = safe_record(plan)
    standing = _standing(shown)
    gpus: dict[str, list[GpuLedger]] = defaultdict(list)
    for gpu in shown.gpus:
        gpus[gpu.host].append(gpu)
    blocks = [
        [paint(f"Plan: {fleet_words(shown)}", "bold", color=color)],
        *(_host_lines(host, gpus[host.host], standing, color=color) for host in shown.hosts),
        _unplaced_lines(shown),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def plan_markdown(plan: Plan) -> str:
    """compiled/PLAN.md: the fleet at a glance."""
    blocks = [
        ["# The fleet at a glance"],
        [fleet_words(plan)],
        *([["## GPUs"], _gpu_table(plan)] if plan.gpus else []),
        *([["## Hosts"], _host_table(plan)] if plan.hosts else []),
        *([["## Replicas"], _replica_table(plan)] if plan.replicas else []),
        *([["## Left out"]] if plan.unplaced else []),
        [f"- {escaped(line)}" for line in _unplaced_lines(plan)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _standing(plan: Plan) -> Standing:
    standing: dict[tuple[str, int | None], list[tuple[Replica, int]]] = defaultdict(list)
    for replica in plan.replicas:
        for share in replica.shares:
            standing[replica.host, share.gpu].append((replica, share.share_bytes))
        if not replica.shares:
            standing[replica.host, None].append((replica, replica.ram_bytes))
    return standing


def _host_lines(
    host: HostLedger, gpus: Sequence[GpuLedger], standing: Standing, *, color: bool
) -> list[str]:
    ram = f"{show_mib(host.ram_granted_bytes)} of {show_budget(host.ram_budget_bytes)}"
    lines = [f"{paint(host.host, 'bold', color=color)}  {host.target}, RAM {ram}"]
    for gpu in gpus:
        lines += indented(_gpu_lines(gpu, color=color))
        lines += indented(_replica_lines(standing.get((gpu.host, gpu.gpu), ())), 4)
    if on_cpu := standing.get((host.host, None)):
        lines += [f"  {host.host}/cpu", *indented(_replica_lines(on_cpu), 4)]
    return lines


def _gpu_lines(gpu: GpuLedger, *, color: bool) -> list[str]:
    free_bytes = gpu.budget_bytes - gpu.granted_bytes
    # A GPU without a budget has nothing to fill.
    filled = min(BAR_WIDTH, gpu.granted_bytes * BAR_WIDTH // (gpu.budget_bytes or 1))
    bar = paint("#" * filled, "cyan", color=color) + "." * (BAR_WIDTH - filled)
    granted = f"{show_mib(gpu.granted_bytes)} of {show_budget(gpu.budget_bytes)}"
    return [
        f"{gpu.host}/{gpu.gpu}  {gpu.kind}  [{bar}]  {granted}, {show_budget(free_bytes)} free",
        f"  budget: {bound_words(gpu)}",
    ]


def _replica_lines(held: Sequence[tuple[Replica, int]]) -> list[str]:
    rows = [
        (
            replica.name,
            f"{replica.service} ({replica.variant})",
            f"{replica.engine} {replica.engine_version}",
            split_words(replica),
            show_mib(share_bytes),
            kv_words(replica),
            f"port {replica.port}",
        )
        for replica, share_bytes in held
    ]
    return columns(rows, right=(4,))


def _unplaced_lines(plan: Plan) -> list[str]:
    return [
        f"Optional service {entry.service}: {entry.placed} of {entry.wanted} replicas placed."
        for entry in plan.unplaced
    ]


def _gpu_table(plan: Plan) -> list[str]:
    standing = _standing(plan)
    rows = [
        (
            code(f"{gpu.host}/{gpu.gpu}"),
            code(gpu.kind),
            bound_words(gpu),
            _names(standing.get((gpu.host, gpu.gpu), ())),
            show_budget(gpu.budget_bytes),
            show_mib(gpu.granted_bytes),
            show_budget(gpu.budget_bytes - gpu.granted_bytes),
        )
        for gpu in plan.gpus
    ]
    return table(("GPU", "kind", "bound", "replicas", "budget", "granted", "free"), rows, right=3)


def _host_table(plan: Plan) -> list[str]:
    standing = _standing(plan)
    rows = [
        (
            code(host.host),
            host.target,
            _names(standing.get((host.host, None), ())),
            show_budget(host.ram_budget_bytes),
            show_mib(host.ram_granted_bytes),
        )
        for host in plan.hosts
    ]
    return table(("host", "target", "on the CPU", "RAM budget", "RAM granted"), rows, right=2)


def _names(held: Sequence[tuple[Replica, int]]) -> str:
    return ", ".join(code(replica.name) for replica, _ in held)


def _replica_table(plan: Plan) -> list[str]:
    header = ("replica", "variant", "engine", "on", "split", "KV cache", "share (MiB)", "port")
    rows = [
        (
            code(replica.name),
            code(replica.variant),
            code(f"{replica.engine} {replica.engine_version}"),
            code(place_of(replica)),
            split_words(replica),
            kv_words(replica),
            " + ".join(f"{demand_mib(share.share_bytes):,}" for share in replica.shares) or "none",
            str(replica.port),
        )
        for replica in plan.replicas
    ]
    return table(header, rows, right=2)
