"""The command line: the group of commands, and how a run ends."""

from __future__ import annotations

import errno
import os
import sys

import click

from compiler import __version__
from compiler.commands.apply import apply_command, rollback_command
from compiler.commands.common import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, report
from compiler.commands.compile import compile_command
from compiler.commands.completion import completion_command
from compiler.commands.diff import diff_command
from compiler.commands.discover import discover_command
from compiler.commands.estimate import estimate_command
from compiler.commands.explain import explain_command
from compiler.commands.init import init_command
from compiler.commands.inspect import inspect_command
from compiler.commands.kinds import kinds_command
from compiler.commands.lock import lock_command
from compiler.commands.report import report_command
from compiler.commands.reporting import Findings, report_option, write_reports
from compiler.commands.schema import schema_command
from compiler.commands.size import size_command
from compiler.commands.status import drift_command, status_command
from compiler.commands.whatif import whatif_command

COMMANDS = (
    compile_command,
    diff_command,
    report_command,
    apply_command,
    status_command,
    drift_command,
    rollback_command,
    lock_command,
    init_command,
    discover_command,
    explain_command,
    whatif_command,
    size_command,
    estimate_command,
    inspect_command,
    kinds_command,
    schema_command,
    completion_command,
)


def main() -> None:
    """Runs modelc and exits."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs modelc with these arguments and gives its exit code."""
    from compiler.diagnostics import CompileError

    findings = Findings()
    try:
        code = _run_command(arguments, findings)
        write_reports(findings)
    except CompileError as error:
        report(error.diagnostics)
        return EXIT_FAILED
    except click.UsageError as error:
        error.show(sys.stderr)
        return EXIT_USAGE
    except click.ClickException as error:
        error.show(sys.stderr)
        return EXIT_FAILED
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; without a flush Python does not complain.
        os._exit(EXIT_FAILED)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # Files are written through workspace, which says so itself: this is stdout.
        click.echo(f"modelc: the output cannot be written: {error.strerror}.", err=True)
        os._exit(EXIT_FAILED)
    except Exception as error:
        error.add_note("This is a bug in modelc; please report it with the lines above.")
        raise
    return code if isinstance(code, int) else 0


def _run_command(arguments: list[str], findings: Findings) -> object:
    """Runs the command; what it cannot compile is told on stderr, and to a program on stdout."""
    from compiler.diagnostics import CompileError

    try:
        return modelc.main(arguments, prog_name="modelc", standalone_mode=False, obj=findings)
    except CompileError as error:
        from compiler.views.diagnostics import diagnostics_json

        findings.diagnostics += error.diagnostics
        report(error.diagnostics)
        if findings.as_json:
            click.echo(diagnostics_json(findings.diagnostics), nl=False)
        return EXIT_FAILED


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="modelc %(version)s")
def modelc() -> None:
    """Compile a fleet of LLM inference services: a plan, its artifacts and a diff.

    A folder holds inventory.yaml (what hardware there is) and models.yaml (what should run).
    `modelc lock` reads the models' headers into modelc.lock; `modelc compile` writes compiled/.
    """


for _command in COMMANDS:
    _command.params.append(report_option())
    modelc.add_command(_command)


if __name__ == "__main__":
    main()
