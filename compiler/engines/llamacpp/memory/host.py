"""RAM of a llama-server process: weights, cache and buffers on the host, and the process itself."""

from __future__ import annotations

from compiler.engines.llamacpp.launch.options import Options, batch_sizes
from compiler.engines.llamacpp.model import quants
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.cache import sliding_cells
from compiler.ir.demand import Part
from compiler.ir.units import MIB, show_mib

# Resident size of llama-server without a model's data: a CPU build is below 100 MiB, and the CUDA
# libraries of one process map 200 to 500 MiB that are resident once used.
_PROCESS_CPU_BYTES = 100 * MIB
_PROCESS_CUDA_BYTES = 400 * MIB
_PROCESS_BAND_BYTES = 200 * MIB
# The tokenizer keeps each token's text and score in hash maps, some 200 bytes a token.
_TOKEN_BYTES = 200


def output_bytes(shape: Shape, options: Options) -> int:
    """Logits and embeddings for the answers (llama-context.cpp `output_reserve`)."""
    rows = max(options.slots * (1 + options.drafted_tokens), 1)
    embedding = shape.width_out if options.embeds else 0
    # The hidden state of every token of a batch goes to the layers for next tokens, and theirs,
    # of the tokens asked for alone, to the next draft (speculative.cpp).
    hidden = batch_sizes(options, causal=shape.causal)[0] if options.next_tokens else 0
    hidden = rows if shape.heads else hidden
    return ((shape.vocabulary + embedding) * rows + shape.width_out * hidden) * 4


def checkpoint_bytes(shape: Shape, options: Options) -> int:
    """One context checkpoint of one slot: what cannot be rewound (server-context.cpp).

    The recurrent state of the slot, and the window of the layers that slide.
    """
    state = shape.state
    per_layer = (state.conv_elements + state.state_elements) * 4
    total = per_layer * sum(layer.recurrent for layer in shape.layers)
    if options.sliding_full:
        return total
    cells = min(shape.window, sliding_cells(shape, options)) if shape.window else 0
    for layer in shape.layers:
        if layer.attention and layer.sliding:
            total += cells * quants.row_bytes(options.cache_type_k, layer.k_width)
            total += cells * quants.row_bytes(options.cache_type_v, layer.v_width)
    return total


def vocabulary_bytes(shape: Shape) -> int:
    """The tokenizer of a model."""
    return shape.vocabulary * _TOKEN_BYTES


def process_part(shape: Shape, options: Options) -> Part:
    """The process, its prompt cache and its checkpoints."""
    base = _PROCESS_CUDA_BYTES if options.gpus else _PROCESS_CPU_BYTES
    base += vocabulary_bytes(shape)
    # A slot that speculates keeps one more, to return to when a draft is refused.
    kept = options.checkpoints + (1 if options.drafted_tokens else 0)
    saved = checkpoint_bytes(shape, options) * kept * options.slots
    size = base + options.prompt_cache_bytes + saved
    why = f"process {show_mib(base)}, prompt cache up to {show_mib(options.prompt_cache_bytes)}"
    if saved:
        why += f", {kept} x {options.slots} checkpoints {show_mib(saved)}"
    return Part(
        bytes=size,
        low_bytes=max(base - _PROCESS_BAND_BYTES, 50 * MIB),
        high_bytes=size + _PROCESS_BAND_BYTES,
        why=why,
    )
