"""Arguments whose value is a file or a folder: which a replica can read, and which it can write.

An engine starts in a folder of its own, in a unit that sees no home or in a container that sees
little of its host. What an argument names for reading is therefore an absolute path, which is
shown to the replica; what it names for writing lies where the replica may write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from compiler.engines.registry import engine_of, traits_of
from compiler.ir.demand import ArgumentProblem
from compiler.ir.engine_name import EngineName
from compiler.ir.inventory import Host
from compiler.ir.lock import LockedSource
from compiler.ir.spec import ArgValue, Service, Variant

_PATH_LIKE = ("/", "~", ".")


def files_read(engine: EngineName, args: Mapping[str, ArgValue], host: Host) -> list[str]:
    """Absolute paths that arguments name and that a replica on this host must be shown."""
    own = traits_of(engine).image_folder if host.runs_containers else None
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
    traits = traits_of(variant.engine)
    # An engine that gets its model from a hub itself may write models_dir.
    fetches = locked.repository is not None and engine_of(variant.engine).fetches(locked.facts)
    models_dir = hosts[0].models_dir if hosts else "/srv/models"
    boxed = any(host.runs_containers for host in hosts)
    for argument, path in _read(variant.engine, variant.args):
        if not path.startswith("/") or ".." in path.split("/"):
            inside = f", or one of the image, below `{traits.image_folder[:-1]}`"
            yield ArgumentProblem(
                code="file-out-of-reach",
                argument=argument,
                detail=f"`{argument}` is `{path[:80]}`, and an engine starts in a folder of its "
                "own: only an absolute path without `..` leads to the file from there.",
                hint="Write an absolute path on the host, such as "
                f"`{models_dir}/{path.rpartition('/')[2]}`{inside if boxed else ''}.",
            )
    for argument in traits.writes:
        written = variant.args.get(argument)
        if isinstance(written, str):
            yield from _unwritable(
                service, argument, written, hosts, fetches=fetches, log=traits.logs
            )


def _unwritable(
    service: Service, argument: str, path: str, hosts: Iterable[Host], *, fetches: bool, log: str
) -> Iterator[ArgumentProblem]:
    own = re.fullmatch(rf"/var/cache/modelc-{re.escape(service.name)}-[0-9]+(?:/.*)?", path)
    for host in hosts:
        in_models = fetches and path.startswith(f"{host.models_dir}/")
        mine = host.target == "script" or in_models or (own and service.replicas == 1)
        if path.startswith("/") and mine:
            continue
        hint = f"Leave `{argument}` out, or write a path below `/var/cache/modelc-{service.name}-0`"
        if argument == log:
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
    traits = traits_of(engine)
    for argument in traits.reads:
        value = args.get(argument)
        for each in value if isinstance(value, list) else [value]:
            path = engine_of(engine).file_of(argument, each)
            if path and (argument not in traits.paths_or_names or path.startswith(_PATH_LIKE)):
                yield argument, path
