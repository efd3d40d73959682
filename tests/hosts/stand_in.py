#!/usr/bin/python3
# ruff: noqa: EXE001 - a host gets a copy that is executable
"""Stands in for an engine on a host of a test, under the engine's name and with its command line.

It serves on the address and port that its command line says, tells its version as the engine of its
name does (/etc/stand-in-version says another), answers /health after STAND_IN_SECONDS, and takes
a while to end, as if requests were in flight.
It serves the model of its command line, as engines do: `/v1/models`, and a token, a vector or a
rank for whoever shows the key of its environment. STAND_IN_DIES_AFTER seconds after it has become
healthy it ends, and of STAND_IN_PERMILLE thousandths of the cache that was asked for it logs that
it has it. `/facts` says what it was started with, and `/open?path=P&mode=M` whether it can open a
file. As the workers of a real engine, a process of its own runs beside it.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from urllib.parse import parse_qs, urlsplit

VERSIONS = {"llama-server": "version: 9000 (stand-in)", "vllm": "0.33.0"}
# While it is there, no engine of the host becomes healthy.
HOLD = Path("/etc/stand-in-hold")
OTHER_VERSION = Path("/etc/stand-in-version")
if "--version" in sys.argv[1:2]:
    other = OTHER_VERSION.read_text() if OTHER_VERSION.exists() else None
    print(other or VERSIONS[Path(sys.argv[0]).name])
    sys.exit(0)

STARTED = time.monotonic()
READY = STARTED + float(os.environ.get("STAND_IN_SECONDS", "0"))
ENDING_SECONDS = 2
WORKER = ("sleep", "86399")
FACTS: dict[str, object] = {
    "pid": os.getpid(),
    "uid": os.getuid(),
    "folder": str(Path.cwd()),
    "started": STARTED,
    # Hex, as a command line is bytes. The interpreter comes before ours.
    "argv": [word.hex() for word in Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:-1]],
    "environment": {
        os.fsencode(name).hex(): os.fsencode(value).hex() for name, value in os.environ.items()
    },
}


NAMES = ("--served-model-name", "--alias")
MODEL = next((sys.argv[sys.argv.index(flag) + 1] for flag in NAMES if flag in sys.argv), "")
KEY = os.environ.get("VLLM_API_KEY") or os.environ.get("LLAMA_API_KEY")
ANSWERS: dict[str, dict[str, object]] = {
    "/v1/completions": {"choices": [{"text": " a"}]},
    "/v1/embeddings": {"data": [{"embedding": [0.5]}]},
    "/v1/rerank": {"results": [{"index": 0, "relevance_score": 0.5}]},
}


class Handler(BaseHTTPRequestHandler):
    """Answers what tests ask."""

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        asked = json.loads(self.rfile.read(size) or b"{}")
        answer = ANSWERS.get(self.path)
        if KEY and self.headers.get("authorization") != f"Bearer {KEY}":
            self._answer(401, {})
        elif answer is None or asked.get("model") != MODEL:
            self._answer(404, {})
        else:
            self._answer(200, answer)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/health":
            ready = time.monotonic() >= READY and not HOLD.exists()
            if ready:
                FACTS.setdefault("answered", time.monotonic())
            self._answer(200 if ready else 503, {})
        elif url.path == "/v1/models":
            self._answer(200, {"data": [{"id": MODEL}]})
        elif url.path == "/open":
            self._answer(200, {"error": opening(query["path"], query["mode"])})
        else:
            self._answer(200, FACTS)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base says
        """Says nothing: the checks of health would fill the log."""

    def _answer(self, status: int, document: dict[str, object]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())


def opening(path: str, mode: str) -> str | None:
    """The name of the error with which a file does not open; None when it does."""
    try:
        with Path(path).open(mode):
            return None
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def live() -> None:
    """What an engine logs of its cache, and its death."""
    permille = int(os.environ.get("STAND_IN_PERMILLE", "1000"))
    if "--ctx-size" in sys.argv:
        tokens = int(sys.argv[sys.argv.index("--ctx-size") + 1]) * permille // 1000
        print(f"llama_context: n_ctx         = {tokens}", flush=True)
    if "STAND_IN_DIES_AFTER" in os.environ:
        time.sleep(max(0, READY - time.monotonic()) + float(os.environ["STAND_IN_DIES_AFTER"]))
        os._exit(1)


def end(_number: int, _frame: FrameType | None) -> None:
    """Ends, after a while and without its worker."""
    time.sleep(ENDING_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    listen, port = (sys.argv[sys.argv.index(flag) + 1] for flag in ("--host", "--port"))
    worker = subprocess.Popen(WORKER)
    print("serving at", port, flush=True)
    threading.Thread(target=live, daemon=True).start()
    ThreadingHTTPServer.address_family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    ThreadingHTTPServer((listen, int(port)), Handler).serve_forever()
