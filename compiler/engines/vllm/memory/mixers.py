"""Weights of recurrent layers on one GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.model.shape import Recurrent, Shape

_FLOAT_BYTES = 4


class Linear(Protocol):
    """Sizes of the tensors of a linear module, in the scheme that it has."""

    def __call__(self, name: str, rows: int, columns: int, *, bias: bool = False) -> list[int]:
        """Bytes of each tensor of a module of `rows` outputs and `columns` inputs."""


def mixer_sizes(
    shape: Shape, recurrent: Recurrent, options: Options, linear: Linear
) -> Iterator[int]:
    """Bytes of each parameter of one recurrent layer (model_executor/layers/mamba/, 0.10 to 0.33).

    Heads and inner width are cut over the tensor parallel ranks.
    """
    match recurrent.kind:
        case "gdn":
            yield from _gated_delta(shape, recurrent, options, linear)
        case "kda":
            yield from _kimi_delta(shape, recurrent, options, linear)
        case "lightning":
            yield from _lightning(shape, recurrent, options, linear)
        case "mamba":
            yield from _mamba(shape, recurrent, options, linear)
        case "mamba2":
            yield from _mamba2(shape, recurrent, options, linear)
        case "conv":
            yield from _short_convolution(shape, recurrent, options, linear)


def _gated_delta(
    shape: Shape, recurrent: Recurrent, options: Options, linear: Linear
) -> Iterator[int]:
    """gdn/qwen_gdn_linear_attn.py, before 0.25 models/qwen3_next.py."""
    ranks, number = options.tensor_parallel, shape.dtype_bytes
    keys, values = recurrent.key_heads * recurrent.key_dim, recurrent.inner
    heads = recurrent.value_heads // ranks
    rows = (2 * keys + 2 * values) // ranks
    yield from linear("linear_attn.in_proj_qkvz", rows, shape.hidden)
    yield from linear("linear_attn.in_proj_ba", max(1, 2 * heads), shape.hidden)
    yield (2 * keys + values) // ranks * recurrent.kernel * number
    yield recurrent.value_dim * _FLOAT_BYTES
    yield from (heads * _FLOAT_BYTES, heads * _FLOAT_BYTES)
    yield from linear("linear_attn.out_proj", shape.hidden, values // ranks)


def _kimi_delta(
    shape: Shape, recurrent: Recurrent, options: Options, linear: Linear
) -> Iterator[int]:
    """gdn/kimi_gdn_linear_attn.py; the two projections down to a head are replicated."""
    ranks, number, hidden = options.tensor_parallel, shape.dtype_bytes, shape.hidden
    inner, head = recurrent.inner // ranks, recurrent.value_dim
    yield from linear("self_attn.q_proj", 3 * inner, hidden)
    yield from linear("self_attn.f_a_proj", head, hidden)
    yield from linear("self_attn.f_b_proj", inner, head)
    if recurrent.full_gate:
        yield from linear("self_attn.g_proj", inner, hidden)
    else:
        yield from linear("self_attn.g_a_proj", head, hidden)
        yield from linear("self_attn.g_b_proj", inner, head)
    yield from linear("self_attn.b_proj", recurrent.value_heads // ranks, hidden)
    yield 3 * inner * recurrent.kernel * number
    yield from (inner * _FLOAT_BYTES, recurrent.value_heads // ranks * _FLOAT_BYTES)
    yield head * number
    yield from linear("self_attn.o_proj", hidden, inner)


def _lightning(
    shape: Shape, recurrent: Recurrent, options: Options, linear: Linear
) -> Iterator[int]:
    """MiniMax's linear attention (models/minimax_text_01.py, 0.8 to 0.23)."""
    inner = recurrent.inner // options.tensor_parallel
    yield from linear("self_attn.qkv_proj", 3 * inner, shape.hidden)
    yield from linear("self_attn.output_gate", inner, shape.hidden)
    yield from linear("self_attn.out_proj", shape.hidden, inner)
    yield inner * shape.dtype_bytes


def _mamba(shape: Shape, recurrent: Recurrent, options: Options, linear: Linear) -> Iterator[int]:
    """mamba_mixer.py: A is kept in 32 bits."""
    number, inner = shape.dtype_bytes, recurrent.inner // options.tensor_parallel
    yield from linear("mixer.in_proj", 2 * inner, shape.hidden)
    yield from (inner * recurrent.kernel * number, inner * number)
    yield from linear("mixer.x_proj", recurrent.rank + 2 * recurrent.key_dim, inner)
    yield from linear("mixer.dt_proj", inner, recurrent.rank, bias=True)
    yield inner * recurrent.key_dim * _FLOAT_BYTES
    yield inner * number
    if recurrent.norms:
        yield from (size * number for size in (recurrent.rank, *[recurrent.key_dim] * 2))
    yield from linear("mixer.out_proj", shape.hidden, inner)


def _mamba2(shape: Shape, recurrent: Recurrent, options: Options, linear: Linear) -> Iterator[int]:
    """mamba_mixer2.py: x, z, B, C and the time step in one projection."""
    ranks, number = options.tensor_parallel, shape.dtype_bytes
    values, heads = recurrent.inner, recurrent.value_heads // ranks
    groups = max(recurrent.key_heads, ranks if recurrent.key_heads else 0) * recurrent.key_dim
    yield from linear("mixer.in_proj", (2 * values + 2 * groups) // ranks + heads, shape.hidden)
    yield (values + 2 * groups) // ranks * recurrent.kernel * number
    yield (values + 2 * groups) // ranks * number
    yield values // ranks * number
    yield from (heads * _FLOAT_BYTES, heads * _FLOAT_BYTES)
    yield from linear("mixer.out_proj", shape.hidden, values // ranks)


def _short_convolution(
    shape: Shape, recurrent: Recurrent, options: Options, linear: Linear
) -> Iterator[int]:
    """short_conv.py, as in LFM2."""
    inner = recurrent.inner // options.tensor_parallel
    yield from linear("conv.in_proj", 3 * inner, shape.hidden)
    yield inner * recurrent.kernel * shape.dtype_bytes
    yield from linear("conv.out_proj", shape.hidden, inner)
