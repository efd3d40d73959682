"""Headless Chromium, told what to do over a pipe: what a person with a browser would see."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.requires import require_tool

# As root in a container Chromium has no sandbox, and `/dev/shm` may be small there.
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-default-apps", "--mute-audio", "--hide-scrollbars", "--remote-debugging-pipe"),
)


@dataclass(slots=True)
class Page:
    """One open page; `complaints` is what stood in its console, and what it asked the network."""

    to_browser: IO[bytes]
    from_browser: IO[bytes]
    session: str = ""
    complaints: list[str] = field(default_factory=list)
    number: int = 0
    loaded: bool = False

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """Sends one command of the DevTools protocol and gives its result."""
        self.number += 1
        message: dict[str, object] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.to_browser.write(json.dumps(message).encode() + b"\0")
        self.to_browser.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, path: Path, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Opens a file in a window of this size and waits until it is loaded."""
        self.resize(width, height, dark=dark)
        self.loaded = False
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while not self.loaded:
            self._next()

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Gives the window a size, and the page a scheme of colours."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def value(self, expression: str) -> Any:  # noqa: ANN401  Whatever the script gives.
        """What an expression gives in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Presses a key."""
        codes = {"Tab": 9, "Escape": 27, "Enter": 13}
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                     windowsVirtualKeyCode=codes[key])  # fmt: skip

    def point(self, x: float, y: float) -> None:
        """Moves the pointer."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Writes what is seen, or the whole page, as PNG."""
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self.from_browser.read(1)) != b"\0":
            assert byte, "Chromium is gone"
            data += byte
        message: dict[str, Any] = json.loads(data)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self.loaded = True
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(parameters))
            case "Log.entryAdded":
                self.complaints.append(parameters["entry"]["text"])
            case "Network.requestWillBeSent" if not parameters["request"]["url"].startswith(
                ("file:", "data:")
            ):
                self.complaints.append(parameters["request"]["url"])


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Chromium with one empty page, and its own settings in a folder."""
    program = require_tool("chromium")
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()
    # Chromium reads commands from 3 and answers on 4.
    command = f'exec "$0" "$@" 3<&{read_commands} 4>&{write_answers}'
    words = ["bash", "-c", command, program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(
        words, pass_fds=(read_commands, write_answers), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(read_commands)
    os.close(write_answers)
    with os.fdopen(write_commands, "wb") as commands, os.fdopen(read_answers, "rb") as answers:
        page = Page(commands, answers)
        try:
            targets = page.ask("Target.getTargets")["targetInfos"]
            target = next(each["targetId"] for each in targets if each["type"] == "page")
            attached = page.ask("Target.attachToTarget", targetId=target, flatten=True)
            page.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.ask(f"{domain}.enable")
            yield page
        finally:
            process.terminate()
            process.wait(timeout=30)
