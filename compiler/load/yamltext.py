"""YAML 1.2 text to plain data and positions; refuses what a configuration file does not need."""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Protocol

from compiler.diagnostics import CompileError, Diagnostic, Location
from compiler.ir.document import Document, KeyPath
from compiler.ir.textfile import conflict_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruamel.yaml.error import MarkedYAMLError

# A fleet of thousands of hosts is some hundred KiB, since ranges expand; more is a mistake.
MAX_TEXT_BYTES = 4 << 20
MAX_DEPTH = 24
MAX_NODES = 500_000

# Of YAML 1.2's core schema, the numbers that everybody reads alike: `on` and `22:22` are text
# there, and `012`, `+5`, `0x10`, `.inf` and what no machine number holds stay text too. A
# variable or flag gets them as they are written, and where a number is wanted they are a fault.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30}|(?=[eE])))([eE][-+]?[0-9]{1,3})?"
)
# Half a character of UTF-16, which only an escape can write.
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class PlainFloat(float):
    """A float that remembers how it was written, so that version `0.10` is not `0.1`."""

    text: str


def parse_yaml(path: str, text: str) -> Document:
    """The document of a YAML text; keys that stand twice are faults of the document.

    Raises CompileError with the first fault of syntax and every duplicate key before it.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        detail = f"`{path}` is over {MAX_TEXT_BYTES >> 20} MiB."
        raise CompileError([Diagnostic(code="file-too-large", detail=detail)])
    line = conflict_line(text)
    if line:
        place = Location(path, line, 1)
        detail = "It holds both sides of a merge, with git's conflict markers between them."
        hint = "Keep of each part the side that is meant, and delete the marker lines."
        raise CompileError(
            [Diagnostic(code="merge-conflict", detail=detail, location=place, hints=(hint,))]
        )
    reader = _Reader(path)
    fault = _read(reader, text)
    if fault:
        raise CompileError([*reader.faults, fault])
    return Document(
        path=path,
        data=reader.root,
        keys=reader.keys,
        values=reader.values,
        faults=tuple(reader.faults),
    )


def _read(reader: _Reader, text: str) -> Diagnostic | None:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    try:
        reader.read(text)
    except MarkedYAMLError as error:
        return _syntax(reader.path, error)
    except ReaderError as error:
        place = Location(reader.path, *_place(text, error.position))
        return _fault(place, f"YAML has no room for the character U+{error.character:04X}.")
    except YAMLError as error:
        return _fault(Location(reader.path, 1, 1), f"{str(error).splitlines()[0]}.")
    except (ValueError, OverflowError):
        # ruamel takes the number of an escape such as `\UFFFFFFFF` as it comes.
        place = Location(reader.path, *reader.last)
        return _fault(place, "After this place an escape names a character that does not exist.")
    return None


def _syntax(path: str, error: MarkedYAMLError) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    place = Location(path, mark.line + 1, mark.column + 1) if mark else Location(path, 1, 1)
    context = f" {error.context}" if error.context else ""
    problem = error.problem or "this cannot be parsed"
    return _fault(place, f"YAML parser:{context} {problem}.".replace("  ", " "))


def _fault(place: Location, detail: str) -> Diagnostic:
    return Diagnostic(code="yaml-syntax", detail=detail, location=place)


def _place(text: str, position: int) -> tuple[int, int]:
    """Line and column of a position in the text."""
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


class _Mark(Protocol):
    """Where an event stands; both count from zero."""

    line: int
    column: int


class _Event(Protocol):
    """What is read of ruamel's events, which are untyped; only scalars have value and style."""

    start_mark: _Mark
    value: str
    style: str | None


