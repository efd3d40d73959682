"""The command line: click commands to pipeline to views; the only module that knows exit codes."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from compiler import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from compiler.diagnostics import Diagnostic
    from compiler.ir.changes import Diff
    from compiler.ir.inventory import EngineName
    from compiler.ir.lock import LockedSource
    from compiler.ir.textfile import TextFile
    from compiler.pipeline import Inputs
    from compiler.single import Question

Parsed = TypeVar("Parsed")

# 0 done, 1 input or check failed, 2 changes (only with --detailed-exitcode), 64 wrong usage.
EXIT_FAILED = 1
EXIT_CHANGES = 2
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130

FOLDER = click.argument(
    "folder", type=click.Path(file_okay=False, path_type=Path), default=Path(), required=False
)
PREVIOUS = click.option(
    "--previous",
    metavar="PLAN",
    help="Plan to compare with: a file, git:REV, or none. Default: compiled/plan.json.",
)

IN_FOLDER = click.option(
    "-C", "--folder", type=click.Path(file_okay=False, path_type=Path), default=Path(),
    help="The folder of inventory.yaml and models.yaml.",
)  # fmt: skip
DIFF_STYLE = click.option(
    "--format", "style", type=click.Choice(["text", "markdown", "json"]), default="text",
    help="How the diff is printed.",
)  # fmt: skip
DETAILED = click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 2 when there are changes."
)


def main() -> None:
    """Runs modelc and exits."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs modelc with these arguments and gives its exit code."""
    from compiler.diagnostics import CompileError

    try:
        code = modelc.main(arguments, prog_name="modelc", standalone_mode=False)
    except CompileError as error:
        _report(error.diagnostics)
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="modelc %(version)s")
def modelc() -> None:
    """Compile a fleet of LLM inference services: a plan, its artifacts and a diff.

    A folder holds inventory.yaml (what hardware there is) and models.yaml (what should run).
    `modelc lock` reads the models' headers into modelc.lock; `modelc compile` writes compiled/.
    """


@modelc.command("compile")
@FOLDER
@click.option("--check", is_flag=True, help="Write nothing; fail if compiled/ is stale.")
@PREVIOUS
@click.option("--out", type=click.Path(path_type=Path), help="Where to write. Default: compiled/.")
@DIFF_STYLE
@click.option("--ledger", is_flag=True, help="Print the whole ledger before the diff.")
@DETAILED
def compile_command(
    folder: Path, check: bool, previous: str | None, out: Path | None, style: str, ledger: bool,
    detailed_exitcode: bool,
) -> int:  # fmt: skip
    """Place the fleet and write compiled/; prints the diff."""
    from compiler.pipeline import compile_plan
    from compiler.stale import stale_output
    from compiler.views.plan import plan_markdown, plan_text_view
    from compiler.workspace import COMPILED, read_tree, write_artifacts

    if ledger and style == "json":
        message = "the ledger for programs is compiled/plan.json, and the JSON diff lists every GPU"
        raise click.BadParameter(message, param_hint="--ledger with --format json")
    compiled = out or folder / COMPILED
    compilation = compile_plan(_read_inputs(folder, compiled, previous))
    artifacts = compilation.artifacts
    stale = stale_output(read_tree(compiled, [each.path for each in artifacts]), artifacts)
    if stale and not check:
        write_artifacts(compiled, artifacts)
        stale = []
    _report((*compilation.warnings, *stale))
    if ledger:
        as_text = style == "text"
        plan = compilation.plan
        color = _color(sys.stdout)
        click.echo(plan_text_view(plan, color=color) if as_text else plan_markdown(plan))
    _print_diff(compilation.diff, style)
    if stale:
        return EXIT_FAILED
    return EXIT_CHANGES if detailed_exitcode and not compilation.diff.empty else 0


