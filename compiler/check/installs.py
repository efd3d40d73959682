"""How engines are installed on the hosts: their versions, their programs and their images."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.diagnostics import Diagnostic, Location, Severity
from compiler.engines.registry import engine_of, traits_of
from compiler.ir.document import Document
from compiler.ir.engine_name import EngineName
from compiler.ir.inventory import HIDDEN_FROM_UNITS, EngineInstall, Host, Inventory

# What an inventory may call the version of an engine.
_VERSION_KEYS = ("version", "build")


def check_installs(inventory: Inventory, document: Document) -> Iterator[Diagnostic]:
    """What is wrong with them; one of several equal hosts stands for all."""
    yield from _check_versions(inventory, document)
    yield from _check_programs(inventory, document)
    yield from _check_names(inventory, document)


def _check_versions(inventory: Inventory, document: Document) -> Iterator[Diagnostic]:
    seen: set[tuple[EngineName, str]] = set()
    for host, name, install in _installs(inventory):
        if (name, install.version) in seen:
            continue
        seen.add((name, install.version))
        problem = engine_of(name).check_version(install.version)
        if problem:
            yield Diagnostic(
                code="bad-engine-version",
                detail=f"Engine `{name}` of host `{host.name}`: {problem}.",
                location=_place_of(document, host, name, _VERSION_KEYS, install.version),
                hints=("Write what `vllm --version` or `llama-server --version` prints.",),
            )


def _check_programs(inventory: Inventory, document: Document) -> Iterator[Diagnostic]:
    """Engines that the units of a host could not see."""
    seen: set[str] = set()
    for host, name, install in _installs(inventory):
        hidden = host.target == "systemd" and install.bin.startswith(HIDDEN_FROM_UNITS)
        if not hidden or install.bin in seen:
            continue
        seen.add(install.bin)
        yield Diagnostic(
            code="contradiction",
            detail=f"Units see nothing below `/home`, `/root` or `/tmp`, and engine "
            f"`{name}` of host `{host.name}` is `{install.bin}`.",
            location=_place_of(document, host, name, ("bin",), install.bin),
            hints=("Install it elsewhere (`/opt`), or write `target: script`.",),
        )


def _check_names(inventory: Inventory, document: Document) -> Iterator[Diagnostic]:
    """A warning where the name of what is started says another release than what is costed."""
    seen: set[tuple[EngineName, str, str]] = set()
    for host, name, install in _installs(inventory):
        started = install.image if host.runs_containers else install.bin
        if started is None or (name, install.version, started) in seen:
            continue
        seen.add((name, install.version, started))
        engine = engine_of(name)
        if engine.check_version(install.version):
            continue
        other = engine.other_release(install.version, started)
        if other is None:
            continue
        key = "image" if host.runs_containers else "bin"
        yield Diagnostic(
            code="other-release",
            detail=f"Engine `{name}` of host `{host.name}` is costed as {install.version}, and its "
            f"`{key}` `{started}` names {other}: the flags and the memory would be another "
            "release's, and it will not start.",
            location=_place_of(document, host, name, (key,), started),
            hints=(f"Write the same release in both, as in `{_shown(name)}`.",),
            severity=Severity.WARNING,
        )


def _shown(name: EngineName) -> str:
    traits = traits_of(name)
    image = traits.image_of(traits.newest)
    return f'{traits.version_key}: {traits.newest}, image: "{image}"'


def _installs(inventory: Inventory) -> Iterator[tuple[Host, EngineName, EngineInstall]]:
    for host in inventory.hosts:
        for name, install in sorted(host.engines.items()):
            yield host, name, install


def _place_of(
    document: Document, host: Host, name: EngineName, keys: tuple[str, ...], text: str
) -> Location:
    """Where this is written of an engine: at the host, at a range of hosts, or by default."""
    places = [("hosts", host.name, "engines", name)]
    places += [path[:4] for path in document.values if path[:1] == ("hosts",) and len(path) > 4]  # type: ignore[misc]  # noqa: PLR2004
    for place in dict.fromkeys(places):
        for key in keys if place[2:] == ("engines", name) else ():
            if _written(document, (*place, key)) == text:
                return document.key(*place, key)
    for key in keys:
        if _written(document, ("defaults", "engines", name, key)) == text:
            return document.key("defaults", "engines", name, key)
    return document.key("defaults", "engines", name)


def _written(document: Document, path: tuple[str | int, ...]) -> str | None:
    """A value as the user wrote it; None where there is none."""
    here: object = document.data
    for step in path:
        here = here.get(step) if isinstance(here, dict) else None
    return None if here is None else str(getattr(here, "text", here))
