"""What each replica holds of one device, part by part, equal ones once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from compiler.ir.names import folded, natural_key
from compiler.ir.plan import Replica
from compiler.ir.units import budget_mib, demand_mib
from compiler.views.report.devices import NAMES, Device, Held
from compiler.views.report.folding import Block, Standing
from compiler.views.words import kv_words, split_words

# A page with more tables than this is slow to open, and nobody reads them. Beyond, one stands for
# all of its service that differ in size alone; the figures of each are at its bar.
_MAX_FIGURES = 400


@dataclass(frozen=True, slots=True)
class Size:
    """A figure in MiB, and the bytes that it is made of."""

    bytes: int
    shown: str


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One part of a replica's memory on one device."""

    layer: str
    name: str
    size: Size
    low: str
    high: str
    why: str


@dataclass(frozen=True, slots=True)
class Figure:
    """The memory that equal replicas hold of equal devices."""

    names: str
    service: int
    about: str
    room: str
    place: str
    share: Size
    rows: tuple[FigureRow, ...]
    example: str
    """The one of many that the figures are of; empty where they are those of all."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All of them, and which is whose."""

    shown: tuple[Figure, ...]
    numbers: Mapping[Hashable, int]
    whole: bool
    services: tuple[str, ...]
    """All services of both plans; a service is called by its position."""

    def number(self, held: Held) -> int:
        """The position of a replica's figures."""
        return self.numbers[held.alike if self.whole else held.like]


def demand(size_bytes: int) -> Size:
    """What is taken, rounded up."""
    return Size(size_bytes, f"{demand_mib(size_bytes):,}")


def budget(size_bytes: int) -> Size:
    """What is there, rounded down."""
    return Size(size_bytes, f"{budget_mib(size_bytes):,}")


def about(replica: Replica) -> str:
    """How a replica runs."""
    engine = f"{replica.engine} {replica.engine_version}"
    return " · ".join((replica.variant, engine, split_words(replica)))


def figures_of(blocks: Sequence[Block]) -> Figures:
    """The figures of both plans, in the order of the fleet."""
    standing = [each for block in blocks for each in _standing(block)]
    whole = len({each.held.alike for _, each in standing}) <= _MAX_FIGURES
    services = sorted({each.held.replica.service for _, each in standing}, key=natural_key)
    first: dict[Hashable, Standing] = {}
    names: dict[Hashable, dict[str, None]] = defaultdict(dict)
    places: dict[Hashable, dict[str, None]] = defaultdict(dict)
    different: dict[Hashable, set[Hashable]] = defaultdict(set)
    for device, each in standing:
        key = each.held.alike if whole else each.held.like
        first.setdefault(key, each)
        names[key].update(dict.fromkeys(each.names))
        places[key][device.what] = None
        different[key].add(each.held.alike)
    shown = [
        _figure(
            first[key],
            services.index(first[key].held.replica.service),
            sorted(names[key], key=natural_key),
            sorted(places[key], key=natural_key),
            several=len(different[key]) > 1,
        )
        for key in first
    ]
    numbers = {key: number for number, key in enumerate(first)}
    return Figures(tuple(shown), numbers, whole, tuple(services))


def _standing(block: Block) -> Iterator[tuple[Device, Standing]]:
    """Who stands on each device, and then who stood there."""
    for row in block.rows:
        for device, side in ((row.after, row.stands), (row.before, row.stood)):
            if device is not None:
                yield from ((device, each) for each in side)


def _figure(
    standing: Standing, service: int, names: Sequence[str], places: Sequence[str], *, several: bool
) -> Figure:
    held = standing.held
    rows = [
        FigureRow(name, NAMES[name], demand(part.bytes), f"{demand_mib(part.low_bytes):,}",
                  f"{demand_mib(part.high_bytes):,}", part.why)
        for name, part in held.breakdown.parts()
        if part.bytes or part.high_bytes
    ]  # fmt: skip
    band = dict(held.layers())["band"]
    if band:
        rows.append(FigureRow("band", NAMES["band"], demand(band), "", "", "up to the high ends"))
    return Figure(
        names=folded(names),
        service=service,
        about=about(held.replica),
        room=kv_words(held.replica),
        place=" or ".join(places),
        share=demand(held.size_bytes),
        rows=tuple(rows),
        example=standing.names[0] if several else "",
    )
