"""Models that draft themselves: shapes of the generators, and a layer for next tokens behind.

    python -m tests.oracle.next_tokens > tests/truth/llamacpp_next_tokens.yaml

asks libllama what the model and its second context take.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from compiler.engines.llamacpp.launch.options import Moves, NextOptions, Options
from compiler.engines.llamacpp.model.shape import Shape
from compiler.resolve.gguf import read_gguf
from compiler.resolve.ranges import LocalFile
from tests.generators import gguf_truth
from tests.generators.models import GgufTensorSpec, write_gguf
from tests.oracle import model_files

MODELS = ("glm45-air", "qwen3-next-80b", "qwen35-27b", "qwen35-35b-a3b", "step-3.7-flash")
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"cells": 32768, "ubatch": 2048},
    {"cells": 32768, "slots": 4},
    {"cells": 32768, "slots": 4, "unified": True, "cache": "q8_0"},
    {"gpus": 2, "tensor_split": (1, 1)},
    {"gpu_layers": 10},
    {"gpu_layers": 1},
    {"gpus": 0, "gpu_layers": 0},
    {"cells": 8192, "flash_attention": False},
    {"slots": 2, "batch": 64, "ubatch": 64},
    {"moves": Moves(cpu_moe=True)},
    {"kv_on_gpu": False},
)

_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
_DRAFTED = 3


def options_of(shape: Shape, number: int) -> Options:
    """One of the rows of flags for a model."""
    changes: dict[str, Any] = dict(OPTIONS[number])
    cache = changes.pop("cache", "f16")
    slots = changes.get("slots", 1)
    base = Options(
        cells=4096, slots=slots, unified=False, batch=2048, ubatch=512,
        gpu_layers=shape.layers_in_file + 1, gpus=1,
        next_tokens=NextOptions(cache_type_k=cache, cache_type_v=cache),
        rollbacks=_DRAFTED if shape.family.rolls_back else 0,
        drafted_tokens=_DRAFTED, output_rows=slots * (1 + _DRAFTED),
        cache_type_k=cache, cache_type_v=cache,
    )  # fmt: skip
    return replace(base, **changes)


def write(model: str, path: Path) -> None:
    """A model with a layer for next tokens, like its last one that attends; weights are a hole."""
    values, tensors, arch = _described(model, path)
    if values.get(f"{arch}.nextn_predict_layers"):
        return
    blocks: dict[int, list[GgufTensorSpec]] = {}
    for name, dtype, shape in tensors:
        match = _BLOCK.fullmatch(name)
        if match:
            blocks.setdefault(int(match[1]), []).append((match[2], dtype, shape))
    like = max(n for n, own in blocks.items() if any(s == "attn_q.weight" for s, _, _ in own))
    count, width = len(blocks), next(s for n, _, s in tensors if n == "token_embd.weight")[0]
    matrix = next(dtype for suffix, dtype, _ in blocks[like] if suffix == "attn_q.weight")
    more: list[GgufTensorSpec] = [
        *blocks[like],
        ("nextn.eh_proj.weight", matrix, [2 * width, width]),
        ("nextn.enorm.weight", "f32", [width]),
        ("nextn.hnorm.weight", "f32", [width]),
        ("nextn.shared_head_norm.weight", "f32", [width]),
    ]
    tensors += [(f"blk.{count}.{suffix}", dtype, shape) for suffix, dtype, shape in more]
    for key, value in values.items():
        if isinstance(value, list) and len(value) == count:
            values[key] = [*value, value[like]]
    values[f"{arch}.block_count"] = count + 1
    values[f"{arch}.nextn_predict_layers"] = 1
    write_gguf(path, values, tensors)


def _described(model: str, path: Path) -> tuple[dict[str, Any], list[GgufTensorSpec], str]:
    if model in gguf_truth.models():
        facts = gguf_truth.facts(model)
        arch = facts.architecture
        values: dict[str, Any] = {
            "general.architecture": arch,
            "tokenizer.ggml.model": "none",
            **{f"{arch}.{key}": value for key, value in facts.header.items()},
        }
        return values, [(t.name, t.dtype, list(t.shape)) for t in facts.expand()], arch
    model_files.write_model(model, None, path)
    header = read_gguf(LocalFile(path, path.name))
    arch = str(header.values["general.architecture"])
    tensors = [(t.name, t.dtype, list(t.shape)) for t in header.tensors]
    return dict(header.values), tensors, arch


def rows(folder: Path) -> Iterator[str]:
    """A line of YAML for each model and row of flags."""
    from tests.oracle.cases import shape_of
    from tests.oracle.probe import Case, Flash, ask

    cases = []
    for model in MODELS:
        path = folder / f"{model}.gguf"
        write(model, path)
        for number in range(len(OPTIONS)):
            options = options_of(shape_of(path), number)
            flash: Flash = "on" if options.flash_attention else "off"
            cases.append((number, Case(model=model, options=options, flash=flash)))
    for (number, case), (_, answer) in zip(
        cases, ask([case for _, case in cases], folder), strict=True
    ):
        if answer.error:
            raise RuntimeError(f"{case.model} {number}: {answer.error}")
        own = [[each.weights, each.cache, each.compute] for each in answer.devices]
        second = [[each.cache, each.compute] for each in answer.next_tokens]
        yield f"- {{model: {case.model}, flags: {number}, own: {own}, next: {second}}}"


def main() -> None:
    """Prints all rows."""
    print("# libllama b11312: bytes of weights, cache and compute of each device, host last, of a")
    print("# model that drafts itself, and cache and compute of its second context; without output")
    print("# buffers. Flags are by number in tests/oracle/next_tokens.py.")
    with tempfile.TemporaryDirectory() as folder:
        for line in rows(Path(folder)):
            print(line)


if __name__ == "__main__":
    main()
