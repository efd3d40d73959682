"""Audio towers of models that hear and see.

model_executor/models/qwen2_5_omni_thinker.py, qwen3_omni_moe_thinker.py and gemma4_mm.py, 0.32.
"""

from __future__ import annotations

from collections.abc import Iterator

from compiler.engines.vllm.model.sections import Header, section, whole
from compiler.engines.vllm.model.shape import Part
from compiler.engines.vllm.model.towers import Cut, linear

_FLOAT_BYTES = 4
# Kernels of the convolutions: three steps of sound, or three by three of its spectrum.
_STEPS, _WINDOW = 3, 9
# No published tower comes near; a damaged or hostile config can say anything.
_MOST_LAYERS = 4096
# Norms of a block of Gemma 4's: round both MLPs, attention and the convolution, and behind all.
_GEMMA_NORMS = 10
# Three convolutions of stride 2.
_STRIDES = 8


def audio_of(header: Header) -> tuple[Part, ...]:
    """Parameters of the audio tower that a config.json describes; none without one."""
    inner = section(header, "thinker_config") or header
    found = section(inner, "audio_config")
    match header.get("model_type") if found else None:
        case "qwen2_5_omni":
            return tuple(_qwen2_5(found))
        case "qwen3_omni_moe":
            return tuple(_qwen3(found))
        case "gemma4":
            hidden = whole(section(header, "text_config"), "hidden_size")
            return tuple(_gemma4(found, hidden))
    return ()


def _gemma4(found: Header, hidden: int) -> Iterator[Part]:
    """Transformers' conformer, which no rank shares: two MLPs, attention and a convolution."""
    width = whole(found, "hidden_size") or 1024
    copies = min(whole(found, "num_hidden_layers") or 12, _MOST_LAYERS)
    out = whole(found, "output_proj_dims") or 1536
    listed = found.get("subsampling_conv_channels")
    channels = (
        [size for size in listed if isinstance(size, int)] if isinstance(listed, list) else []
    )
    before = 1
    for size in channels:
        yield Part(size * before * _WINDOW)
        yield Part(size)
        before = size
    yield Part(width * width)
    yield Part(4 * width * width, copies=4 * copies)
    yield Part(width * width, copies=5 * copies)
    yield Part(2 * width * width, copies=copies)
    yield Part(width * width, copies=copies)
    yield Part(width * (whole(found, "conv_kernel_size") or 5), copies=copies)
    yield Part(width, copies=_GEMMA_NORMS * copies)
    yield from linear(out, width)
    yield Part(hidden * out)


def _qwen2_5(found: Header) -> Iterator[Part]:
    """The tower of transformers, which no rank shares; keys have no bias."""
    width, out, channels = _sizes(found)
    yield from linear(width, channels * _STEPS)
    yield from linear(width, width * _STEPS)
    yield Part(2 * out)
    yield from _blocks(found, cut=False, biases=2)
    yield from linear(out, width)


def _qwen3(found: Header) -> Iterator[Part]:
    width, out, channels = _sizes(found)
    inner = whole(found, "downsample_hidden_size") or 480
    yield from linear(inner, _WINDOW)
    yield from linear(inner, inner * _WINDOW, copies=2)
    yield from linear(width, inner * -(-channels // _STRIDES), bias=False)
    yield from _blocks(found, cut=True, biases=3)
    yield from linear(width, width)
    yield from linear(out, width)


def _sizes(found: Header) -> tuple[int, int, int]:
    """Width of the blocks and of what comes out of them, and channels of the spectrum."""
    return (
        whole(found, "d_model") or 1280,
        whole(found, "output_dim") or 3584,
        whole(found, "num_mel_bins") or 128,
    )


def _blocks(found: Header, *, cut: bool, biases: int) -> Iterator[Part]:
    """Whisper's encoder layers, the norm behind them and the sines of its positions."""
    width = whole(found, "d_model") or 1280
    copies = min(whole(found, "encoder_layers") or 32, _MOST_LAYERS)
    inner = whole(found, "encoder_ffn_dim") or 4 * width
    rows: Cut = "rows" if cut else None
    columns: Cut = "columns" if cut else None
    yield from linear(3 * width, width, cut=rows, bias=False, copies=copies)
    yield Part(biases * width, copies=copies, cut=cut)
    yield from linear(width, width, cut=columns, copies=copies)
    yield from linear(inner, width, cut=rows, copies=copies)
    yield from linear(width, inner, cut=columns, copies=copies)
    yield Part(width, copies=4 * copies + 2)
    positions = whole(found, "max_source_positions") or 1500
    yield Part(positions * width, number_bytes=_FLOAT_BYTES)
