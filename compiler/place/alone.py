"""Who has GPUs to itself: by a rule of the spec, or because its engine counts what others hold."""

from __future__ import annotations

from compiler.engines.registry import engine_of
from compiler.ir.engine_name import EngineName
from compiler.ir.placement import Alone
from compiler.ir.spec import Service


def alone(service: Service, engine: EngineName, version: str) -> Alone | None:
    """Why nobody may stand beside a replica of a service; None when others may."""
    if service.placement.exclusive:
        return Alone(service=service.name)
    if engine_of(engine).shares_gpus(version):
        return None
    return Alone(service=service.name, engine=engine, version=version)
