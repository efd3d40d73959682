"""`modelc status` and `modelc drift`: what hosts have and run, against the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.commands.common import EXIT_FAILED, IN_FOLDER, TEXT_OR_JSON, say
from compiler.commands.delivering import (
    ANSIBLE_WORDS,
    EXIT_DIFFERS,
    EXIT_UNREACHABLE,
    HOSTS,
    chosen_hosts,
    compiled_project,
    play,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compiler.ir.plan import Plan


@click.command("status")
@ANSIBLE_WORDS
@IN_FOLDER
@HOSTS
@click.option("--save", type=click.Path(path_type=Path), help="Keep the answers, for `drift`.")
@TEXT_OR_JSON
def status_command(
    ansible_words: tuple[str, ...], folder: Path, hosts: tuple[str, ...], save: Path | None,
    style: str,
) -> int:  # fmt: skip
    """Show what each host has and runs, against the plan.

    Exit codes: 0 all is as planned, 5 something that matters is not, 9 a host does not answer.
    Words after `--` go to ansible-playbook.
    """
    from compiler.workspace import write_file

    project = compiled_project(folder)
    if project is None:
        return EXIT_FAILED
    chosen = chosen_hosts(project.plan, hosts, None)
    run = play(project, "status.yml", chosen, ansible_words, lambda _host, _answer: None)
    if save is not None:
        write_file(save, json.dumps(dict(run.answers), indent=1, sort_keys=True) + "\n")
    silent = [host for host in chosen if host not in run.answers]
    code = _judged(project.plan, run.answers, silent, style)
    return EXIT_UNREACHABLE if silent else code


@click.command("drift")
@click.argument("file", type=click.Path(path_type=Path))
@IN_FOLDER
@TEXT_OR_JSON
def drift_command(file: Path, folder: Path, style: str) -> int:
    """Judge what `modelc status --save FILE` has collected.

    No host is asked.

    Exit codes: 0 nothing that matters differs from the plan, 5 something does.
    """
    from compiler.workspace import read_text

    project = compiled_project(folder)
    if project is None:
        return EXIT_FAILED
    try:
        answers = json.loads(read_text(file, pipe=True).text)
    except ValueError as error:
        raise click.BadParameter(f"this is no JSON: {error}", param_hint="FILE") from None
    if not isinstance(answers, dict) or not all(isinstance(a, dict) for a in answers.values()):
        raise click.BadParameter("these are no answers of hosts", param_hint="FILE")
    return _judged(project.plan, answers, [], style)


def _judged(
    plan: Plan, answers: Mapping[str, Mapping[str, Any]], silent: list[str], style: str
) -> int:
    from compiler.delivery.judge import differences
    from compiler.views.delivery import difference_event, difference_lines, event_line, status_lines

    found = differences(plan, answers)
    matters = any(each.matters for each in found)
    code = EXIT_DIFFERS if matters else 0
    if style == "json":
        for host, answer in sorted(answers.items()):
            click.echo(event_line("status", host=host, answer=answer))
        for each in found:
            click.echo(difference_event(each))
        click.echo(event_line("end", code=code, unreachable=silent))
        return code
    for line in status_lines(plan, answers, silent):
        click.echo(line)
    if found:
        click.echo()
        for line in difference_lines(found):
            click.echo(line)
    say("" if not found else "\n`!` matters; the rest is told and changes no exit code.")
    return code
