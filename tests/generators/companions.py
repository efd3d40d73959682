"""LoRA adapters and projectors as GGUF files: whole headers, and holes where the weights would be.

Names and shapes as llama.cpp's convert_lora_to_gguf.py and convert_hf_to_gguf.py --mmproj write
them (2026-10-01).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from compiler.engines.llamacpp.model.header import Weight
from tests.generators.models import GgufTensorSpec, write_gguf

# What adapters are trained for, as a rule: the matrices of attention and of feed-forward layers.
USUAL = (
    *("attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight"),
    *("ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"),
)


def write_adapter(
    path: Path,
    arch: str,
    weights: Iterable[Weight],
    *,
    rank: int = 16,
    dtype: str = "f16",
    suffixes: Sequence[str] = USUAL,
) -> Path:
    """An adapter for the weights of a model whose names end in one of the suffixes."""
    values = {
        "general.architecture": arch,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 32.0,
    }
    tensors: list[GgufTensorSpec] = []
    for weight in weights:
        if len(weight.ne) > 1 and weight.name.endswith(tuple(suffixes)):
            first, second, *experts = weight.ne
            if weight.name == "token_embd.weight":
                shapes = ([rank, second], [rank, first])
            else:
                shapes = ([first, rank, *experts], [rank, second, *experts])
            for letter, shape in zip("ab", shapes, strict=True):
                tensors.append((f"{weight.name}.lora_{letter}", dtype, shape))
    return write_gguf(path, values, tensors)
