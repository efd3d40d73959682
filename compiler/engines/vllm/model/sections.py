"""Typed look-ups in the sections of a config.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compiler.ir.facts import HeaderValue

Header = Mapping[str, HeaderValue]


def whole(section: Header, key: str) -> int:
    """A whole number of the section; 0 when it is absent or something else."""
    value = section.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def first_whole(section: Header, keys: Iterable[str]) -> int:
    """The first of several names that holds a number other than 0; 0 when none does."""
    return next((number for key in keys if (number := whole(section, key))), 0)


def number(section: Header, key: str, default: float) -> float:
    """A number of the section, whole or not."""
    value = section.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default


def section(outer: Header, key: str) -> Header:
    """A nested object of the section; empty when it is absent or something else."""
    value = outer.get(key)
    return value if isinstance(value, dict) else {}
