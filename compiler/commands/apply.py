"""`modelc apply` and `modelc rollback`: hosts change to the plan's release, or back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.commands.common import EXIT_FAILED, IN_FOLDER, TEXT_OR_JSON, say
from compiler.commands.delivering import (
    ANSIBLE_WORDS,
    HOSTS,
    chosen_hosts,
    compiled_project,
    play,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compiler.delivery.judge import HostResult
    from compiler.delivery.playbook import Answer, Run, Told

YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command("apply")
@ANSIBLE_WORDS
@IN_FOLDER
@HOSTS
@click.option("--wave", type=int, metavar="N", help="Only the hosts of this wave.")
@YES
@click.option("--overwrite-drift", is_flag=True, help="Replace what somebody changed by hand.")
@TEXT_OR_JSON
def apply_command(
    ansible_words: tuple[str, ...], folder: Path, hosts: tuple[str, ...], wave: int | None,
    yes: bool, overwrite_drift: bool, style: str,
) -> int:  # fmt: skip
    """Bring the compiled plan to its hosts, wave by wave.

    Looks at the hosts first, shows what would change, and asks. A host that does not become what
    the plan says goes back to what it had. Words after `--` go to ansible-playbook.

    Exit codes: 0 done, 2 nothing to do, 6 a host has another release than the plan leads from, 7
    rolled back, 8 broken, 9 unreachable; 1 for all else that was refused.
    """
    from compiler.delivery.judge import delivered, exit_code, looked
    from compiler.views.delivery import change_lines

    project = compiled_project(folder)
    if project is None:
        return EXIT_FAILED
    chosen = chosen_hosts(project.plan, hosts, wave)
    seen = play(project, "status.yml", chosen, ansible_words, _silent)
    results = looked(project.plan, chosen, seen.answers)
    code = exit_code(results)
    to_change = [each.host for each in results if each.outcome == "pending"]
    blocked = [
        each
        for each in results
        if each.outcome not in ("pending", "unchanged")
        and not (overwrite_drift and each.outcome == "drift")
    ]
    if blocked or not (to_change or (overwrite_drift and code == EXIT_FAILED)):
        _show(results, style)
        if blocked:
            _explain(blocked, seen)
        return code
    if style == "text":
        for line in change_lines(project.plan, chosen):
            click.echo(line)
    if not yes:
        _ask(len(to_change))
    told = _telling(style)
    variables = {"modelc_overwrite_drift": True} if overwrite_drift else {}
    run = play(project, "deliver.yml", chosen, ansible_words, told, variables)
    results = delivered(chosen, run.answers, run.unreachable)
    _show(results, style)
    code = exit_code(results)
    if code not in (0, 2):
        _explain([each for each in results if each.outcome not in ("done", "unchanged")], run)
    # What had nothing to do before the others were done is done as well.
    return code if any(each.outcome != "unchanged" for each in results) else 0


@click.command("rollback")
@ANSIBLE_WORDS
@IN_FOLDER
@HOSTS
@click.option("--to", metavar="RELEASE", default="", help="The release. Default: the one before.")
@YES
@TEXT_OR_JSON
def rollback_command(
    ansible_words: tuple[str, ...], folder: Path, hosts: tuple[str, ...], to: str, yes: bool,
    style: str,
) -> int:  # fmt: skip
    """Bring hosts back to a release that they still have.

    It takes seconds and no network.

    Needs nothing but what is on the hosts. Git still says the other thing afterwards: the commit
    to revert is printed.
    """
    from compiler.delivery.judge import delivered, exit_code
    from compiler.workspace.revision import commit_of

    if not hosts:
        raise click.UsageError("name the hosts: `modelc rollback --host NAME`.")
    project = compiled_project(folder)
    if project is None:
        return EXIT_FAILED
    chosen = chosen_hosts(project.plan, hosts, None)
    if not yes:
        _ask(len(chosen))
    run = play(project, "rollback.yml", chosen, ansible_words, _telling(style), {"modelc_to": to})
    results = delivered(chosen, run.answers, run.unreachable)
    _show(results, style)
    code = exit_code(results)
    if code:
        _explain([each for each in results if each.outcome != "done"], run)
        return code
    commit = commit_of(project.folder.parent)
    if commit:
        say(f"\nGit still has the other release; this takes it back:\n    git revert {commit}")
    return code


def _silent(_host: str, _answer: Answer) -> None:
    """Whoever looks at a fleet is told once, at the end."""


def _telling(style: str) -> Told:
    def told(host: str, answer: Answer) -> None:
        from compiler.delivery.judge import delivered
        from compiler.views.delivery import result_event, result_lines

        results = delivered([host], {host: answer}, ())
        if style == "json":
            click.echo(result_event(results[0]))
        else:
            for line in result_lines(results):
                say(line)

    return told


def _ask(n_hosts: int) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to be asked; `--yes` says yes.")
    click.confirm(f"\nChange {n_hosts} host{'' if n_hosts == 1 else 's'}?", abort=True, err=True)


def _show(results: Sequence[HostResult], style: str) -> None:
    from compiler.delivery.judge import exit_code
    from compiler.views.delivery import event_line, result_event, result_lines

    if style == "json":
        for each in results:
            click.echo(result_event(each))
        click.echo(event_line("end", code=exit_code(results)))
        return
    click.echo()
    for line in result_lines(results):
        click.echo(line)


def _explain(results: Sequence[HostResult], run: Run) -> None:
    """What to do about each kind of refusal, once."""
    ways_out = {
        "stale": "A host runs another release than this plan leads from. Compile against what "
        "runs: `modelc compile --previous git:REVISION`, the revision that was delivered last.",
        "locked": "Wait until the other change has ended; `modelc status` says so.",
        "drift": "Say it in inventory.yaml or models.yaml, or let `--overwrite-drift` replace it.",
        "rolled_back": "The hosts run what they ran before. Mend the plan, or revert its commit.",
        "broken": "Neither release runs whole there: `modelc status`, then the host's journal.",
        "unreachable": "Nothing was changed there, or the change goes on without us: see "
        "`modelc status` once they answer.",
    }
    say("")
    for outcome in dict.fromkeys(each.outcome for each in results):
        if outcome in ways_out:
            say(ways_out[outcome])
    if any(each.outcome == "unreachable" for each in results):
        lines = [line for line in run.text.splitlines() if "UNREACHABLE" in line]
        for line in lines[:5]:
            say(f"    {line[:300]}")
