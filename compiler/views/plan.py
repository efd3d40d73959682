"""A plan as a ledger: every GPU with its budget, and under it what stands there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from compiler.diff.reasons import place_of
from compiler.ir.listening import listen_words
from compiler.ir.names import folded, grouped, natural_key
from compiler.ir.plan import GpuLedger, HostLedger, Plan, Replica
from compiler.ir.units import demand_mib, show_mib
from compiler.views.drained import drained_lines
from compiler.views.markdown import code, escaped, table
from compiler.views.rollout import leaving_lines, rollout_lines
from compiler.views.spares import spare_lines
from compiler.views.terminal import indented, paint, prose, rows_within, safe_record
from compiler.views.words import (
    BAR_WIDTH,
    bound_words,
    filled_marks,
    fleet_words,
    gap_lines,
    kv_words,
    roomier_words,
    show_budget,
    split_words,
)

# Who stands on a GPU by host and index, or on the CPU by host and None, and with how many bytes.
Standing = Mapping[tuple[str, int | None], Sequence[tuple[Replica, int]]]


def plan_text_view(plan: Plan, *, color: bool, width: int | None = None) -> str:
    """The ledger for people at a terminal, host by host; equal hosts and GPUs are shown once."""
    shown = safe_record(plan)
    standing = _standing(shown)
    gpus: dict[str, list[GpuLedger]] = defaultdict(list)
    for gpu in shown.gpus:
        gpus[gpu.host].append(gpu)
    hosts = (_HostBlock(host, _gpu_rows(gpus[host.host], standing), _on_cpu(host, standing))
             for host in shown.hosts)  # fmt: skip
    equal = grouped((block.alike, block) for block in hosts)
    blocks = [
        [
            paint(line, "bold", color=color)
            for line in prose(f"Plan: {fleet_words(shown)}", width=width)
        ],
        *(_host_lines(blocks, color=color, width=width) for blocks in equal.values()),
        _unplaced_lines(shown),
        _roomier_lines(shown),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def plan_markdown(plan: Plan) -> str:
    """compiled/PLAN.md: the fleet at a glance."""
    blocks = [
        ["# The fleet at a glance"],
        [fleet_words(plan)],
        *([["## Drained"], drained_lines(plan)] if drained_lines(plan) else []),
        *([["## Spare room"], spare_lines(plan)] if plan.spares or plan.exposed else []),
        *([["## GPUs"], _gpu_table(plan)] if plan.gpus else []),
        *([["## Hosts"], _host_table(plan)] if plan.hosts else []),
        *([["## Replicas"], _replica_table(plan)] if plan.replicas else []),
        *([["## Waves"], rollout_lines(plan)] if rollout_lines(plan) else []),
        leaving_lines(plan.rollout),
        *([["## Left out"]] if plan.unplaced else []),
        [f"- {escaped(line)}" for line in _unplaced_lines(plan)],
        *([["## Not proven"]] if plan.optimality == "feasible" and gap_lines(plan) else []),
        [f"- {line}" for line in gap_lines(plan) if plan.optimality == "feasible"],
        *([["## Short of room"]] if _roomier_lines(plan) else []),
        [f"- {escaped(line)}" for line in _roomier_lines(plan)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _standing(plan: Plan) -> Standing:
    """Who stands where with what he takes there: of one memory, for its GPU and of its RAM."""
    pools = {host.host for host in plan.hosts if host.unified}
    standing: dict[tuple[str, int | None], list[tuple[Replica, int]]] = defaultdict(list)
    for replica in plan.replicas:
        for share in replica.shares:
            taken = share.share_bytes + (replica.ram_bytes if replica.host in pools else 0)
            standing[replica.host, share.gpu].append((replica, taken))
        if not replica.shares:
            standing[replica.host, None].append((replica, replica.ram_bytes))
    return standing


@dataclass(frozen=True, slots=True)
class _Tenants:
    """Replicas that stand at equal places, one of them at each, and what is alike of them."""

    replicas: tuple[Replica, ...]
    cells: tuple[str, ...]
    """What the ledger says of each of them; names and ports apart."""


@dataclass(frozen=True, slots=True)
class _GpuRow:
    """Equal GPUs of one host, or of equal hosts, with who stands on them."""

    gpus: tuple[GpuLedger, ...]
    tenants: tuple[_Tenants, ...]

    @property
    def alike(self) -> Hashable:
        """What two rows share that are shown as one."""
        gpu = self.gpus[0]
        bare = gpu.model_copy(update={"host": "", "gpu": 0, "uuid": None})
        return bare.model_dump_json(), tuple(tenants.cells for tenants in self.tenants)


@dataclass(frozen=True, slots=True)
class _HostBlock:
    """One host with its GPUs, equal ones together, and who stands on its CPU."""

    host: HostLedger
    rows: tuple[_GpuRow, ...]
    on_cpu: tuple[_Tenants, ...]

    @property
    def alike(self) -> Hashable:
        """What two hosts share that are shown as one: all but names and ports."""
        return (
            self.host.model_copy(update={"host": "", "address": ""}).model_dump_json(),
            tuple((row.alike, tuple(gpu.gpu for gpu in row.gpus)) for row in self.rows),
            tuple(tenants.cells for tenants in self.on_cpu),
        )


def _gpu_rows(gpus: Sequence[GpuLedger], standing: Standing) -> tuple[_GpuRow, ...]:
    rows = (
        _GpuRow((gpu,), tuple(_alone(held) for held in standing.get((gpu.host, gpu.gpu), ())))
        for gpu in gpus
    )
    return tuple(map(_merged, grouped((row.alike, row) for row in rows).values()))


def _merged(rows: Sequence[_GpuRow]) -> _GpuRow:
    return _GpuRow(
        tuple(gpu for row in rows for gpu in row.gpus), _joined([row.tenants for row in rows])
    )


def _joined(tenants: Sequence[tuple[_Tenants, ...]]) -> tuple[_Tenants, ...]:
    """Tenants of equal places, the first of each with the first of the others, and so on."""
    return tuple(
        _Tenants(tuple(r for each in alike for r in each.replicas), alike[0].cells)
        for alike in zip(*tenants, strict=True)
    )


def _on_cpu(host: HostLedger, standing: Standing) -> tuple[_Tenants, ...]:
    return tuple(map(_alone, standing.get((host.host, None), ())))


def _alone(held: tuple[Replica, int]) -> _Tenants:
    replica, share_bytes = held
    cells = (
        f"{replica.service} ({replica.variant})",
        f"{replica.engine} {replica.engine_version}",
        split_words(replica),
        show_mib(share_bytes),
        kv_words(replica),
    )
    return _Tenants((replica,), cells)


def _host_lines(blocks: Sequence[_HostBlock], *, color: bool, width: int | None) -> list[str]:
    host = blocks[0].host
    each = " each" if len(blocks) > 1 else ""
    ram = f"RAM {show_mib(host.ram_granted_bytes)} of {show_budget(host.ram_budget_bytes)}{each}"
    if host.unified:
        ram = "one memory for GPU and RAM"
    name = paint(folded([block.host.host for block in blocks]), "bold", color=color)
    state = ", drained" if host.state == "drained" else ""
    lines = [f"{name}  {host.target}, {ram}{state}"]
    inner = None if width is None else width - 2
    for rows in zip(*(block.rows for block in blocks), strict=True):
        row = _merged(rows)
        lines += indented(_gpu_lines(row.gpus, color=color, width=inner))
        lines += indented(_tenant_lines(row.tenants, inner), 4)
    if on_cpu := _joined([block.on_cpu for block in blocks]):
        places = folded([f"{block.host.host}/cpu" for block in blocks])
        lines += [f"  {places}", *indented(_tenant_lines(on_cpu, inner), 4)]
    return lines


def _gpu_lines(gpus: Sequence[GpuLedger], *, color: bool, width: int | None) -> list[str]:
    gpu = gpus[0]
    free_bytes = gpu.budget_bytes - gpu.granted_bytes
    granted = f"{show_mib(gpu.granted_bytes)} of {show_budget(gpu.budget_bytes)}"
    each = " each" if len(gpus) > 1 else ""
    place = folded([f"{each.host}/{each.gpu}" for each in gpus])
    if gpu.state == "broken":
        return rows_within([(place, gpu.kind, "broken")], width=width)
    filled = filled_marks(gpu.granted_bytes, gpu.budget_bytes)
    bar = "#" * filled + "." * (BAR_WIDTH - filled)
    row = (place, gpu.kind, f"[{bar}]", f"{granted}, {show_budget(free_bytes)} free{each}")
    lines = [
        line.replace(f"[{bar}]", f"[{paint(bar[:filled], 'cyan', color=color)}{bar[filled:]}]")
        for line in rows_within([row], width=width)
    ]
    budget = prose(f"budget: {bound_words(gpu)}", width=None if width is None else width - 2)
    return [*lines, *indented(budget)]


def _tenant_lines(tenants: Sequence[_Tenants], width: int | None) -> list[str]:
    rows = [
        (
            folded([replica.name for replica in each.replicas]),
            *each.cells,
            _listens(each.replicas),
        )
        for each in tenants
    ]
    return rows_within(rows, right=(4,), width=None if width is None else width - 2)


def _unplaced_lines(plan: Plan) -> list[str]:
    return [
        f"Optional service {entry.service}: {entry.placed} of {entry.wanted} replicas placed."
        for entry in plan.unplaced
    ]


def _roomier_lines(plan: Plan) -> list[str]:
    return [words for each in plan.replicas if (words := roomier_words(each)) is not None]


def _gpu_table(plan: Plan) -> list[str]:
    standing = _standing(plan)
    equal = grouped(
        (
            (
                _services(standing.get((gpu.host, gpu.gpu), ())),
                code(gpu.kind) + (", broken" if gpu.state == "broken" else ""),
                bound_words(gpu),
                show_budget(gpu.budget_bytes),
                show_mib(gpu.granted_bytes),
                show_budget(gpu.budget_bytes - gpu.granted_bytes),
            ),
            gpu,
        )
        for gpu in plan.gpus
    )
    rows = [
        (
            _places([f"{gpu.host}/{gpu.gpu}" for gpu in gpus]),
            kind,
            bound,
            _names([held for gpu in gpus for held in standing.get((gpu.host, gpu.gpu), ())]),
            *figures,
        )
        for (_, kind, bound, *figures), gpus in equal.items()
    ]
    return table(("GPU", "kind", "bound", "replicas", "budget", "granted", "free"), rows, right=3)


def _host_table(plan: Plan) -> list[str]:
    standing = _standing(plan)
    equal = grouped(
        (
            (
                _services(standing.get((host.host, None), ())),
                host.target + (", drained" if host.state == "drained" else ""),
                show_budget(host.ram_budget_bytes),
                show_mib(host.ram_granted_bytes),
            ),
            host,
        )
        for host in plan.hosts
    )
    rows = [
        (
            _places([host.host for host in hosts]),
            target,
            _names([held for host in hosts for held in standing.get((host.host, None), ())]),
            *figures,
        )
        for (_, target, *figures), hosts in equal.items()
    ]
    return table(("host", "target", "on the CPU", "RAM budget", "RAM granted"), rows, right=2)


def _shares(replica: Replica) -> str:
    """What it holds of each GPU: `4 x 77,718`, or `12,000 + 9,000` where that differs."""
    sizes = [f"{demand_mib(share.share_bytes):,}" for share in replica.shares]
    equal = len(sizes) > 1 and len(set(sizes)) == 1
    return f"{len(sizes)} x {sizes[0]}" if equal else " + ".join(sizes) or "none"


def _services(held: Sequence[tuple[Replica, int]]) -> str:
    """Whose replicas stand somewhere: places with others are not equal, whatever is granted."""
    return " ".join(sorted(replica.service for replica, _ in held))


def _listens(replicas: Sequence[Replica]) -> str:
    return folded([listen_words(replica.listen, replica.port) for replica in replicas])


def _places(names: Sequence[str]) -> str:
    return code(folded(names))


def _names(held: Sequence[tuple[Replica, int]]) -> str:
    """The replicas by service, each service's as one."""
    names = sorted({replica.name for replica, _ in held}, key=natural_key)
    services = {replica.name: replica.service for replica, _ in held}
    by_service = grouped((services[name], name) for name in names)
    return ", ".join(code(folded(each)) for each in by_service.values())


def _replica_table(plan: Plan) -> list[str]:
    header = ("replica", "variant", "engine", "on", "split", "KV cache", "share (MiB)", "listens")
    equal = grouped(
        (
            (
                replica.service,
                code(replica.variant),
                code(f"{replica.engine} {replica.engine_version}"),
                split_words(replica),
                kv_words(replica),
                _shares(replica),
            ),
            replica,
        )
        for replica in plan.replicas
    )
    rows = [
        (
            _places([replica.name for replica in replicas]),
            variant,
            engine,
            _places([place_of(replica) for replica in replicas]),
            split,
            cache,
            share,
            _listens(replicas),
        )
        for (_, variant, engine, split, cache, share), replicas in equal.items()
    ]
    return table(header, rows, right=2)
