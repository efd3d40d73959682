"""Writes tests/truth/llamacpp_families.yaml: what libllama allocates for one model of each family.

    python -m tests.oracle.family_rows

Needs the build of tests/oracle/llamacpp_build.py, and takes a minute.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from compiler.engines.llamacpp.launch.options import Options
from tests.generators import gguf_families
from tests.oracle import cases, model_files, probe
from tests.oracle.llamacpp_build import VERSION
from tests.oracle.probe import Answer, Case

PATH = Path(__file__).resolve().parent.parent / "truth" / "llamacpp_families.yaml"

# Models of the older tables whose families tests/truth/llamacpp_libllama.yaml lacks.
_OTHERS = (
    "command-r7b",
    "exaone-4.0-32b",
    "falcon-h1",
    "gemma-3n-e4b",
    "gemma3n-e4b",
    "gemma4-e4b",
    "granite-4.0-h-tiny",
    "granite-hybrid",
    "gte-modernbert-base",
    "jamba",
    "jamba-1.5-mini",
    "jina-embeddings-v2-base-en",
    "llama-4-scout",
    "mamba-2.8b",
    "minicpm3-4b",
    "nemotron-h",
    "smollm3-3b",
    "t5-v1_1-xxl-encoder",
)
MODELS = (*gguf_families.SHAPES, *_OTHERS)

_HEAD = f"""\
# libllama of 2026-10-01 (llama.cpp 0c1e570, llama-cpp-python {VERSION}) on the models of
# tests/generators and GPUs that are not there: python -m tests.oracle.family_rows writes it.
# model -> rows of [flags, [weights, cache, compute] of each GPU, the same of the host].
# Flags: what differs from cells=8192 slots=1 batch=2048 ubatch=512 on one GPU, flash attention on.
"""


_PLAIN = Options(cells=8192, slots=1, unified=False, batch=2048, ubatch=512, gpu_layers=999, gpus=1)
# What a row names when it differs from _PLAIN.
_NAMED = (
    *("gpus", "cells", "slots", "unified", "ubatch", "gpu_layers", "mode", "sliding_full"),
    *("flash_attention", "memory_map"),
)


def asked_of(layers: int, *, windows: bool) -> Iterator[Options]:
    """The flag sets under which each family is asked about."""
    shared = replace(_PLAIN, cells=32768, slots=4, unified=True)
    yield shared
    yield replace(shared, gpus=2)
    yield replace(_PLAIN, gpu_layers=max(1, layers // 2))
    yield replace(_PLAIN, ubatch=1024, mode="embed")
    if windows:
        yield replace(_PLAIN, gpus=4, sliding_full=True)


def options_of(words: str) -> Options:
    """The options that a row names."""
    named: dict[str, Any] = {}
    for word in words.split():
        key, _, value = word.partition("=")
        kind = type(getattr(_PLAIN, key))
        named[key] = value == "True" if kind is bool else kind(value)
    return replace(_PLAIN, **named)


def _words(options: Options) -> str:
    values = ((name, getattr(options, name)) for name in _NAMED)
    return " ".join(f"{name}={value}" for name, value in values if value != getattr(_PLAIN, name))


def main() -> None:
    """Ask libllama, and write its answers."""
    with tempfile.TemporaryDirectory(prefix="modelc-oracle-") as name:
        lines = [line for model in MODELS for line in _lines(model, Path(name))]
    PATH.write_text(_HEAD + "".join(f"{line}\n" for line in lines), encoding="utf-8")


def _lines(model: str, folder: Path) -> Iterator[str]:
    path = folder / f"{model}.gguf"
    model_files.write_model(model, None, path)
    shape = cases.shape_of(path)
    yield f"{model}:"
    for options in asked_of(shape.layers_in_file, windows=bool(shape.window)):
        case = cases.settled(Case(model=model, options=options), shape)
        for _, answer in probe.ask([case], folder):
            yield _line(case, answer)


def _line(case: Case, answer: Answer) -> str:
    if answer.error:
        raise SystemExit(f"{case.model}: {answer.error}")
    *gpus, host = ([each.weights, each.cache, each.compute] for each in answer.devices)
    return f"- ['{_words(case.options)}', {gpus}, {host}]"


if __name__ == "__main__":
    main()
