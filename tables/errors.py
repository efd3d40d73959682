"""docs/errors.md: every code with its cause and its cure, from compiler/codes/."""

# ruff: noqa: E501 (one sentence a line in Markdown)

from __future__ import annotations

from compiler.codes import CHAPTERS
from tables.generated import main, table

PATH = "docs/errors.md"

_HEAD = """\
# Errors and warnings

<!-- Made by `make tables` from compiler/codes/. -->

Every finding of modelc has a code, a place in your files, the exact detail and, where there is one, a hint that was tried.
This page lists the codes; look for the one in brackets: `error[no-placement]`.
All faults of all files are told in one run, and while there is one no file on disk changes.
"""


def text() -> str:
    """The whole document."""
    blocks = [_HEAD]
    for title, codes in CHAPTERS.items():
        rows = [
            (f"`{name}`", f"{code.summary}.", code.cause, code.cure) for name, code in codes.items()
        ]
        lines = [f"## {title}", "", *table(("code", "says", "usual cause", "cure"), rows)]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    main(PATH, text)
