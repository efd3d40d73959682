"""Text for markdown: whatever a name holds, it stays in its cell and calls nobody."""

from __future__ import annotations

import re
from collections.abc import Sequence

from compiler.views.terminal import safe_text

_BACKTICKS = re.compile("`+")
# `@name` calls a person and `#12` a thread; a zero-width space between keeps them from it.
_CALL = re.compile(r"(?<!\w)([@#])(?=\w)")
_SPECIAL = re.compile(r"([\\`*_\[\]~|])")
_ZERO_WIDTH = "\u200b"


def code(text: str) -> str:
    """A code span for a table cell, fenced by more backticks than the text has in a row."""
    # GFM splits a row at `\\|`, but not at a backslash and `\|` with something between them.
    text = _quiet(safe_text(text)).replace("\\|", f"\\{_ZERO_WIDTH}|").replace("|", "\\|")
    fence = "`" * (max(map(len, _BACKTICKS.findall(text)), default=0) + 1)
    # A span may neither be empty nor begin or end with a backtick.
    padding = " " if not text or "`" in (text[0], text[-1]) else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def escaped(text: str) -> str:
    """The text as it stands, without any markup in it taking effect."""
    text = safe_text(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _quiet(_SPECIAL.sub(r"\\\1", text))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: int = 0) -> list[str]:
    """A table of which the last `right` columns hold numbers."""
    n_left = len(header) - right
    rule = ["---"] * n_left + ["---:"] * right
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def _quiet(text: str) -> str:
    return _CALL.sub(rf"\1{_ZERO_WIDTH}", text).replace("<!--", f"<!{_ZERO_WIDTH}--")
