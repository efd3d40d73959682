"""A fleet on a host without a GPU: emitted scripts start llama-server, which serves as planned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from compiler.engines.llamacpp.flags.builds import STUDIED_BUILD
from compiler.engines.llamacpp.launch.options import Options
from tests.e2e.fleet import Fleet, logged_mib, planned_mib, served
from tests.e2e.tiny_models import write_decoder, write_encoder
from tests.oracle.probe import Case, ask

REPLICAS = ("chat-0", "chat-f16-0", "embed-0", "rerank-0")
# At its usual level llama-server does not log its buffers.
MODELS = """
version: 1
services:
  chat:
    model: ./models/tiny-q8.gguf
    task: generate
    context: 1024
    concurrency: 2
    offload: cpu
    llama.cpp: {args: {verbosity: 4}}
  chat-f16:
    model: ./models/tiny-f16.gguf
    task: generate
    context: 4096
    concurrency: 1
    offload: cpu
    llama.cpp: {args: {verbosity: 4, cache_type_k: q8_0, cache_type_v: q8_0, ubatch_size: 256}}
  embed:
    model: ./models/tiny-embed.gguf
    task: embed
    context: 256
    concurrency: 2
    offload: cpu
    llama.cpp: {args: {verbosity: 4}}
  rerank:
    model: ./models/tiny-rerank.gguf
    task: rerank
    context: 512
    concurrency: 1
    offload: cpu
    llama.cpp: {args: {verbosity: 4}}
"""
# What is printed has two digits, and each line is rounded on its own.
DIGITS = 0.0051
LINES = 2


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, llama_server: Path) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    write_decoder(folder / "models" / "tiny-q8.gguf", "Q8_0")
    write_decoder(folder / "models" / "tiny-f16.gguf", "F16")
    write_encoder(folder / "models" / "tiny-embed.gguf", scores=False)
    write_encoder(folder / "models" / "tiny-rerank.gguf", scores=True)
    with served(
        folder,
        MODELS,
        REPLICAS,
        engine=f"llama.cpp: {{build: {STUDIED_BUILD}, bin: {llama_server}}}",
        host="ram: 8GiB, gpus: []",
    ) as running:
        yield running


@pytest.mark.parametrize("replica", REPLICAS)
def test_it_is_healthy(fleet: Fleet, replica: str) -> None:
    assert fleet.get(replica, "/health") == {"status": "ok"}


def test_status_says_so(fleet: Fleet) -> None:
    status = fleet.script("status.sh")
    assert status.returncode == 0
    assert [line.split()[:2] for line in status.stdout.splitlines()] == [
        [replica, "healthy"] for replica in REPLICAS
    ]


@pytest.mark.parametrize("replica", REPLICAS)
def test_it_serves_under_its_service_name(fleet: Fleet, replica: str) -> None:
    (model,) = fleet.get(replica, "/v1/models")["data"]
    assert model["id"] == replica.removesuffix("-0")


@pytest.mark.parametrize("replica", ["chat-0", "chat-f16-0"])
def test_it_completes(fleet: Fleet, replica: str) -> None:
    answer = fleet.post(replica, "/v1/completions", {"prompt": "hello", "max_tokens": 4})
    assert answer["usage"]["completion_tokens"] in range(1, 5)


def test_it_embeds(fleet: Fleet) -> None:
    answer = fleet.post("embed-0", "/v1/embeddings", {"input": ["hello", "world"]})
    assert [len(row["embedding"]) for row in answer["data"]] == [128, 128]


def test_an_input_as_long_as_the_context_is_embedded(fleet: Fleet) -> None:
    words = " ".join("a" * 254)  # With [CLS] and [SEP] 256 tokens.
    answer = fleet.post("embed-0", "/v1/embeddings", {"input": words})
    assert answer["usage"]["prompt_tokens"] == 256


def test_it_reranks(fleet: Fleet) -> None:
    body = {"query": "hello", "documents": ["abc", "hello you"]}
    answer = fleet.post("rerank-0", "/v1/rerank", body)
    assert sorted(row["index"] for row in answer["results"]) == [0, 1]


@pytest.mark.parametrize("replica", REPLICAS)
def test_it_logs_the_plans_buffers(fleet: Fleet, replica: str) -> None:
    logged, planned = logged_mib(fleet.log(replica)), fleet.replica(replica)
    assert logged["model"] == pytest.approx(planned_mib(planned, "weights"), abs=DIGITS * LINES)
    assert logged.get("KV", 0) == pytest.approx(planned_mib(planned, "kv"), abs=DIGITS * LINES)
    assert logged["compute"] + logged["output"] == pytest.approx(
        planned_mib(planned, "compute"), abs=DIGITS * LINES
    )


@pytest.mark.parametrize("replica", REPLICAS)
def test_libllama_allocates_the_plans_bytes_under_the_emitted_flags(
    fleet: Fleet, replica: str
) -> None:
    planned = fleet.replica(replica)
    path = Path(planned["model_path"])
    case = Case(model=path.stem, options=options_of(planned["argv"], planned["task"]))
    ((_, answer),) = ask([case], path.parent)
    (host,) = answer.devices
    parts = planned["ram_breakdown"]
    assert host.weights == parts["weights"]["bytes"]
    assert host.cache == parts["kv"]["bytes"]
    # The plan counts the output buffer, which libllama only logs, with the compute buffer.
    output = parts["compute"]["bytes"] - host.compute
    assert output / 2**20 == pytest.approx(answer.output_mib, abs=DIGITS)


def options_of(argv: list[str], task: str) -> Options:
    """A command line as libllama is asked about it."""
    following = dict(pairwise(argv))
    plain = Options(
        cells=int(following["--ctx-size"]),
        slots=int(following["--parallel"]),
        unified="--kv-unified" in argv,
        batch=int(following["--batch-size"]),
        ubatch=int(following["--ubatch-size"]),
        gpu_layers=int(following["--n-gpu-layers"]),
        gpus=0,
        cache_type_k=following["--cache-type-k"],
        cache_type_v=following["--cache-type-v"],
    )
    assert following["--flash-attn"] == "on"
    if task == "generate":
        return plain
    pooling = {"mean": 1, None: 4}[following.get("--pooling")]
    return replace(plain, mode="embed", pooling=pooling)


def test_stop_and_start_again(fleet: Fleet) -> None:
    """The last test, as it takes the fleet from the others for a while."""
    assert fleet.script("stop.sh").returncode == 0
    status = fleet.script("status.sh")
    assert status.returncode == 1
    assert status.stdout.split() == [word for name in REPLICAS for word in (name, "stopped")]
    assert fleet.script("start.sh").returncode == 0
    assert fleet.get("chat-0", "/health") == {"status": "ok"}
