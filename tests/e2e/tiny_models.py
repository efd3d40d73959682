"""Writes models of a megabyte that llama-server loads and runs, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

# Heads of 64, for which CUDA has flash attention.
WIDTH, FORWARD, HEADS, KV_HEADS, LAYERS = 128, 256, 2, 1, 4
LETTERS = "abcdefghijklmnopqrstuvwxyz "
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6


def write_decoder(path: Path, quant: str = "F16") -> None:
    """A llama with a sentencepiece tokenizer of single letters."""
    writer = _writer(path, "llama", context=32768, kv_heads=KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    tokens = _sentencepiece(writer)
    kv_width = WIDTH // HEADS * KV_HEADS
    matrices = _Matrices(writer, quant)
    matrices.add("token_embd.weight", tokens, WIDTH)
    matrices.add("output_norm.weight", WIDTH)
    matrices.add("output.weight", tokens, WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        matrices.add(f"{block}.attn_norm.weight", WIDTH)
        for name, rows in (("q", WIDTH), ("k", kv_width), ("v", kv_width), ("output", WIDTH)):
            matrices.add(f"{block}.attn_{name}.weight", rows, WIDTH)
        matrices.add(f"{block}.ffn_norm.weight", WIDTH)
        matrices.add(f"{block}.ffn_gate.weight", FORWARD, WIDTH)
        matrices.add(f"{block}.ffn_up.weight", FORWARD, WIDTH)
        matrices.add(f"{block}.ffn_down.weight", WIDTH, FORWARD)
    _finish(writer)


def write_encoder(path: Path, *, scores: bool) -> None:
    """A BERT with a wordpiece tokenizer of single letters; with a scoring head, a reranker."""
    writer = _writer(path, "bert", context=512, kv_heads=HEADS)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.RANK if scores else gguf.PoolingType.MEAN)
    tokens = _wordpiece(writer)
    matrices = _Matrices(writer, "F16")
    matrices.add("token_embd.weight", tokens, WIDTH)
    matrices.add("token_types.weight", 2, WIDTH)
    matrices.add("position_embd.weight", 512, WIDTH)
    matrices.add_norm("token_embd_norm")
    if scores:
        matrices.add("cls.weight", WIDTH, WIDTH)
        matrices.add("cls.bias", WIDTH)
        matrices.add("cls.output.weight", 1, WIDTH)
        matrices.add("cls.output.bias", 1)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrices.add(f"{block}.{name}.weight", WIDTH, WIDTH)
            matrices.add(f"{block}.{name}.bias", WIDTH)
        matrices.add_norm(f"{block}.attn_output_norm")
        matrices.add(f"{block}.ffn_up.weight", FORWARD, WIDTH)
        matrices.add(f"{block}.ffn_up.bias", FORWARD)
        matrices.add(f"{block}.ffn_down.weight", WIDTH, FORWARD)
        matrices.add(f"{block}.ffn_down.bias", WIDTH)
        matrices.add_norm(f"{block}.layer_output_norm")
    _finish(writer)


class _Matrices:
    """Tensors of one file: matrices in its quantization, vectors in f32."""

    def __init__(self, writer: gguf.GGUFWriter, quant: str) -> None:
        self._writer = writer
        self._quant = gguf.GGMLQuantizationType[quant]
        self._random = np.random.default_rng(7)

    def add(self, name: str, *shape: int) -> None:
        values = self._random.standard_normal(shape, dtype=np.float32) * np.float32(0.05)
        if len(shape) == 1 or name.startswith(("position_embd", "token_types")):
            self._writer.add_tensor(name, values)
            return
        data: Any = gguf.quants.quantize(values, self._quant)
        self._writer.add_tensor(name, data, raw_dtype=self._quant)

    def add_norm(self, name: str) -> None:
        self._writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
        self._writer.add_tensor(f"{name}.bias", np.zeros(WIDTH, dtype=np.float32))


def _writer(path: Path, arch: str, *, context: int, kv_heads: int) -> gguf.GGUFWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(path.stem)
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(kv_heads)
    return writer


def _sentencepiece(writer: gguf.GGUFWriter) -> int:
    pieces = [("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL)]
    pieces += [(f"<0x{byte:02X}>", _BYTE) for byte in range(256)]
    pieces += [(letter.replace(" ", "\u2581"), _NORMAL) for letter in LETTERS]
    pieces += [(f"<extra{number}>", _CONTROL) for number in range(-len(pieces) % 32)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in pieces])
    writer.add_token_scores([0.0 if kind == _CONTROL else -1.0 for _, kind in pieces])
    writer.add_token_types([kind for _, kind in pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_vocab_size(len(pieces))
    return len(pieces)


def _wordpiece(writer: gguf.GGUFWriter) -> int:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [f"\u2581{letter}" for letter in LETTERS.strip()] + list(LETTERS.strip())
    tokens = [*special, *words]
    tokens += [f"[unused{number}]" for number in range(-len(tokens) % 32)]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([_CONTROL if token.startswith("[") else _NORMAL for token in tokens])
    writer.add_token_type_count(2)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_unk_token_id(1)
    writer.add_sep_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_mask_token_id(4)
    writer.add_vocab_size(len(tokens))
    return len(tokens)


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_adapter(path: Path, *, rank: int = 8) -> None:
    """A LoRA adapter of the decoder's attention and feed-forward matrices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 16.0)
    matrices = _Matrices(writer, "F16")
    for layer in range(LAYERS):
        for name, rows, columns in (
            ("attn_q", WIDTH, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_up", FORWARD, WIDTH),
            ("ffn_down", WIDTH, FORWARD),
        ):
            matrices.add(f"blk.{layer}.{name}.weight.lora_a", rank, columns)
            matrices.add(f"blk.{layer}.{name}.weight.lora_b", rows, rank)
    _finish(writer)
