"""From a request to explicit launch options, and what is wrong with a request on any site."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.engines.llamacpp.flags import builds
from compiler.engines.llamacpp.flags.builds import Build
from compiler.engines.llamacpp.flags.check import check_arguments, choice_word, positive
from compiler.engines.llamacpp.launch.draft import (
    draft_part,
    drafted_tokens,
    next_part,
    rollbacks_of,
)
from compiler.engines.llamacpp.launch.options import CELL_PADDING, Mode, Moves, Options
from compiler.engines.llamacpp.launch.projector import projector_part
from compiler.engines.llamacpp.launch.values import integer_of, override_problems, overrides_of
from compiler.engines.llamacpp.model.quants import is_quantized
from compiler.engines.llamacpp.model.shape import Shape
from compiler.ir.demand import ArgumentProblem, Request
from compiler.ir.facts import Task
from compiler.ir.spec import ArgValue
from compiler.ir.units import MIB, round_up

# llama-server's own defaults (common/common.h).
DEFAULT_BATCH = 2048
DEFAULT_UBATCH = 512
# A conversation is taken up again from one of these; llama-server's own 32 would promise
# gigabytes of RAM a slot for a hybrid model.
DEFAULT_CHECKPOINTS = 4

_POOLINGS = ("none", "mean", "cls", "last", "rank")  # llama.h `llama_pooling_type`
_RANK = 4
_LAST = 3
_MODES: Mapping[Task, Mode] = {
    "generate": "generate",
    "embed": "embed",
    "rerank": "rerank",
    "classify": "rerank",
}
MAX_CELLS = 1 << 28
MAX_SLOTS = 256  # LLAMA_MAX_SEQ


def check_request(request: Request, shape: Shape, build: Build) -> list[ArgumentProblem]:
    """Faults of a request that hold on any site."""
    problems = check_arguments(request.args, build)
    named = {problem.argument for problem in problems}
    args = {key: value for key, value in request.args.items() if key not in named}
    return [*problems, *_task_problems(request, shape, build), *_value_problems(request, args)]


def options_for(request: Request, shape: Shape, build: Build, *, gpus: int) -> Options:
    """Launch options of a request, all layers on the GPUs."""
    args = dict(positive(name, value) for name, value in request.args.items())
    mode = _MODES[request.task]
    cells, unified = _cells(request, shape, build)
    batch, ubatch = _batches(request, args, mode)
    asked = choice_word(args["flash_attn"]) if "flash_attn" in args else "auto"
    drafted = drafted_tokens(args) if mode == "generate" else 0
    return Options(
        cells=cells,
        slots=request.concurrency,
        unified=unified,
        batch=batch,
        ubatch=ubatch,
        gpu_layers=shape.layers_in_file + 1 if gpus else 0,
        gpus=gpus,
        split_mode="none" if args.get("split_mode") == "none" and gpus > 1 else "layer",
        main_gpu=integer_of(args, "main_gpu", 0),
        flash_attention=asked != "off",
        cache_type_k=str(args.get("cache_type_k", "f16")),
        cache_type_v=str(args.get("cache_type_v", "f16")),
        sliding_full=args.get("swa_full") is True,
        kv_on_gpu=args.get("kv_offload") is not False,
        op_offload=args.get("op_offload") is not False,
        moves=Moves(
            cpu_moe=args.get("cpu_moe") is True,
            cpu_moe_layers=min(integer_of(args, "n_cpu_moe", 0), len(shape.layers)),
            overrides=tuple(overrides_of(args.get("override_tensor", []))),
        ),
        mode=mode,
        pooling=_pooling(request, args, shape),
        memory_map=_mapped(args),
        prompt_cache_bytes=integer_of(args, "cache_ram", 0) * MIB,
        checkpoints=_checkpoints(args, shape, build, mode),
        # server-context.cpp `server_output_limits`.
        output_rows=min(batch, request.concurrency * (1 + drafted)) if drafted else None,
        drafted_tokens=drafted,
        draft=draft_part(args, shape.draft, gpus),
        next_tokens=next_part(args, shape) if mode == "generate" else None,
        rollbacks=rollbacks_of(args, shape) if mode == "generate" else 0,
        projector=projector_part(args, shape.projector, gpus),
    )


def _cells(request: Request, shape: Shape, build: Build) -> tuple[int, bool]:
    """Cells of all slots, and whether the slots share them.

    Slots of their own give each request its context whatever the others do, and cost no more than
    one pool of context x concurrency. A smaller `kv_tokens` asks for a pool: any request may then
    use up to `context` of it, as long as the sum fits.
    """
    context = round_up(request.context, CELL_PADDING)
    slots = request.concurrency
    wanted = request.kv_tokens
    if slots > 1 and build.number < builds.KV_UNIFIED_FLAG:
        return context * slots, True  # The only kind there was; a slot may use its part of it.
    if slots == 1 or shape.encoder or wanted is None or build.number < builds.SHARED_POOL:
        per_slot = round_up(max(context, -(-(wanted or 0) // slots)), CELL_PADDING)
        return (context if shape.encoder else per_slot) * slots, False
    if wanted < request.context * slots:
        return max(context, round_up(wanted, CELL_PADDING)), True
    return round_up(max(context, -(-wanted // slots)), CELL_PADDING) * slots, False


def _batches(request: Request, args: Mapping[str, ArgValue], mode: Mode) -> tuple[int, int]:
    if mode == "generate":
        batch = integer_of(args, "batch_size", DEFAULT_BATCH)
        ubatch = integer_of(args, "ubatch_size", DEFAULT_UBATCH)
        return batch, min(ubatch, batch)
    # An input that is embedded or scored must fit one ubatch (server-context.cpp), and
    # --embedding makes the batch as small as the ubatch.
    ubatch = integer_of(args, "ubatch_size", max(request.context, 1))
    return ubatch, ubatch


def _pooling(request: Request, args: Mapping[str, ArgValue], shape: Shape) -> int | None:
    if request.task == "generate":
        return None
    if request.task in ("rerank", "classify"):
        return _RANK
    named = args.get("pooling")
    if isinstance(named, str):
        return _POOLINGS.index(named)
    if 0 < shape.pooling < _RANK:
        return shape.pooling
    return 1 if shape.encoder else _LAST


def pooling_name(pooling: int) -> str:
    """The word that --pooling takes."""
    return _POOLINGS[pooling]


def _mapped(args: Mapping[str, ArgValue]) -> bool:
    # By default host weights are read into RAM: mapped ones can be dropped and read again at any
    # time, which makes the speed of a service depend on its neighbours.
    if "load_mode" in args:
        return "mmap" in str(args["load_mode"])
    return args.get("mmap") is True


def _checkpoints(args: Mapping[str, ArgValue], shape: Shape, build: Build, mode: Mode) -> int:
    if build.number < builds.CHECKPOINTS_FLAG or mode != "generate":
        return 0
    needed = any(layer.recurrent or layer.sliding for layer in shape.layers)
    return integer_of(args, "ctx_checkpoints", DEFAULT_CHECKPOINTS if needed else 0)


def _task_problems(request: Request, shape: Shape, build: Build) -> list[ArgumentProblem]:
    problems = []
    if request.task == "generate" and shape.family.encoder:
        problems.append(_problem("task", f"`{shape.arch}` is an encoder and writes no text"))
    if request.task in ("rerank", "classify") and not shape.scores:
        problems.append(_problem("task", "the file has no classification head (`cls`)"))
    if request.task == "rerank" and build.number < builds.RERANK_FLAG:
        problems.append(_problem("task", f"llama.cpp {build.text} cannot rerank"))
    return problems


def _problem(argument: str, detail: str, code: str = "task-mismatch") -> ArgumentProblem:
    return ArgumentProblem(code=code, argument=argument, detail=detail)


def _value_problems(request: Request, args: Mapping[str, ArgValue]) -> list[ArgumentProblem]:
    """Values that are fine alone and wrong together, or too large to be meant."""
    values = dict(positive(name, value) for name, value in args.items())
    problems = []
    v_type = str(values.get("cache_type_v", "f16"))
    flash = choice_word(values["flash_attn"]) if "flash_attn" in values else "auto"
    if is_quantized(v_type) and flash == "off":
        detail = f"`cache_type_v` {v_type} needs flash attention, which `flash_attn` turns off"
        problems.append(_problem("cache_type_v", detail, "wrong-argument"))
    problems += override_problems("override_tensor", values.get("override_tensor", []))
    ubatch = integer_of(values, "ubatch_size", request.context)
    if request.task != "generate" and ubatch < request.context:
        detail = (
            f"`ubatch_size` {ubatch:,} is below `context` {request.context:,}; "
            "llama-server refuses an input that does not fit one ubatch"
        )
        problems.append(_problem("ubatch_size", detail, "wrong-argument"))
    return problems
