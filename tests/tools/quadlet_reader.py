"""What podman's generator, and systemd after it, make of container files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.requires import missing_tool
from tests.tools.systemd_reader import read_service

# Where the packages of podman put it; it is not meant for anybody's PATH.
_PLACES = ("/usr/libexec/podman/quadlet", "/usr/lib/podman/quadlet")


@dataclass(frozen=True, slots=True)
class Generated:
    """Services by the names of their files, and what the generator has said."""

    code: int
    said: str
    services: dict[str, str]


def quadlet() -> str:
    """The path of podman's generator, of podman 5 or later, which not every distribution has."""
    for place in (shutil.which("quadlet"), *_PLACES):
        if place is not None and os.access(place, os.X_OK):
            asked = subprocess.run([place, "-version"], check=False, capture_output=True, text=True)
            if asked.returncode == 0 and int(asked.stdout.split(".")[0]) > 4:
                return place
    return missing_tool("quadlet")


def generate(units: Path) -> Generated:
    """Runs the generator over a folder as systemd does, but for the folders."""
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / order for order in ("normal", "early", "late")]
        for folder in folders:
            folder.mkdir()
        result = subprocess.run(
            [quadlet(), "-no-kmsg-log", *map(str, folders)],
            capture_output=True,
            check=False,
            env={"QUADLET_UNIT_DIRS": str(units), "PATH": os.environ["PATH"]},
            text=True,
        )
        found = sorted(Path(name).rglob("*.service"))
        services = {path.name: path.read_text(encoding="utf-8") for path in found}
    return Generated(result.returncode, result.stderr, services)


def read_podman(lines: str, image: str = "example.org/image") -> tuple[list[str], list[str]]:
    """The command line that starts a container: what podman reads, and what the engine does."""
    with tempfile.TemporaryDirectory() as name:
        text = f"[Container]\nImage={image}\n{lines}\n"
        (Path(name) / "test.container").write_text(text, encoding="utf-8", newline="")
        made = generate(Path(name))
    assert made.code == 0, made.said
    return start_of(made.services, "test.service", image)


def start_of(services: Mapping[str, str], name: str, image: str) -> tuple[list[str], list[str]]:
    """The words of a generated service's `ExecStart=`, before and after the image."""
    starts = re.findall(r"^ExecStart=.*$", services[name], re.MULTILINE)
    assert len(starts) == 1, starts
    argv = [_expanded(word) for word in read_service(starts[0]).argv]
    at = argv.index(image)
    return argv[:at], argv[at + 1 :]


def variables(podman: list[str]) -> dict[str, str]:
    """What `podman run` is told to put into the container's environment."""
    pairs = (value for flag, value in pairwise(podman) if flag == "--env")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _expanded(word: str) -> str:
    """A word as systemd hands it to a process, where no variable may be left in it."""
    assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", word), "a lone `$` is left"
    return word.replace("$$", "$")
