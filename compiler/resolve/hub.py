"""The model hub: what a repository holds at a commit, and parts of its files, by range requests.

Goes through huggingface_hub for its session (proxies, certificates) and its token (HF_TOKEN or its
login). HF_ENDPOINT and HF_HUB_OFFLINE are honoured; offline, the hub's cache on
disk is read instead.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, urlsplit

from compiler import __version__
from compiler.resolve.listing import read_listing, with_sizes
from compiler.resolve.tree import LocalTree, SourceMissingError, Tree, TreeFile

_ENDPOINT = "https://huggingface.co"
_TRUE = {"1", "ON", "YES", "TRUE"}  # huggingface_hub.constants._is_true
# A listing of the largest repositories (tens of thousands of files) is some megabytes.
_MAX_LISTING_BYTES = 64 << 20
_ATTEMPTS = 5
_MAX_WAIT_SECONDS = 30.0
_TIMEOUT_SECONDS = 30.0
_PARTIAL, _OK = 206, 200
_DENIED, _NOT_FOUND, _NO_SUCH_RANGE = {401, 403}, 404, 416
# Of its own faults a server (or the network before it, with 52x) gets over all but these two.
_PASSING = {408, 425, 429, *range(500, 600)} - {501, 505}
_COMMIT_LENGTH = 40
_THE_HUB = "the hub"
_RATE_WINDOW = re.compile(r";\s*t=([0-9]+)")
_MAX_HEADER_TEXT = 300
_READERS = 8


class HubUnreachableError(Exception):
    """The hub does not answer, or not in a way that can be used; the text says what it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A hub and how to talk to it."""

    endpoint: str
    offline: bool = False
    cache: Path
    """Where huggingface_hub keeps downloads; read when offline."""
    first_wait_seconds: float = 0.5
    """Before the first repetition; doubled each time."""
    stopped: Event = field(default_factory=Event, compare=False)
    """Set when nobody waits for the answer any more: nothing is tried again."""


def hub_from_environment(environment: Mapping[str, str] = MappingProxyType(os.environ)) -> Hub:
    """The hub that huggingface_hub would use, by the same variables."""
    home = (
        environment.get("HF_HOME") or f"{environment.get('XDG_CACHE_HOME', '~/.cache')}/huggingface"
    )
    # The second is the first one's old name, which huggingface_hub still honours.
    named = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    cache = named or f"{home}/hub"
    offline = environment.get("HF_HUB_OFFLINE") or environment.get("TRANSFORMERS_OFFLINE") or ""
    return Hub(
        endpoint=(environment.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/"),
        offline=offline.upper() in _TRUE,
        # Unlike Path.expanduser it does not fail where there is no home.
        cache=Path(os.path.expanduser(cache)),  # noqa: PTH111
    )


def hub_tree(hub: Hub, repository: str, revision: str | None) -> tuple[Tree, str]:
    """The files of a repository, and the commit that they are read at.

    Raises SourceMissingError and HubUnreachableError.
    """
    if hub.offline:
        return _cached_tree(hub, repository, revision)
    _check_endpoint(hub.endpoint)
    path = f"/api/models/{repository}"
    if revision is not None:
        path += f"/revision/{quote(revision, safe='')}"
    connection = _Connection(hub=hub, repository=repository)
    try:
        commit, listed = read_listing(connection.fetch(f"{path}?blobs=true"))
        raw = b"[]"
        if None in listed.values():
            raw = connection.fetch(f"/api/models/{repository}/tree/{commit}?recursive=true")
        files = with_sizes(listed, raw)
    except ValueError as fault:
        raise HubUnreachableError(str(fault)) from fault
    return HubTree(connection=connection, repository=repository, commit=commit, files=files), commit


@dataclass(frozen=True, slots=True, kw_only=True)
class HubTree:
    """A repository at a commit."""

    connection: _Connection
    repository: str
    commit: str
    files: dict[str, TreeFile]
    readers: int = _READERS

    @property
    def name(self) -> str:
        """The repository's own name."""
        return self.repository.split("/")[-1]

    def open(self, name: str) -> HubFile:
        """One file of the repository."""
        path = f"/{self.repository}/resolve/{self.commit}/{quote(name)}"
        size = self.files[name].bytes
        return HubFile(connection=self.connection, path=path, name=name, size_bytes=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """One file of a repository at a commit, read by ranges."""

    connection: _Connection
    path: str
    name: str
    size_bytes: int

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from offset on; raises SourceMissingError and HubUnreachableError."""
        length = max(0, min(length, self.size_bytes - offset))
        return self.connection.fetch(self.path, _Span(offset, length)) if length else b""


def _check_endpoint(endpoint: str) -> None:
    """Raises HubUnreachableError for what nobody can connect to: no use in trying it again."""
    try:
        found = urlsplit(endpoint)
        is_address = found.scheme in {"http", "https"} and found.hostname and found.port != 0
    except ValueError:  # A port that is no number.
        is_address = False
    if not is_address:
        raise HubUnreachableError(f"HF_ENDPOINT is `{endpoint[:80]}`, which is no http address")


class _Span(NamedTuple):
    """A part of a file."""

    offset: int
    length: int


class _PassingError(Exception):
    """Worth another try; `wait_seconds` is what the hub asked for."""

    def __init__(self, text: str, wait_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.wait_seconds = wait_seconds


def _stopped_within(seconds: float, stopped: Event) -> bool:
    return stopped.wait(seconds)


def _session() -> Any:  # noqa: ANN401 (untyped: an httpx client of one generation or another)
    return importlib.import_module("huggingface_hub.utils").get_session()


def _own_headers() -> dict[str, str]:
    """Who asks, and the token of huggingface_hub if it has one.

    huggingface_hub's own headers describe the machine, for which it asks the hub a question more.
    """
    named = {"User-Agent": f"modelc/{__version__}"}
    settings = importlib.import_module("huggingface_hub.constants")
    token = importlib.import_module("huggingface_hub").get_token()
    if not token or settings.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return named
    if not (token.isascii() and token.isprintable()):
        raise HubUnreachableError("HF_TOKEN, or the login's token, has letters that no token has")
    return {**named, "Authorization": f"Bearer {token}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connection:
    """Requests for one repository."""

    hub: Hub
    repository: str
    session: Any = field(default_factory=_session)

    def fetch(self, path: str, span: _Span | None = None) -> bytes:
        """A span of a file, or a whole answer; what a cut connection gave is kept and continued."""
        got = bytearray()
        wait = self.hub.first_wait_seconds
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._read_into(got, path, span)
            except _PassingError as fault:
                pause = min(max(wait, fault.wait_seconds), _MAX_WAIT_SECONDS)
                if attempt == _ATTEMPTS or _stopped_within(pause, self.hub.stopped):
                    raise HubUnreachableError(f"{fault} ({attempt} attempts)") from fault
                wait *= 2
            else:
                break
        return bytes(got)

    def _read_into(self, got: bytearray, path: str, span: _Span | None) -> None:
        if span is None:
            got.clear()
            with self._stream(path, {}) as answer:
                self._check(answer)
                _take(answer, got, 0, _MAX_LISTING_BYTES, self.hub.stopped)
            return
        start, length = span.offset + len(got), span.length
        ranged = {"Range": f"bytes={start}-{span.offset + length - 1}"}
        with self._stream(path, ranged) as answer:
            self._check(answer)
            _take(answer, got, _lead(answer, start), length, self.hub.stopped)
        if len(got) < length:
            raise _PassingError("the connection was cut")

    @contextmanager
    def _stream(self, path: str, headers: dict[str, str]) -> Iterator[Any]:
        """An open answer; every way to fail on the road is a passing fault."""
        # No compression: the bytes that are counted are those of the file.
        sent = {**_own_headers(), "Accept-Encoding": "identity", **headers}
        faults = _transport_faults(self.session)
        try:
            with self.session.stream(
                "GET",
                self.hub.endpoint + path,
                headers=sent,
                follow_redirects=True,
                timeout=_TIMEOUT_SECONDS,
            ) as answer:
                yield answer
        except faults as fault:
            text = str(fault) or type(fault).__name__
            raise _PassingError(f"{self.hub.endpoint} does not answer: {text}") from fault

    def _check(self, answer: Any) -> None:  # noqa: ANN401 (untyped session)
        status = answer.status_code
        who = self._who(answer)
        if status in _PASSING:
            raise _PassingError(f"{who} answered {status}", _retry_after(answer))
        if status not in {_OK, _PARTIAL}:
            code, words = (_header(answer, f"x-error-{part}") for part in ("code", "message"))
            if who != _THE_HUB and not code:
                raise HubUnreachableError(f"{who} answered {status}")
            self._refuse(status, code, f": {words}" if words else "")

    def _who(self, answer: Any) -> str:  # noqa: ANN401 (untyped session)
        """Whose answer it is: a firewall may let the hub pass, and not where its files are kept."""
        host = answer.url.host
        own = host == urlsplit(self.hub.endpoint).hostname
        return _THE_HUB if own else f"{host}, where the hub sends us,"

    def _refuse(self, status: int, code: str, words: str) -> NoReturn:
        """`words` are the hub's own, after a colon, if it sent any."""
        page = f"{self.hub.endpoint}/{self.repository}"
        if code == "GatedRepo" or (status in _DENIED and code != "RepoNotFound"):
            raise SourceMissingError(
                f"the hub denies access ({status}){words}",
                f"accept its terms at {page}, then set HF_TOKEN or run `hf auth login`",
            )
        if code == "RevisionNotFound":
            raise SourceMissingError(
                "the repository has no such revision",
                f"see {page}/commits/main; a commit is named by all its {_COMMIT_LENGTH} digits",
            )
        if code == "EntryNotFound":
            raise SourceMissingError("the repository has no such file")
        if status == _NOT_FOUND or code == "RepoNotFound":
            raise SourceMissingError(
                "the hub has no such repository, or does not show it without a token",
                f"see {page}; for a private one set HF_TOKEN or run `hf auth login`",
            )
        if status == _NO_SUCH_RANGE:
            raise HubUnreachableError("the file is shorter than the hub's listing says")
        raise HubUnreachableError(f"the hub answered {status}{words}")


def _header(answer: Any, name: str) -> str:  # noqa: ANN401 (as _session)
    """A header of the answer as one short line; empty when there is none."""
    text = "".join(filter(str.isprintable, str(answer.headers.get(name, ""))))
    return text if len(text) <= _MAX_HEADER_TEXT else f"{text[:_MAX_HEADER_TEXT]}…"


def _transport_faults(session: Any) -> tuple[type[Exception], ...]:  # noqa: ANN401 (as _session)
    """What the session raises on the road; its package is not the same in every version."""
    for base in type(session).__mro__:
        package = importlib.import_module(base.__module__.partition(".")[0])
        if hasattr(package, "HTTPError") and hasattr(package, "StreamError"):
            return (package.HTTPError, package.StreamError, OSError)
    return (OSError,)


def _lead(answer: Any, start: int) -> int:  # noqa: ANN401 (as _session)
    """How many bytes of the body lie before those that were asked for."""
    if answer.status_code == _PARTIAL:
        if not str(answer.headers.get("content-range", "")).startswith(f"bytes {start}-"):
            raise HubUnreachableError("the hub sent another range than it was asked for")
        return 0
    # A hub without ranges sends the whole file: its beginning can be read, the rest is too much.
    if start > _MAX_LISTING_BYTES:
        raise HubUnreachableError("the hub does not answer to range requests")
    return start


def _take(answer: Any, got: bytearray, lead: int, length: int, stopped: Event) -> None:  # noqa: ANN401 (as _session)
    """Fill up to `length` bytes and leave the rest of the body unread."""
    # Chunks as they come: with a fixed size, what came before a cut would be lost.
    for chunk in answer.iter_bytes():
        if stopped.is_set():
            raise HubUnreachableError("the transfer was given up")
        got += chunk[lead : lead + length - len(got)]
        lead = max(0, lead - len(chunk))
        if len(got) >= length:
            return


def _retry_after(answer: Any) -> float:  # noqa: ANN401 (as _session)
    """Seconds to wait: a number, or a date that counts from the answer's own (RFC 9110, 10.2.3).

    Without either, `t` of the header RateLimit, as huggingface_hub reads it.
    """
    text = _header(answer, "retry-after")
    window = _RATE_WINDOW.search(_header(answer, "ratelimit"))
    if not text and window:
        return float(window[1])
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        told, until = (parsedate_to_datetime(each) for each in (_header(answer, "date"), text))
        return max(0.0, (until - told).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _cached_tree(hub: Hub, repository: str, revision: str | None) -> tuple[LocalTree, str]:
    """What an earlier download left on disk (huggingface_hub's cache layout)."""
    folder = hub.cache / f"models--{repository.replace('/', '--')}"
    reference = folder / "refs" / (revision or "main")
    commit = revision or ""
    if reference.is_file():
        commit = reference.read_text(encoding="utf-8", errors="replace").strip()[:_COMMIT_LENGTH]
    snapshot = folder / "snapshots" / commit
    if not commit or not snapshot.is_dir():
        raise HubUnreachableError(
            f"HF_HUB_OFFLINE is set, and {hub.cache} does not hold this repository"
        )
    return LocalTree(snapshot), commit
