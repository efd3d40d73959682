"""What every target derives from a replica in the same way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager

from compiler.diagnostics import CompileError, Diagnostic
from compiler.ir.inventory import CONTAINER_TARGETS, NOT_PUBLISHED
from compiler.ir.listening import own_address, socket_of
from compiler.ir.plan import Replica

# Versions as the inventory may have them, and nothing that a unit or a shell would expand.
_ENGINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .+_!-]{0,99}")

# What systemd-sysusers lets a name of a user be (sizeof(utmpx.ut_user) - 1, src/basic/user-util.c).
_MAX_USER_NAME = 31

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
    inside = replica.target in CONTAINER_TARGETS
    host = "127.0.0.1" if inside else own_address(replica.listen)
    return f"http://{host}:{replica.port}{replica.health_path}"


def published_port(replica: Replica) -> str | None:
    """The port of a container as its host publishes it, `127.0.0.1:8000:8000`; None: not at all."""
    if replica.listen == NOT_PUBLISHED:
        return None
    return f"{socket_of(replica.listen, replica.port)}:{replica.port}"


def user_name(replica: Replica) -> str:
    """The user that a replica runs as, and no other: it alone can read its secrets and caches."""
    name = f"modelc-{replica.name}"
    if len(name) <= _MAX_USER_NAME:
        return name
    # Long names begin alike: a digest keeps them apart.
    mark = hashlib.sha256(replica.name.encode()).hexdigest()[:8]
    return f"{name[: _MAX_USER_NAME - 9]}-{mark}"


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


def fetch_dir(replica: Replica) -> str | None:
    """The folder into which the engine fetches a model itself; None when it fetches none.

    It does so where a model is named by a hub's id and not by a path.
    """
    paths = (replica.model_path, *(companion.path for companion in replica.companions))
    if all(path.startswith("/") for path in paths):
        return None
    return replica.env.get("HF_HOME", replica.models_dir)
