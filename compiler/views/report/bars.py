"""A device as a bar: where each layer of its memory begins and how wide it is, in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler.ir.names import folded
from compiler.ir.units import demand_mib, show_mib
from compiler.views.report.devices import LAYERS, NAMES, Device
from compiler.views.report.figures import Figures
from compiler.views.report.folding import Standing
from compiler.views.words import show_budget

# Positions are in hundredths of a percent: a tenth of a pixel on a wide screen.
_WHOLE = 10_000

# A bar is some 700 pixels wide, and a letter of its labels 7; on less a label is cut at its edge.
_LETTER = 100


@dataclass(frozen=True, slots=True)
class Piece:
    """One layer of a bar."""

    layer: str
    x: str
    width: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """One replica in a bar."""

    x: str
    width: str
    name: str
    """What is written over it; empty where it is too narrow."""
    label: str
    figure: int
    change: int | None
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """The memory of one device."""

    label: str
    spans: tuple[Span, ...]
    rest: tuple[Piece, ...]

    @property
    def named(self) -> bool:
        """Whether a name stands over it."""
        return any(span.name for span in self.spans)


def bar_of(
    device: Device, standing: Sequence[Standing], figures: Figures, *, was: bool = False
) -> Bar:
    """The bar of a device with who stands on it, or stood."""
    at_bytes = 0
    spans = []
    for each in standing:
        start_bytes = at_bytes
        pieces = []
        for layer, size_bytes in each.held.layers():
            pieces += _piece(layer, at_bytes, size_bytes, device.total_bytes)
            at_bytes += size_bytes
        x, width = _percent(start_bytes, at_bytes - start_bytes, device.total_bytes)
        spans.append(
            Span(
                x=x,
                width=width,
                name=_fitting(each, device.total_bytes) if figures.whole and not was else "",
                label=_label(each, " before" if was else ""),
                figure=figures.number(each.held),
                change=each.change,
                pieces=tuple(pieces),
            )
        )
    free, reserved = device.free_bytes, device.reserved_bytes
    words = (
        (f"free: {show_budget(free)}", f"reserved: {show_mib(reserved)}; budget = {device.bound}")
        if figures.whole
        else ("", "")
    )
    rest = [
        *_piece("free", at_bytes, free, device.total_bytes, words[0]),
        *_piece("reserved", at_bytes + free, reserved, device.total_bytes, words[1]),
    ]
    return Bar(label=_summary(device), spans=tuple(spans), rest=tuple(rest))


def plain_bar(device: Device) -> Bar:
    """The bar of a device by layers alone, whoever holds them."""
    return Bar(label=_summary(device), spans=(), rest=sums_bar(device.layers(), titles=False))


def sums_bar(sizes_bytes: Mapping[str, int], *, titles: bool = True) -> tuple[Piece, ...]:
    """The memory of many devices by layer."""
    total_bytes = sum(sizes_bytes.values())
    at_bytes = 0
    pieces = []
    for layer in LAYERS:
        words = f"{NAMES[layer]}: {show_mib(sizes_bytes[layer])}" if titles else ""
        pieces += _piece(layer, at_bytes, sizes_bytes[layer], total_bytes, words)
        at_bytes += sizes_bytes[layer]
    return tuple(pieces)


def _piece(
    layer: str, at_bytes: int, size_bytes: int, total_bytes: int, words: str = ""
) -> list[Piece]:
    if not size_bytes or not total_bytes:
        return []
    x, width = _percent(at_bytes, size_bytes, total_bytes)
    return [Piece(layer, x, width, words)]


def _percent(at_bytes: int, size_bytes: int, total_bytes: int) -> tuple[str, str]:
    """Both ends are rounded, so that pieces meet and never overlap."""
    if not total_bytes:
        return "0%", "0%"
    ends = (at_bytes, at_bytes + size_bytes)
    first, last = (min(_WHOLE, end * _WHOLE // total_bytes) for end in ends)
    return _decimal(first), _decimal(last - first)


def _decimal(hundredths: int) -> str:
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02}".rstrip("0").rstrip(".") + "%"


def _fitting(standing: Standing, total_bytes: int) -> str:
    name = folded(standing.names)
    room = standing.held.size_bytes * _WHOLE // total_bytes if total_bytes else 0
    return name if room >= len(name) * _LETTER else ""


def _label(standing: Standing, when: str) -> str:
    """All figures of one replica in a line, for who cannot see the bar."""
    each = " each" if len(standing.names) > 1 else ""
    parts = ", ".join(
        f"{NAMES[layer]} {demand_mib(size_bytes):,}"
        for layer, size_bytes in standing.held.layers()
        if size_bytes
    )
    return f"{folded(standing.names)}{when}: {show_mib(standing.held.size_bytes)}{each} ({parts})"


def _summary(device: Device) -> str:
    return (
        f"{show_mib(device.granted_bytes)} granted, {show_budget(device.free_bytes)} free, "
        f"{show_mib(device.reserved_bytes)} reserved"
    )
