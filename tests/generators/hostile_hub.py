"""A hub on loopback that answers with whatever a seed says, down to the bytes of the protocol.

`hostile_hub` gives the one that runs in this process; `attack_hub` writes a repository's answers
into it. What the hub is asked for decides nothing: each path has one answer, given every time.
"""

from __future__ import annotations

import gzip
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from threading import Event
from typing import Any
from unittest import mock

from tests.generators.hostile_values import (
    TEXTS,
    hostile_value,
    mutated_bytes,
    mutated_text,
    mutated_tree,
)
from tests.generators.models import (
    llama_tensors,
    llama_values,
    qwen3_config,
    qwen3_tensors,
    safetensors_header,
    write_gguf,
)

TOKEN = "hf_not-to-be-seen"  # noqa: S105 (nobody's)
"""The token that is sent to the hub; nothing that modelc says may have it."""
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_STATUSES = (
    *(100, 101, 103, 199, 200, 201, 204, 205, 206, 226, 300, 304, 400, 401, 402, 403, 404, 405),
    *(408, 409, 410, 413, 416, 418, 425, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 511),
    *(520, 599, 600, 999, 0, -1, 20, 2000, "abc", ""),
)
_CODES = ("GatedRepo", "RepoNotFound", "RevisionNotFound", "EntryNotFound", "x" * 5000, "\x1b[2J")
_PLACES = (
    *("", "/", "//", "///x", "?", "#", "http://", "http://[", "http://[::1", "ftp://x/y", "x:y:z"),
    *(
        "file:///etc/passwd",
        "javascript:x",
        "data:,x",
        "http://127.0.0.1:1/",
        "http://127.0.0.1:0/",
    ),
    *("http://127.0.0.1:99999/", "http://user:pass@127.0.0.1:1/", "//127.0.0.1:1/x", "\x1b[31m"),
    *("http://nowhere.invalid/", "http://\xe9/", "http://a b/", "/" + "x" * 70_000, "https://x:y"),
)
_WAITS = (
    "0",
    "-1",
    "1e9",
    "9" * 400,
    "soon",
    "Wed, 21 Oct 2099 07:28:00 GMT",
    "\xff",
    "0.5",
    "inf",
)
_RANGES = ("", "bytes", "bytes */0", "bytes 0-0/1", "bytes 5-9/20", "bytes 9-5/x", "bytes -", "x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The raw bytes of an answer, in parts with a pause between them."""

    parts: tuple[bytes, ...]
    pause_seconds: float = 0.0
    endless: bytes = b""
    """Sent again and again after the parts."""
    reset: bool = False
    """Whether the connection ends with a reset."""


@dataclass(slots=True, kw_only=True)
class HostileHub:
    """A running hub; its answers by repository and by the last part of the path."""

    port: int
    answers: dict[str, dict[str, Answer]] = field(default_factory=dict)


@cache
def hostile_hub() -> HostileHub:
    """The hub of this process."""
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    hub = HostileHub(port=server.getsockname()[1])
    threading.Thread(target=_accept, args=(server, hub), daemon=True).start()
    return hub


@contextmanager
def in_haste() -> Iterator[None]:
    """Waits on the hub are a small part of what they are; how often it is tried stays the same."""
    place = "compiler.resolve.connection"

    def stopped_within(seconds: float, stopped: Event) -> bool:
        return stopped.wait(seconds / 100)

    with (
        mock.patch(f"{place}._stopped_within", stopped_within),
        mock.patch(f"{place}._TIMEOUT_SECONDS", 0.2),
        mock.patch(f"{place}._PATIENCE_SECONDS", 0.5),
        mock.patch(f"{place}._TOLD_SECONDS", 0.1),
        mock.patch(f"{place}._DEADLINE_SECONDS", 3.0),
    ):
        yield


def attack_hub(dice: random.Random, folder: Path) -> str:
    """Writes a repository's answers into the hub; the source that asks for them."""
    name = f"org/r{dice.getrandbits(48):x}"
    files = _files(dice, folder)
    listing = _listing(dice, files)
    answers = {name.split("/")[1]: _whole(listing)} | {
        file.rsplit("/", 1)[-1]: _whole(raw) for file, raw in files.items()
    }
    for path in dice.sample(sorted(answers), min(len(answers), dice.choice((0, 1, 1, 2)))):
        answers[path] = _answer(dice, listing if path in name else files.get(path, b"{}"))
    hostile_hub().answers.clear()
    hostile_hub().answers[name] = answers
    return name + dice.choice(("", "", "", "", ":Q4_K_M", "@main", f"@{_COMMIT}"))


def _files(dice: random.Random, folder: Path) -> dict[str, bytes]:
    """What the repository holds, some of it damaged."""
    if dice.random() < 0.4:
        write_gguf(folder / "h.gguf", llama_values(), llama_tensors())
        raw = (folder / "h.gguf").read_bytes()[: 1 << 20]
        (folder / "h.gguf").unlink()
        files = {"M-Q4_K_M.gguf": raw}
    else:
        header, size = safetensors_header(qwen3_tensors())
        files = {
            "config.json": json.dumps(qwen3_config()).encode(),
            "model.safetensors": header + bytes(size),
            "tokenizer.json": b"{}",
        }
    for name in dice.sample(sorted(files), dice.choice((0, 0, 1))):
        if name.endswith(".json"):
            tree = mutated_tree(dice, json.loads(files[name]) or {"a": 0}, hostile_value)
            files[name] = json.dumps(tree).encode("utf-8", "replace")
        else:
            files[name] = mutated_bytes(dice, files[name][:3000]) + files[name][3000:]
    return files


def _listing(dice: random.Random, files: dict[str, bytes]) -> bytes:
    siblings: list[dict[str, Any]] = [
        {"rfilename": name, "size": len(raw)} for name, raw in files.items()
    ]
    document: Any = {"sha": _COMMIT, "id": "org/x", "siblings": siblings, "private": False}
    match dice.randrange(10):
        case 0 | 1:
            document = mutated_tree(dice, document, hostile_value)
        case 2:
            return mutated_text(dice, json.dumps(document)).encode("utf-8", "replace")
        case 3:
            return mutated_bytes(dice, json.dumps(document).encode())
        case 4:
            # More files than any model has, of each kind that is read.
            pattern = dice.choice(
                ("model-{}-of-20000.safetensors", "x{}.safetensors", "a{}.json", "m-{}.gguf")
            )
            siblings += [{"rfilename": pattern.format(n), "size": 9} for n in range(20_000)]
        case 5:
            siblings += [{"rfilename": str(dice.choice(TEXTS)), "size": 5} for _ in range(9)]
        case 6:
            for each in siblings:
                each["size"] = dice.choice((0, 1, 2**31, 2**53, 2**63, 2**64, 10**30, -1, None))
        case 7:
            return b"[" * dice.choice((10, 100_000)) + b"]" * dice.choice((0, 100_000))
        case _:
            pass
    return json.dumps(document).encode("utf-8", "replace")


def _head(status: object, headers: list[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _whole(body: bytes) -> Answer:
    """An honest answer of a hub without ranges."""
    return Answer(parts=(_head(200, [("Content-Length", str(len(body)))]), body))


def _answer(dice: random.Random, body: bytes) -> Answer:
    length = ("Content-Length", str(len(body)))
    match dice.randrange(12):
        case 0:
            return Answer(parts=(_head(dice.choice(_STATUSES), [*_garbage(dice), length]), body))
        case 1:
            place = dice.choice((*_PLACES, "/loop", "/loop"))
            status = dice.choice((301, 302, 303, 307, 308))
            return Answer(parts=(_head(status, [("Location", place), ("Content-Length", "0")]),))
        case 2:
            wrong = dice.choice(("-1", "x", "", "0", "1", "9" * 30, str(len(body) * 2), "1, 2"))
            return Answer(parts=(_head(200, [("Content-Length", wrong)]), body))
        case 3:
            chunks = dice.choice(
                (b"zz\r\n", b"ffffffffffffffff\r\n", b"-5\r\nx", b"5\r\nab", b"0\r\n")
            )
            return Answer(parts=(_head(200, [("Transfer-Encoding", "chunked")]), chunks))
        case 4:
            coding = dice.choice(("gzip", "deflate", "br", "zstd", "x", "gzip, gzip"))
            packed = dice.choice((body, gzip.compress(body), gzip.compress(bytes(64 << 20))))
            size = ("Content-Length", str(len(packed)))
            return Answer(parts=(_head(200, [("Content-Encoding", coding), size]), packed))
        case 5:
            ranges = ("Content-Range", dice.choice(_RANGES))
            return Answer(parts=(_head(206, [ranges, length]), body))
        case 6:
            return Answer(parts=(dice.choice(_PROTOCOLS), body))
        case 7:
            return Answer(parts=(b"HTTP/1.1 200 OK\r\n",), endless=dice.choice(_ENDLESS))
        case 8:
            # A byte now and then: of the headers, or of the body.
            lead = dice.choice((b"", _head(200, [length])))
            return Answer(parts=(lead,), endless=b" ", pause_seconds=0.05)
        case 9:
            cut = dice.randrange(len(body) + 1)
            return Answer(parts=(_head(200, [length]), body[:cut]), reset=dice.random() < 0.5)
        case 10:
            return Answer(
                parts=(), pause_seconds=dice.choice((0.0, 2.0)), reset=dice.random() < 0.5
            )
        case _:
            return Answer(parts=(_head(200, [length, *_garbage(dice)]), mutated_bytes(dice, body)))


_PROTOCOLS = (
    *(b"", b"\r\n\r\n", b"\x00" * 100, b"HTTP/0.9\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n", b"hello"),
    *(
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"<html>captive portal</html>",
        b"SSH-2.0-x",
    ),
    *(
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"HTTP/1.1 200 OK\r\nx\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: \r\n\r\n",
    ),
    b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
)
_ENDLESS = (b"A: b\r\n", b" folded\r\n", b"x" * 999, b"\r\nHTTP/1.1 103 Early\r\n")


def _garbage(dice: random.Random) -> list[tuple[str, str]]:
    """Headers that modelc reads, with values that no hub sends."""
    headers = [
        ("X-Error-Code", dice.choice(_CODES)),
        (
            "X-Error-Message",
            dice.choice((f"you sent {TOKEN}", "\x1b]0;x\x07", "\xa0" * 9, "é" * 999)),
        ),
        ("Retry-After", dice.choice(_WAITS)),
        ("RateLimit", dice.choice(('"api";r=0;t=12', ";t=" + "9" * 400, ";t=", "\x00"))),
        ("Date", dice.choice(_WAITS)),
        ("ETag", '"' * dice.randrange(3)),
    ]
    return dice.sample(headers, dice.randrange(len(headers)))


def _accept(server: socket.socket, hub: HostileHub) -> None:
    while True:
        client, _ = server.accept()
        threading.Thread(target=partial(_serve, client, hub), daemon=True).start()


def _serve(client: socket.socket, hub: HostileHub) -> None:
    with suppress(OSError), client:
        asked = client.recv(65536).split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        path = (asked[1] if len(asked) > 1 else "/").split("?")[0]
        answer = _find(hub, path)
        for part in answer.parts:
            client.sendall(part)
        time.sleep(answer.pause_seconds)
        # As long as somebody listens; what was left by an attack must not slow down the next ones.
        ends = time.monotonic() + 10
        while answer.endless and time.monotonic() < ends:
            client.sendall(answer.endless)
            time.sleep(max(answer.pause_seconds, 0.002))
        if answer.reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _find(hub: HostileHub, path: str) -> Answer:
    if path == "/loop":
        return Answer(parts=(_head(302, [("Location", "/loop"), ("Content-Length", "0")]),))
    for name, answers in hub.answers.items():
        if name in path:
            rest = path.partition("/resolve/")[2] or name
            return answers.get(rest.rsplit("/", 1)[-1], _whole(b"{}"))
    return Answer(parts=(_head(404, [("Content-Length", "0")]),))
