"""Hosts and GPUs of two plans side by side, equal ones as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from compiler.ir.changes import FleetChange
from compiler.ir.names import grouped, natural_key
from compiler.ir.plan import HostLedger, Plan
from compiler.views.report.devices import Device, Held, Place, devices_of, hosts_with_ram


@dataclass(frozen=True, slots=True)
class Standing:
    """Replicas that stand at equal places, one of them at each."""

    names: tuple[str, ...]
    held: Held
    change: int | None
    """Position of what happens to them among the equal changes; none where nothing does."""


@dataclass(frozen=True, slots=True)
class Row:
    """Equal devices of one host, or of equal hosts, before and after."""

    places: tuple[Place, ...]
    event: str
    before: Device | None
    after: Device | None
    stood: tuple[Standing, ...]
    stands: tuple[Standing, ...]

    @property
    def differs(self) -> bool:
        """Whether the memory of before is worth a bar of its own."""
        if self.before is None or self.after is None:
            return self.before is not self.after
        return self.before.alike != self.after.alike

    @property
    def changes(self) -> bool:
        """Whether anything happens here."""
        standing = (*self.stood, *self.stands)
        return bool(self.event) or any(each.change is not None for each in standing)

    @property
    def alike(self) -> Hashable:
        """What is equal of two rows that are shown as one."""
        return (
            self.event,
            *(device and device.alike for device in (self.before, self.after)),
            *(tuple(each.change for each in side) for side in (self.stood, self.stands)),
        )


@dataclass(frozen=True, slots=True)
class Block:
    """Equal hosts with their devices."""

    hosts: tuple[str, ...]
    target: str
    state: str
    event: str
    rows: tuple[Row, ...]

    @property
    def changes(self) -> bool:
        """Whether anything happens on these hosts."""
        return bool(self.event) or any(row.changes for row in self.rows)


def blocks_of(
    previous: Plan | None, plan: Plan, fleet: FleetChange, changes: Mapping[str, int]
) -> list[Block]:
    """The fleet host by host; `changes` is what happens to each replica that is touched."""
    ram_of = hosts_with_ram(previous) | hosts_with_ram(plan)
    before, after = devices_of(previous, ram_of), devices_of(plan, ram_of)
    hosts = {host.host: host for side in (previous, plan) if side for host in side.hosts}
    places: dict[str, list[Place]] = defaultdict(list)
    for place in before.keys() | after.keys():
        places[place[0]].append(place)
    host_events = {each.host: each.event for each in fleet.hosts}
    gpu_events = {each.gpu: each.event for each in fleet.gpus}
    found = []
    for name in sorted(hosts, key=natural_key):
        rows = [
            _row(place, before.get(place), after.get(place), gpu_events, changes)
            for place in sorted(places[name], key=_gpus_first)
        ]
        equal = grouped((row.alike, row) for row in rows)
        merged = tuple(map(_merged, equal.values()))
        found.append(_block(hosts[name], host_events.get(name, ""), merged))
    same = grouped((_alike(block, hosts[block.hosts[0]]), block) for block in found)
    return [_together(blocks) for blocks in same.values()]


def _gpus_first(place: Place) -> tuple[bool, int]:
    return place[1] is None, place[1] or 0


def _row(
    place: Place,
    before: Device | None,
    after: Device | None,
    events: Mapping[str, str],
    changes: Mapping[str, int],
) -> Row:
    event = events.get(f"{place[0]}/{place[1]}", "")
    return Row((place,), event, before, after, _standing(before, changes),
               _standing(after, changes))  # fmt: skip


def _standing(device: Device | None, changes: Mapping[str, int]) -> tuple[Standing, ...]:
    return tuple(
        Standing((held.replica.name,), held, changes.get(held.replica.name))
        for held in (device.held if device else ())
    )


def _merged(rows: Sequence[Row]) -> Row:
    """Equal rows as one, the first replica of each with the first of the others, and so on."""
    first = rows[0]
    places = tuple(place for row in rows for place in row.places)
    stood, stands = _joined([row.stood for row in rows]), _joined([row.stands for row in rows])
    return Row(places, first.event, first.before, first.after, stood, stands)


def _joined(standing: Sequence[tuple[Standing, ...]]) -> tuple[Standing, ...]:
    return tuple(
        Standing(tuple(name for each in alike for name in each.names), alike[0].held,
                 alike[0].change)
        for alike in zip(*standing, strict=True)
    )  # fmt: skip


def _block(host: HostLedger, event: str, rows: tuple[Row, ...]) -> Block:
    return Block((host.host,), host.target, host.state, event, rows)


def _alike(block: Block, host: HostLedger) -> Hashable:
    rows = tuple((row.alike, tuple(gpu for _, gpu in row.places)) for row in block.rows)
    return host.model_copy(update={"host": "", "address": ""}).model_dump_json(), block.event, rows


def _together(blocks: Sequence[Block]) -> Block:
    first = blocks[0]
    hosts = tuple(name for block in blocks for name in block.hosts)
    rows = tuple(_merged(rows) for rows in zip(*(block.rows for block in blocks), strict=True))
    return Block(hosts, first.target, first.state, first.event, rows)
