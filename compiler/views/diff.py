"""A diff as the reviewer reads it: counts, then what changes and why, then the VRAM ledger."""

from __future__ import annotations

from typing import assert_never

from compiler.ir.changes import SYMBOLS, Action, Diff, LedgerChange, ReplicaChange
from compiler.ir.units import budget_mib, demand_mib
from compiler.views.markdown import code, escaped, table
from compiler.views.reasons import reason_text
from compiler.views.terminal import (
    Style,
    columns,
    counted,
    indented,
    json_text,
    paint,
    safe_record,
)

_STYLES: dict[Action, Style] = {
    "create": "green",
    "keep": "dim",
    "update": "yellow",
    "move": "cyan",
    "delete": "red",
}


def diff_text(diff: Diff, *, color: bool) -> str:
    """The diff for people at a terminal."""
    shown = safe_record(diff)
    blocks = [
        [paint(_headline(shown), "bold", color=color)],
        *(_block(change, color=color) for change in shown.changes if change.action != "keep"),
        shown.notes,
        _ledger(shown.ledger),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def diff_json(diff: Diff) -> str:
    """The diff for programs; `Diff.model_validate_json` reads it back."""
    return json_text(diff.model_dump(mode="json"))


def diff_markdown(diff: Diff) -> str:
    """The diff for a comment on a pull request."""
    changed = [change for change in diff.changes if change.action != "keep"]
    granted_otherwise = _granted_otherwise(diff.ledger)
    blocks = [
        [f"**{_headline(diff)}**"],
        _markdown_changes(changed) if changed else [],
        [f"- {escaped(note)}" for note in diff.notes],
        _markdown_ledger(granted_otherwise) if granted_otherwise else [],
        _unchanged(diff.ledger),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _headline(diff: Diff) -> str:
    counts = diff.counts
    return (
        f"Plan: {counts.create:,} to create, {counts.update:,} to update, {counts.move:,} to move, "
        f"{counts.delete:,} to delete, {counts.keep:,} kept."
    )


def _block(change: ReplicaChange, *, color: bool) -> list[str]:
    title = f"{SYMBOLS[change.action]} {change.action} {change.replica} {_where(change)}"
    reasons = [reason_text(reason) for reason in change.reasons]
    return indented([paint(title, _STYLES[change.action], color=color), *indented(reasons, 4)])


def _where(change: ReplicaChange) -> str:
    match change.action:
        case "create" | "keep" | "update":
            return f"on {change.after}"
        case "move":
            return f"from {change.before} to {change.after}"
        case "delete":
            return f"from {change.before}"
        case _:
            assert_never(change.action)


def _ledger(ledger: list[LedgerChange]) -> list[str]:
    changed = _granted_otherwise(ledger)
    if not changed:
        return _unchanged(ledger)
    header = ("GPU", "kind", "before", "", "after", "budget")
    rows = [
        (
            gpu.gpu,
            gpu.kind,
            _granted(gpu.before_bytes),
            "->",
            _granted(gpu.after_bytes),
            _budget(gpu),
        )
        for gpu in changed
    ]
    aligned = columns([header, *rows], right=(2, 4, 5))
    return ["VRAM in MiB:", *indented(aligned), *indented(_unchanged(ledger))]


def _granted_otherwise(ledger: list[LedgerChange]) -> list[LedgerChange]:
    """The GPUs of which more or less is granted; one that comes or goes unused is none of them."""
    return [gpu for gpu in ledger if (gpu.before_bytes or 0) != (gpu.after_bytes or 0)]


def _unchanged(ledger: list[LedgerChange]) -> list[str]:
    n_unchanged = len(ledger) - len(_granted_otherwise(ledger))
    other = "" if n_unchanged == len(ledger) else "other "
    return [f"Nothing changes on {counted(n_unchanged, f'{other}GPU')}."] if n_unchanged else []


def _granted(size_bytes: int | None) -> str:
    return "none" if size_bytes is None else f"{demand_mib(size_bytes):,}"


def _budget(gpu: LedgerChange) -> str:
    return "none" if gpu.budget_bytes is None else f"{budget_mib(gpu.budget_bytes):,}"


def _markdown_changes(changes: list[ReplicaChange]) -> list[str]:
    rows = [
        (
            f"{code(SYMBOLS[change.action])} {change.action}",
            code(change.replica),
            code(_where(change)),
            "<br>".join(code(reason_text(reason)) for reason in change.reasons),
        )
        for change in changes
    ]
    return table(("action", "replica", "where", "why"), rows)


def _markdown_ledger(ledger: list[LedgerChange]) -> list[str]:
    rows = [
        (
            code(gpu.gpu),
            code(gpu.kind),
            _granted(gpu.before_bytes),
            _granted(gpu.after_bytes),
            _budget(gpu),
        )
        for gpu in ledger
    ]
    return table(("GPU", "kind", "before (MiB)", "after (MiB)", "budget (MiB)"), rows, right=3)
