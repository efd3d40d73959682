"""Quadlet: a container file for each replica, of which podman's generator makes a service.

Read by podman 5.0 and later (`Entrypoint=`, `StopTimeout=` and `Notify=healthy` came with it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from compiler.emit.conventions import (
    STOP_SECONDS,
    container_environment,
    container_image,
    engine_title,
    fetch_dir,
    health_url,
    naming,
    published_port,
)
from compiler.emit.quoting import (
    plain_path,
    quadlet_environment,
    quadlet_exec_text,
    quadlet_exec_word,
    unit_line,
)
from compiler.emit.rendering import Templates, render
from compiler.emit.starting import WRONG_ENGINE_STATUS, secret_names, start_of
from compiler.ir.artifact import Artifact
from compiler.ir.plan import Replica, Share
from compiler.ir.units import show_mib

# podman ends the engine in the time of every target; systemd must give podman more than that.
_STOP_MARGIN_SECONDS = 30

# These stand in directives without quotes, where nothing is expanded and blanks separate.
_URL = re.compile(r"[A-Za-z0-9:/._-]+")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")

# What a device may be called (ValidateDeviceName of the Container Device Interface 0.6).
_DEVICE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]*[A-Za-z0-9])?")

# What the generator and `podman run` add to the words that stand in the file, generously.
_GENERATED_BYTES = 32 << 10


def emit_quadlet(
    templates: Templates, folder: str, replicas: tuple[Replica, ...]
) -> Iterator[Artifact]:
    """The container files of one host, and what must exist before they start."""
    for replica in replicas:
        container = f"{folder}/quadlet/modelc-{replica.name}.container"
        with naming(replica):
            values = _container_values(replica)
        yield render(templates, "quadlet/replica.container", container, values)
    names = {"names": [replica.name for replica in replicas]}
    yield render(templates, "systemd/modelc.target", f"{folder}/quadlet/modelc.target", names)
    yield render(templates, "systemd/modelc.slice", f"{folder}/quadlet/modelc.slice", {})
    tmpfiles = f"{folder}/quadlet/tmpfiles.d/modelc.conf"
    yield render(templates, "quadlet/tmpfiles.conf", tmpfiles, _tmpfiles_values(replicas))


def _container_values(replica: Replica) -> dict[str, object]:
    start = start_of(replica, selects_gpus=False)
    fetches = fetch_dir(replica)
    words = [
        quadlet_exec_word("-c"),
        quadlet_exec_text(start.lines),
        *map(quadlet_exec_word, (*start.parameters, *start.arguments)),
    ]
    variables = _environment(replica)
    _one_line([*words, *variables])
    return {
        "name": replica.name,
        "engine": engine_title(replica),
        "after": [f"modelc-{earlier}.service" for earlier in replica.start_after],
        "image": _qualified(_matching(_IMAGE, container_image(replica), "the name of an image")),
        "arguments": " \\\n  ".join(words),
        "environment": variables,
        "secrets": secret_names(replica),
        "devices": [_device(share) for share in replica.shares],
        "models_dir": plain_path(replica.models_dir),
        "read_dirs": [plain_path(path) for path in replica.read_dirs],
        "fetch_dir": fetches and plain_path(fetches),
        "wrong_engine": WRONG_ENGINE_STATUS,
        "cache_dir": plain_path(replica.cache_dir),
        "port": published_port(replica),
        "shm_bytes": replica.shm_bytes,
        "health_url": _matching(_URL, health_url(replica), "the URL of a health check"),
        "timeout": replica.start_timeout_seconds,
        "stop_seconds": STOP_SECONDS,
        "kill_seconds": STOP_SECONDS + _STOP_MARGIN_SECONDS,
        "ram": show_mib(replica.ram_bytes),
    }


def _environment(replica: Replica) -> list[str]:
    """The replica's variables; whatever it writes beside its image goes into its own cache."""
    cache = replica.cache_dir
    variables = {"HOME": cache, "XDG_CACHE_HOME": cache, **container_environment(replica)}
    return [quadlet_environment(name, value) for name, value in sorted(variables.items())]


def _one_line(words: list[str]) -> None:
    """Refuses words that the generator would write into a longer line than systemd reads."""
    unit_line(" ".join([*words, "x" * _GENERATED_BYTES]))


def _qualified(image: str) -> str:
    """The image with its registry, as docker reads a name without one; podman asks for it.

    A name that ends like a file of its own is one to the generator: an image has a tag or a digest.
    """
    if image.endswith((".image", ".build")):
        raise ValueError(f"the image `{image}` needs a tag or, better, a digest")
    first, slash, _ = image.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _device(share: Share) -> str:
    name = share.uuid or str(share.gpu)
    return _matching(_DEVICE, name, "the name of a GPU to the Container Device Interface")


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text[:60]!r} cannot be {what}")
    return text


def _tmpfiles_values(replicas: tuple[Replica, ...]) -> dict[str, object]:
    written = {plain_path(folder) for r in replicas if (folder := fetch_dir(r))}
    read = {plain_path(r.models_dir) for r in replicas} - written
    caches = [plain_path(replica.cache_dir) for replica in replicas]
    return {"written": sorted(written), "read": sorted(read), "caches": caches}
