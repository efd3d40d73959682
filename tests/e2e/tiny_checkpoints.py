"""Writes Hugging Face folders that vLLM loads, with `load_format: dummy`, and runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def write_checkpoint(folder: Path, architecture: str = "Qwen3ForCausalLM") -> None:
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