@modelc.command("diff")
@click.argument("old", required=False)
@click.argument("new", required=False)
@DIFF_STYLE
@IN_FOLDER
@DETAILED
def diff_command(
    old: str | None, new: str | None, style: str, folder: Path, detailed_exitcode: bool
) -> int:
    """Compare two plans: files, folders with a plan.json, or git:REV.

    Without NEW the sources of this folder are compiled in memory; without OLD they are compared
    with compiled/plan.json.
    """
    from compiler.diff import diff
    from compiler.pipeline import compile_plan, read_plan
    from compiler.workspace import COMPILED, read_previous

    compiled = folder / COMPILED
    if new is None:
        found = compile_plan(_read_inputs(folder, compiled, old)).diff
    else:
        texts = [read_previous(folder, compiled, name) for name in (old, new)]
        before, after = (read_plan(text) if text else None for text in texts)
        if after is None:
            raise click.UsageError(f"`{new}` holds no plan.")
        found = diff(before, after)
    _print_diff(found, style)
    return EXIT_CHANGES if detailed_exitcode and not found.empty else 0


@modelc.command()
@FOLDER
@click.option(
    "--update", multiple=True, metavar="NAME", help="A service or source to resolve anew."
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing, ask no hub; fail unless every source is locked, as it lies here.",
)
def lock(folder: Path, update: tuple[str, ...], check: bool) -> int:
    """Resolve the models of models.yaml into modelc.lock."""
    from compiler.ir.lock import lock_text, partial_lock_text, with_partial_lock
    from compiler.pipeline import read_lock, spec_sources, unlocked_sources, updated_sources
    from compiler.resolve.sources import changed_sources, lock_sources
    from compiler.workspace import read_optional, read_text, remove_file, replace_file, write_file

    spec = read_text(folder / "models.yaml")
    path = folder / "modelc.lock"
    existing = read_optional(path)
    if check:
        faults = unlocked_sources(spec, existing)
        if existing:
            faults += changed_sources(read_lock(existing), folder)
        _report(faults)
        return EXIT_FAILED if faults else 0
    # A lock that was cut off left here what it had resolved; modelc.lock itself changes at the end.
    partial = folder / ".modelc.lock.partial"
    before = existing.text if existing else ""
    begun = with_partial_lock(
        read_lock(existing) if existing else None, before, read_optional(partial)
    )
    found = lock_sources(
        spec_sources(spec),
        folder,
        begun,
        updated_sources(spec, update),
        progress=_say,
        keep=lambda so_far: write_file(partial, partial_lock_text(so_far, before)),
    )
    text = lock_text(found)
    replace_file(path, before, text)
    remove_file(partial)
    changed = f"modelc.lock: {len(found.sources)} sources."
    _say("modelc.lock is up to date." if text == before else changed)
    return 0


@modelc.command()
@FOLDER
def init(folder: Path) -> int:
    """Write a starter repository: inventory, models, CI workflow, pre-commit hook.

    Files that are there are left as they are.
    """
    from compiler.workspace import write_starters

    written, left = write_starters(folder)
    for path in left:
        _say(f"{path} is there already and stays as it is.")
    for path in written:
        _say(f"{path} is written.")
    return 0


@modelc.command("discover")
@FOLDER
@click.option("--host", metavar="NAME", help="The host's name. Default: its own, without domain.")
@click.option("--print", "print_only", is_flag=True, help="Write nothing; print the host's entry.")
def discover_command(folder: Path, host: str | None, print_only: bool) -> int:
    """Write this host's GPUs and RAM into inventory.yaml, as its driver describes them."""
    from compiler.discover.machine import discover
    from compiler.enlist import EMPTY_INVENTORY, enlist
    from compiler.ir.textfile import TextFile
    from compiler.workspace import read_optional, write_file

    meminfo = read_optional(Path("/proc/meminfo"))
    found = discover(meminfo.text if meminfo else "")
    path = folder / "inventory.yaml"
    existing = read_optional(path)
    file = existing or TextFile(path="inventory.yaml", text=EMPTY_INVENTORY)
    enlisted = enlist(file, found, host, write=not print_only)
    for uuid in found.unsliced:
        _say(f"{uuid} is in MIG mode and has no slice; it is left out.")
    if print_only:
        click.echo(enlisted.entry, nl=False)
        return 0
    for uuid in enlisted.gone:
        _say(f"{uuid} is not in this host; its entry is gone.")
    if existing and existing.text == enlisted.text:
        _say(f"{file.path} is up to date.")
        return 0
    write_file(path, enlisted.text)
    _say(f"{file.path}: {enlisted.host} has {_counted(enlisted.n_gpus, 'GPU')}.")
    return 0


