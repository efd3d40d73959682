"""`modelc estimate`: one model on one kind of GPU, without a fleet."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, get_args

import click

from compiler.commands import names
from compiler.commands.common import (
    TEXT_OR_JSON,
    colored,
    find_model,
    parsed,
    progress,
    width_of,
)
from compiler.ir.engine_name import EngineName

if TYPE_CHECKING:
    from compiler.ir.lock import LockedSource
    from compiler.ir.progress import Reporter
    from compiler.single import Question


@click.command("estimate")
@click.argument("model", shell_complete=names.sources)
@click.option("--engine", type=click.Choice(get_args(EngineName)), help="Default: by file format.")
@click.option("--engine-version", metavar="VERSION", help="Default: the newest that is known.")
@click.option(
    "--gpu", "gpus", default="cpu", metavar="KIND[,KIND...]", shell_complete=names.kinds,
    help="Default: the CPU.",
)  # fmt: skip
@click.option("--context", type=click.IntRange(1, 10_000_000), help="Longest request in tokens.")
@click.option("--concurrency", type=click.IntRange(1, 4096), help="Requests in flight at once.")
@click.option("--kv-tokens", type=click.IntRange(1, 1_000_000_000), help="KV tokens guaranteed.")
@click.option("--tensor-parallel", type=click.IntRange(1, 64), help="GPUs of the one kind given.")
@click.option("--task", type=click.Choice(["generate", "embed", "rerank", "classify"]))
@click.option("--offload", metavar="none|auto|cpu|LAYERS", help="llama.cpp: layers on the GPU.")
@click.option("--utilization", type=float, help="vLLM: KV cache at this share of each GPU.")
@click.option("--arg", "args", multiple=True, metavar="NAME=VALUE", help="An engine flag.")
@TEXT_OR_JSON
def estimate_command(model: str, style: str, **options: Any) -> int:  # noqa: ANN401  As click gives them.
    """Estimate one model on a kind of GPU or on the CPU."""
    from compiler.ir.progress import Step
    from compiler.single import estimate_single
    from compiler.views.estimate import estimate_json, estimate_text

    with progress() as reporter:
        question = _question(find_model(model, reporter), options, reporter)
        reporter(Step(stage="estimate", item=model))
        demand, launch = estimate_single(question)
    if style == "json":
        click.echo(estimate_json(demand, launch), nl=False)
    else:
        color, width = colored(sys.stdout), width_of(sys.stdout)
        click.echo(estimate_text(demand, launch, color=color, width=width), nl=False)
    return 0


def _question(locked: LockedSource, options: dict[str, Any], report: Reporter) -> Question:
    from compiler.ir.units import permille
    from compiler.single import Asked, parse_argument, parse_offload, question_of

    kinds = tuple(kind.strip() for kind in options["gpus"].split(",") if kind.strip() != "cpu")
    if options["tensor_parallel"] and len(kinds) == 1:
        kinds *= options["tensor_parallel"]
    if options["tensor_parallel"] not in (None, len(kinds)):
        message = f"--gpu names {len(kinds)} GPUs; name one kind, or each GPU"
        raise click.BadParameter(message, param_hint="--tensor-parallel")
    share, offload = options["utilization"], options["offload"]
    asked = Asked(
        engine=options["engine"],
        version=options["engine_version"],
        kinds=kinds,
        context=options["context"],
        concurrency=options["concurrency"],
        kv_tokens=options["kv_tokens"],
        task=options["task"],
        offload=parsed(parse_offload, offload, "--offload") if offload else None,
        utilization_permille=None if share is None else parsed(permille, share, "--utilization"),
        args=dict(parsed(parse_argument, text, "--arg") for text in options["args"]),
    )
    return question_of(locked, asked, lambda source: find_model(source, report))