class _Reader:
    """One walk over the parser's events; thrown away after it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.root: object = None
        self.keys: dict[KeyPath, tuple[int, int]] = {}
        self.values: dict[KeyPath, tuple[int, int]] = {}
        self.faults: list[Diagnostic] = []
        self.n_nodes = 0
        self.last = (1, 1)
        """Where the last event stood."""

    def read(self, text: str) -> None:
        from ruamel.yaml import YAML

        yaml = YAML(typ="safe", pure=True)
        yaml.version = (1, 2)
        events = iter(yaml.parse(text))
        n_documents = 0
        for event in events:
            if type(event).__name__ == "DocumentStartEvent":
                n_documents += 1
                if n_documents > 1:
                    self._stop("yaml-syntax", "The file holds more than one YAML document.", event)
                self.root = self._node(next(events), events, ())

    def _node(self, event: _Event, events: Iterator[_Event], path: KeyPath) -> object:
        kind = type(event).__name__
        self.n_nodes += 1
        self.last = _mark(event)
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            self._stop(
                "yaml-alias",
                "An alias lets a short file stand for one of any size; write the value out.",
                event,
            )
        if len(path) > MAX_DEPTH:
            self._stop("yaml-depth", f"At most {MAX_DEPTH} levels are accepted.", event)
        if self.n_nodes > MAX_NODES:
            self._stop("file-too-large", f"At most {MAX_NODES:,} values are accepted.", event)
        self._refuse_tag(event)
        self.values[path] = _mark(event)
        if kind == "MappingStartEvent":
            return self._mapping(events, path)
        if kind == "SequenceStartEvent":
            return self._sequence(events, path)
        self._refuse_half_characters(event)
        if not event.value and event.style is None:
            # A value that is not there is missed at its key.
            self.values[path] = self.keys.get(path, self.values[path])
        return _scalar(event)

    def _mapping(self, events: Iterator[_Event], path: KeyPath) -> dict[object, object]:
        result: dict[object, object] = {}
        while type(event := next(events)).__name__ != "MappingEndEvent":
            if type(event).__name__ != "ScalarEvent" or getattr(event, "anchor", None):
                self._stop("yaml-syntax", "A key must be a plain text.", event)
            self._refuse_tag(event)
            self._refuse_half_characters(event)
            # A key is always text: `404: x` and `"404": x` name the same thing.
            key = str(event.value)
            place = (*path, key)
            if key in result:
                line, _ = self.keys[place]
                self._fault(
                    "duplicate-key", f"`{key[:80]}` was already given in line {line}.", event
                )
                self._pass_over(events, place)
                continue
            self.keys[place] = _mark(event)
            result[key] = self._node(next(events), events, place)
        return result

    def _pass_over(self, events: Iterator[_Event], path: KeyPath) -> None:
        """Reads a value that does not count; its places are not those of the one that does."""
        keys, values = self.keys, self.values
        self.keys, self.values = {path: keys[path]}, {}
        self._node(next(events), events, path)
        self.keys, self.values = keys, values

    def _sequence(self, events: Iterator[_Event], path: KeyPath) -> list[object]:
        result: list[object] = []
        while type(event := next(events)).__name__ != "SequenceEndEvent":
            place = (*path, len(result))
            self.keys[place] = _mark(event)
            result.append(self._node(event, events, place))
        return result

    def _refuse_tag(self, event: _Event) -> None:
        tag = getattr(event, "ctag", None) or getattr(event, "tag", None)
        if tag is not None and str(tag) not in {"None", "!"}:
            self._stop("yaml-syntax", f"The tag `{str(tag)[:40]}` is not accepted.", event)

    def _refuse_half_characters(self, event: _Event) -> None:
        found = _SURROGATE.search(event.value)
        if found:
            detail = f"It holds U+{ord(found[0]):04X}, which is half a character."
            self._stop("unsafe-text", detail, event)

    def _fault(self, code: str, detail: str, event: _Event) -> None:
        place = Location(self.path, *_mark(event))
        self.faults.append(Diagnostic(code=code, detail=detail, location=place))

    def _stop(self, code: str, detail: str, event: _Event) -> None:
        self._fault(code, detail, event)
        raise CompileError(self.faults)


def _mark(event: _Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _scalar(event: _Event) -> object:
    text = str(event.value)
    if event.style in {"'", '"', "|", ">"}:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and isfinite(float(text)):
        number = PlainFloat(text)
        number.text = text
        return number
    return text
