"""A fleet on two GPUs that own no memory: llama-server allocates there what the plan says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler.engines.llamacpp.flags.builds import STUDIED_BUILD
from compiler.ir.units import MIB
from tests.e2e.fleet import Fleet, on_paper_gpus, served
from tests.e2e.tiny_models import write_decoder

REPLICAS = ("half-0", "one-0", "quantized-0", "two-0")
# At its usual level llama-server does not log its buffers.
MODELS = """
version: 1
services:
  one:
    model: ./models/tiny-f16.gguf
    task: generate
    context: 4096
    concurrency: 2
    llama.cpp: {args: {verbosity: 4}}
  two:
    model: ./models/tiny-f16.gguf
    task: generate
    context: 16384
    concurrency: 256
    placement: {pin: {host: box, gpus: [0, 1]}}
    llama.cpp: {args: {verbosity: 4}}
  half:
    model: ./models/tiny-q8.gguf
    task: generate
    context: 4096
    concurrency: 1
    offload: 2
    llama.cpp: {args: {verbosity: 4}}
  quantized:
    model: ./models/tiny-q8.gguf
    task: generate
    context: 4096
    concurrency: 1
    llama.cpp: {args: {verbosity: 4, cache_type_k: q8_0, cache_type_v: q8_0, ubatch_size: 128}}
"""
_BUFFER = re.compile(r"CUDA(\d) +(model|KV|compute) buffer size = +([0-9.]+) MiB")
PARTS = {"model": "weights", "KV": "kv", "compute": "compute"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, llama_server: Path) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    write_decoder(folder / "models" / "tiny-q8.gguf", "Q8_0")
    write_decoder(folder / "models" / "tiny-f16.gguf", "F16")
    program = on_paper_gpus(folder, llama_server)
    with served(
        folder,
        MODELS,
        REPLICAS,
        engine=f"llama.cpp: {{build: {STUDIED_BUILD}, bin: {program}}}",
        host="ram: 12GiB, gpus: {kind: rtx-4090, count: 2}",
    ) as running:
        yield running


@pytest.mark.parametrize("replica", REPLICAS)
def test_it_is_healthy(fleet: Fleet, replica: str) -> None:
    assert fleet.get(replica, "/health") == {"status": "ok"}


def test_one_is_split(fleet: Fleet) -> None:
    shares = fleet.replica("two-0")["shares"]
    assert [bool(share["breakdown"]["kv"]["bytes"]) for share in shares] == [True, True]


@pytest.mark.parametrize("replica", REPLICAS)
def test_it_logs_the_plans_buffers_of_each_gpu(fleet: Fleet, replica: str) -> None:
    shares = fleet.replica(replica)["shares"]
    logged = {
        (int(gpu), kind): float(size) for gpu, kind, size in _BUFFER.findall(fleet.log(replica))
    }
    planned = {
        (gpu, kind): share["breakdown"][part]["bytes"] / MIB
        for gpu, share in enumerate(shares)
        for kind, part in PARTS.items()
        if share["breakdown"][part]["bytes"]
    }
    assert logged == {key: pytest.approx(size, abs=0.0051) for key, size in planned.items()}
