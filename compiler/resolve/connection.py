"""Requests to the hub: tried again when a fault passes, and given up when an answer does not come.

Goes through huggingface_hub for its session (proxies, certificates) and its token (HF_TOKEN or its
login).
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from compiler import __version__
from compiler.ir.credentials import without_secrets
from compiler.ir.progress import WAITING, Reporter, Step, silent
from compiler.resolve.tree import SourceMissingError

# A listing of the largest repositories (tens of thousands of files) is some megabytes.
_MAX_LISTING_BYTES = 64 << 20
_ATTEMPTS = 5
# No further attempt is begun when the ones before it took so long together.
_PATIENCE_SECONDS = 50.0
_MAX_WAIT_SECONDS = 30.0
# Until the first byte of a body, and between two parts of it.
_TIMEOUT_SECONDS = 20.0
# A body that is slower than this, after the time above, does not come.
_LEAST_BYTES_A_SECOND = 16 << 10
# Longer than any listing or header takes on a line that is worth waiting for.
_DEADLINE_SECONDS = 600.0
# Longer than nearly every answer takes; whoever waits longer is told.
_TOLD_SECONDS = 5.0
_PARTIAL, _OK = 206, 200
_DENIED, _NOT_FOUND, _NO_SUCH_RANGE = {401, 403}, 404, 416
# Of its own faults a server (or the network before it, with 52x) gets over all but these two.
_PASSING = {408, 425, 429, *range(500, 600)} - {501, 505}
_COMMIT_LENGTH = 40
_THE_HUB = "the hub"
_RATE_WINDOW = re.compile(r";\s*t=([0-9]+)")
_MAX_HEADER_TEXT = 300


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
    report: Reporter = field(default=silent, compare=False)
    """Told each wait, by the thread that waits."""


class Span(NamedTuple):
    """A part of a file."""

    offset: int
    length: int


class _PassingError(Exception):
    """Worth another try; `wait_seconds` is what the hub asked for."""

    def __init__(self, text: str, wait_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.wait_seconds = wait_seconds


def _rest(span: Span | None, n_bytes: int) -> Span | None:
    """What is still to be read of a span."""
    return span and Span(span.offset + n_bytes, span.length - n_bytes)


def _counted(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def _stopped_within(seconds: float, stopped: Event) -> bool:
    return stopped.wait(seconds)


def _session() -> Any:  # noqa: ANN401 (untyped: an httpx client of one generation or another)
    return importlib.import_module("huggingface_hub.utils").get_session()


def without_token(text: str) -> str:
    """The text without the token in use, by its value: a hub's may look like any other word."""
    # Without this package nobody has read a token yet.
    known = sys.modules.get("huggingface_hub")
    token = known.get_token() if known else None
    return without_secrets(text.replace(token, "(secret)") if token else text)


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
class Connection:
    """Requests for one repository."""

    hub: Hub
    repository: str
    session: Any = field(default_factory=_session)

    def fetch(self, path: str, span: Span | None = None) -> bytes:
        """A span of a file, or a whole answer; what a cut connection gave is kept and continued."""
        got = bytearray()
        wait = self.hub.first_wait_seconds
        spent = 0.0
        for attempt in range(1, _ATTEMPTS + 1):
            begun = monotonic()
            try:
                self._attempt(got, path, span)
            except _PassingError as fault:
                spent += monotonic() - begun
                last = attempt == _ATTEMPTS or spent > _PATIENCE_SECONDS
                pause = min(max(wait, fault.wait_seconds), _MAX_WAIT_SECONDS)
                if not last:
                    self._tell(f"{fault}; attempt {attempt + 1} of {_ATTEMPTS} in {pause:.3g} s.")
                if last or _stopped_within(pause, self.hub.stopped):
                    raise HubUnreachableError(f"{fault} ({_counted(attempt)})") from fault
                wait *= 2
            else:
                break
        return bytes(got)

    def _tell(self, line: str) -> None:
        line = without_token(line)
        self.hub.report(Step(stage=WAITING, item=f"{self.repository}: {line}"))

    def _attempt(self, got: bytearray, path: str, span: Span | None) -> None:
        """One request, in a thread of its own: one whose headers never end can only be left."""
        if span is None:
            got.clear()
        fresh = bytearray()
        answered = Event()
        ended: SimpleQueue[BaseException | None] = SimpleQueue()

        def work() -> None:
            fault: BaseException | None = None
            try:
                self._read_into(fresh, path, _rest(span, len(got)), answered)
            except BaseException as raised:  # noqa: BLE001 (it is raised where it is waited for)
                fault = raised
            ended.put(fault)
            answered.set()

        Thread(target=work, daemon=True).start()
        if not answered.wait(_TIMEOUT_SECONDS):
            raise _PassingError(f"{self.hub.endpoint} does not answer")
        fault = ended.get()
        got += fresh
        if fault is not None:
            raise fault
        if span is not None and len(got) < span.length:
            raise _PassingError("the connection was cut")

    def _read_into(self, fresh: bytearray, path: str, span: Span | None, answered: Event) -> None:
        ranged = {}
        if span is not None:
            ranged = {"Range": f"bytes={span.offset}-{span.offset + span.length - 1}"}
        with self._stream(path, ranged) as answer:
            answered.set()
            self._check(answer)
            lead = 0 if span is None else _lead(answer, span.offset)
            length = _MAX_LISTING_BYTES if span is None else span.length
            self._take(answer, fresh, lead, length)

    def _take(self, answer: Any, fresh: bytearray, lead: int, length: int) -> None:  # noqa: ANN401 (as _session)
        """Fill up to `length` bytes and leave the rest of the body unread."""
        begun, n_bytes, told = monotonic(), 0, False
        # Chunks as they come: with a fixed size, what came before a cut would be lost.
        for chunk in answer.iter_bytes():
            if self.hub.stopped.is_set():
                raise HubUnreachableError("the transfer was given up")
            n_bytes += len(chunk)
            fresh += chunk[lead : lead + length - len(fresh)]
            lead = max(0, lead - len(chunk))
            if len(fresh) >= length:
                return
            passed = monotonic() - begun
            if passed > min(_TIMEOUT_SECONDS + n_bytes / _LEAST_BYTES_A_SECOND, _DEADLINE_SECONDS):
                raise _PassingError(f"{self._who(answer)} sent {n_bytes:,} bytes in {passed:.0f} s")
            if passed > _TOLD_SECONDS and not told:
                told = True
                self._tell(f"{self._who(answer)} is slow: {n_bytes:,} bytes in {passed:.0f} s.")

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
