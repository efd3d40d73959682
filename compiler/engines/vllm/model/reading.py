"""Whether the law reads what a config.json says: if it does, another value gives another shape."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.engines.vllm.model.config import ShapeError, shape_of
from compiler.engines.vllm.model.sections import Header
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.facts import HeaderValue

Path = tuple[str, ...]
"""The keys from the whole file down to a value."""


def settings(header: Header, above: Path = ()) -> Iterator[tuple[Path, HeaderValue]]:
    """Every value of a file and of its sections, sections as well."""
    for key, value in header.items():
        yield (*above, key), value
        if isinstance(value, dict):
            yield from settings(value, (*above, key))


def is_read(header: Header, shape: Shape, path: Path) -> bool:
    """Whether another value under this path would give another shape, or none."""
    try:
        return shape_of(_with(header, path)) != shape
    except ShapeError:
        return True


def _with(header: Header, path: Path) -> dict[str, HeaderValue]:
    """The header with another value there."""
    first, *rest = path
    value = header[first]
    changed = dict(header)
    if rest and isinstance(value, dict):
        changed[first] = _with(value, tuple(rest))
    else:
        changed[first] = _other(value)
    return changed


def _other(value: HeaderValue) -> HeaderValue:
    match value:
        case bool():
            return not value
        case int() | float():
            return value * 2 + 1
        case list():
            return []
        case dict():
            return {}
        case _:
            return None
