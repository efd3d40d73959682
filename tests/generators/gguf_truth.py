"""GGUF models as the rows of late 2026 describe them: header and tensors of public files."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from compiler.ir.facts import ModelFacts
from tests.generators.gguf_draft import ALIGNMENT, size_of
from tests.generators.gguf_shapes import groups_of

PATH = Path(__file__).resolve().parent.parent / "truth" / "llamacpp_logs_2.yaml"
_BLOCKS = re.compile(r"blk\.\{([0-9,-]+)\}\.(.+)")


@lru_cache(maxsize=1)
def models() -> dict[str, Any]:
    """Every model of the file, by name."""
    found: dict[str, Any] = YAML(typ="safe").load(PATH)["models"]
    return found


@lru_cache(maxsize=64)
def facts(name: str) -> ModelFacts:
    """What the resolver would read of a model."""
    model = models()[name]
    tensors = [
        (full, tuple(ne), dtype)
        for key, (dtype, *ne) in model["tensors"].items()
        for full in _names(key)
    ]
    header = model["header"]
    return ModelFacts(
        format="gguf",
        architecture=model["arch"],
        task="generate",
        pooling=None,
        parameters=sum(size_of("i8", ne) for _, ne, _ in tensors),
        layers=header["block_count"],
        vocabulary=header["vocab_size"],
        position_limit=header["context_length"],
        quantization="mixed",
        header=dict(header),
        tensors=groups_of(tensors),
        sequential=True,
        alignment=ALIGNMENT,
    )


def _names(key: str) -> list[str]:
    match = _BLOCKS.fullmatch(key)
    if match is None:
        return [key]
    numbers: list[int] = []
    for part in match[1].split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return [f"blk.{number}.{match[2]}" for number in numbers]
