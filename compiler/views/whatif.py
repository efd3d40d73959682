"""What a change or a loss would do, as text and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from compiler.ir.counting import counted
from compiler.ir.names import folded, grouped
from compiler.ir.outcome import Loss, OutcomeCode, ServiceOutcome, Sizing, WhatIf
from compiler.views.diff import diff_text
from compiler.views.terminal import columns, indented, json_text, paint, safe_record

_MINUTE = 60


def whatif_text(found: WhatIf, *, color: bool, width: int | None = None) -> str:
    """The outcome in a line, the services that change, and the diff."""
    shown = safe_record(found)
    title = paint(f"What if: {', '.join(shown.changes) or 'nothing changes'}", "bold", color=color)
    blocks = [
        [title],
        [f"{_outcome_words(shown.code)}."],
        _service_lines(shown.services),
    ]
    text = "\n\n".join("\n".join(block) for block in blocks if block)
    return f"{text}\n\n{diff_text(found.diff, color=color, width=width)}"


def whatif_json(found: WhatIf) -> str:
    """The same for programs."""
    return json_text(found.model_dump(mode="json"))


def losses_text(found: Sequence[Loss], *, color: bool) -> str:
    """A line for each host and GPU, equal ones together, and what the fleet survives in all."""
    header = ("lost", "stands there", "outcome", "starts elsewhere", "at most", "lost replicas")
    alike = grouped((_cells(loss)[1:], loss) for loss in found)
    rows = [(folded([loss.lost for loss in losses]), *cells) for cells, losses in alike.items()]
    lines = columns([header, *rows])
    lines[0] = paint(lines[0], "bold", color=color)
    survived = sum(1 for loss in found if loss.code in ("in-place", "moves"))
    total = f"{survived} of {len(found)} hosts and GPUs could be lost without losing a replica."
    return "\n".join([*lines, "", total]) + "\n"


def losses_json(found: Sequence[Loss]) -> str:
    """The same for programs."""
    return json_text({"losses": [loss.model_dump(mode="json") for loss in found]})


def sizing_text(found: Sequence[Sizing], *, color: bool) -> str:
    """A line for each kind and number of GPUs in a host, the fewest GPUs first."""
    header = ("GPUs", "hosts", "each with", "proof")
    rows = [
        (
            f"{size.gpus:,}" if size.gpus else "none",
            f"{size.hosts:,}" if size.hosts else "none",
            f"{size.per_host} x {size.kind}",
            _proof(size),
        )
        for size in found
    ]
    lines = columns([header, *rows], right=(0, 1))
    lines[0] = paint(lines[0], "bold", color=color)
    return "\n".join(lines) + "\n"


def sizing_json(found: Sequence[Sizing]) -> str:
    """The same for programs."""
    return json_text({"sizes": [size.model_dump(mode="json") for size in found]})


def _proof(size: Sizing) -> str:
    if not size.hosts:
        return size.why
    if size.hosts == size.at_least:
        return "proven the fewest"
    return f"at least {counted(size.at_least, 'host')} by memory alone"


def _outcome_words(code: OutcomeCode) -> str:
    match code:
        case "in-place":
            return "Nothing is lost, nothing moves"
        case "moves":
            return "Nothing is lost; some replicas are restarted or move"
        case "loses-replicas":
            return "Some services have fewer replicas"
        case "loses-services":
            return "Some services have no replica"
        case _:
            assert_never(code)


def _service_lines(services: Sequence[ServiceOutcome]) -> list[str]:
    if not services:
        return []
    rows = [
        ("service", "wanted", "replicas", "KV room in full-length requests"),
        *(
            (
                each.service,
                str(each.wanted),
                f"{each.replicas_before} -> {each.replicas_after}",
                f"{_tenths(each.room_before_permille)} -> {_tenths(each.room_after_permille)}",
            )
            for each in services
        ),
    ]
    return indented(columns(rows, right=(1,)))


def _tenths(permille: int) -> str:
    whole, tenths = divmod(permille // 100, 10)
    return f"{whole:,}.{tenths}"


def _cells(loss: Loss) -> tuple[str, ...]:
    words = {
        "in-place": "survives in place",
        "moves": "survives by moving",
        "loses-replicas": "loses replicas",
        "loses-services": "loses services",
    }
    short = ", ".join(f"{count} of {name}" for name, count in loss.short.items())
    minutes = -(-loss.seconds // _MINUTE)
    return (
        loss.lost,
        folded(loss.stood) or "nothing",
        words[loss.code],
        str(loss.moves),
        f"{minutes} min" if loss.moves else "",
        short,
    )
