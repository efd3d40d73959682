"""`modelc compile`: places the fleet, writes compiled/, prints the diff."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.commands.common import (
    DETAILED,
    DIFF_STYLE,
    EXIT_CHANGES,
    EXIT_FAILED,
    FOLDER,
    PREVIOUS,
    colored,
    print_diff,
    progress,
    read_inputs,
    report,
    say,
    width_of,
)
from compiler.ir.counting import counted

if TYPE_CHECKING:
    from compiler.ir.document import Document
    from compiler.ir.progress import Effort
    from compiler.ir.review import ReviewRules
    from compiler.pipeline import Compilation


@click.command("compile")
@FOLDER
@click.option("--check", is_flag=True, help="Write nothing; fail if compiled/ is stale.")
@PREVIOUS
@click.option("--out", type=click.Path(path_type=Path), help="Where to write. Default: compiled/.")
@DIFF_STYLE
@click.option(
    "--effort",
    type=click.Choice(["low", "normal", "high"]),
    default="normal",
    help="How much work goes into the placement; a quarter, or four times as much. "
    "Default: normal.",
)
@click.option(
    "--policy",
    "rules",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Rules of review that the plan must keep, else nothing is written.",
)
@click.option("--ledger", is_flag=True, help="Print the whole ledger before the diff.")
@DETAILED
def compile_command(
    folder: Path, check: bool, previous: str | None, out: Path | None, style: str, effort: Effort,
    rules: Path | None, ledger: bool, detailed_exitcode: bool,
) -> int:  # fmt: skip
    """Place the fleet and write compiled/; prints the diff."""
    from compiler.pipeline import compile_plan
    from compiler.stale import kept_files, stale_output
    from compiler.views.plan import plan_markdown, plan_text_view
    from compiler.workspace import COMPILED, read_tree, write_artifacts

    if ledger and style == "json":
        message = "the ledger for programs is compiled/plan.json, and the JSON diff lists every GPU"
        raise click.BadParameter(message, param_hint="--ledger with --format json")
    compiled = out or folder / COMPILED
    document, asked = _read_rules(rules)
    inputs = read_inputs(folder, compiled, previous)
    try:
        with progress() as reporter:
            compilation = compile_plan(inputs, reporter, effort)
    except KeyboardInterrupt:
        hint = "`--effort low` does a quarter of the work."
        click.echo(f"Stopped; nothing was written. {hint}", err=True)
        raise
    _review(compilation, asked, document)
    artifacts = compilation.artifacts
    stale = stale_output(read_tree(compiled, [each.path for each in artifacts]), artifacts)
    kept = []
    written = bool(stale) and not check
    if written:
        kept = kept_files(write_artifacts(compiled, artifacts))
        stale = []
    report((*compilation.warnings, *stale, *kept))
    if ledger:
        as_text = style == "text"
        plan = compilation.plan
        color, width = colored(sys.stdout), width_of(sys.stdout)
        text = plan_text_view(plan, color=color, width=width) if as_text else plan_markdown(plan)
        click.echo(text)
    print_diff(compilation.diff, style, folder)
    if stale:
        return EXIT_FAILED
    n_hosts = len(compilation.plan.hosts)
    if written:
        files = f"{counted(len(artifacts), 'file')} for {counted(n_hosts, 'host')}"
        say(f"\n{compiled.as_posix()}/ is written: {files}.")
        if out is None:
            say(
                "Next: commit it, have it reviewed, and `modelc apply` it (docs/apply.md; by hand: "
                "docs/targets.md)."
            )
    else:
        say(f"\n{compiled.as_posix()}/ is up to date.")
    return EXIT_CHANGES if detailed_exitcode and not compilation.diff.empty else 0


def _read_rules(path: Path | None) -> tuple[Document | None, ReviewRules]:
    """The rules of review: read before the compile, so that their faults come first."""
    from compiler.inputs import read_review
    from compiler.ir.review import ReviewRules
    from compiler.workspace import read_text

    return read_review(read_text(path)) if path else (None, ReviewRules())


def _review(compilation: Compilation, rules: ReviewRules, document: Document | None) -> None:
    """Raises CompileError when the plan breaks a rule of review, each with its line."""
    from compiler.commands.reporting import note_verdicts
    from compiler.diagnostics import CompileError, Diagnostic
    from compiler.review import review

    verdicts = review(rules, compilation.plan, compilation.diff)
    note_verdicts(verdicts)
    faults = [
        Diagnostic(
            code="review-rule",
            detail=f"`{verdict.rule}`"
            + (f", service `{verdict.service}`" if verdict.service else "")
            + f": {verdict.detail}",
            location=document.key(verdict.rule) if document else None,
        )
        for verdict in verdicts
        if not verdict.kept
    ]
    if faults:
        raise CompileError(faults)
