"""What the commands share that meet hosts: the plan to carry out, the hosts meant, one playbook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.commands import names
from compiler.commands.common import EXIT_FAILED, progress, read_inputs, report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from compiler.delivery.playbook import Run, Told
    from compiler.ir.plan import Plan

# Beside those of every command; docs/apply.md lists them.
EXIT_DIFFERS = 5
EXIT_STALE = 6
EXIT_UNREACHABLE = 9

HOSTS = click.option(
    "--host", "hosts", multiple=True, metavar="NAME", shell_complete=names.hosts,
    help="Only this host; may be given several times.",
)  # fmt: skip
ANSIBLE_WORDS = click.argument("ansible_words", nargs=-1, type=click.UNPROCESSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A compiled plan, and the folder of its playbooks."""

    plan: Plan
    folder: Path


def compiled_project(folder: Path) -> Project | None:
    """The plan of compiled/, proven to be what the sources give, byte for byte; None: it is not.

    Whoever could write a file of compiled/ could have anything run here and on the hosts: nothing
    of it is used before it has been made anew in memory and compared.
    """
    from compiler.pipeline import compile_plan
    from compiler.stale import stale_output
    from compiler.workspace import COMPILED, read_tree

    compiled = folder / COMPILED
    with progress() as reporter:
        found = compile_plan(read_inputs(folder, compiled, None), reporter)
    stale = stale_output(
        read_tree(compiled, [each.path for each in found.artifacts]), found.artifacts
    )
    report(stale)
    return None if stale else Project(plan=found.plan, folder=compiled / "ansible")


def chosen_hosts(plan: Plan, hosts: Sequence[str], wave: int | None) -> list[str]:
    """The hosts that are meant; wrong usage when the plan has no such host or wave."""
    from compiler.delivery.judge import releases

    known = list(releases(plan))
    waves = plan.rollout.waves if plan.rollout else []
    for host in hosts:
        if host not in known:
            raise click.BadParameter(f"the plan has no host `{host}`", param_hint="--host")
    if wave is not None and not 0 <= wave < len(waves):
        message = f"the plan has waves 0 to {len(waves) - 1}" if waves else "the plan has no waves"
        raise click.BadParameter(message, param_hint="--wave")
    in_wave = known if wave is None else [visit.host for visit in waves[wave].visits]
    return [host for host in known if host in in_wave and (not hosts or host in hosts)]


def play(
    project: Project,
    playbook: str,
    hosts: Sequence[str],
    words: Sequence[str],
    told: Told,
    variables: Mapping[str, object] | None = None,
) -> Run:
    """Runs a playbook for these hosts; what it printed is shown when a host is left without a word
    that explains it.
    """
    from compiler.delivery.playbook import AnsibleMissingError, run_playbook

    limited = ["--limit", ",".join(hosts), *words]
    try:
        found = run_playbook(project.folder, playbook, limited, variables or {}, told)
    except AnsibleMissingError:
        message = (
            "there is no `ansible-playbook`, which brings the plan to its hosts.\n"
            "Install it with modelc, `uv tool install 'modelc-llm[apply]'`, or by itself: "
            "`pipx install ansible-core`."
        )
        raise click.ClickException(message) from None
    if found.code and not found.answers and not found.unreachable:
        click.echo(found.text.rstrip(), err=True)
        click.echo("\nansible-playbook has not come to any host.", err=True)
        raise click.exceptions.Exit(EXIT_FAILED)
    return found
