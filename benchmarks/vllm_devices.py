"""What vLLM's classes ask of a GPU when they are built, where there is none.

None of it changes a parameter or a cache: streams and workspaces are used later, kernels of other
libraries are called later, and the backend of sparse attention is the one that Hopper takes.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_LIBRARIES = frozenset({"cutlass", "cuda", "deep_gemm", "flashinfer", "quack", "tilelang"})
_SPARSE = "vllm.v1.attention.backends.mla.flashmla_sparse.FlashMLASparseBackend"


class _Kind(type):
    """A class that can be called, combined and asked for any name, which is such a class again."""

    def __getattr__(cls, name: str) -> Any:  # noqa: ANN401, it stands for anything.
        if name.startswith("__"):
            raise AttributeError(name)
        return _Kind(name, (), {})

    def __call__(cls, *values: Any, **named: Any) -> Any:  # noqa: ANN401, as above.
        """A decorator gives back what it decorates, everything else itself."""
        decorates = len(values) == 1 and callable(values[0]) and not named
        return values[0] if decorates else cls

    def __or__(cls, other: object) -> Any:  # noqa: ANN401, as above.
        return cls

    __ror__ = __or__

    def __getitem__(cls, item: object) -> Any:  # noqa: ANN401, as above.
        return cls


class _Library(ModuleType):
    """A module that has every name."""

    __path__: list[str] = []  # noqa: RUF012, the import system asks for a list.

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401, as above.
        if name.startswith("__"):
            raise AttributeError(name)
        return _Kind(name, (), {})


class _Libraries(MetaPathFinder, Loader):
    """Finds libraries of GPU kernels, without which the CPU build is installed."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        del path, target
        own = name.partition(".")[0] in _LIBRARIES
        return ModuleSpec(name, self, is_package=True) if own else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Library(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


class _Workspaces:
    def get_simultaneous(self, *specs: object) -> list[None]:
        return [None] * len(specs)


class _Stream:
    """A stream on which nothing runs."""


def stand_in_for_gpus() -> None:
    """Puts stand-ins where streams, workspaces, kernels and sparse attention are asked for."""
    import torch  # type: ignore[import-not-found]
    from vllm.platforms import current_platform  # type: ignore[import-not-found]
    from vllm.triton_utils import allocation  # type: ignore[import-not-found]
    from vllm.v1.worker import workspace  # type: ignore[import-not-found]

    sys.meta_path.append(_Libraries())
    torch.cuda.Stream = torch.cuda.Event = _Stream
    allocation.set_triton_allocator = lambda *_: None
    workspace._manager = _Workspaces()
    platform = type(current_platform)
    chosen = platform.get_attn_backend_cls.__func__

    def choose(cls: Any, *values: Any, **named: Any) -> str:  # noqa: ANN401, as above.
        wanted = named.get("attn_selector_config") or values[1]
        return _SPARSE if wanted.use_sparse else str(chosen(cls, *values, **named))

    platform.get_attn_backend_cls = classmethod(choose)
