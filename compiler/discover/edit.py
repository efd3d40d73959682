"""Edits of a YAML text that leave every byte alone which they do not mean.

ruamel.yaml finds the places; the text itself is spliced. Its round trip is not used: it reflows
what stands in braces and, in 0.19, puts two entries on one line when both have comments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What needs no quotes anywhere in YAML: names, sizes, UUIDs of GPUs and whole numbers.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*|[0-9.]+[KMGT]?i?B|0|[1-9][0-9]*")
_WORDS = frozenset({"true", "false", "null"})
_COMMENT = re.compile(r"([ \t]*)#")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """New text for what stands from start to end."""

    start: int
    end: int
    text: str


def put_key(text: str, path: Sequence[str], value: object) -> str:
    """The text with this value at a path of keys; the parents are made as they are needed.

    The value of a key that is there is replaced, and comments on its line stay.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    source = text.replace("\r\n", "\n")
    node = _composed(source)
    for depth, key in enumerate(path):
        pair = _pair(node, key)
        if pair is None or _is_empty(pair[1]):
            missing: object = value
            for parent in reversed(path[depth + 1 :]):
                missing = {parent: missing}
            edit = (
                _added(source, node, key, missing)
                if pair is None
                else _replaced(source, node, pair, missing)
            )
            return _spliced(source, edit).replace("\n", newline)
        if depth == len(path) - 1:
            return _spliced(source, _replaced(source, node, pair, value)).replace("\n", newline)
        node = pair[1]
    raise AssertionError


def put_items(
    text: str, path: Sequence[str], items: Sequence[tuple[int | None, Mapping[str, object]]]
) -> str:
    """The text with these mappings as the list at a path, each with the item that it was before.

    Items keep their comments; in one that stays, only values that differ are touched.
    """
    listed = _found(_composed(text.replace("\r\n", "\n")), path)
    if type(listed).__name__ != "SequenceNode" or listed.flow_style or not items:
        return put_key(text, path, [dict(values) for _, values in items])
    newline = "\r\n" if "\r\n" in text else "\n"
    source = text.replace("\r\n", "\n")
    # Each item owns the lines from the end of the one before, comments above it included.
    bounds = [_line_start(source, source.rfind("-", 0, listed.value[0].start_mark.index))]
    bounds += [_line_end(source, _end(source, item)) for item in listed.value]
    column = listed.start_mark.column
    pieces = []
    for index, values in items:
        if index is None:
            pieces.append(f"{' ' * column}- {_flow(values)}\n")
            continue
        piece = source[bounds[index] : bounds[index + 1]]
        edits = _item_edits(source, listed.value[index], values)
        piece = _spliced_piece(piece, bounds[index], edits)
        pieces.append(piece if piece.endswith("\n") else piece + "\n")
    whole = _Edit(start=bounds[0], end=bounds[-1], text="".join(pieces))
    return _spliced(source, [whole]).replace("\n", newline)


def block_text(value: Mapping[str, object], indent: int = 0) -> str:
    """A mapping as lines; what is in a list stands in braces, one item a line."""
    lines = []
    for key, member in value.items():
        lines.append(f"{' ' * indent}{_scalar(key)}:{_after_colon(member, indent)}\n")
    return "".join(lines)


def _after_colon(value: object, indent: int) -> str:
    """What follows a key: on its line, or below it and deeper."""
    if isinstance(value, dict) and value and not _is_flat(value):
        return "\n" + block_text(value, indent + 2).rstrip("\n")
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "".join(f"\n{' ' * (indent + 2)}- {_flow(item)}" for item in value)
    return f" {_flow(value)}"


def _is_flat(value: Mapping[str, object]) -> bool:
    """Whether a mapping holds plain values only, as a GPU kind does."""
    return not any(isinstance(member, dict | list) for member in value.values())


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_scalar(key)}: {_flow(member)}" for key, member in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: object) -> str:
    # A number remembers how it was written, as in load/yamltext.py.
    if isinstance(value, float | int):
        return str(getattr(value, "text", value))
    text = str(value)
    plain = _PLAIN.fullmatch(text) and not text.isdecimal() and text.lower() not in _WORDS
    return text if plain else json.dumps(text)


def _composed(text: str) -> Any:  # noqa: ANN401  ruamel's nodes have no types.
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    return yaml.compose(text)


def _pair(node: Any, key: str) -> tuple[Any, Any] | None:  # noqa: ANN401
    pairs = node.value if type(node).__name__ == "MappingNode" else []
    return next(((k, v) for k, v in pairs if k.value == key), None)


def _found(node: Any, path: Sequence[str]) -> Any:  # noqa: ANN401
    for key in path:
        pair = _pair(node, key)
        node = pair[1] if pair else None
    return node


def _is_empty(node: Any) -> bool:  # noqa: ANN401
    """Whether nothing is written where a value could stand."""
    return type(node).__name__ == "ScalarNode" and node.style is None and not node.value