@modelc.command()
@click.argument("service")
@IN_FOLDER
@click.option("--on", "host", metavar="HOST", help="Only replicas on this host.")
@PREVIOUS
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
def explain(service: str, folder: Path, host: str | None, previous: str | None, style: str) -> int:
    """Say what a service takes, where it stands and why; or why it fits nowhere."""
    from compiler.pipeline import plan_for, replicas_of
    from compiler.views.explain import replicas_json, replicas_text
    from compiler.workspace import COMPILED

    inputs = _read_inputs(folder, folder / COMPILED, previous)
    plan, left_out = plan_for(inputs, service)
    names = replicas_of(plan, service, host)
    if style == "json":
        click.echo(replicas_json(plan, names), nl=False)
    else:
        click.echo(replicas_text(plan, names, color=_color(sys.stdout)), nl=False)
    _report(left_out)
    return 0


@modelc.command()
@click.argument("model")
@click.option("--engine", type=click.Choice(["vllm", "llama.cpp"]), help="Default: by file format.")
@click.option("--engine-version", metavar="VERSION", help="Default: the newest that is known.")
@click.option("--gpu", "gpus", default="cpu", metavar="KIND[,KIND...]", help="Default: the CPU.")
@click.option("--context", type=click.IntRange(1, 10_000_000), help="Longest request in tokens.")
@click.option("--concurrency", type=click.IntRange(1, 4096), help="Requests in flight at once.")
@click.option("--kv-tokens", type=click.IntRange(1, 1_000_000_000), help="KV tokens guaranteed.")
@click.option("--tensor-parallel", type=click.IntRange(1, 64), help="GPUs of the one kind given.")
@click.option("--task", type=click.Choice(["generate", "embed", "rerank", "classify"]))
@click.option("--offload", metavar="none|auto|cpu|LAYERS", help="llama.cpp: layers on the GPU.")
@click.option("--utilization", type=float, help="vLLM: KV cache at this share of each GPU.")
@click.option("--arg", "args", multiple=True, metavar="NAME=VALUE", help="An engine flag.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
def estimate(model: str, style: str, **options: Any) -> int:  # noqa: ANN401  As click gives them.
    """Estimate one model on one kind of GPU, or on the CPU, without a fleet."""
    from compiler.single import estimate_single
    from compiler.views.estimate import estimate_json, estimate_text

    demand, launch = estimate_single(_question(_find_model(model), options))
    if style == "json":
        click.echo(estimate_json(demand, launch), nl=False)
    else:
        click.echo(estimate_text(demand, launch, color=_color(sys.stdout)), nl=False)
    return 0


@modelc.command()
@click.argument("source")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
def inspect(source: str, style: str) -> int:
    """Say what is known of a model: from modelc.lock of this folder, else from its headers."""
    from compiler.engines.registry import engine_of
    from compiler.views.inspect import inspect_json, inspect_text

    locked = _find_model(source)
    profile = engine_of(_usual_engine(locked)).profile(locked.facts)
    if style == "json":
        click.echo(inspect_json(locked, profile), nl=False)
    else:
        click.echo(inspect_text(locked, profile, color=_color(sys.stdout)), nl=False)
    return 0


@modelc.command()
@IN_FOLDER
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
def kinds(folder: Path, style: str) -> int:
    """List the GPU kinds that an inventory may name, with those of this folder's inventory."""
    from compiler.pipeline import gpu_kinds
    from compiler.views.kinds import kinds_json, kinds_text
    from compiler.workspace import read_optional

    known = gpu_kinds(read_optional(folder / "inventory.yaml"))
    click.echo(kinds_json(known) if style == "json" else kinds_text(known), nl=False)
    return 0


@modelc.command()
@click.argument("name", type=click.Choice(["inventory", "models", "plan", "lock", "diff"]))
def schema(name: str) -> int:
    """Print the JSON Schema of a file."""
    from compiler.schemas import schema_text

    click.echo(schema_text(name), nl=False)
    return 0


def _read_inputs(folder: Path, compiled: Path, previous: str | None) -> Inputs:
    from compiler.diagnostics import CompileError
    from compiler.pipeline import Inputs
    from compiler.workspace import read_previous, read_text

    faults: list[Diagnostic] = []

    def attempt(read: Callable[[], TextFile | None]) -> TextFile | None:
        try:
            return read()
        except CompileError as error:
            faults.extend(error.diagnostics)
            return None

    inventory = attempt(lambda: read_text(folder / "inventory.yaml"))
    spec = attempt(lambda: read_text(folder / "models.yaml"))
    lock_file = attempt(lambda: read_text(folder / "modelc.lock"))
    plan = attempt(lambda: read_previous(folder, compiled, previous))
    return Inputs(
        inventory=inventory, spec=spec, lock=lock_file, previous=plan, unreadable=tuple(faults)
    )


def _find_model(model: str) -> LockedSource:
    """The facts of a model: from a modelc.lock in this folder, else read from its files."""
    from compiler.pipeline import read_lock
    from compiler.resolve.sources import resolve_source
    from compiler.workspace import read_optional

    text = read_optional(Path("modelc.lock"))
    locked = read_lock(text).find(model) if text else None
    return locked or resolve_source(model, Path())


def _question(locked: LockedSource, options: dict[str, Any]) -> Question:
    from compiler.engines.registry import engine_of
    from compiler.ir.demand import DEFAULT_CONTEXT
    from compiler.ir.units import permille
    from compiler.single import NEWEST_VERSIONS, Question, parse_argument, parse_offload

    engine: EngineName = options["engine"] or _usual_engine(locked)
    kinds = tuple(kind.strip() for kind in options["gpus"].split(",") if kind.strip() != "cpu")
    if options["tensor_parallel"] and len(kinds) == 1:
        kinds *= options["tensor_parallel"]
    if options["tensor_parallel"] not in (None, len(kinds)):
        message = f"--gpu names {len(kinds)} GPUs; name one kind, or each GPU"
        raise click.BadParameter(message, param_hint="--tensor-parallel")
    limit = locked.facts.position_limit or DEFAULT_CONTEXT
    share, offload = options["utilization"], options["offload"]
    args = dict(_parsed(parse_argument, text, "--arg") for text in options["args"])
    named = engine_of(engine).companions(args)
    return Question(
        locked=locked,
        companions={name: tuple(map(_find_model, sources)) for name, sources in named.items()},
        engine=engine,
        version=options["engine_version"] or NEWEST_VERSIONS[engine],
        kinds=kinds,
        context=options["context"] or min(DEFAULT_CONTEXT, limit),
        concurrency=options["concurrency"] or 1,
        kv_tokens=options["kv_tokens"],
        task=options["task"],
        offload=_parsed(parse_offload, offload, "--offload")
        if offload
        else ("none" if kinds else "cpu"),
        utilization_permille=None if share is None else _parsed(permille, share, "--utilization"),
        args=args,
    )


def _usual_engine(locked: LockedSource) -> EngineName:
    return "llama.cpp" if locked.facts.format == "gguf" else "vllm"


def _parsed(parse: Callable[[str], Parsed], text: str, option: str) -> Parsed:
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _print_diff(found: Diff, style: str) -> None:
    from compiler.views.diff import diff_json, diff_markdown, diff_text

    if style == "text":
        text = diff_text(found, color=_color(sys.stdout))
    else:
        text = diff_json(found) if style == "json" else diff_markdown(found)
    click.echo(text, nl=False)


def _report(diagnostics: tuple[Diagnostic, ...] | list[Diagnostic]) -> None:
    """Diagnostics are talk: they go to stderr."""
    from compiler.views.diagnostics import diagnostics_text

    if diagnostics:
        click.echo(diagnostics_text(diagnostics, color=_color(sys.stderr)), err=True, nl=False)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _say(text: str) -> None:
    click.echo(text, err=True)


def _color(stream: TextIO | None) -> bool:
    """Colour for people at a terminal, unless NO_COLOR says otherwise; a stream can be closed."""
    if stream is None:
        return False
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


if __name__ == "__main__":
    main()
