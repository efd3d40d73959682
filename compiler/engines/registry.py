"""Finds the engine of a name; an engine is imported when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from compiler.engines.interface import Engine
    from compiler.ir.inventory import EngineName


def engine_of(name: EngineName) -> Engine:
    """The law and command line of an engine."""
    match name:
        case "vllm":
            from compiler.engines.vllm import ENGINE as VLLM

            return VLLM
        case "llama.cpp":
            from compiler.engines.llamacpp import ENGINE as LLAMACPP

            return LLAMACPP
        case _:
            assert_never(name)
