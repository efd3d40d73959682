"""Variables of a service's environment that would undo what the plan decided or counted.

They are judged by name alone: a value under `secrets` is never seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from compiler.engines.registry import engine_of
from compiler.ir.demand import ArgumentProblem
from compiler.ir.spec import Service

_DEVICES = "Say `placement` in the service."
_FOLDERS = "The plan gives each replica its folders."

# Set by the plan or by an emitted file, or read in their place.
_MANAGED = MappingProxyType(
    {
        "CUDA_VISIBLE_DEVICES": _DEVICES,
        "CUDA_DEVICE_ORDER": _DEVICES,
        "NVIDIA_VISIBLE_DEVICES": _DEVICES,
        "CACHE_DIRECTORY": _FOLDERS,
        "CREDENTIALS_DIRECTORY": _FOLDERS,
        "HF_HOME": _FOLDERS,
        "HOME": _FOLDERS,
        "XDG_CACHE_HOME": _FOLDERS,
        "PATH": "The inventory says where the engine's program is, under `engines`.",
    }
)

# Read by the loader, the CUDA driver or cuBLAS, whatever the engine.
_UNCOSTED = MappingProxyType(
    {
        "CUBLAS_WORKSPACE_CONFIG": "it is the size of cuBLAS's workspaces",
        "CUBLASLT_WORKSPACE_SIZE": "it is the size of cuBLAS's workspaces",
        "CUDA_MODULE_LOADING": "kernels that are loaded at once take memory",
        "LD_AUDIT": "code of your own allocates what it likes",
        "LD_PRELOAD": "code of your own allocates what it likes",
    }
)
# The client of a multi-process server has its memory limits, and its context, from there.
_UNCOSTED_PREFIX = "CUDA_MPS_"


def environment_problems(service: Service) -> Iterator[ArgumentProblem]:
    """What is wrong with the variables of a service, `env` before `secrets`; each name once."""
    engines = tuple(dict.fromkeys(variant.engine for variant in service.variants))
    for name in dict.fromkeys((*service.env, *service.secrets)):
        found = (engine_of(engine).check_variable(name) for engine in engines)
        problem = _common_problem(name) or next(filter(None, found), None)
        if problem:
            yield problem


def managed_variable(name: str, hint: str) -> ArgumentProblem:
    """The problem of a variable that stands for a decision of the plan."""
    detail = f"`{name}` is a variable that the plan decides."
    return ArgumentProblem(code="managed-argument", argument=name, detail=detail, hint=hint)


def uncosted_variable(name: str, reason: str, hint: str = "") -> ArgumentProblem:
    """The problem of a variable that changes memory, for a reason that ends the sentence."""
    return ArgumentProblem(
        code="unsupported-argument",
        argument=name,
        detail=f"`{name}` changes what the engine takes: {reason}.",
        hint=hint or "Take it out.",
    )


def _common_problem(name: str) -> ArgumentProblem | None:
    if name in _MANAGED:
        return managed_variable(name, _MANAGED[name])
    if name in _UNCOSTED:
        return uncosted_variable(name, _UNCOSTED[name])
    if name.startswith(_UNCOSTED_PREFIX):
        return uncosted_variable(name, "the CUDA context is another process's")
    return None
