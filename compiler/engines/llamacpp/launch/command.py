"""llama-server's command line: every size of the options that were costed, spelt out."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.engines.llamacpp.flags import builds
from compiler.engines.llamacpp.flags.builds import Build
from compiler.engines.llamacpp.flags.check import choice_word, positive
from compiler.engines.llamacpp.flags.rules import ARGUMENTS
from compiler.engines.llamacpp.flags.table import words_for
from compiler.engines.llamacpp.launch.draft import draft_flags
from compiler.engines.llamacpp.launch.options import Options
from compiler.engines.llamacpp.launch.projector import projector_flags
from compiler.engines.llamacpp.launch.requests import pooling_name
from compiler.ir.demand import Endpoint, Request
from compiler.ir.spec import ArgValue
from compiler.ir.units import MIB

# Costed arguments that stand on the command line by way of the options.
_FROM_OPTIONS = frozenset(
    name for name, argument in ARGUMENTS.items() if argument.effect == "costed"
) - {"mlock", "load_mode"}


def command_line(
    request: Request, options: Options, build: Build, endpoint: Endpoint
) -> tuple[str, ...]:
    """The argv of llama-server under these options."""
    return (
        endpoint.bin,
        *("--model", endpoint.model_path),
        *("--alias", endpoint.served_name),
        *("--host", endpoint.listen),
        *("--port", str(endpoint.port)),
        *_context_flags(options, build),
        *_placement_flags(options, build),
        *_memory_flags(request, options, build),
        *_task_flags(request, options, build),
        *_companion_flags(request, options, build, endpoint),
        *_passed_flags(request.args, build),
    )


def _context_flags(options: Options, build: Build) -> list[str]:
    flags = ["--ctx-size", str(options.cells), "--parallel", str(options.slots)]
    flags += _cache_kind(options, build)
    flags += ["--batch-size", str(options.batch), "--ubatch-size", str(options.ubatch)]
    if build.number >= builds.FLASH_ATTN_VALUE:
        flags += ["--flash-attn", "on" if options.flash_attention else "off"]
    elif options.flash_attention:
        flags.append("--flash-attn")
    flags += ["--cache-type-k", options.cache_type_k, "--cache-type-v", options.cache_type_v]
    if options.sliding_full:
        flags.append("--swa-full")
    return flags


def _cache_kind(options: Options, build: Build) -> list[str]:
    if build.number >= builds.NO_KV_UNIFIED_FLAG:
        return ["--kv-unified" if options.unified else "--no-kv-unified"]
    # For a time llama-server made four slots of one unless its cache was unified, which for one
    # slot is the same cache (tools/server/server.cpp of b7324 and b7347).
    unified = options.unified or options.slots == 1
    return ["--kv-unified"] if unified and build.number >= builds.KV_UNIFIED_FLAG else []


def _placement_flags(options: Options, build: Build) -> list[str]:
    moves = options.moves
    flags = ["--n-gpu-layers", str(options.gpu_layers)]
    if not options.gpus and build.number >= builds.DEVICE_FLAG:
        flags += ["--device", "none"]
    if options.gpus > 1:
        flags += ["--split-mode", options.split_mode, "--main-gpu", str(options.main_gpu)]
    if options.tensor_split:
        flags += ["--tensor-split", ",".join(str(count) for count in options.tensor_split)]
    if moves.cpu_moe:
        flags.append("--cpu-moe")
    if moves.cpu_moe_layers:
        flags += ["--n-cpu-moe", str(moves.cpu_moe_layers)]
    if moves.overrides:
        flags += ["--override-tensor", ",".join(rule.text for rule in moves.overrides)]
    if not options.kv_on_gpu:
        flags.append("--no-kv-offload")
    if not options.op_offload:
        flags.append("--no-op-offload")
    if build.number >= builds.FIT_FLAG:
        # llama-server would change -c and -ngl by what is free at start; the plan has decided.
        flags += ["--fit", "off"]
    return flags


def _memory_flags(request: Request, options: Options, build: Build) -> list[str]:
    flags = _loading_flags(request.args, options, build)
    if build.number >= builds.CACHE_RAM_FLAG:
        flags += ["--cache-ram", str(options.prompt_cache_bytes // MIB)]
    if build.number >= builds.CHECKPOINTS_FLAG:
        old = build.number < builds.CHECKPOINTS_NAME
        name = "--swa-checkpoints" if old else "--ctx-checkpoints"
        flags += [name, str(options.checkpoints)]
    return flags


def _loading_flags(args: Mapping[str, ArgValue], options: Options, build: Build) -> list[str]:
    locked = args.get("mlock") is True
    if build.number >= builds.LOAD_MODE_FLAG:
        mode = "mmap" if options.memory_map else "none"
        if locked:
            mode = "mmap+mlock" if options.memory_map else "mlock"
        return ["--load-mode", str(args.get("load_mode", mode))]
    flags = [] if options.memory_map else ["--no-mmap"]
    return [*flags, "--mlock"] if locked else flags


def _task_flags(request: Request, options: Options, build: Build) -> list[str]:
    flags: list[str] = []
    if options.mode == "generate":
        jinja = request.args.get("jinja") is not False
        return list(words_for("jinja", jinja, build.number) or ())
    flags.append("--embedding" if request.task != "rerank" else "--rerank")
    if options.pooling is not None and request.task != "rerank":
        flags += ["--pooling", pooling_name(options.pooling)]
    return flags


def _companion_flags(
    request: Request, options: Options, build: Build, endpoint: Endpoint
) -> list[str]:
    adapters = [found.path for found in endpoint.companions.get("lora", ())]
    if build.number >= builds.COMMA_LISTS:
        flags = ["--lora", ",".join(map(quoted_item, adapters))] if adapters else []
    else:
        flags = [word for path in adapters for word in ("--lora", path)]
    (draft,) = endpoint.companions.get("model_draft", ()) or (None,)
    flags += draft_flags(options, request.args, draft)
    for found in endpoint.companions.get("mmproj", ()):
        if options.projector is not None:
            flags += projector_flags(options.projector, found, build)
    return flags


def quoted_item(text: str) -> str:
    """An item of a comma-separated list (common/arg.cpp `parse_csv_row`)."""
    if not any(character in text for character in ',"'):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _passed_flags(args: Mapping[str, ArgValue], build: Build) -> list[str]:
    """Flags that do not touch memory, as the user wrote them."""
    flags: list[str] = []
    for written in sorted(args):
        name, value = positive(written, args[written])
        argument = ARGUMENTS.get(name)
        if argument is None or name in _FROM_OPTIONS or name in ("jinja", "mlock", "load_mode"):
            continue
        word = choice_word(value) if argument.kind == "choice" else value
        flags += words_for(name, word, build.number) or ()
    return flags
