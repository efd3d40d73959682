"""Asks the parser of some llama.cpp build, old or new, what it understands of a command line.

    python -m tests.oracle.llamacpp_parser BUILD

Nothing of that llama.cpp is built but its parser and what it is linked with, without optimization:
one to three minutes a build.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.oracle import llamacpp_source
from tests.oracle.llamacpp_build import JOBS, folder, tool

HERE = Path(__file__).resolve().parent / "parser"
_OFF = (
    *("GGML_NATIVE", "GGML_OPENMP", "GGML_LLAMAFILE", "GGML_CPU_REPACK", "GGML_CCACHE"),
    *("GGML_AVX", "GGML_AVX2", "GGML_FMA", "GGML_F16C", "GGML_BMI2", "GGML_SSE42"),
    *("LLAMA_CURL", "LLAMA_OPENSSL", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES"),
    *("LLAMA_BUILD_TOOLS", "LLAMA_BUILD_SERVER", "LLAMA_BUILD_APP", "LLAMA_BUILD_UI"),
)
OPTIONS: dict[str, str | Path] = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_C_FLAGS_RELEASE": "-O0",
    "CMAKE_CXX_FLAGS_RELEASE": "-O0",
    "LLAMA_BUILD_COMMON": "ON",
    "LLAMA_BUILD_NUMBER": "0",
    "LLAMA_BUILD_COMMIT": "unknown",
    **dict.fromkeys(_OFF, "OFF"),
}
_SECONDS = 60
# What llama-server of late 2025 does with one slot unless its cache is unified.
_FOUR_SLOTS = "setting n_parallel = 4 and kv_unified = true (add -kvu to disable this)"


class ParserError(Exception):
    """llama-server would not start with this command line; the text is its complaint."""


def understood(build: int, argv: Sequence[str], gpus: int) -> dict[str, Any]:
    """The fields of `common_params` after a build has read a command line, as it names them."""
    done = subprocess.run(
        [probe(build), *argv[1:]],
        # Neither a user's own config.ini nor an environment of llama.cpp is to be read.
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PROBE_GPUS": str(gpus)},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith('{"n_ctx"')]
    if done.returncode or not answers:
        raise ParserError(done.stdout + done.stderr)
    answer: dict[str, Any] = json.loads(answers[-1])
    return answer


def makes_four_slots(build: int) -> bool:
    """Whether a build's llama-server turns one slot into four."""
    server = llamacpp_source.source(build) / "tools" / "server"
    texts = (path.read_text(encoding="utf-8") for path in sorted(server.glob("*.cpp")))
    return any(_FOUR_SLOTS in text for text in texts)


@cache
def probe(build: int) -> Path:
    """The parser of a build as a program; once built, only what changed is built again."""
    version = f"b{build}"
    home = folder(version) / "parser"
    tools = {name: tool(name, version) for name in ("cmake", "ninja")}
    options = {"LLAMA_SOURCE": llamacpp_source.source(build), **OPTIONS}
    options["CMAKE_MAKE_PROGRAM"] = tools["ninja"]
    words = [f"-D{name}={value}" for name, value in options.items()]
    _run(tools["cmake"], "-G", "Ninja", "-S", _kept_source(version), "-B", home, *words)
    _run("nice", tools["cmake"], "--build", home, "--target", "parser-probe", "-j", str(JOBS))
    return home / "parser-probe"


def _kept_source(version: str) -> Path:
    """Our part of the program, beside the build: a build belongs to one path of its sources.

    A file that has not changed is left alone, so that nothing is built again.
    """
    kept = folder(version) / "parser-source"
    kept.mkdir(parents=True, exist_ok=True)
    for file in HERE.iterdir():
        copy = kept / file.name
        if not copy.exists() or copy.read_bytes() != file.read_bytes():
            shutil.copyfile(file, copy)
    return kept


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


if __name__ == "__main__":
    print(probe(int(sys.argv[1])))
