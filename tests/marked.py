"""Marked texts: a `»` in a YAML text stands where a fault is expected."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.diagnostics import CompileError, Diagnostic
from compiler.load.inventory import load_inventory
from compiler.load.spec import load_spec
from compiler.load.yamltext import parse_yaml

Fault = tuple[str, str, str]
"""Code, a part of the detail, and a part of a hint; without a hint there must be none."""

_MARK = "»"


def faults_of(text: str) -> list[Diagnostic]:
    """Every fault of an inventory, or of a spec when the text names services."""
    try:
        document = parse_yaml("file.yaml", text)
        return load_spec(document)[1] if "services:" in text else load_inventory(document)[1]
    except CompileError as error:
        return list(error.diagnostics)


def unmarked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without its marks, and the line and column of each, as an editor counts them."""
    places = []
    clean = ""
    for piece in text.split(_MARK)[:-1]:
        clean += piece
        places.append((clean.count("\n") + 1, len(clean) - clean.rfind("\n")))
    return text.replace(_MARK, ""), places


def same_faults(
    found: Sequence[Diagnostic], places: list[tuple[int, int]], expected: Sequence[Fault]
) -> None:
    """Fails unless exactly the expected faults were found, each at its mark, in reading order."""
    assert len(places) == len(expected), "one mark for each expected fault"
    seen = sorted(found, key=_reading_order)
    assert [fault.code for fault in seen] == [code for code, _, _ in expected]
    for fault, place, (_, detail, hint) in zip(seen, places, expected, strict=True):
        assert fault.location is not None
        assert (fault.location.line, fault.location.column) == place
        assert detail in fault.detail
        assert any(hint in each for each in fault.hints) if hint else fault.hints == ()


def _reading_order(fault: Diagnostic) -> tuple[int, int, str]:
    assert fault.location is not None
    return fault.location.line, fault.location.column, fault.code
