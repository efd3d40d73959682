"""modelc.lock: every model source of the spec, resolved and pinned with its facts."""

from __future__ import annotations

import hashlib
import json
import re
from math import isfinite
from typing import Any

from pydantic import ValidationError

from compiler.ir.facts import ModelFacts, Record
from compiler.ir.textfile import TextFile

LOCK_VERSION = 1
_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7})(?: |\r?$)", re.MULTILINE)


# Half of a character of UTF-16 can be escaped, and no file can hold it.
_ESCAPED_HALF = re.compile(r"\\ud[89a-f]", re.IGNORECASE)


class LockedFile(Record):
    """One file of a source: `sha256` where it is known, else the digest of the file's header."""

    name: str
    bytes: int
    sha256: str | None = None
    header_sha256: str | None = None


class LockedSource(Record):
    """One model source as it was resolved."""

    source: str
    """As the spec writes it: `org/repo[@revision][:quant or file]` or a path."""
    repository: str | None = None
    """`org/repo` on the hub; none for a local path."""
    revision: str | None = None
    """The commit on the hub; none for a local path, or where only the shapes are known."""
    files: list[LockedFile]
    facts: ModelFacts


class Lock(Record):
    """All locked sources, sorted by source."""

    version: int = LOCK_VERSION
    sources: list[LockedSource]

    def find(self, source: str) -> LockedSource | None:
        """The entry of a source, if it is locked."""
        return next((entry for entry in self.sources if entry.source == source), None)


class LockVersionError(ValueError):
    """The lock is of another schema version; `found` says which."""

    def __init__(self, found: int) -> None:
        age = "older" if found < LOCK_VERSION else "newer"
        super().__init__(
            f"the lock has schema version {found}, {age} than version {LOCK_VERSION} of this modelc"
        )
        self.found = found


class LockConflictError(ValueError):
    """The lock holds both sides of a merge that nobody has decided; `line` is where they begin."""

    def __init__(self, line: int) -> None:
        super().__init__("it holds both sides of a merge, with git's conflict markers between them")
        self.line = line


def lock_text(lock: Lock) -> str:
    """The lock as canonical JSON: equal locks give equal bytes, a changed fact one changed line."""
    sources = sorted(lock.sources, key=lambda entry: entry.source)
    document = {"version": lock.version, "sources": [_plain(entry) for entry in sources]}
    return _block(document, 0) + "\n"


def read_lock_text(text: str) -> Lock:
    """The lock of a text that `lock_text` wrote.

    Raises LockVersionError for another schema version, LockConflictError for an unfinished merge,
    ValueError for anything else that is no lock.
    """
    try:
        document = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        if _ESCAPED_HALF.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as fault:
        conflict = _CONFLICT.search(text)
        if conflict:
            raise LockConflictError(text.count("\n", 0, conflict.start()) + 1) from fault
        raise ValueError(f"not valid JSON: {fault}") from fault
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, bool) or not isinstance(version, int):
        raise ValueError("`version` is missing or not a number")  # noqa: TRY004 (one kind of fault)
    if version != LOCK_VERSION:
        raise LockVersionError(version)
    try:
        lock = Lock.model_validate(document)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"`{place}`: {first['msg']}") from fault
    known: set[str] = set()
    for entry in lock.sources:
        if entry.source in known:
            raise ValueError(f"`{entry.source[:80]}` is locked twice")
        known.add(entry.source)
    return lock


def _no_number(name: str) -> float:
    """Python reads and writes what JSON does not have."""
    raise ValueError(f"`{name}` is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"`{text[:40]}` is too large for a number")
    return number


def partial_lock_text(so_far: Lock, before: str) -> str:
    """A lock that is not complete, under the digest of the lock's text that it goes on from."""
    return f"{_digest(before)}\n{lock_text(so_far)}"


def with_partial_lock(lock: Lock | None, before: str, partial: TextFile | None) -> Lock | None:
    """The lock with the sources that an interrupted run had resolved beyond it.

    What the lock has stays. A partial lock that goes on from another text of the lock, or that was
    cut off itself, is worth nothing: its sources are resolved anew.
    """
    first, _, rest = partial.text.partition("\n") if partial else ("", "", "")
    if first != _digest(before):
        return lock
    try:
        more = read_lock_text(rest).sources
    except ValueError:
        return lock
    known = lock.sources if lock else []
    names = {entry.source for entry in known}
    return Lock(sources=[*known, *(entry for entry in more if entry.source not in names)])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(entry: LockedSource) -> dict[str, Any]:
    """Fields in the order of their declaration, without those that hold their default."""
    return entry.model_dump(exclude_defaults=True)


def _block(value: Any, depth: int) -> str:  # noqa: ANN401 (any JSON value)
    """Objects spread over lines, sorted only where the schema does not fix the order (`header`)."""
    pad, end = "  " * (depth + 1), "  " * depth
    if isinstance(value, dict) and value:
        lines = [
            f"{pad}{json.dumps(key)}: {_member(key, member, depth + 1)}"
            for key, member in value.items()
        ]
        return "{\n" + ",\n".join(lines) + f"\n{end}}}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        lines = [pad + _item(item, depth + 1) for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{end}]"
    return _line(value)


def _member(key: str, value: Any, depth: int) -> str:  # noqa: ANN401 (any JSON value)
    if key == "header":
        return _block(json.loads(json.dumps(value, sort_keys=True)), depth)
    return _block(value, depth)


def _item(value: Any, depth: int) -> str:  # noqa: ANN401 (any JSON value)
    """An item of a list is one line (a file, a tensor group), but for a source, which has facts."""
    if isinstance(value, dict) and "facts" in value:
        return _block(value, depth)
    return _line(value)


def _line(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
