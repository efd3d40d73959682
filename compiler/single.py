"""Estimates of one model on one kind of GPU, without a fleet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from compiler.diagnostics import LIST_KINDS, CompileError, Diagnostic
from compiler.engines.companions import companion_facts
from compiler.engines.registry import engine_of, traits_of, usual_engine
from compiler.ir.catalog import builtin_kinds
from compiler.ir.demand import (
    Demand,
    Endpoint,
    Launch,
    Located,
    Refusal,
    Request,
    Site,
    default_context,
)
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import Task
from compiler.ir.inventory import GpuKind
from compiler.ir.kind_names import kind_hints
from compiler.ir.lock import LockedSource
from compiler.ir.spec import ArgValue, Offload

# No model has a million layers; Python refuses to read numbers of thousands of digits.
_MAX_LAYERS_TEXT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What `modelc estimate` was asked. `kinds` repeats a kind for each GPU; empty for the CPU."""

    locked: LockedSource
    companions: Mapping[str, tuple[LockedSource, ...]]
    """What arguments name beside the model, by argument."""
    engine: EngineName
    version: str
    kinds: tuple[str, ...]
    context: int
    concurrency: int
    kv_tokens: int | None
    task: Task | None
    offload: Offload
    utilization_permille: int | None
    args: dict[str, ArgValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user said of a question; None where nothing was said."""

    engine: EngineName | None = None
    version: str | None = None
    kinds: tuple[str, ...] = ()
    context: int | None = None
    concurrency: int | None = None
    kv_tokens: int | None = None
    task: Task | None = None
    offload: Offload | None = None
    utilization_permille: int | None = None
    args: Mapping[str, ArgValue] = field(default_factory=dict)


def question_of(
    locked: LockedSource, asked: Asked, find: Callable[[str], LockedSource]
) -> Question:
    """The question with what is usual where nothing was said; `find` gives what arguments name."""
    engine = asked.engine or usual_engine(locked.source, locked.facts.format)
    usual = default_context(asked.task or locked.facts.task)
    named = engine_of(engine).companions(asked.args)
    return Question(
        locked=locked,
        companions={name: tuple(map(find, sources)) for name, sources in named.items()},
        engine=engine,
        version=asked.version or traits_of(engine).newest,
        kinds=asked.kinds,
        context=asked.context or min(usual, locked.facts.position_limit or usual),
        concurrency=asked.concurrency or 1,
        kv_tokens=asked.kv_tokens,
        task=asked.task,
        offload=("none" if asked.kinds else "cpu") if asked.offload is None else asked.offload,
        utilization_permille=asked.utilization_permille,
        args=dict(asked.args),
    )


def parse_offload(text: str) -> Offload:
    """`none`, `auto`, `cpu` or a number of layers on the GPU; ValueError for anything else."""
    if text.isascii() and text.isdigit() and len(text) <= _MAX_LAYERS_TEXT:
        return int(text)
    if text in ("none", "auto", "cpu"):
        return text  # type: ignore[return-value]
    message = "write none, auto, cpu or a number of layers"
    raise ValueError(message)


def parse_argument(text: str) -> tuple[str, ArgValue]:
    """`name=value`; the value is read as JSON where it is JSON, else as text.

    A bare name is a switch. Raises ValueError when there is no name.
    """
    name, sign, value = text.partition("=")
    name = name.lstrip("-").replace("-", "_")
    if not name:
        message = f"`{text}` is not NAME=VALUE"
        raise ValueError(message)
    if not sign:
        return name, True
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return name, value
    return name, value if parsed is None else parsed


def estimate_single(question: Question) -> tuple[Demand, Launch]:
    """The demand on empty GPUs, and the command line that would take it.

    Raises CompileError when the engine refuses the request or the place.
    """
    engine = engine_of(question.engine)
    problem = engine.check_version(question.version)
    if problem:
        raise CompileError([Diagnostic(code="bad-engine-version", detail=f"{problem}.")])
    request = _request(question)
    faults = [
        Diagnostic(code=p.code, detail=p.detail, hints=(p.hint,) if p.hint else ())
        for p in engine.check_request(request)
    ]
    if faults:
        raise CompileError(faults)
    answer = engine.demands(request, _site(question.kinds))
    if isinstance(answer, Refusal):
        raise CompileError([Diagnostic(code="no-placement", detail=answer.detail)])
    demand = next(filter(_fits, answer), answer[-1])
    if question.utilization_permille is not None:
        guaranteed = demand.kv_tokens
        demand = _with_room(
            engine.at_utilization(demand, question.utilization_permille), guaranteed
        )
    return demand, engine.launch(demand, _endpoint(question, demand))


def _fits(demand: Demand) -> bool:
    """Whether empty GPUs hold it; the first of an offload ladder that does is the one to run."""
    return all(
        taken <= kind.cuda_total_bytes
        for kind, taken in zip(demand.site.kinds, demand.taken_bytes, strict=True)
    )


def _with_room(demand: Demand, guaranteed: int) -> Demand:
    """Says so when the KV cache is too small for the engine to start."""
    if demand.kv_tokens >= guaranteed:
        return demand
    sentence = (
        f"At this utilization the KV cache holds {demand.kv_tokens:,} tokens, fewer than one "
        "full-length request needs: the engine refuses to start."
    )
    return replace(demand, assumed=(*demand.assumed, sentence))


def _request(question: Question) -> Request:
    facts = question.locked.facts
    return Request(
        engine=question.engine,
        version=question.version,
        facts=facts,
        task=question.task or facts.task,
        context=question.context,
        concurrency=question.concurrency,
        kv_tokens=question.kv_tokens,
        offload=question.offload,
        args=question.args,
        companions=companion_facts(question.companions),
    )


def _site(names: tuple[str, ...]) -> Site:
    catalog = builtin_kinds()
    kinds: list[GpuKind] = []
    faults = []
    for name in names:
        if name in catalog:
            kinds.append(catalog[name])
        else:
            faults.append(
                Diagnostic(
                    code="unknown-gpu-kind",
                    detail=f"`{name}` is not in the built-in catalog.",
                    hints=(*kind_hints(name, catalog), LIST_KINDS),
                )
            )
    pool = next((kind for kind in kinds if kind.unified), None)
    if pool is not None and len(kinds) > 1:
        faults.append(
            Diagnostic(
                code="wrong-value",
                detail=f"`{pool.name}` is the only GPU of its host: its memory is the RAM.",
                hints=("Name it once.",),
            )
        )
    if faults:
        raise CompileError(faults)
    return Site(
        kinds=tuple(kinds),
        budgets_bytes=tuple(kind.cuda_total_bytes for kind in kinds),
        linked=len(kinds) > 1 and all(kind.link == "nvlink" for kind in kinds),
        unified=pool is not None,
    )


def _endpoint(question: Question, demand: Demand) -> Endpoint:
    locked = question.locked
    place = _located(locked, question.engine)
    return Endpoint(
        bin=traits_of(question.engine).program,
        model_path=place.path,
        revision=place.revision,
        served_name="model",
        listen="127.0.0.1",
        port=8000,
        shares_bytes=tuple(breakdown.high_bytes for breakdown in demand.devices),
        companions={
            argument: tuple(_located(each, question.engine) for each in entries)
            for argument, entries in question.companions.items()
        },
    )


def _located(locked: LockedSource, engine: EngineName) -> Located:
    if locked.repository is None:
        return Located(path=locked.source)
    if engine_of(engine).fetches(locked.facts):
        return Located(path=locked.repository, revision=locked.revision)
    return Located(path=locked.files[0].name)
