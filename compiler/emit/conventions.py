"""What every target derives from a replica in the same way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from compiler.diagnostics import CompileError, Diagnostic
from compiler.ir.plan import Replica

# Versions as the inventory may have them, and nothing that a unit or a shell would expand.
_ENGINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .+_!-]{0,99}")

# Time for an engine to end the requests in flight before it is killed.
STOP_SECONDS = 60


@contextmanager
def naming(replica: Replica) -> Iterator[None]:
    """Says of what cannot be carried whose it is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"replica `{replica.name}`: {error}") from error


def engine_title(replica: Replica) -> str:
    """The engine and its version, `vllm 0.33.0`.

    An engine that is upgraded in its place has the same command line as before: this alone says
    that the replica must be restarted.
    """
    title = f"{replica.engine} {replica.engine_version}"
    if not _ENGINE.fullmatch(title):
        raise ValueError(f"{title[:60]!r} cannot be the name and the version of an engine")
    return title


def health_url(replica: Replica) -> str:
    """Where the replica says that it is ready, seen from its own host or container."""
    return f"http://127.0.0.1:{replica.port}{replica.health_path}"


def container_image(replica: Replica) -> str:
    """The image of a replica that runs in a container."""
    if replica.image is None:
        detail = f"Replica `{replica.name}` is to run in a container and its plan names no image."
        raise CompileError([Diagnostic(code="internal", detail=detail)])
    return replica.image


def container_environment(replica: Replica) -> dict[str, str]:
    """Variables of a replica in a container, by name; its runtime has selected the GPUs already.

    What stays is their order: CUDA else counts the fastest first, and of a split by unequal parts
    each GPU would get the part of another. Images made for NVIDIA's older hook ask for every GPU,
    which a replica without any must not get.
    """
    selecting = set(replica.device_env) - {"CUDA_DEVICE_ORDER"}
    own = {name: value for name, value in replica.env.items() if name not in selecting}
    none = {} if replica.shares else {"NVIDIA_VISIBLE_DEVICES": "void"}
    return dict(sorted((none | own).items()))


def writes_models(replica: Replica) -> bool:
    """Whether the engine fetches a model itself: one named by a hub's id and not by a path."""
    paths = (replica.model_path, *(companion.path for companion in replica.companions))
    return not all(path.startswith("/") for path in paths)
