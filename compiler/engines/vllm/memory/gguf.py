"""Bytes of a GGUF file's tensors as vLLM holds them."""

from __future__ import annotations

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.allocator import allocated_bytes
from compiler.engines.vllm.memory.stages import has_embedding, stage_layers
from compiler.engines.vllm.memory.weights import rope_bytes
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.facts import ModelFacts

_FLOATS = frozenset({"f32", "f16", "bf16"})


def gguf_weights(facts: ModelFacts, shape: Shape, options: Options) -> int:
    """Bytes of the file's tensors on one rank: quantized ones stay as they are, the rest is 16 bit.

    model_executor/layers/quantization/gguf.py, vLLM 0.8 to 0.28; matrices are cut over the ranks.
    """
    ranks, sizes = options.tensor_parallel, [rope_bytes(shape, options)]
    here = stage_layers(shape, options)
    for group in facts.tensors:
        size = group.bytes if group.dtype not in _FLOATS else _count(group.shape) * 2
        cut = ranks if len(group.shape) > 1 else 1
        if group.index:
            count = sum(1 for layer in group.indices()[0] if layer in here)
        elif group.name == "token_embd.weight":
            count = int(has_embedding(shape, options))
        else:
            count = int(options.is_last_stage)
        sizes += [size // cut] * count
    return allocated_bytes(sizes, options.rules)


def _count(sizes: list[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
