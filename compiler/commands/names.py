"""What a shell may complete: services, hosts, kinds and sources of the folder that is meant.

A file that cannot be read completes nothing; the command itself says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from compiler.ir.textfile import TextFile

    Items = list[CompletionItem]


def services(context: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Services of models.yaml."""
    return _matching(_keys(context, "models.yaml", "services"), incomplete)


def services_and_sources(context: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Services of models.yaml, and the sources of modelc.lock."""
    return _matching([*_keys(context, "models.yaml", "services"), *_sources(context)], incomplete)


def sources(context: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Sources of modelc.lock, and files."""
    return [*_matching(_sources(context), incomplete), _file(incomplete)]


def hosts(context: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Hosts of inventory.yaml, ranges written out."""
    from compiler.load.hostnames import expand

    found: list[str] = []
    for pattern in _keys(context, "inventory.yaml", "hosts"):
        try:
            found += expand(pattern)
        except ValueError:
            continue
    return _matching(found, incomplete)


def kinds(context: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """GPU kinds, after a comma the next one."""
    from compiler.diagnostics import CompileError
    from compiler.inputs import gpu_kinds

    try:
        known = gpu_kinds(_read(context, "inventory.yaml"))
    except CompileError:
        known = gpu_kinds(None)
    before, comma, _ = incomplete.rpartition(",")
    return _matching((f"{before}{comma}{kind.name}" for kind in known), incomplete)


def plans(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """Files, and the words that stand for plans."""
    words = _matching(("git:HEAD", "none"), incomplete)
    return [*words, _file(incomplete)]


def _file(incomplete: str) -> CompletionItem:
    from click.shell_completion import CompletionItem

    return CompletionItem(incomplete, type="file")


def _matching(names: Iterable[str], incomplete: str) -> Items:
    # Loaded by those alone who complete something: `modelc --help` does not wait for it.
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _keys(context: click.Context, file: str, key: str) -> Iterator[str]:
    """The keys of a mapping of a file."""
    from compiler.diagnostics import CompileError
    from compiler.load.yamltext import parse_yaml

    text = _read(context, file)
    try:
        data: Any = parse_yaml(text.path, text.text).data if text else None
    except CompileError:
        return
    mapping = data.get(key) if isinstance(data, dict) else None
    if isinstance(mapping, dict):
        yield from (name for name in mapping if isinstance(name, str))


def _sources(context: click.Context) -> list[str]:
    from compiler.diagnostics import CompileError
    from compiler.inputs import read_lock

    text = _read(context, "modelc.lock")
    try:
        return [each.source for each in read_lock(text).sources] if text else []
    except CompileError:
        return []


def _read(context: click.Context, name: str) -> TextFile | None:
    from compiler.diagnostics import CompileError
    from compiler.workspace import read_optional

    folder = context.params.get("folder")
    try:
        return read_optional((folder if isinstance(folder, Path) else Path()) / name)
    except CompileError:
        return None
