"""Diagnostics as the user reads them: errors before warnings, in the order of the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from compiler.diagnostics import Diagnostic, Group, Severity
from compiler.ir.counting import counted
from compiler.ir.credentials import without_secrets
from compiler.views.terminal import Style, indented, json_text, paint, prose, safe_text

_STYLES: dict[Severity, Style] = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


# Of each group so many names are shown; the rest is counted. JSON has them all.
_MAX_NAMES = 8


def diagnostics_text(
    diagnostics: Sequence[Diagnostic], *, color: bool, width: int | None = None
) -> str:
    """Every diagnostic as a block, and a last line with the count; empty without any."""
    if not diagnostics:
        return ""
    blocks = [_block(each, color=color, width=width) for each in as_read(diagnostics)]
    counts = " and ".join(
        counted(number, severity.value)
        for severity, number in _counts(diagnostics).items()
        if number
    )
    return "\n\n".join(["\n".join(block) for block in blocks] + [f"{counts}."]) + "\n"


# Of the JSON: the second number grows with keys that are added, the first with all else.
FORMAT_VERSION = "1.0"


def diagnostics_json(diagnostics: Sequence[Diagnostic]) -> str:
    """The same for programs; `location` is null where no line of a file is to blame."""
    return json_text(
        {
            "format_version": FORMAT_VERSION,
            "diagnostics": [
                {**asdict(diagnostic), "summary": diagnostic.summary}
                for diagnostic in as_read(diagnostics)
            ],
            **{f"{severity}s": number for severity, number in _counts(diagnostics).items()},
        }
    )


def as_read(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """As every view shows them: in order, in whole sentences, without what looks like a secret.

    A log of CI is read by many.
    """
    hidden = (
        replace(
            each,
            detail=_ended(without_secrets(each.detail)),
            hints=tuple(_sentence(without_secrets(hint)) for hint in each.advice),
        )
        for each in diagnostics
    )
    return sorted(hidden, key=_order)


def _ended(text: str) -> str:
    """With a full stop: engines and sources end some of their sentences and leave others open."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _sentence(text: str) -> str:
    """From capital to full stop; our own name stays as it is written."""
    return _ended(text if text.startswith("modelc") else text[:1].upper() + text[1:])


def _order(diagnostic: Diagnostic) -> tuple[bool, bool, str, int, int, str, str]:
    location = diagnostic.location
    return (
        diagnostic.severity is not Severity.ERROR,
        location is None,
        location.path if location else "",
        location.line if location else 0,
        location.column if location else 0,
        diagnostic.code,
        diagnostic.detail,
    )


def _counts(diagnostics: Sequence[Diagnostic]) -> dict[Severity, int]:
    return {
        severity: sum(diagnostic.severity is severity for diagnostic in diagnostics)
        for severity in Severity
    }


def _block(diagnostic: Diagnostic, *, color: bool, width: int | None) -> list[str]:
    inner = None if width is None else width - 2
    title = paint(
        f"{diagnostic.severity}[{diagnostic.code}]", _STYLES[diagnostic.severity], color=color
    )
    lines: list[str] = []
    if location := diagnostic.location:
        lines.append(f"--> {safe_text(location.path)}:{location.line}:{location.column}")
    for line in diagnostic.detail.splitlines():
        lines += prose(safe_text(line), width=inner)
    for group in diagnostic.groups:
        lines += _group_lines(group)
    hint = paint("hint:", "cyan", color=color)
    for text in diagnostic.hints:
        first, *more = prose(safe_text(f"hint: {text}"), width=inner)
        lines += [first.replace("hint:", hint, 1), *more]
    return [f"{title}: {paint(diagnostic.summary, 'bold', color=color)}", *indented(lines)]


def _group_lines(group: Group) -> list[str]:
    shown = [safe_text(name) for name in group.names[:_MAX_NAMES]]
    n_more = len(group.names) - len(shown)
    more = [f"and {n_more:,} more"] if n_more else []
    return [f"{safe_text(group.title)}:", *indented([*shown, *more])]
