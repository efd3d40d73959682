"""Engines by name: where each lives, and what it is without importing its law."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast, get_args

from compiler.ir.engine_name import EngineName
from compiler.ir.source import names_gguf

if TYPE_CHECKING:
    from compiler.engines.interface import Engine
    from compiler.engines.recount import Recount
    from compiler.engines.traits import Traits
    from compiler.ir.facts import ModelFormat

# One row an engine: the package that has its `engine`, its `traits` and its `recount`.
PACKAGES: dict[EngineName, str] = {
    "vllm": "compiler.engines.vllm",
    "llama.cpp": "compiler.engines.llamacpp",
}


def engine_names() -> tuple[EngineName, ...]:
    """Every engine that there is."""
    return get_args(EngineName)


@cache
def engine_of(name: EngineName) -> Engine:
    """The engine behind a name; imported when first asked for."""
    return cast("Engine", import_module(f"{PACKAGES[name]}.engine").ENGINE)


@cache
def traits_of(name: EngineName) -> Traits:
    """What an engine is; imports no law."""
    return cast("Traits", import_module(f"{PACKAGES[name]}.traits").TRAITS)


@cache
def recount_of(name: EngineName) -> Recount:
    """What the recount of plans knows of an engine; imports no law."""
    return cast("Recount", import_module(f"{PACKAGES[name]}.recount").RECOUNT)


def usual_engine(source: str, known: ModelFormat | None) -> EngineName:
    """The engine of a service that names none: by the format of the model's files, where the lock
    knows them, else by how the source is written.
    """
    found = known or ("gguf" if names_gguf(source) else "safetensors")
    return next(name for name in engine_names() if found in traits_of(name).formats)
