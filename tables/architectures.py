"""docs/architectures.md: every architecture of llama.cpp, from its row in the memory law."""

# ruff: noqa: E501 (one sentence a line in Markdown)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from compiler.engines.llamacpp.model.architectures import ARCHITECTURES
from compiler.engines.llamacpp.model.architectures.record import Architecture
from tables.generated import main, table

PATH = "docs/architectures.md"

_HEAD = """\
# Architectures of llama.cpp

<!-- Made by `make tables` from compiler/engines/llamacpp/model/architectures/. -->

What the memory law of llama.cpp knows of each `general.architecture`, by how far it is proven.
[The memory law of llama.cpp](memory-llamacpp.md) says what follows from it; [Adding things](adding.md) says how to add one.
A file whose architecture stands nowhere here is *unknown*: nothing about it is printed as exact.
"""

_GROUPS = {
    "followed": "Exact, and the graph code of older builds was followed back, log by log.",
    "exact": "The graph is rebuilt node by node and compared with libllama's own sizes, for the studied source.",
    "neighbour": "Weights and cache were looked at; the graph is that of a neighbour, with a band.",
    "unknown": "Known by name; what it keeps for a token is not followed.",
}
# What stands in columns of its own, or in the heading.
_TOLD = frozenset({"source", "proven", "no_model"})


def text() -> str:
    """The whole document."""
    blocks = [_HEAD]
    for proven, meaning in _GROUPS.items():
        rows = [
            (f"`{name}`", f"`{row.source}`", ", ".join(_traits(row)))
            for name, row in sorted(ARCHITECTURES.items())
            if row.proven == proven and not row.no_model
        ]
        lines = [f"## {proven.capitalize()} ({len(rows)})", "", meaning, ""]
        blocks.append(
            "\n".join([*lines, *table(("architecture", "source", "traits"), rows)]) + "\n"
        )
    refused = [
        (f"`{name}`", row.no_model) for name, row in sorted(ARCHITECTURES.items()) if row.no_model
    ]
    lines = ["## Refused", "", "Names that llama-server does not serve by themselves.", ""]
    blocks.append("\n".join([*lines, *table(("architecture", "what it is"), refused)]) + "\n")
    return "\n".join(blocks)


def _traits(row: Architecture) -> Iterator[str]:
    """The traits that differ from what most have; their meaning stands in record.py."""
    for field in fields(row):
        value = getattr(row, field.name)
        if field.name in _TOLD or value == field.default:
            continue
        yield field.name if value is True else f"{field.name} {value}"


if __name__ == "__main__":
    main(PATH, text)
