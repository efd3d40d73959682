"""Docker compose: one compose.yaml for the host."""

from __future__ import annotations

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
from compiler.emit.quoting import compose_scalar, compose_text, env_name
from compiler.emit.rendering import Templates, render
from compiler.emit.starting import SECRETS_DIR, secret_names, start_of
from compiler.ir.artifact import Artifact
from compiler.ir.plan import Replica

# Where a text stands below `- ` of an entrypoint in the template.
_TEXT_INDENT = 10


def emit_compose(
    templates: Templates, folder: str, replicas: tuple[Replica, ...]
) -> Iterator[Artifact]:
    """The compose file of one host. Variables stand in it: its readers agree on no env file."""
    values = {
        "services": [_service_values(replica) for replica in replicas],
        "secrets": [
            {"name": name, "file": compose_scalar(f"{SECRETS_DIR}/{name}")}
            for name in sorted({name for r in replicas for name in secret_names(r)})
        ],
    }
    yield render(templates, "compose/compose.yaml", f"{folder}/compose.yaml", values)


def _service_values(replica: Replica) -> dict[str, object]:
    with naming(replica):
        return _values(replica)


def _values(replica: Replica) -> dict[str, object]:
    # The shell's own words belong to the entrypoint, so that the command is always the engine's.
    start = start_of(replica, selects_gpus=False)
    fetches = fetch_dir(replica)
    port = published_port(replica)
    return {
        "name": replica.name,
        "engine": compose_scalar(engine_title(replica)),
        "image": compose_scalar(container_image(replica)),
        "entrypoint": [
            compose_scalar("/bin/sh"),
            compose_scalar("-c"),
            compose_text(start.lines, _TEXT_INDENT),
            *map(compose_scalar, start.parameters),
        ],
        "command": [compose_scalar(word) for word in start.arguments],
        "environment": [
            {"name": env_name(name), "value": compose_scalar(value)}
            for name, value in container_environment(replica).items()
        ],
        "devices": [compose_scalar(share.uuid or str(share.gpu)) for share in replica.shares],
        "port": port and compose_scalar(port),
        "shm_bytes": replica.shm_bytes,
        "models_dir": compose_scalar(replica.models_dir),
        "read_dirs": [compose_scalar(path) for path in replica.read_dirs],
        "fetch_dir": fetches and compose_scalar(fetches),
        "cache_dir": compose_scalar(replica.cache_dir),
        "secrets": secret_names(replica),
        "health_url": compose_scalar(health_url(replica)),
        "timeout": replica.start_timeout_seconds,
        "stop_seconds": STOP_SECONDS,
        "after": replica.start_after,
    }
