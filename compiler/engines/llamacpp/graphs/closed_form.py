"""Compute buffers by formula: the fallback for models whose graph the law cannot rebuild."""

from __future__ import annotations

from compiler.engines.llamacpp.launch.options import NO_MOVES, Options, ubatch_tokens
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.cache import sliding_cells
from compiler.engines.llamacpp.placed.layers import Layout
from compiler.engines.llamacpp.placed.weights import HOST, loads

# Against libllama over 445 runs on one GPU the formula is off by 2.8 % on average and by 35 % at
# worst, so what rests on it reserves this much more and promises this much less, in percent.
BAND_PERCENT = 35


def compute_bytes(
    shape: Shape, options: Options, layout: Layout, output_rows: int
) -> tuple[int, ...]:
    """Compute buffer of each device, host last: inputs and the largest stage of a layer."""
    tokens = ubatch_tokens(options, causal=shape.causal)
    inputs = _inputs(shape, options, tokens, output_rows)
    stage = max(_feed_forward(shape), _attention(shape, options), _recurrent(shape)) * tokens * 4
    head = 0 if shape.encoder else 4 * output_rows * (shape.vocabulary + shape.width)
    copies = 4 if pipelined(shape, options) else 1
    busy = {*layout.layers, layout.output}
    host_bytes = inputs * copies + 4 * tokens + 8 * tokens * shape.width * copies
    sizes = []
    for device in range(layout.host + 1):
        if device == layout.host:
            sizes.append(host_bytes + (stage if device in busy and not options.gpus else 0))
        elif device in busy:
            own_head = head if device == layout.output else 0
            moved = _largest_host_layer(shape, options, layout) if device == 0 else 0
            between = 4 * tokens * shape.width * (copies - 1)
            sizes.append(max(inputs * copies + between + stage, own_head) + moved)
        else:
            sizes.append(0)
    return tuple(sizes)


def pipelined(shape: Shape, options: Options) -> bool:
    """Whether llama.cpp keeps four copies of each input (llama-context.cpp, pipeline parallel)."""
    return (
        options.gpus > 1
        and options.gpu_layers > shape.layers_in_file
        and options.split_mode == "layer"
        and options.kv_on_gpu
        and options.moves == NO_MOVES
    )


def _inputs(shape: Shape, options: Options, tokens: int, output_rows: int) -> int:
    per_cell = 2 if options.flash_attention else 4
    if shape.encoder:
        return per_cell * tokens * tokens + 8 * tokens
    cells = options.cells_per_stream
    if any(layer.sliding for layer in shape.layers):
        cells += sliding_cells(shape, options)
    widest = max((layer.v_width for layer in shape.layers), default=0)
    transposed = 0 if options.flash_attention else 8 * tokens * widest
    positions = 16 if shape.family.four_positions else 4
    return cells * tokens * per_cell + (positions + 16) * tokens + 4 * output_rows + transposed


def _feed_forward(shape: Shape) -> int:
    widths = [
        weight.ne[1]
        for weight in shape.weights
        if weight.suffix in ("ffn_up.weight", "ffn_gate.weight") and len(weight.ne) > 1
    ]
    dense = 3 * shape.width + 3 * max(widths, default=0)
    if not shape.experts.count:
        return dense
    used = max(layer.experts_used for layer in shape.layers)
    expert = max(
        (w.ne[1] for w in shape.weights if w.suffix.startswith("ffn_up_exps") and len(w.ne) > 1),
        default=0,
    )
    router = 3 * shape.experts.count
    return max(
        dense,
        2 * shape.width + 3 * used * expert + router,
        2 * shape.width + 3 * used * expert + 2 * used * shape.width + router,
    )


def _attention(shape: Shape, options: Options) -> int:
    largest = 0
    cells = options.cells_per_stream if not shape.encoder else options.ubatch
    for layer in shape.layers:
        if not layer.attention:
            continue
        query = layer.heads * layer.head_k
        result = layer.heads * layer.head_v
        stage = max(
            shape.width + query + result,
            2 * shape.width + query + 2 * layer.k_width + layer.v_width,
        )
        if not options.flash_attention:
            stage = max(stage, 2 * shape.width + query + result + layer.heads * cells)
        largest = max(largest, stage)
    return largest


def _recurrent(shape: Shape) -> int:
    state = shape.state
    if not any(layer.recurrent for layer in shape.layers):
        return 0
    channels = state.inner + 2 * state.groups * state.size
    return shape.width + 2 * channels + 3 * max(state.inner, 2 * shape.width)


def _largest_host_layer(shape: Shape, options: Options, layout: Layout) -> int:
    """Weights of a host layer are copied to the first GPU to be multiplied there."""
    if not options.gpus:
        return 0
    sizes = []
    for device, layer in zip(layout.layers, loads(shape, options.moves).layers, strict=True):
        own = layer.host_bytes if device == layout.host else 0
        sizes.append(own + sum(size for target, size in layer.moved if target == HOST))
    return max(sizes, default=0)
