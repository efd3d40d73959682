"""Writes small model files for tests: GGUF headers with sparse data, safetensors, HF folders."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from compiler.resolve.ggml import TENSOR_TYPES, tensor_bytes

GgufTensorSpec = tuple[str, str, list[int]]
"""Name, ggml type and shape (innermost first) of one tensor."""
SafetensorSpec = tuple[str, str, list[int]]

_TYPE_NUMBERS = {entry.name: number for number, entry in TENSOR_TYPES.items()}
_BITS = {"BF16": 16, "F16": 16, "F32": 32, "I32": 32, "U8": 8, "I8": 8, "F8_E4M3": 8, "I64": 64}
_STRING, _ARRAY, _BOOL, _FLOAT, _UINT, _INT = 8, 9, 7, 6, 4, 5
ALIGNMENT = 32


def gguf_bytes(
    values: Mapping[str, Any],
    tensors: Sequence[GgufTensorSpec] = (),
    *,
    version: int = 3,
    order: str = "<",
    alignment: int = ALIGNMENT,
) -> tuple[bytes, int]:
    """The header of a GGUF file, padding included, and the size of its data section."""
    out = bytearray(b"GGUF" + struct.pack(f"{order}IQQ", version, len(tensors), len(values)))
    for key, value in values.items():
        out += _string(key, order) + _value(value, order)
    offset = 0
    for name, dtype, shape in tensors:
        out += _string(name, order) + struct.pack(f"{order}I{len(shape)}Q", len(shape), *shape)
        out += struct.pack(f"{order}IQ", _TYPE_NUMBERS[dtype], offset)
        offset += -(-tensor_bytes(dtype, shape) // alignment) * alignment
    out += bytes(-len(out) % alignment)
    return bytes(out), offset


def write_gguf(
    path: Path,
    values: Mapping[str, Any],
    tensors: Sequence[GgufTensorSpec] = (),
    *,
    version: int = 3,
    order: str = "<",
    alignment: int = ALIGNMENT,
) -> Path:
    """A GGUF file whose data is a hole: it has its full size and takes no disk."""
    header, data_bytes = gguf_bytes(
        values, tensors, version=version, order=order, alignment=alignment
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + data_bytes)
    return path


def llama_values(**changes: object) -> dict[str, Any]:
    """Header values of a small llama, with a tokenizer that has merges and a chat template."""
    return {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "Tiny",
        "general.file_type": 15,
        "llama.block_count": 2,
        "llama.context_length": 4096,
        "llama.embedding_length": 256,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": [2, 4],
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [f"token{number}" for number in range(1500)],
        "tokenizer.ggml.scores": [0.5] * 1500,
        "tokenizer.ggml.merges": [f"a{number} b" for number in range(1200)],
        "tokenizer.chat_template": "{{ messages }}" * 100,
        **changes,
    }


def llama_tensors(layers: int = 2, dtype: str = "q4_K") -> list[GgufTensorSpec]:
    """Tensors of a small llama, in the order of the loader."""
    found: list[GgufTensorSpec] = [
        ("output.weight", "q6_K", [256, 1500]),
        ("output_norm.weight", "f32", [256]),
        ("token_embd.weight", dtype, [256, 1500]),
    ]
    for layer in range(layers):
        found.append((f"blk.{layer}.attn_k.weight", dtype, [256, 64]))
        found.append((f"blk.{layer}.attn_norm.weight", "f32", [256]))
        found.append((f"blk.{layer}.ffn_down.weight", "q6_K" if layer == 0 else dtype, [512, 256]))
    return found


def safetensors_header(tensors: Iterable[SafetensorSpec]) -> tuple[bytes, int]:
    """The header of a safetensors file and the size of its data."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, dtype, shape in tensors:
        end = offset + prod(shape) * _BITS[dtype] // 8
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    body = json.dumps(entries).encode()
    return struct.pack("<Q", len(body)) + body, offset


def write_safetensors(path: Path, tensors: Iterable[SafetensorSpec]) -> Path:
    """A safetensors file whose data is a hole."""
    header, data_bytes = safetensors_header(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + data_bytes)
    return path


def write_folder(folder: Path, documents: Mapping[str, Any]) -> Path:
    """Files of a folder: JSON for objects and lists, text for strings, bytes as they are."""
    for name, content in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            path.write_text(text, encoding="utf-8", errors="replace")
    return folder


def qwen3_config(**changes: object) -> dict[str, Any]:
    """config.json of a tiny Qwen3."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 1000,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "eos_token_id": 7,
        "transformers_version": "4.51.0",
        **changes,
    }


def qwen3_tensors(layers: int = 2) -> list[SafetensorSpec]:
    """Some tensors of a tiny Qwen3."""
    found: list[SafetensorSpec] = [("model.embed_tokens.weight", "BF16", [1000, 64])]
    for layer in range(layers):
        found.append((f"model.layers.{layer}.self_attn.q_proj.weight", "BF16", [64, 64]))
        found.append((f"model.layers.{layer}.mlp.down_proj.weight", "BF16", [64, 128]))
    return found


def _string(text: str | bytes, order: str) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack(f"{order}Q", len(raw)) + raw


def _value(value: object, order: str) -> bytes:
    if isinstance(value, list):
        kind, raw = _kind(value[0]), b"".join(_scalar(item, order) for item in value)
        return struct.pack(f"{order}IIQ", _ARRAY, kind, len(value)) + raw
    return struct.pack(f"{order}I", _kind(value)) + _scalar(value, order)


def _kind(value: object) -> int:
    if isinstance(value, bool):
        return _BOOL
    if isinstance(value, int):
        return _UINT if value >= 0 else _INT
    return _FLOAT if isinstance(value, float) else _STRING


def _scalar(value: object, order: str) -> bytes:
    if isinstance(value, str | bytes):
        return _string(value, order)
    form = {_BOOL: "?", _FLOAT: "f", _UINT: "I", _INT: "i"}[_kind(value)]
    return struct.pack(order + form, value)
