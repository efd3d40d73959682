#!/usr/bin/python3
# ruff: noqa: EXE001 - a host gets a copy that is executable
"""Stands in for an engine on a host of a test, under the engine's name and with its command line.

It serves on the address and port that its command line says, tells its version as the engine of its
name does (/etc/stand-in-version says another), answers /health after STAND_IN_SECONDS, and takes
a while to end, as if requests were in flight.
`/facts` says what it was started with, and `/open?path=P&mode=M` whether it can open a file. As the
workers of a real engine, a process of its own runs beside it.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from urllib.parse import parse_qs, urlsplit

VERSIONS = {"llama-server": "version: 9000 (stand-in)", "vllm": "0.33.0"}
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


class Handler(BaseHTTPRequestHandler):
    """Answers what tests ask."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/health":
            ready = time.monotonic() >= READY
            if ready:
                FACTS.setdefault("answered", time.monotonic())
            self._answer(200 if ready else 503, {})
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


def end(_number: int, _frame: FrameType | None) -> None:
    """Ends, after a while and without its worker."""
    time.sleep(ENDING_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    listen, port = (sys.argv[sys.argv.index(flag) + 1] for flag in ("--host", "--port"))
    worker = subprocess.Popen(WORKER)
    print("serving at", port, flush=True)
    ThreadingHTTPServer.address_family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    ThreadingHTTPServer((listen, int(port)), Handler).serve_forever()
