"""The fleet in a few figures: all GPUs of a kind as one bar, and the sums of it all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from compiler.ir.names import natural_key
from compiler.ir.plan import Plan
from compiler.ir.units import demand_mib
from compiler.views.report.bars import Piece, sums_bar
from compiler.views.report.devices import LAYERS, RAM, Device
from compiler.views.report.figures import Size, budget, demand
from compiler.views.report.folding import Block
from compiler.views.words import show_budget


@dataclass(frozen=True, slots=True)
class Kind:
    """All GPUs of one kind, or all RAM, as one bar."""

    name: str
    devices: str
    used: str
    sizes: tuple[Size, ...]
    """Of each layer."""
    after: tuple[Piece, ...]
    before: tuple[Piece, ...]


def kinds_of(blocks: Sequence[Block]) -> list[Kind]:
    """All GPUs of each kind, and all RAM of which something is granted."""
    before: dict[str, list[tuple[int, Device]]] = defaultdict(list)
    after: dict[str, list[tuple[int, Device]]] = defaultdict(list)
    for block in blocks:
        for row in block.rows:
            for device, side in ((row.before, before), (row.after, after)):
                if device is not None:
                    side[device.what].append((len(row.places), device))
    names = sorted(before.keys() | after.keys(), key=lambda name: (name == RAM, natural_key(name)))
    return [_kind(name, before.get(name), after.get(name, [])) for name in names]


def _kind(
    name: str,
    before: Sequence[tuple[int, Device]] | None,
    after: Sequence[tuple[int, Device]],
) -> Kind:
    sizes, old = _sums(after), _sums(before or ())
    return Kind(
        name=name,
        devices=_from_to(None if before is None else _count(before), _count(after))
        + (f" {_hosts(after)}" if name == RAM else ""),
        used=_from_to(None if before is None else _used(before), _used(after)),
        sizes=tuple((budget if x == "free" else demand)(sizes[x]) for x in LAYERS),
        after=sums_bar(sizes),
        before=sums_bar(old) if before is not None and old != sizes else (),
    )


def _hosts(devices: Sequence[tuple[int, Device]]) -> str:
    return "host" if _count(devices) == 1 else "hosts"


def _sums(devices: Sequence[tuple[int, Device]]) -> dict[str, int]:
    total = dict.fromkeys(LAYERS, 0)
    for count, device in devices:
        for layer, size_bytes in device.layers().items():
            total[layer] += count * size_bytes
    return total


def _count(devices: Sequence[tuple[int, Device]]) -> int:
    return sum(count for count, _ in devices)


def _used(devices: Sequence[tuple[int, Device]]) -> int:
    return sum(count for count, device in devices if device.granted_bytes)


def _from_to(before: int | None, after: int) -> str:
    return f"{after:,}" if before in (None, after) else f"{before:,} → {after:,}"


def tiles_of(previous: Plan | None, plan: Plan) -> list[tuple[str, str, str]]:
    """The size of the fleet in a few figures: what, how much, and how much before."""
    new, old = _totals(plan), _totals(previous) if previous else None
    return [
        (name, value, f"before {old[name]}" if old and old[name] != value else "")
        for name, value in new.items()
    ]


def _totals(plan: Plan) -> dict[str, str]:
    used = sum(1 for gpu in plan.gpus if gpu.granted_bytes)
    granted = sum(gpu.granted_bytes for gpu in plan.gpus)
    free = sum(max(0, gpu.budget_bytes - gpu.granted_bytes) for gpu in plan.gpus)
    return {
        "hosts": f"{len(plan.hosts):,}",
        "GPUs used": f"{used:,} of {len(plan.gpus):,}",
        "replicas": f"{len(plan.replicas):,}",
        "services": f"{len({replica.service for replica in plan.replicas}):,}",
        "VRAM granted": f"{demand_mib(granted):,} MiB",
        "VRAM free": show_budget(free),
    }
