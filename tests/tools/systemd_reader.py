"""What systemd's own parsers make of a text, asked without a systemd that runs the machine."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.requires import require_tool

MANAGER = "/lib/systemd/systemd"
GENERATOR = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator"

# The manager refuses to be tried out by root.
_NOBODY = 65534

_ESCAPES = {
    **{sign: sign for sign in "\\\"'$`"},
    **dict(zip("abfnrtvs", "\a\b\f\n\r\t\v ", strict=True)),
}
_ESCAPE = re.compile(r"\\(?:([0-7]{3})|x([0-9a-f]{2})|(.))", re.DOTALL)
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^ "]+)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ReadService:
    """A service as the manager has understood it."""

    argv: list[str]
    environment: dict[str, str]


def read_service(lines: str) -> ReadService:
    """Loads a unit with these lines in [Service] and reads the manager's dump of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for target in ("sysinit", "basic", "shutdown", "multi-user"):
            (folder / f"{target}.target").write_text("[Unit]\nDescription=stub\n")
        unit = f"[Unit]\nDescription=test\n[Service]\n{lines}\nEnvironment=LAST=\n"
        (folder / "test.service").write_text(unit, encoding="utf-8", newline="")
        folder.chmod(0o755)
        dump = _run_manager(folder)
    service = dump.partition("-> Unit test.service:\n")[2].partition("\t-> Unit ")[0]
    command = re.search(r"\n\t+Command Line: (.*)\n", service)
    assert command, dump
    return ReadService(argv=split_words(command[1]), environment=_environment(service))


def read_env_file(line: Callable[[str, str], str], variables: dict[str, str]) -> dict[str, str]:
    """Lets systemd read a file of assignments that `line` has written.

    The generator for environment.d reads with the parser of EnvironmentFile=. Afterwards it
    expands variables, where a doubled `$` is one `$`, and leaves out what is empty.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "environment.d" / "test.conf"
        file.parent.mkdir()
        lines = [line(name, f"+{value}".replace("$", "$$")) for name, value in variables.items()]
        file.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="")
        environ = {"XDG_CONFIG_HOME": folder, "HOME": folder, "LC_ALL": "C.UTF-8"}
        command = [require_tool(GENERATOR)]
        result = subprocess.run(command, capture_output=True, check=True, env=environ)
    # A value with a line end in it stays on one line here, as an escape.
    pairs = (line.partition("=") for line in result.stdout.decode().split("\n")[:-1])
    read = {name: "".join(split_words(value)) for name, _, value in pairs}
    return {name: read[name].removeprefix("+") for name in variables}


def split_words(line: str) -> list[str]:
    """The words of a line that systemd has written with its quotes and escapes."""
    return [
        _unescaped(quoted) if not plain else _unescaped(plain)
        for quoted, plain in _WORD.findall(line)
    ]


def _run_manager(folder: Path) -> str:
    environ = {
        "SYSTEMD_UNIT_PATH": str(folder),
        "SYSTEMD_LOG_TARGET": "console",
        "XDG_RUNTIME_DIR": str(folder),
    }
    user = _NOBODY if os.geteuid() == 0 else None
    command = [require_tool(MANAGER), "--system", "--test", "--unit=test.service"]
    result = subprocess.run(
        command, capture_output=True, check=False, env=environ, user=user, group=user
    )
    return result.stdout.decode() + result.stderr.decode(errors="replace")


def _environment(service: str) -> dict[str, str]:
    """Values are dumped as they are, line ends too: each ends where the next line starts."""
    parts = re.split(r"\n\t+Environment: (V\d+|LAST)=", service)
    return dict(zip(parts[1:-2:2], parts[2:-1:2], strict=True))


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        octal, hexadecimal, sign = match.groups()
        if sign:
            return _ESCAPES[sign]
        return chr(int(octal, 8) if octal else int(hexadecimal, 16))

    return _ESCAPE.sub(one, text)
