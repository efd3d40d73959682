"""Arguments whose value is a file or a folder: which a replica can read, and which it can write.

An engine starts in a folder of its own, in a unit that sees no home or in a container that sees
little of its host. What an argument names for reading is therefore an absolute path, which is
shown to the replica; what it names for writing lies where the replica may write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from compiler.ir.demand import ArgumentProblem
from compiler.ir.inventory import EngineName, Host
from compiler.ir.lock import LockedSource
from compiler.ir.spec import ArgValue, Service, Variant

# llama.cpp: common/arg.cpp of b11312; vLLM: vllm/entrypoints/openai/cli_args.py and
# vllm/engine/arg_utils.py of 0.33.
_READ: Mapping[EngineName, tuple[str, ...]] = MappingProxyType(
    {
        "llama.cpp": (
            *("api_key_file", "chat_template_file", "grammar_file", "json_schema_file"),
            *("media_path", "path"),
        ),
        "vllm": (
            *("allowed_local_media_path", "chat_template", "generation_config", "lora_modules"),
            *("mm_encoder_fp8_scale_path", "reasoning_parser_plugin", "ssl_ca_certs", "tokenizer"),
            *("tool_parser_plugin",),
        ),
    }
)
_WRITTEN: Mapping[EngineName, tuple[str, ...]] = MappingProxyType(
    {
        "llama.cpp": ("log_file", "slot_save_path"),
        "vllm": ("download_dir", "mm_encoder_fp8_scale_save_path"),
    }
)
# These may as well be an id on the hub or a word, unless they look like a path.
_PATHS_OR_NAMES = frozenset({"generation_config", "lora_modules", "tokenizer"})

# Folders of the published images, whose files are there without the host.
IMAGE_FOLDERS: Mapping[EngineName, str] = MappingProxyType(
    {"llama.cpp": "/app/", "vllm": "/vllm-workspace/"}
)

# vLLM takes a text with one of these for the template itself (entrypoints/chat_utils.py,
# `_load_chat_template`).
_INLINE = re.compile(r"[{}\n]")
_PATH_LIKE = ("/", "~", ".")


def files_read(engine: EngineName, args: Mapping[str, ArgValue], host: Host) -> list[str]:
    """Absolute paths that arguments name and that a replica on this host must be shown."""
    own = IMAGE_FOLDERS[engine] if host.runs_containers else None
    return [
        path
        for _, path in _read(engine, args)
        if path.startswith("/") and not (own and path.startswith(own))
    ]


def file_problems(
    service: Service, variant: Variant, locked: LockedSource, hosts: Iterable[Host]
) -> Iterator[ArgumentProblem]:
    """Files that a replica of the variant would not find, or could not write, on these hosts."""
    hosts = tuple(hosts)
    # An engine that gets its model from a hub itself may write models_dir.
    is_hub_id = locked.repository is not None and locked.facts.format != "gguf"
    fetches = variant.engine == "vllm" and is_hub_id
    models_dir = hosts[0].models_dir if hosts else "/srv/models"
    boxed = any(host.runs_containers for host in hosts)
    for argument, path in _read(variant.engine, variant.args):
        if not path.startswith("/") or ".." in path.split("/"):
            inside = f", or one of the image, below `{IMAGE_FOLDERS[variant.engine][:-1]}`"
            yield ArgumentProblem(
                code="file-out-of-reach",
                argument=argument,
                detail=f"`{argument}` is `{path[:80]}`, and an engine starts in a folder of its "
                "own: only an absolute path without `..` leads to the file from there.",
                hint="Write an absolute path on the host, such as "
                f"`{models_dir}/{path.rpartition('/')[2]}`{inside if boxed else ''}.",
            )
    for argument in _WRITTEN[variant.engine]:
        written = variant.args.get(argument)
        if isinstance(written, str):
            yield from _unwritable(service, argument, written, hosts, fetches=fetches)


def _unwritable(
    service: Service, argument: str, path: str, hosts: Iterable[Host], *, fetches: bool
) -> Iterator[ArgumentProblem]:
    own = re.fullmatch(rf"/var/cache/modelc-{re.escape(service.name)}-[0-9]+(?:/.*)?", path)
    for host in hosts:
        in_models = fetches and path.startswith(f"{host.models_dir}/")
        mine = host.target == "script" or in_models or (own and service.replicas == 1)
        if path.startswith("/") and mine:
            continue
        hint = f"Leave `{argument}` out, or write a path below `/var/cache/modelc-{service.name}-0`"
        if argument == "log_file":
            hint = "Leave it out: the log of the service already has what the engine says"
        elif service.replicas > 1:
            hint += " and make one service for each replica"
        yield ArgumentProblem(
            code="file-out-of-reach",
            argument=argument,
            detail=f"`{argument}` is `{path[:80]}`, and on `{host.name}` ({host.target}) a replica "
            "may write nothing but its own cache folder.",
            hint=f"{hint}.",
        )
        return


def _read(engine: EngineName, args: Mapping[str, ArgValue]) -> Iterator[tuple[str, str]]:
    """Arguments and the paths that they name."""
    for argument in _READ[engine]:
        value = args.get(argument)
        for each in value if isinstance(value, list) else [value]:
            path = _module_path(each) if argument == "lora_modules" else each
            if not isinstance(path, str) or not path:
                continue
            if argument == "chat_template" and _INLINE.search(path):
                continue
            if argument not in _PATHS_OR_NAMES or path.startswith(_PATH_LIKE):
                yield argument, path


def _module_path(module: object) -> object:
    """Where an adapter lies: `name=path`, or JSON with `name` and `path` (LoRAParserAction)."""
    if not isinstance(module, str):
        return None
    if not module.lstrip().startswith("{"):
        return module.partition("=")[2]
    try:
        found = json.loads(module)
    except ValueError:
        return None
    return found.get("path") if isinstance(found, dict) else None
