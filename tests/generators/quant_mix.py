"""Which type llama-quantize gives each tensor of a file, for the mixes that the examples use.

llama.cpp src/llama-quant.cpp (build 9000): tensor_allows_quantization, llama_tensor_get_type_impl,
tensor_type_fallback, and the order in which llama-model-loader.h sorts the tensors.
"""

from __future__ import annotations

import re

_DEFAULT = {
    "F32": "f32",
    "F16": "f16",
    "BF16": "bf16",
    "Q8_0": "q8_0",
    "Q6_K": "q6_K",
    "Q5_K_S": "q5_K",
    "Q5_K_M": "q5_K",
    "Q4_K_S": "q4_K",
    "Q4_K_M": "q4_K",
    "Q3_K_M": "q3_K",
}
_FALLBACK = {"q3_K": "q4_0", "q4_K": "q5_0", "q5_K": "q5_1", "q6_K": "q8_0"}
_UNQUANTIZED = ("_norm.weight", "ffn_gate_inp.weight", "position_embd.weight", "token_types.weight")
_BLOCK = re.compile(r"blk\.(\d+)\.")
K_BLOCK = 256


def tensor_type(mix: str, name: str, shape: list[int], layers: int, *, tied: bool) -> str:
    """The ggml type of one tensor. 80 layers are what llama.cpp calls the 70B type."""
    if len(shape) < 2 or not name.endswith("weight") or name.endswith(_UNQUANTIZED):
        return "f32"
    default = _DEFAULT[mix]
    if not default.startswith("q"):
        return default
    chosen = _chosen(mix, default, name, layers, tied=tied)
    if chosen.endswith("_K") and shape[0] % K_BLOCK:
        return _FALLBACK[chosen]
    return chosen


def file_order(name: str) -> tuple[int, str]:
    """Sort key of the loader: tensors outside blocks first, then block by block, by name."""
    block = _BLOCK.match(name)
    return (int(block.group(1)) if block else -1, name)


def _chosen(mix: str, default: str, name: str, layers: int, *, tied: bool) -> str:
    block = _BLOCK.match(name)
    if block is None:
        is_output = name == "output.weight" or (tied and name == "token_embd.weight")
        return "q6_K" if is_output and default != "q8_0" else default
    layer = int(block.group(1))
    kind = name.removeprefix(block.group(0)).removesuffix(".weight")
    if kind == "attn_v":
        chosen = _attn_v(mix, default, layer, layers)
        return "q5_K" if layers == 80 and chosen in {"q3_K", "q4_K"} else chosen
    if kind == "attn_qkv":
        return {"Q3_K_M": "q4_K", "Q4_K_M": "q5_K", "Q5_K_M": "q6_K"}.get(mix, default)
    if kind == "attn_output" and mix == "Q3_K_M":
        return "q4_K"
    if kind.startswith("ffn_down"):
        return _ffn_down(mix, default, layer, layers)
    return default


def _attn_v(mix: str, default: str, layer: int, layers: int) -> str:
    if mix == "Q3_K_M":
        return "q5_K" if layer < 2 else "q4_K"
    if mix == "Q4_K_S":
        return "q5_K" if layer < 4 else default
    if mix in {"Q4_K_M", "Q5_K_M"} and _more_bits(layer, layers):
        return "q6_K"
    return default


def _ffn_down(mix: str, default: str, layer: int, layers: int) -> str:
    if mix == "Q3_K_M":
        return "q5_K" if layer < layers // 16 else "q4_K"
    if mix == "Q4_K_S":
        return "q5_K" if layer < layers // 8 else default
    if mix in {"Q4_K_M", "Q5_K_M"} and _more_bits(layer, layers):
        return "q6_K"
    return default


def _more_bits(layer: int, layers: int) -> bool:
    """use_more_bits: the first and last eighth, and every third layer between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
