"""GGUF models of real shapes without their weights: as facts, or as a sparse file.

`facts("qwen3-8b")` gives what the resolver would read; `write("qwen3-8b", path)` a file with a
full header and a hole where the weights would be.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path

from compiler.ir.facts import HeaderValue, ModelFacts, Task, TensorGroup
from compiler.ir.units import round_up
from tests.generators.gguf_dense import command_r, gemma, glm4, llama, phi3, qwen2, qwen3
from tests.generators.gguf_draft import ALIGNMENT, TYPE_IDS, Draft, Shape, size_of
from tests.generators.gguf_encoders import bert, nomic
from tests.generators.gguf_hybrid import (
    falcon_h1,
    gemma3n,
    gemma4,
    granite_hybrid,
    jamba,
    lfm2,
    mamba2,
    nemotron_h,
)
from tests.generators.gguf_sparse import deepseek2, glm4moe, gpt_oss, llama4, qwen35

SHAPES: dict[str, Shape] = {
    "llama31-8b": llama(32, 4096, 14336, 32, 8, 128256, 131072, freqs=True),
    "llama31-70b": llama(80, 8192, 28672, 64, 8, 128256, 131072, freqs=True),
    "llama32-1b": llama(16, 2048, 8192, 32, 8, 128256, 131072, tied=True, freqs=True),
    "llama32-3b": llama(28, 3072, 8192, 24, 8, 128256, 131072, head=128, tied=True, freqs=True),
    "llama3-8b": llama(32, 4096, 14336, 32, 8, 128256, 8192),
    "smollm2-135m": llama(30, 576, 1536, 9, 3, 49152, 8192, tied=True, quant="q8_0"),
    "mistral-small-24b": llama(40, 5120, 32768, 32, 8, 131072, 32768, head=128),
    "mixtral-8x7b": llama(32, 4096, 14336, 32, 8, 32000, 32768, experts=8, used=2),
    "phi3-mini": phi3(32, 3072, 8192, 32, 32, 32064, 4096),
    "phi4-14b": phi3(40, 5120, 17920, 40, 10, 100352, 16384),
    "qwen25-0.5b": qwen2(24, 896, 4864, 14, 2, 151936, 32768, tied=True),
    "qwen25-1.5b": qwen2(28, 1536, 8960, 12, 2, 151936, 32768, tied=True),
    "qwen25-3b": qwen2(36, 2048, 11008, 16, 2, 151936, 32768, tied=True),
    "qwen25-vl-3b": qwen2(36, 2048, 11008, 16, 2, 151936, 32768, tied=True, arch="qwen2vl"),
    "qwen25-7b": qwen2(28, 3584, 18944, 28, 4, 152064, 32768),
    "qwq-32b": qwen2(64, 5120, 27648, 40, 8, 152064, 40960),
    "qwen3-0.6b-embed": qwen3(
        28, 1024, 3072, 16, 8, tied=True, pooling=3, context=32768, quant="f16"
    ),
    "qwen3-4b-rerank": qwen3(
        36, 2560, 9728, 32, 8, tied=True, pooling=4, quant="q8_0", scores=True
    ),
    "qwen3-1.7b": qwen3(28, 2048, 6144, 16, 8, tied=True),
    "qwen3-4b": qwen3(36, 2560, 9728, 32, 8, tied=True),
    "qwen3-8b": qwen3(36, 4096, 12288, 32, 8),
    "qwen3-14b": qwen3(40, 5120, 17408, 40, 8, quant="q8_0"),
    "qwen3-32b": qwen3(64, 5120, 25600, 64, 8),
    "qwen3-30b-a3b": qwen3(48, 2048, 6144, 32, 4, experts=128, used=8, expert=768),
    "qwen3-235b": qwen3(94, 4096, 12288, 64, 4, experts=128, used=8, expert=1536),
    "gemma2-2b": gemma(2, 26, 2304, 9216, 8, 4, 256000, 8192, 256, 4096),
    "gemma2-9b": gemma(2, 42, 3584, 14336, 16, 8, 256000, 8192, 256, 4096),
    "gemma3-1b": gemma(3, 26, 1152, 6912, 4, 1, 262144, 32768, 256, 512),
    "gemma3-4b": gemma(3, 34, 2560, 10240, 8, 4, 262208, 131072, 256, 1024),
    "gemma3-27b": gemma(3, 62, 5376, 21504, 32, 16, 262208, 131072, 128, 1024),
    "deepseek-v2-lite": deepseek2(
        27, 2048, 10944, 16, 102400, query_rank=0, experts=64, used=6, expert=1408, shared=2,
        leading=1,
    ),
    "deepseek-v2-lite-plain": deepseek2(
        27, 2048, 10944, 16, 102400, query_rank=0, experts=64, used=6, expert=1408, shared=2,
        leading=1, absorbed=False,
    ),
    "deepseek-v3": deepseek2(
        61, 7168, 18432, 128, 129280, query_rank=1536, experts=256, used=8, expert=2048, shared=1,
        leading=3, quant="q2_K", grouped=True,
    ),
    "gpt-oss-20b": gpt_oss(24, 32),
    "gpt-oss-120b": gpt_oss(36, 128),
    "bge-small": bert(12, 384, 1536, 12, 30522, 512, 2, types=2),
    "bge-m3": bert(24, 1024, 4096, 16, 250002, 8192, 2),
    "bge-reranker-v2-m3": bert(24, 1024, 4096, 16, 250002, 8192, 4, scores=True),
    "nomic-embed": nomic(12, 768, 3072, 12, 30522, 2048),
    "command-r-35b": command_r,
    "glm4-32b": glm4,
    "glm45-air": glm4moe,
    "qwen3-next-80b": qwen35(
        48, 2048, 16, 2, vocabulary=151936, experts=512, used=10, expert=512, next_generation=True
    ),
    "qwen35-0.8b": qwen35(24, 1024, 8, 2, value_heads=16, forward=3584, quant="q8_0"),
    "qwen35-4b": qwen35(32, 2560, 16, 4, forward=9216),
    "qwen35-9b": qwen35(32, 4096, 16, 4, forward=12288, quant="q8_0"),
    "qwen35-27b": qwen35(64, 5120, 24, 4, value_heads=48, forward=17408),
    "qwen35-35b-a3b": qwen35(40, 2048, 16, 2, experts=256, used=8, expert=512),
    "qwen35-122b": qwen35(
        48, 3072, 32, 2, experts=256, used=8, expert=1024, value_heads=64, quant="q4_K_moe"
    ),
    "lfm2-1.2b": lfm2,
    "mamba2-2.7b": mamba2,
    # Families that no row of truth covers; their dimensions are of the right order.
    "falcon-h1": falcon_h1,
    "gemma3n-e4b": gemma3n,
    "gemma4-e4b": gemma4,
    "granite-hybrid": granite_hybrid,
    "jamba": jamba,
    "llama4-scout": llama4,
    "nemotron-h": nemotron_h,
}  # fmt: skip


@lru_cache(maxsize=256)
def facts(name: str, quant: str | None = None) -> ModelFacts:
    """The facts of a named shape, in another quantization if asked."""
    return facts_of(draft(name, quant))


def draft(name: str, quant: str | None = None) -> Draft:
    """The draft of a named shape."""
    return SHAPES[name](quant)


POOLINGS = ("none", "mean", "cls", "last", "rank")


def facts_of(model: Draft) -> ModelFacts:
    """What the resolver would read of a model."""
    pooling = model.header.get("pooling_type")
    task: Task = "generate"
    if isinstance(pooling, int):
        task = "rerank" if POOLINGS[pooling] == "rank" else "embed"
    vocabulary = model.header["vocab_size"]
    context = model.header["context_length"]
    layers = model.header["block_count"]
    assert isinstance(vocabulary, int)
    assert isinstance(context, int)
    assert isinstance(layers, int)
    return ModelFacts(
        format="gguf",
        architecture=model.arch,
        task=task,
        pooling=POOLINGS[pooling] if isinstance(pooling, int) else None,
        parameters=sum(size_of("i8", ne) for _, ne, _ in model.tensors),
        layers=layers,
        vocabulary=vocabulary,
        position_limit=context,
        quantization=model.quant,
        header=dict(model.header),
        tensors=groups_of(model.tensors),
        sequential=True,
        alignment=ALIGNMENT,
    )


def groups_of(tensors: list[tuple[str, tuple[int, ...], str]]) -> list[TensorGroup]:
    """Tensors that differ in their block only, as one group each."""
    blocks: dict[tuple[str, tuple[int, ...], str], list[int]] = {}
    for name, ne, dtype in tensors:
        stem, _, rest = name.partition(".")
        number, _, suffix = rest.partition(".")
        if stem == "blk":
            blocks.setdefault((f"blk.*.{suffix}", ne, dtype), []).append(int(number))
        else:
            blocks[name, ne, dtype] = []
    return [
        TensorGroup(
            name=name,
            index=[ranges_of(numbers)] if numbers else [],
            dtype=dtype,
            shape=list(ne),
            bytes=size_of(dtype, ne),
        )
        for (name, ne, dtype), numbers in blocks.items()
    ]


def ranges_of(numbers: list[int]) -> str:
    """`0-3,7` for 0, 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] + 1 == number:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def write(name: str, path: Path, quant: str | None = None) -> int:
    """Write a sparse GGUF file of a named shape; gives its apparent size in bytes."""
    return write_draft(name, draft(name, quant), path)


def write_draft(name: str, model: Draft, path: Path) -> int:
    """Write a draft as a sparse GGUF file; gives its apparent size in bytes."""
    header: dict[str, HeaderValue] = {
        "general.architecture": model.arch,
        "general.name": name,
        "tokenizer.ggml.model": "none",
    }
    header |= {f"{model.arch}.{key}": value for key, value in model.header.items()}
    out = b"GGUF" + struct.pack("<IQQ", 3, len(model.tensors), len(header))
    out += b"".join(_text(key) + _value(value) for key, value in header.items())
    offset = 0
    for tensor, ne, dtype in model.tensors:
        out += _text(tensor) + struct.pack(f"<I{len(ne)}Q", len(ne), *ne)
        out += struct.pack("<IQ", TYPE_IDS[dtype], offset)
        offset += round_up(size_of(dtype, ne), ALIGNMENT)
    out += b"\0" * (-len(out) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(out)
        file.truncate(len(out) + offset)
    return len(out) + offset


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _value(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case [bool(), *_]:
            return struct.pack(f"<IIQ{len(value)}?", 9, 7, len(value), *value)
        case [int(), *_]:
            return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
        case _:
            raise TypeError(value)
