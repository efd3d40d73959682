"""What a run found, kept until its end and written for the tools that asked: `--report`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler import __version__

if TYPE_CHECKING:
    from compiler.diagnostics import Diagnostic
    from compiler.ir.review import Verdict

REPORT_KINDS = ("json", "sarif", "github", "codequality", "junit")


@dataclass(slots=True)
class Findings:
    """The diagnostics of one run, and where they are to go; made by `run`, filled by commands."""

    diagnostics: list[Diagnostic] = field(default_factory=list)
    wanted: list[tuple[str, str]] = field(default_factory=list)
    """Kind and file of each `--report`; `-` is stdout."""
    verdicts: list[Verdict] = field(default_factory=list)
    """How the plan fares by the rules of review."""
    as_json: bool = False
    """Whether stdout is read by a program, which then gets the errors there, too."""


def report_option() -> click.Option:
    """`--report KIND=FILE`, which every command has."""
    return click.Option(
        ["--report"], multiple=True, metavar="KIND=FILE", expose_value=False, callback=_want,
        help="Also write errors and warnings for a tool; KIND is one of "
        f"{', '.join(REPORT_KINDS)}; FILE may be - for stdout.",
    )  # fmt: skip


def remember_style(context: click.Context, _: click.Parameter, style: str) -> str:
    """Callback of `--format`: a program that reads stdout is told of errors there."""
    if (findings := context.find_object(Findings)) is not None:
        findings.as_json = style == "json"
    return style


def note(diagnostics: Sequence[Diagnostic]) -> None:
    """Keeps diagnostics for the reports of this run."""
    context = click.get_current_context(silent=True)
    findings = context.find_object(Findings) if context else None
    if findings is not None:
        findings.diagnostics += diagnostics


def note_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Keeps how the plan fares for the reports of this run."""
    context = click.get_current_context(silent=True)
    findings = context.find_object(Findings) if context else None
    if findings is not None:
        findings.verdicts += verdicts


def write_reports(findings: Findings) -> None:
    """Writes what was asked for, also when nothing was found: a tool then sees an empty report."""
    for kind, path in findings.wanted:
        text = _text(kind, findings)
        if path == "-":
            click.echo(text, nl=False)
        else:
            from compiler.workspace.saving import write_file

            write_file(Path(path), text)


def _want(context: click.Context, option: click.Parameter, values: Sequence[str]) -> None:
    findings = context.find_object(Findings)
    for value in values:
        kind, equals, path = value.partition("=")
        if kind not in REPORT_KINDS or not equals or not path:
            message = f"`{value}` is not KIND=FILE with one of {', '.join(REPORT_KINDS)}."
            raise click.BadParameter(message, context, option)
        if findings is not None:
            findings.wanted.append((kind, path))


def _text(kind: str, findings: Findings) -> str:
    from compiler.views.diagnostics import diagnostics_json
    from compiler.views.forges import code_quality, github_annotations
    from compiler.views.junit import junit_xml
    from compiler.views.sarif import diagnostics_sarif
    from compiler.workspace.checkout import repository_prefix

    prefix = repository_prefix()
    views: dict[str, Callable[[], str]] = {
        "json": lambda: diagnostics_json(findings.diagnostics),
        "sarif": lambda: diagnostics_sarif(
            findings.diagnostics, version=__version__, prefix=prefix
        ),
        "github": lambda: github_annotations(findings.diagnostics, prefix=prefix),
        "codequality": lambda: code_quality(findings.diagnostics, prefix=prefix),
        "junit": lambda: junit_xml(findings.diagnostics, findings.verdicts),
    }
    return views[kind]()
