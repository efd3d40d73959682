"""A fleet on a host without a GPU: emitted scripts start vLLM, which serves as planned."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import vllm_install
from tests.e2e.fleet import Fleet, served
from tests.e2e.tiny_checkpoints import SHAPE, write_checkpoint

MODELS = """
version: 1
services:
  chat:
    model: ./models/tiny
    engine: vllm
    task: generate
    context: 1024
    concurrency: 2
    offload: cpu
    vllm: {args: {load_format: dummy, enforce_eager: true}}
  embed:
    model: ./models/tiny
    engine: vllm
    task: embed
    context: 512
    concurrency: 2
    offload: cpu
    vllm: {args: {load_format: dummy, enforce_eager: true}}
  rerank:
    model: ./models/scorer
    engine: vllm
    task: rerank
    context: 512
    concurrency: 2
    offload: cpu
    vllm: {args: {load_format: dummy, enforce_eager: true}}
"""
REPLICAS = ("chat-0", "embed-0", "rerank-0")
# The tiny host of a test has no addresses and no cores to bind to that vLLM would find by itself.
ENVIRONMENT = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_HOST_IP": "127.0.0.1"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, vllm: Path) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    write_checkpoint(folder / "models" / "tiny")
    write_checkpoint(folder / "models" / "scorer", "Qwen3ForSequenceClassification")
    with served(
        folder,
        MODELS,
        REPLICAS,
        engine=f"vllm: {{version: {vllm_install.VERSION}, bin: {vllm}}}",
        host="ram: 20GiB, gpus: []",
        environment=ENVIRONMENT,
    ) as running:
        yield running


def test_they_are_healthy(fleet: Fleet) -> None:
    assert all(fleet.get(replica, "/health") is None for replica in REPLICAS)
    assert fleet.script("status.sh").returncode == 0


def test_it_serves_under_its_service_name(fleet: Fleet) -> None:
    (model,) = fleet.get("chat-0", "/v1/models")["data"]
    assert model["id"] == "chat"
    assert model["max_model_len"] == 1024


def test_it_completes(fleet: Fleet) -> None:
    body = {"model": "chat", "prompt": "w7 w8 w9", "max_tokens": 4}
    answer = fleet.post("chat-0", "/v1/completions", body)
    assert answer["usage"]["prompt_tokens"] == 3
    assert answer["usage"]["completion_tokens"] in range(1, 5)


def test_it_embeds(fleet: Fleet) -> None:
    body = {"model": "embed", "input": ["w7 w8", "w9"]}
    answer = fleet.post("embed-0", "/v1/embeddings", body)
    assert [len(row["embedding"]) for row in answer["data"]] == [SHAPE.hidden, SHAPE.hidden]


def test_it_reranks(fleet: Fleet) -> None:
    body = {"model": "rerank", "query": "w7", "documents": ["w8 w9", "w7", "w1"]}
    rows = fleet.post("rerank-0", "/rerank", body)["results"]
    assert sorted(row["index"] for row in rows) == [0, 1, 2]
    scores = [row["relevance_score"] for row in rows]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("replica", REPLICAS)
def test_it_logs_the_plans_kv_tokens(fleet: Fleet, replica: str) -> None:
    (logged,) = re.findall(r"KV cache size: ([0-9,]+) tokens", fleet.log(replica))
    assert int(logged.replace(",", "")) == fleet.replica(replica)["kv_tokens"]
