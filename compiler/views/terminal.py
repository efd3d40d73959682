"""Text for terminals: nothing in it moves the cursor or hides, colour only on demand, columns."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations, pairwise
from types import MappingProxyType
from typing import Literal, TypeVar

from compiler.ir.facts import Record

Style = Literal["bold", "dim", "red", "green", "yellow", "cyan"]

# SGR codes of ECMA-48, which every terminal of today understands.
_SGR: dict[Style, int] = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}

_SPACE = re.compile(r"[\t\n\v\f\r\x85]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Unicode's Default_Ignorable_Code_Point (bidi controls, zero-width, fillers, variation selectors),
# the line and paragraph separators, and lone surrogates, which cannot be written at all.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)
# GitHub's runner takes these for commands: `::` at the start of a line, `##[` anywhere.
_WORKFLOW_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\[)")

# A flag starts with a letter after its dashes: `-1` is a value.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FLAG = re.compile(r"--?[A-Za-z]")

# How far what continues a line stands to the right of it.
_HANGING = 2
# Of no use to anybody: on a terminal of fewer columns lines run over.
_LEAST_WIDTH = 24

# What stands for itself between `$'` and `'`.
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 _./=,+@%-]")
_NO_ENV: Mapping[str, str] = MappingProxyType({})

RecordT = TypeVar("RecordT", bound=Record)


def safe_text(text: str) -> str:
    r"""One line that shows what it holds: controls dropped, invisible ones as `\u{...}`."""
    text = _CONTROL.sub("", _SPACE.sub(" ", text))
    text = _INVISIBLE.sub(lambda match: _code_point(match[0]), text)
    return _WORKFLOW_COMMAND.sub(lambda match: match[0][:-1] + _code_point(match[0][-1]), text)


def safe_record(record: RecordT) -> RecordT:
    """The same record with every text in it safe, so that no line of a view can forget one."""
    return type(record).model_validate(_safe_value(record.model_dump()))


def paint(text: str, style: Style, *, color: bool) -> str:
    """The text in a style; unchanged without colour."""
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if color else text


def columns(
    rows: Sequence[Sequence[str]], right: Collection[int] = (), *, width: int | None = None
) -> list[str]:
    """Rows with aligned columns, two spaces apart; columns in `right` hold numbers.

    Where they are wider than `width`, the last column is broken between its words.
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    if width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        return _broken_columns(rows, right, widths, width)
    return [
        "  ".join(
            cell.rjust(width) if position in right else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def rows_within(
    rows: Sequence[Sequence[str]], right: Collection[int] = (), *, width: int | None = None
) -> list[str]:
    """Rows with aligned columns; where they are wider than `width`, each row takes several lines.

    The columns are dealt out to as few lines as possible, and to lines as short as possible.
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    cuts = _cuts(widths, width)
    if len(cuts) <= 1:
        return columns(rows, right)
    parts = []
    for first, end in cuts:
        shifted = {position - first for position in right}
        lines = columns([row[first:end] for row in rows], shifted)
        parts.append(indented(lines, _HANGING if first else 0))
    return [line for lines in zip(*parts, strict=True) for line in lines]


def prose(text: str, *, width: int | None = None, hanging: int = _HANGING) -> list[str]:
    """A line, broken between its words where it is wider than `width`.

    A word that is wider alone stays whole, so that it can be copied.
    """
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(
        text,
        width=max(width, _LEAST_WIDTH),
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _broken_columns(
    rows: Sequence[Sequence[str]], right: Collection[int], widths: Sequence[int], width: int
) -> list[str]:
    """A table of rich, whose last column alone may break."""
    import io

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    *fixed, _ = widths
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for position, column_width in enumerate(fixed):
        justify: Literal["left", "right"] = "right" if position in right else "left"
        table.add_column(justify=justify, no_wrap=True, min_width=column_width)
    table.add_column()
    for row in rows:
        table.add_row(*map(Text, row))
    least = sum(fixed) + 2 * len(fixed) + _LEAST_WIDTH
    out = io.StringIO()
    console = Console(file=out, width=max(width, least), color_system=None, legacy_windows=False)
    console.print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def _cuts(widths: Sequence[int], width: int | None) -> list[tuple[int, int]]:
    """First and end of the columns on each line: the fewest lines, and then the shortest."""
    whole = [(0, len(widths))]
    if width is None or _line_width(widths, *whole[0]) <= width:
        return whole
    for n_lines in range(2, len(widths) + 1):
        found = []
        for inner in combinations(range(1, len(widths)), n_lines - 1):
            cuts = list(pairwise((0, *inner, len(widths))))
            longest = max(_line_width(widths, *cut) for cut in cuts)
            found.append((longest, [-cut for cut in inner], cuts))
        longest, _, cuts = min(found)
        if longest <= width or n_lines == len(widths):
            return cuts
    return whole


def _line_width(widths: Sequence[int], first: int, end: int) -> int:
    return sum(widths[first:end]) + 2 * (end - first - 1) + (_HANGING if first else 0)


def indented(lines: Sequence[str], spaces: int = 2) -> list[str]:
    """The lines moved to the right; empty lines stay empty."""
    return [" " * spaces + line if line else "" for line in lines]


def command_lines(argv: Sequence[str], env: Mapping[str, str] = _NO_ENV) -> list[str]:
    """A command line in shell quotes, one flag or variable a line, to be read and to be copied."""
    lines = [
        f"{name}={shell_word(value)}" if _NAME.fullmatch(name) else shell_word(f"{name}={value}")
        for name, value in sorted(env.items())
    ]
    lines[:1] = [f"env {line}" for line in lines[:1]]
    n_variables = len(lines)
    for word in argv:
        quoted = shell_word(word)
        if len(lines) == n_variables or _FLAG.match(word):
            lines.append(quoted)
        else:
            lines[-1] += f" {quoted}"
    lines[1:] = indented(lines[1:])
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def shell_word(text: str) -> str:
    """One word for a shell, which gets exactly this text though nothing in it acts on a terminal.

    What a terminal must not see is written in the quotes `$'...'` of bash, zsh and POSIX 2024.
    """
    if safe_text(text) == text:
        return shlex.quote(text)
    escaped = _NOT_PLAIN.sub(
        lambda match: "".join(
            f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogatepass")
        ),
        text,
    )
    return f"$'{escaped}'"


def json_text(document: object) -> str:
    """JSON in ASCII, so that not even an escaped text can act on a terminal."""
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _safe_value(value: object) -> object:
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, dict):
        return {_safe_value(key): _safe_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_safe_value(item) for item in value]
    return value


def _code_point(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"
