"""Text for terminals: nothing in it moves the cursor or hides, colour only on demand, columns."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Sequence
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
_FLAG = re.compile(r"--?[A-Za-z]")

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


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Rows with aligned columns, two spaces apart; columns in `right` hold numbers."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if position in right else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def indented(lines: Sequence[str], spaces: int = 2) -> list[str]:
    """The lines moved to the right; empty lines stay empty."""
    return [" " * spaces + line if line else "" for line in lines]


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 GPU`, `1,200 GPUs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def command_lines(argv: Sequence[str]) -> list[str]:
    """A command line in shell quotes, for reading: one flag a line."""
    lines: list[str] = []
    for word in argv:
        quoted = safe_text(shlex.quote(safe_text(word)))
        if not lines or _FLAG.match(word):
            lines.append(quoted)
        else:
            lines[-1] += f" {quoted}"
    lines[1:] = indented(lines[1:])
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


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
