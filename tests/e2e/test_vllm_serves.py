"""A fleet on a host without a GPU: emitted scripts start vLLM, which serves as planned."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import vllm_install
from tests.e2e.fleet import Fleet, served
from tests.generators.models import write_safetensors
from tests.generators.shapes import Decoder, hf_decoder

SHAPE = Decoder(
    layers=2,
    hidden=128,
    feed_forward=256,
    heads=4,
    kv_heads=2,
    vocabulary=512,
    head_size=64,
    qk_norm=True,
    tied=True,
)
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


def write_model(folder: Path, architecture: str = "Qwen3ForCausalLM") -> None:
    """A Hugging Face folder: config, tokenizer of numbered words, and a hole for the weights."""
    scores = architecture.endswith("ForSequenceClassification")
    config = {
        "architectures": [architecture],
        "model_type": "qwen3",
        "hidden_size": SHAPE.hidden,
        "intermediate_size": SHAPE.feed_forward,
        "num_hidden_layers": SHAPE.layers,
        "num_attention_heads": SHAPE.heads,
        "num_key_value_heads": SHAPE.kv_heads,
        "head_dim": SHAPE.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": SHAPE.vocabulary,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **({"num_labels": 1, "pad_token_id": 0} if scores else {}),
    }
    words = {f"w{number}": number for number in range(SHAPE.vocabulary)}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"},
    }
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "w0", "eos_token": "w2"}
    documents = {"config": config, "tokenizer": tokenizer, "tokenizer_config": kind}
    folder.mkdir(parents=True)
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    head = [("score.weight", "BF16", [1, SHAPE.hidden])] if scores else []
    write_safetensors(folder / "model.safetensors", [*hf_decoder(SHAPE), *head])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, vllm: Path) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    write_model(folder / "models" / "tiny")
    write_model(folder / "models" / "scorer", "Qwen3ForSequenceClassification")
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
