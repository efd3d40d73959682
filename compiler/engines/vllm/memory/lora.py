"""Room for LoRA adapters: all of it is allocated at start."""

from __future__ import annotations

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.stages import stage_layers
from compiler.engines.vllm.model.shape import Shape

_NUMBER_BYTES = 2


def lora_bytes(shape: Shape, options: Options) -> int:
    """Bytes of the stacked A and B matrices on one GPU (lora/layers/, vLLM 0.8 to 0.33).

    Every linear module has them for each adapter slot. Without --fully-sharded-loras A is
    replicated; B is sharded where the module's output is, A where its input is.
    """
    lora = options.lora
    if lora is None or shape.encoder:
        return 0
    ranks, hidden = options.tensor_parallel, shape.hidden
    query = shape.heads * shape.head_dim
    key_value = max(shape.kv_heads, ranks) * shape.head_dim
    inputs = 3 * hidden + query // ranks
    outputs = (query + 2 * key_value) // ranks + hidden
    if shape.experts is None:
        inputs += 2 * hidden + shape.inner // ranks
        outputs += 2 * shape.inner // ranks + hidden
    numbers = lora.adapters * lora.rank * (inputs + outputs)
    return len(stage_layers(shape, options)) * numbers * _NUMBER_BYTES
