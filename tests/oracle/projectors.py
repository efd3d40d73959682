"""Asks libmtmd itself what a projector allocates for a picture of any size."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.oracle import llamacpp_build
from tests.oracle.probe import environment

_SOURCE = Path(__file__).resolve().parent / "mtmd" / "projector_probe.cpp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A projector and the pictures that it looks at in one run."""

    path: Path
    width: int
    height: int
    count: int = 1
    gpu: bool = True
    flash_attention: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Bytes on the GPU (weights without padding, and compute buffer) and on the host."""

    gpu: int = 0
    host: int = 0
    error: str = ""


def ask(looks: Iterable[Look]) -> Iterator[tuple[Look, Seen]]:
    """The answer to each question, in order."""
    waiting = list(looks)
    while waiting:
        questions = "".join(json.dumps(_question(look)) + "\n" for look in waiting)
        done = subprocess.run(
            [projector_probe()],
            env=os.environ | environment(1, 89),
            input=questions.encode(),
            capture_output=True,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
        for look, line in zip(waiting, lines, strict=False):
            yield look, _read(json.loads(line))
        waiting = waiting[len(lines) :]
        if waiting:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            yield waiting[0], Seen(error=f"ended with {done.returncode}: {' '.join(last)[:200]}")
            waiting = waiting[1:]


def projector_probe(version: str = llamacpp_build.VERSION) -> Path:
    """The program that asks libmtmd, built if it is not there."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    result = llamacpp_build.folder(version) / f"projector-probe-{digest}"
    if not result.exists():
        binaries = llamacpp_build.server(version).parent
        tree = llamacpp_build.source(version)
        places = ("include", "src", "ggml/include", "ggml/src", "tools/mtmd", "vendor")
        partial = result.with_suffix(".partial")
        subprocess.run(
            [
                *("nice", "c++", "-std=c++20", "-O1", *(f"-I{tree / place}" for place in places)),
                *(str(_SOURCE), "-o", str(partial), f"-L{binaries}", f"-Wl,-rpath,{binaries}"),
                *("-lmtmd", "-lllama", "-lggml", "-lggml-base", "-lggml-cpu"),
            ],
            check=True,
        )
        partial.rename(result)
    return result


def _question(look: Look) -> dict[str, object]:
    return {
        "path": str(look.path),
        "width": look.width,
        "height": look.height,
        "count": look.count,
        "gpu": look.gpu,
        "flash_attention": look.flash_attention,
    }


def _read(answer: dict[str, object]) -> Seen:
    sizes = answer.get("bytes")
    if not isinstance(sizes, dict):
        return Seen(error=str(answer.get("error")))
    return Seen(gpu=sizes.get("CUDA0", 0), host=sizes.get("CPU", 0))
