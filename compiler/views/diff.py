"""A diff as the reviewer reads it: counts, then what changes and why, then the VRAM ledger."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import assert_never

from compiler.ir.changes import (
    SYMBOLS,
    Action,
    Diff,
    LedgerChange,
    NeighboursChanged,
    Reason,
    ReplicaChange,
    SettingChanged,
    ShareChanged,
)
from compiler.ir.counting import counted
from compiler.ir.names import folded, grouped
from compiler.ir.units import budget_mib, demand_mib, show_mib
from compiler.views.effects import (
    capacity_lines,
    effect_words,
    fleet_lines,
    kind_rows,
    service_lines,
    verdict,
)
from compiler.views.markdown import code, escaped, table
from compiler.views.reasons import reason_of_many
from compiler.views.terminal import Style, columns, indented, json_text, paint, prose, safe_record

_STYLES: dict[Action, Style] = {
    "create": "green",
    "keep": "dim",
    "update": "yellow",
    "move": "cyan",
    "delete": "red",
}


def diff_text(diff: Diff, *, color: bool, width: int | None = None) -> str:
    """The diff for people at a terminal; equal changes are told once."""
    shown = safe_record(diff)
    blocks = [
        [
            *(paint(line, "bold", color=color) for line in prose(headline(shown), width=width)),
            *prose(verdict(shown), width=width),
        ],
        _noticed(shown, width),
        *(_block(changes, color=color, width=width) for changes in equal_changes(shown)),
        [line for note in shown.notes for line in prose(note, width=width)],
        _fleet(shown, width),
        _ledger(shown.ledger),
        _kinds(shown),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def diff_json(diff: Diff) -> str:
    """The diff for programs; `Diff.model_validate_json` reads it back."""
    return json_text(diff.model_dump(mode="json"))


def diff_markdown(diff: Diff) -> str:
    """The diff for a comment on a pull request."""
    changed = equal_changes(diff)
    blocks = [
        [f"**{headline(diff)}** {escaped(verdict(diff))}"],
        [f"- {escaped(line)}" for line in _noticed_by(diff)],
        [changes_table(changed)] if changed else [],
        [f"- {escaped(note)}" for note in diff.notes],
        [f"- {escaped(line)}" for line in fleet_lines(diff.fleet)],
        [ledger_table(diff.ledger)],
        _unchanged(diff.ledger),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if any(block)) + "\n"


def changes_table(changed: Sequence[Sequence[ReplicaChange]], *, why: bool = True) -> str:
    """What happens to replicas as a table of markdown; without the reasons where it is long."""
    rows = [
        (
            f"{code(SYMBOLS[changes[0].action])} {changes[0].action}",
            code(_replicas(changes)),
            code(_where(changes)),
            code(effect_words(changes)),
            "<br>".join(code(line) for line in (*capacity_lines(changes), *reason_lines(changes))),
        )
        for changes in changed
    ]
    n_columns = 5 if why else 4
    header = ("action", "replica", "where", "effect", "why")
    return "\n".join(table(header[:n_columns], [row[:n_columns] for row in rows]))


def ledger_table(ledger: list[LedgerChange]) -> str:
    """The GPUs of which more or less is granted, as a table of markdown; empty without one."""
    changed = granted_otherwise(ledger)
    rows = [
        (code(gpus), code(kind), before, after, budget)
        for gpus, kind, before, after, budget in _ledger_rows(changed)
    ]
    header = ("GPU", "kind", "before (MiB)", "after (MiB)", "budget (MiB)")
    return "\n".join(table(header, rows, right=3)) if rows else ""


def headline(diff: Diff) -> str:
    """How many replicas each action touches."""
    counts = diff.counts
    return (
        f"Plan: {counts.create:,} to create, {counts.update:,} to update, {counts.move:,} to move, "
        f"{counts.delete:,} to delete, {counts.keep:,} kept."
    )


def equal_changes(diff: Diff) -> list[list[ReplicaChange]]:
    """What changes, by service, with the replicas together to which the same happens."""
    changed = (change for change in diff.changes if change.action != "keep")
    return list(grouped((_what(change), change) for change in changed).values())


def change_title(changes: Sequence[ReplicaChange]) -> str:
    """Which replicas an equal change is of, and where: `chat-[0-3] on gpu-[1-4]/0`."""
    return f"{_replicas(changes)} {_where(changes)}"


def _what(change: ReplicaChange) -> Hashable:
    """What happens to a replica, whichever it is and wherever it stands."""
    bare = change.model_copy(update={"address_before": None, "address_after": None})
    return (
        change.service,
        change.action,
        change.effect,
        change.overlaps,
        tuple(map(_service, change.waits_for)),
        tuple(capacity_lines([bare])),
        tuple(reason_of_many([r]) for r in _anywhere(change)),
    )


def _anywhere(change: ReplicaChange) -> list[Reason]:
    """The reasons without the names of GPUs, and of neighbours no more than their service."""
    return list(map(_anywhere_else, change.reasons))


def _anywhere_else(reason: Reason) -> Reason:
    match reason:
        case ShareChanged():
            return reason.model_copy(update={"gpu": ""})
        case NeighboursChanged(came=came, left=left):
            services = {"came": list(map(_service, came)), "left": list(map(_service, left))}
            return reason.model_copy(update={"gpu": "", **services})
        case SettingChanged(field="start_after", before=before, after=after):
            words = {
                "before": " ".join(map(_service, before.split())),
                "after": " ".join(map(_service, after.split())),
            }
            return reason.model_copy(update=words)
        case _:
            return reason


def _service(replica_name: str) -> str:
    """`chat` of `chat-8`."""
    return replica_name.rpartition("-")[0] or replica_name


def reason_lines(changes: Sequence[ReplicaChange]) -> list[str]:
    """The reasons that these changes have in common, each in words."""
    return [
        reason_of_many(alike)
        for alike in zip(*(c.reasons for c in changes), strict=True)
        if not _is_below_a_mib(alike[0])
    ]


def _is_below_a_mib(reason: Reason) -> bool:
    """A share that people would read as the same one."""
    return isinstance(reason, ShareChanged) and show_mib(reason.before_bytes) == show_mib(
        reason.after_bytes
    )


def _block(changes: Sequence[ReplicaChange], *, color: bool, width: int | None) -> list[str]:
    action = changes[0].action
    title = f"{SYMBOLS[action]} {action} {change_title(changes)}"
    if action != "delete" and (changes[0].waits_for or action != "create"):
        title += f": {effect_words(changes)}"
    inner = None if width is None else width - 2
    lines = [paint(line, _STYLES[action], color=color) for line in prose(title, width=inner)]
    for reason in (*capacity_lines(changes), *reason_lines(changes)):
        told = prose(reason, width=None if inner is None else inner - 4)
        lines += indented(told, 4)
    return indented(lines)


def _noticed_by(diff: Diff) -> list[str]:
    """Each service whose users notice something, with what; one that only begins is none."""
    return [
        f"{service.service}: {'; '.join(lines)}"
        for service in diff.services
        if (lines := service_lines(service))
    ]


def _noticed(diff: Diff, width: int | None) -> list[str]:
    inner = None if width is None else width - 2
    lines = [line for each in _noticed_by(diff) for line in prose(each, width=inner)]
    return ["What users notice:", *indented(lines)] if lines else []


def _fleet(diff: Diff, width: int | None) -> list[str]:
    inner = None if width is None else width - 2
    lines = [line for each in fleet_lines(diff.fleet) for line in prose(each, width=inner)]
    return ["The fleet:", *indented(lines)] if lines else []


def _replicas(changes: Sequence[ReplicaChange]) -> str:
    return folded([change.replica for change in changes])


def _where(changes: Sequence[ReplicaChange]) -> str:
    before = folded([change.before for change in changes if change.before])
    after = folded([change.after for change in changes if change.after])
    action = changes[0].action
    match action:
        case "create" | "keep" | "update":
            return f"on {after}"
        case "move":
            return f"from {before} to {after}"
        case "delete":
            return f"from {before}"
        case _:
            assert_never(action)


def _ledger(ledger: list[LedgerChange]) -> list[str]:
    changed = granted_otherwise(ledger)
    if not changed:
        return _unchanged(ledger)
    header = ("GPU", "kind", "before", "", "after", "budget")
    rows = [
        (gpus, kind, before, "->", after, budget)
        for gpus, kind, before, after, budget in _ledger_rows(changed)
    ]
    aligned = columns([header, *rows], right=(2, 4, 5))
    return ["VRAM in MiB:", *indented(aligned), *indented(_unchanged(ledger))]


def _kinds(diff: Diff) -> list[str]:
    rows = kind_rows(diff.fleet)
    if not rows:
        return []
    header = ("kind", "GPUs", "used", "free MiB")
    return ["In all:", *indented(columns([header, *rows]))]


def _ledger_rows(ledger: list[LedgerChange]) -> list[tuple[str, str, str, str, str]]:
    """Names, kind and figures; GPUs of one kind and with the same figures in one row."""
    equal = grouped(
        ((gpu.kind, _granted(gpu.before_bytes), _granted(gpu.after_bytes), _budget(gpu)), gpu.gpu)
        for gpu in ledger
    )
    return [(folded(names), *figures) for figures, names in equal.items()]


def granted_otherwise(ledger: Sequence[LedgerChange]) -> list[LedgerChange]:
    """The GPUs of which more or less is granted; one that comes or goes unused is none of them."""
    return [gpu for gpu in ledger if (gpu.before_bytes or 0) != (gpu.after_bytes or 0)]


def _unchanged(ledger: list[LedgerChange]) -> list[str]:
    n_unchanged = len(ledger) - len(granted_otherwise(ledger))
    other = "" if n_unchanged == len(ledger) else "other "
    return [f"Nothing changes on {counted(n_unchanged, f'{other}GPU')}."] if n_unchanged else []


def _granted(size_bytes: int | None) -> str:
    return "none" if size_bytes is None else f"{demand_mib(size_bytes):,}"


def _budget(gpu: LedgerChange) -> str:
    return "none" if gpu.budget_bytes is None else f"{budget_mib(gpu.budget_bytes):,}"
