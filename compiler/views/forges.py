"""Diagnostics as code hosts read them beside SARIF: GitHub's annotations, GitLab's Code Quality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from compiler.diagnostics import Diagnostic, Severity
from compiler.ir.changes import Diff
from compiler.ir.counting import counted
from compiler.views.diagnostics import as_read
from compiler.views.sarif import fingerprint
from compiler.views.terminal import json_text, safe_text

# GitHub shows so many errors and so many warnings of a step, and drops the rest without a word.
MAX_ANNOTATIONS = 10


def github_annotations(diagnostics: Sequence[Diagnostic], *, prefix: str) -> str:
    """Workflow commands that GitHub shows at the lines of a pull request.

    Of each severity the first ten; that there are more is said in the last of them. `prefix` leads
    from the repository to the paths.
    """
    lines: list[str] = []
    shown = as_read(diagnostics)
    for severity in Severity:
        of_it = [each for each in shown if each.severity is severity]
        n_more = len(of_it) - MAX_ANNOTATIONS
        for number, each in enumerate(of_it[:MAX_ANNOTATIONS], start=1):
            last = number == MAX_ANNOTATIONS and n_more > 0
            more = f"\nand {counted(n_more, f'more {severity.value}')}: see the log" if last else ""
            lines.append(_annotation(each, prefix, more))
    return "".join(f"{line}\n" for line in lines)


def code_quality(diagnostics: Sequence[Diagnostic], *, prefix: str) -> str:
    """GitLab's Code Quality report: an array with one entry a diagnostic."""
    seen: Counter[str] = Counter()
    return json_text(
        [
            {
                "description": safe_text(f"{each.summary}: {each.detail}"),
                "check_name": each.code,
                "fingerprint": fingerprint(each, seen),
                "severity": "major" if each.severity is Severity.ERROR else "minor",
                "location": {
                    "path": prefix + (each.location.path if each.location else "models.yaml"),
                    "lines": {"begin": each.location.line if each.location else 1},
                },
            }
            for each in as_read(diagnostics)
        ]
    )


def gitlab_terraform(diff: Diff) -> str:
    """GitLab's terraform report, a widget of the merge request; a move counts as an update."""
    counts = diff.counts
    return json_text(
        {"create": counts.create, "update": counts.update + counts.move, "delete": counts.delete}
    )


def _annotation(diagnostic: Diagnostic, prefix: str, more: str) -> str:
    properties = {"title": f"{diagnostic.code}: {diagnostic.summary}"}
    if location := diagnostic.location:
        properties = {
            "file": prefix + location.path,
            "line": str(location.line),
            "col": str(location.column),
            **properties,
        }
    told = [*diagnostic.detail.splitlines(), *(f"hint: {hint}" for hint in diagnostic.hints)]
    message = "\n".join(safe_text(line) for line in told) + more
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{diagnostic.severity.value} {listed}::{_data(message)}"


def _data(text: str) -> str:
    """As actions/toolkit escapes the message of a command (packages/core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The same for a property, in which colon and comma end it."""
    return _data(safe_text(text)).replace(":", "%3A").replace(",", "%2C")
