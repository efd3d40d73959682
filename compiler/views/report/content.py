"""What the page says, part by part: every text here is plain, and the template escapes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.ir.changes import SYMBOLS, Diff, ReplicaChange, ServiceChange
from compiler.ir.counting import counted
from compiler.ir.names import folded
from compiler.ir.units import demand_mib
from compiler.views.diff import change_title, equal_changes, reason_lines
from compiler.views.effects import capacity_lines, effect_words, service_lines
from compiler.views.report.bars import Bar, bar_of, plain_bar
from compiler.views.report.devices import RAM, Device
from compiler.views.report.figures import Figures, Size, about, budget, demand
from compiler.views.report.folding import Block, Row, Standing
from compiler.views.words import kv_words

_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Tenant:
    """Equal replicas beside a bar."""

    names: str
    about: str
    """Empty in the RAM of a replica that stands on GPUs: it is told there."""
    room: str
    share: Size
    figure: int
    change: int | None
    symbol: str
    action: str
    leaves: bool
    """Whether they stood here and do so no more."""


@dataclass(frozen=True, slots=True)
class Line:
    """Equal devices of a block: what they are, their bar, their figures, who stands there."""

    places: str
    members: str
    """Every place by name."""
    services: str
    """The numbers of the services that stand or stood there."""
    what: str
    count: str
    event: str
    bound: str
    broken: bool
    after: Bar | None
    before: Bar | None
    granted: Size
    budget: Size
    free: Size
    percent: int | None
    was: str
    tenants: tuple[Tenant, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """Equal hosts."""

    title: str
    hosts: str
    about: str
    event: str
    changes: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What happens alike to several replicas."""

    service: str
    symbol: str
    action: str
    title: str
    effect: str
    lines: tuple[str, ...]


def arrows(text: str) -> str:
    """A text of the terminal's with the arrows that a page has."""
    return text.replace(" -> ", " → ")


def changes_of(diff: Diff) -> tuple[list[Change], dict[str, int]]:
    """What happens, equal changes as one, and which of these happens to each replica."""
    equal = equal_changes(diff)
    positions = {each.replica: number for number, alike in enumerate(equal) for each in alike}
    return [_change(alike) for alike in equal], positions


def _change(alike: Sequence[ReplicaChange]) -> Change:
    first = alike[0]
    return Change(
        service=first.service,
        symbol=SYMBOLS[first.action].strip(),
        action=first.action,
        title=change_title(alike),
        effect=effect_words(alike),
        lines=tuple(map(arrows, (*capacity_lines(alike), *reason_lines(alike)))),
    )


def services_touched(diff: Diff) -> list[tuple[ServiceChange, list[str]]]:
    """Each service of which something is noticed or changed, the worst first."""
    told = ((each, list(map(arrows, service_lines(each)))) for each in diff.services)
    return [(each, lines) for each, lines in told if lines or each.impact != "none"]


def cards_of(blocks: Sequence[Block], figures: Figures, changes: Sequence[Change]) -> list[Card]:
    """The fleet, host by host."""
    return [_card(block, figures, changes) for block in blocks]


def _card(block: Block, figures: Figures, changes: Sequence[Change]) -> Card:
    hosts = counted(len(block.hosts), "host")
    words = [block.target]
    words += [hosts] if len(block.hosts) > 1 else []
    words += ["drained"] if block.state == "drained" else []
    return Card(
        title=folded(block.hosts),
        hosts=" ".join(block.hosts),
        about=" · ".join(words),
        event=block.event,
        changes=block.changes,
        lines=tuple(_line(row, figures, changes) for row in block.rows),
    )


def _line(row: Row, figures: Figures, changes: Sequence[Change]) -> Line:
    device = row.after or row.before
    assert device is not None  # noqa: S101  A row is of a device of one of the plans.
    names = [f"{host}/{'RAM' if gpu is None else gpu}" for host, gpu in row.places]
    granted_bytes = row.after.granted_bytes if row.after else 0
    budget_bytes = row.after.budget_bytes if row.after else 0
    services = {each.held.replica.service for each in (*row.stood, *row.stands)}
    return Line(
        places=folded(names),
        members=" ".join(names),
        services=" ".join(str(figures.services.index(name)) for name in sorted(services)),
        what=device.what,
        count=f"{len(names):,}" if len(names) > 1 else "",
        event=row.event,
        bound=device.bound,
        broken=device.broken,
        after=bar_of(row.after, row.stands, figures) if row.after else None,
        before=_before(row, figures),
        granted=demand(granted_bytes),
        budget=budget(budget_bytes),
        free=budget(row.after.free_bytes if row.after else 0),
        percent=_percent(granted_bytes, budget_bytes),
        was=_was(row.before, row.after),
        tenants=tuple(
            _tenant(each, device.what, figures, changes, leaves=leaves)
            for each, leaves in _tenants(row)
        ),
    )


def _before(row: Row, figures: Figures) -> Bar | None:
    if row.before is None or not row.differs:
        return None
    if not figures.whole:
        return plain_bar(row.before)
    return bar_of(row.before, row.stood, figures, was=True)


def _was(before: Device | None, after: Device | None) -> str:
    """What was granted, where that was another figure."""
    figures = [demand_mib(device.granted_bytes) if device else 0 for device in (before, after)]
    return f"before {figures[0]:,}" if before and figures[0] != figures[1] else ""


def _percent(granted_bytes: int, budget_bytes: int) -> int | None:
    """To the nearest; None where there is nothing to fill."""
    if not budget_bytes:
        return None
    return (granted_bytes * _PERCENT * 2 + budget_bytes) // (budget_bytes * 2)


def _tenants(row: Row) -> list[tuple[Standing, bool]]:
    """Who stands there, and then who did, but does so no more."""
    names = {name for each in row.stands for name in each.names}
    gone = [each for each in row.stood if names.isdisjoint(each.names)]
    return [*((each, False) for each in row.stands), *((each, True) for each in gone)]


def _tenant(
    standing: Standing, what: str, figures: Figures, changes: Sequence[Change],
    *, leaves: bool,
) -> Tenant:  # fmt: skip
    change = None if standing.change is None else changes[standing.change]
    # What a replica of GPUs has of RAM stands beside it there.
    aside = what == RAM and bool(standing.held.replica.shares)
    return Tenant(
        names=folded(standing.names),
        about="" if aside else about(standing.held.replica),
        room="" if aside else kv_words(standing.held.replica),
        share=demand(standing.held.size_bytes),
        figure=figures.number(standing.held),
        change=standing.change,
        symbol=change.symbol if change else "",
        action=change.action if change else "",
        leaves=leaves,
    )