def _added(text: str, node: Any, key: str, value: object) -> list[_Edit]:  # noqa: ANN401
    """A key that is not there yet, as the last one of its mapping."""
    if node is None or _is_empty(node):
        return [
            _Edit(start=len(text), end=len(text), text=_line_break(text) + block_text({key: value}))
        ]
    if node.flow_style:
        at = node.end_mark.index - 1
        comma = ", " if node.value else ""
        return [_Edit(start=at, end=at, text=f"{comma}{_scalar(key)}: {_flow(value)}")]
    column = node.start_mark.column
    at = _past_comments(text, _line_end(text, _end(text, node)), column)
    return [_Edit(start=at, end=at, text=_line_break(text[:at]) + block_text({key: value}, column))]


def _replaced(text: str, node: Any, pair: tuple[Any, Any], value: object) -> list[_Edit]:  # noqa: ANN401
    key, old = pair
    colon = text.index(":", key.end_mark.index) + 1
    if node.flow_style:
        end = colon if _is_empty(old) else old.end_mark.index
        return [_Edit(start=colon, end=end, text=f" {_flow(value)}")]
    written = _after_colon(value, key.start_mark.column)
    if not _is_empty(old) and type(old).__name__ != "ScalarNode" and not old.flow_style:
        # A block goes with its lines; what follows the colon is a comment.
        first, end = _line_end(text, colon), _line_end(text, _end(text, old))
        if written.startswith("\n"):
            return [_Edit(start=first, end=end, text=written[1:] + "\n")]
        return [_Edit(start=colon, end=colon, text=written), _Edit(start=first, end=end, text="")]
    end = colon if _is_empty(old) else _end(text, old)
    if not written.startswith("\n"):
        return [_Edit(start=colon, end=end, text=written)]
    below = _line_end(text, end)
    lines = _line_break(text[:below]) + written[1:] + "\n"
    return [_Edit(start=colon, end=end, text=""), _Edit(start=below, end=below, text=lines)]


def _item_edits(text: str, node: Any, values: Mapping[str, object]) -> list[_Edit]:  # noqa: ANN401
    """Changes that give a mapping these values; keys that it lacks come after its first one."""
    edits = []
    last = None
    for key, value in values.items():
        pair = _pair(node, key)
        if pair is None:
            anchor = last or node.value[0]
            edits.append(_after(text, node, anchor, f"{_scalar(key)}: {_flow(value)}"))
            continue
        last = pair
        if _is_empty(pair[1]):
            colon = text.index(":", pair[0].end_mark.index) + 1
            edits.append(_Edit(start=colon, end=colon, text=f" {_scalar(value)}"))
        elif pair[1].value != str(getattr(value, "text", value)):
            start, end = pair[1].start_mark.index, pair[1].end_mark.index
            edits.append(_Edit(start=start, end=end, text=_scalar(value)))
    return edits


def _after(text: str, node: Any, anchor: tuple[Any, Any], written: str) -> _Edit:  # noqa: ANN401
    end = anchor[1].end_mark.index
    if node.flow_style:
        return _Edit(start=end, end=end, text=f", {written}")
    at = _line_end(text, end)
    line = f"{' ' * anchor[0].start_mark.column}{written}\n"
    return _Edit(start=at, end=at, text=_line_break(text[:at]) + line)


def _end(text: str, node: Any, key: Any = None) -> int:  # noqa: ANN401
    """Where the last character of a node stands; ruamel's mark of a block is behind comments."""
    if _is_empty(node):
        return text.index(":", key.end_mark.index) + 1 if key else node.start_mark.index
    if type(node).__name__ == "ScalarNode" or node.flow_style or not node.value:
        # A text of several lines ends behind the empty lines after it.
        return len(text[: node.end_mark.index].rstrip("\n"))
    last = node.value[-1]
    return _end(text, last[1], last[0]) if isinstance(last, tuple) else _end(text, last)


def _line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def _line_end(text: str, place: int) -> int:
    """Behind the line's break; the end of the text when it has none."""
    if place and text[place - 1] == "\n":
        return place
    found = text.find("\n", place)
    return len(text) if found < 0 else found + 1


def _past_comments(text: str, place: int, column: int) -> int:
    """Behind comment lines that are deeper than a column: they belong to what is above them."""
    while (match := _COMMENT.match(text, place)) and len(match[1]) > column:
        place = _line_end(text, match.end())
    return place


def _line_break(before: str) -> str:
    return "" if not before or before.endswith("\n") else "\n"


def _spliced(text: str, edits: Sequence[_Edit]) -> str:
    return _spliced_piece(text, 0, edits)


def _spliced_piece(piece: str, offset: int, edits: Sequence[_Edit]) -> str:
    """The edits made, last to first; of several at one place the first stays first."""
    ordered = sorted(enumerate(edits), key=lambda each: (each[1].start, each[0]), reverse=True)
    for _, edit in ordered:
        piece = piece[: edit.start - offset] + edit.text + piece[edit.end - offset :]
    return piece
