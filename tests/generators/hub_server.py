"""A model hub on loopback: the parts of the hub's protocol that reading headers needs.

Large files are redirected to another host name, as the hub does, so that a token sent there shows.
Faults are played once each, in order, for the paths they are given for.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE_BYTES = 4096
"""Files from this size on are kept in LFS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens instead of an answer: a status, a body cut after some bytes, a delay."""

    status: int = 0
    body: bytes = b"no"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    delay_seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Seen:
    """One request as it came in."""

    host: str
    path: str
    range: str | None
    token: str | None
    sent_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class HubServer:
    """A running hub with repositories that are folders."""

    repositories: dict[str, Path] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    """By the last part of the path (`config.json`, or a repository's name for its listing)."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Repositories of old names by what they are called now."""
    prefix: str = ""
    """Where the hub begins on this server, `/hub`: a mirror among other things."""
    sizes: bool = True
    """Whether the listing says the sizes of files; only the tree does else."""
    ranges: bool = True
    seen: list[Seen] = field(default_factory=list)
    port: int = 0

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def sent_bytes(self) -> int:
        """Body bytes sent so far."""
        return sum(request.sent_bytes for request in self.seen)


@contextmanager
def serve() -> Iterator[HubServer]:
    """A hub that runs as long as the block does."""
    hub = HubServer()

    class Handler(_Handler):
        state = hub

    with _QuietServer(("127.0.0.1", 0), Handler) as server:
        hub.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave in the middle are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    state: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as inherited)
        """Quiet."""

    def do_GET(self) -> None:
        """Listing, file, or the large file behind a redirect."""
        path = unquote(urlsplit(self.path).path)
        seen = Seen(
            host=self.headers["Host"].split(":")[0],
            path=path,
            range=self.headers["Range"],
            token=self.headers["Authorization"],
        )
        self.state.seen.append(seen)
        waiting = self.state.faults.get(path.rsplit("/", 1)[-1], [])
        fault = waiting.pop(0) if waiting else Fault()
        time.sleep(fault.delay_seconds)
        if path.startswith("/cdn/"):
            path = f"{self.state.prefix}{path}"
        inside, path = path.startswith(self.state.prefix), path.removeprefix(self.state.prefix)
        old = next((name for name in self.state.renamed if f"/{name}" in path), None)
        if fault.status:
            self._answer(fault.status, fault.body, fault.headers)
        elif not inside:
            self._answer(404, b"", {})
        elif old is not None:
            target = self.path.replace(old, self.state.renamed[old], 1)
            self._answer(307, b"", {"Location": target})
        elif path.startswith("/api/models/"):
            self._listing(path.removeprefix("/api/models/"), fault)
        elif path.startswith("/cdn/"):
            self._file(path.removeprefix("/cdn/"), seen, fault)
        else:
            self._resolve(path.removeprefix("/"), seen, fault)

    def _listing(self, rest: str, fault: Fault) -> None:
        repository, _, commit = rest.partition("/tree/")
        if commit == COMMIT:
            self._tree(self.state.repositories[repository])
            return
        repository, _, revision = rest.partition("/revision/")
        folder = self.state.repositories.get(repository)
        if folder is None:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in {"", "main", COMMIT}:
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            siblings = [_sibling(folder, path) for path in files]
            if not self.state.sizes:
                siblings = [{"rfilename": each["rfilename"]} for each in siblings]
            self._answer(200, json.dumps({"sha": COMMIT, "siblings": siblings}).encode(), {}, fault)

    def _tree(self, folder: Path) -> None:
        entries: list[dict[str, Any]] = []
        for path in sorted(folder.rglob("*")):
            known: dict[str, Any] = _sibling(folder, path) if path.is_file() else {"size": 0}
            large = known.get("lfs")
            entry = {"path": path.relative_to(folder).as_posix(), "size": known["size"]}
            if large:
                entry["lfs"] = {"oid": large["sha256"], "size": large["size"]}
            entries.append({**entry, "type": "file" if path.is_file() else "directory"})
        self._answer(200, json.dumps(entries).encode(), {})

    def _resolve(self, rest: str, seen: Seen, fault: Fault) -> None:
        repository, _, tail = rest.partition("/resolve/")
        _, _, name = tail.partition("/")
        folder = self.state.repositories.get(repository)
        if folder is None or not (folder / name).is_file():
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif (folder / name).stat().st_size >= LARGE_BYTES:
            place = f"http://localhost:{self.state.port}/cdn/{repository}/{name}"
            self._answer(
                302, b"", {"Location": place, "X-Linked-Etag": f'"{_digest(folder / name)}"'}
            )
        else:
            self._file(f"{repository}/{name}", seen, fault)

    def _file(self, rest: str, seen: Seen, fault: Fault) -> None:
        owner, name, rest = rest.split("/", 2)
        path = self.state.repositories[f"{owner}/{name}"] / rest
        size = path.stat().st_size
        status, start, end, headers = 200, 0, size, {"ETag": f'"{size}"'}
        if seen.range and self.state.ranges:
            first, last = seen.range.removeprefix("bytes=").split("-")
            status, start, end = 206, int(first), min(size, int(last) + 1)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        with path.open("rb") as file:
            file.seek(start)
            body = file.read(min(end - start, 64 << 20))
        seen.sent_bytes = len(body)
        self._answer(status, body, headers, fault)

    def _answer(
        self, status: int, body: bytes, headers: Mapping[str, str], fault: Fault | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = fault.cut_after if fault else None
        try:
            self.wfile.write(body[:cut])
        except OSError:  # The client has read enough and left.
            self.close_connection = True
        if cut is not None:
            self.close_connection = True


def _sibling(folder: Path, path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    entry: dict[str, Any] = {"rfilename": path.relative_to(folder).as_posix(), "size": size}
    if size >= LARGE_BYTES:
        entry["lfs"] = {"sha256": _digest(path), "size": size, "pointerSize": 134}
    return entry


def _digest(path: Path) -> str:
    """Stands for the digest: the files of the tests are holes of many gigabytes."""
    return hashlib.sha256(path.name.encode()).hexdigest()
