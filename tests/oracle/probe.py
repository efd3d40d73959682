"""Asks libllama itself what it allocates: cases as questions, and its answers as records."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from compiler.engines.llamacpp.launch.options import Options
from tests.oracle import llamacpp_build

Flash = Literal["auto", "on", "off"]

# More than any case needs: libllama is not to refuse what it is asked about.
_GPU_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model under options on some paper GPUs."""

    model: str
    """A name of tests/generators/gguf_shapes.py or architectures.py."""
    quant: str | None = None
    options: Options
    flash: Flash = "on"
    """What libllama is told; `options` holds what the law expects it to do."""
    compute: int = 89
    """Compute capability of the GPUs, times ten."""
    adapters: tuple[str, ...] = ()
    """File names of LoRA adapters that are applied."""

    @property
    def file_name(self) -> str:
        """Of the GGUF file."""
        return f"{self.model}-{self.quant}.gguf" if self.quant else f"{self.model}.gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes of one device."""

    weights: int = 0
    cache: int = 0
    compute: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What libllama allocates; `error` instead where it refuses."""

    devices: tuple[Sizes, ...] = ()
    """The GPUs, and last the host: all of its buffers together."""
    output_mib: float = 0.0
    """The output buffer, as logged."""
    flash_attention: bool = True
    """What `auto` led to."""
    error: str = ""
    next_tokens: tuple[Sizes, ...] = ()
    """Of the second context of a model that drafts itself, its output buffer among them."""


def ask(
    cases: Iterable[Case], folder: Path, version: str = llamacpp_build.VERSION
) -> Iterator[tuple[Case, Answer]]:
    """The answer to each case whose file lies in a folder; in the order of the cases."""
    for (gpus, compute), group in groupby(cases, lambda case: (case.options.gpus, case.compute)):
        yield from _ask_together(list(group), gpus, compute, folder, version)


def _ask_together(
    cases: list[Case], gpus: int, compute: int, folder: Path, version: str
) -> Iterator[tuple[Case, Answer]]:
    """One process answers the cases that see the same GPUs, or several where it dies of one."""
    visible = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))}
    waiting = cases
    while waiting:
        questions = "".join(json.dumps(question(case, folder)) + "\n" for case in waiting)
        done = subprocess.run(
            [llamacpp_build.memory_probe(version)],
            env=os.environ | environment(gpus, compute, version) | visible,
            input=questions.encode(),
            capture_output=True,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
        for case, line in zip(waiting, lines, strict=False):
            yield case, _read(json.loads(line), gpus)
        waiting = waiting[len(lines) :]
        if waiting:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            yield waiting[0], Answer(error=f"ended with {done.returncode}: {' '.join(last)[:200]}")
            waiting = waiting[1:]


def environment(gpus: int, compute: int, version: str = llamacpp_build.VERSION) -> dict[str, str]:
    """What a program of llama.cpp needs in its environment to see paper GPUs."""
    # A failed assertion of ggml would start a debugger.
    result = {"GGML_NO_BACKTRACE": "1"}
    if gpus:
        result |= {
            "LD_PRELOAD": str(llamacpp_build.paper_gpu(version)),
            "PAPER_GPU_MIB": ",".join([str(_GPU_MIB)] * gpus),
            "PAPER_GPU_CC": str(compute * 10),
        }
    return result


def question(case: Case, folder: Path) -> dict[str, Any]:
    """A case as the memory probe reads it."""
    options = case.options
    moves = options.moves
    overrides: dict[str, int | None] = {rule.pattern: rule.gpu for rule in moves.overrides}
    # common/common.h `llm_ffn_exps_cpu_override`, common/arg.cpp --n-cpu-moe.
    experts = r"\.ffn_(up|down|gate_up|gate)_(ch|)exps"
    if moves.cpu_moe:
        overrides[experts] = None
    overrides |= {rf"blk\.{index}{experts}": None for index in range(moves.cpu_moe_layers)}
    # tools/server/server-context.cpp `server_output_limits`: a token a slot, or the whole batch.
    rows = options.output_rows or (options.batch if options.embeds else options.slots)
    return {
        "model": str(folder / case.file_name),
        "adapters": [str(folder / name) for name in case.adapters],
        "mmap": options.memory_map,
        "gpus": bool(options.gpus),
        "gpu_layers": options.gpu_layers,
        "main_gpu": options.main_gpu,
        "split_mode": options.split_mode,
        "tensor_split": options.tensor_split,
        "overrides": overrides,
        "cells": options.cells,
        "slots": options.slots,
        "unified": options.unified,
        "batch": options.batch,
        "ubatch": options.ubatch,
        "output_rows": rows,
        "flash_attention": case.flash,
        "type_k": options.cache_type_k,
        "type_v": options.cache_type_v,
        "sliding_full": options.sliding_full,
        "embeds": options.embeds,
        "kv_on_gpu": options.kv_on_gpu,
        "op_offload": options.op_offload,
        "pooling": options.pooling,
        "next_tokens": options.next_tokens
        and {
            "type_k": options.next_tokens.cache_type_k,
            "type_v": options.next_tokens.cache_type_v,
            "rollbacks": options.rollbacks,
        },
    }


def _read(answer: dict[str, Any], gpus: int) -> Answer:
    if "error" in answer:
        return Answer(error=answer["error"])
    return Answer(
        devices=_sizes(answer["buffers"], gpus),
        next_tokens=_sizes(answer["next"], gpus) if answer.get("next") else (),
        output_mib=answer["output_mib"],
        flash_attention=answer["flash_attention"],
    )


def _sizes(buffers: dict[str, list[int]], gpus: int) -> tuple[Sizes, ...]:
    found = [[0, 0, 0] for _ in range(gpus + 1)]
    names = {f"CUDA{index}": index for index in range(gpus)}
    for name, sizes in buffers.items():
        device = found[names.get(name, gpus)]
        for part, size in enumerate(sizes):
            device[part] += size
    return tuple(Sizes(weights=w, cache=c, compute=x) for w, c, x in found)
