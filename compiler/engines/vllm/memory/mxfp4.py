"""Experts in MXFP4: which kernels hold them, and with what padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from compiler.engines.vllm.launch.options import Options
from compiler.ir.inventory import GpuKind
from compiler.ir.units import round_up

Backend = Literal[
    "marlin", "trtllm", "triton", "triton_padded", "triton_doubled", "triton_swizzled"
]

_HOPPER = (9, 0)
_BLACKWELL = 10
_BEYOND_BLACKWELL = (11, 0)
# vLLM carries triton_kernels itself (third_party/triton_kernels) from here on.
_WITH_TRITON_KERNELS = (0, 15, 0)


def mxfp4_backend(options: Options, kind: GpuKind | None) -> Backend:
    """Kernels that hold gpt-oss experts (fused_moe/oracle/mxfp4.py `select_mxfp4_moe_backend`).

    Before 0.19 quantization/mxfp4.py `get_mxfp4_backend`, by the same order: FlashInfer's TRTLLM
    kernels on data centre Blackwell, triton_kernels on Hopper, Marlin on everything else.
    """
    compute, own = kind.compute if kind is not None else _HOPPER, options.mxfp4_backend
    supported = _HOPPER <= compute < _BEYOND_BLACKWELL
    if own == "marlin" or (not supported and own != "triton"):
        return "marlin"
    if compute[0] == _BLACKWELL:
        return "triton" if own == "triton" else "trtllm"
    if not options.rules.mxfp4_swizzled:
        return "triton_padded"
    return "triton_doubled" if options.rules.mxfp4_scales_stay else "triton_swizzled"


def may_fall_back(options: Options, kind: GpuKind) -> bool:
    """Whether Hopper's kernels may be missing: pip brings no triton_kernels with 0.10 to 0.14.

    vLLM then takes Marlin (quantization/mxfp4.py `get_mxfp4_backend`), and no argument says so.
    """
    own = options.mxfp4_backend is None and mxfp4_backend(options, kind) == "triton_padded"
    return own and options.version < _WITH_TRITON_KERNELS


def mxfp4_sizes(hidden: int, width: int, count: int, backend: Backend) -> Iterator[int]:
    """Bytes of values, scales and biases of both stacks of `count` experts.

    Widths by `mxfp4_round_up_hidden_size_and_intermediate_size`; that of triton_kernels before 0.19
    is read off a log of 0.11 (gpt-oss-20b on H100).
    """
    match backend:
        case "triton_doubled" | "triton_swizzled":
            kept = backend == "triton_doubled"
            yield from _swizzled(hidden, width, count, doubled=kept)
            return
        case "marlin":
            width, hidden = round_up(width, 128), round_up(hidden, 256)
        case "trtllm":
            width, hidden = round_up(width, 256), round_up(hidden, 256)
        case "triton_padded":
            width = round_up(width, 256)
        case _:
            pass
    # Scale columns are padded to a multiple of 32 for Blackwell's swizzled layout.
    step = 32 if backend == "triton" else 1
    bias_bytes = 4 if backend in {"marlin", "trtllm"} else 2
    yield count * 2 * width * hidden // 2
    yield count * 2 * width * round_up(-(-hidden // 32), step)
    yield count * hidden * width // 2
    yield count * hidden * round_up(-(-width // 32), step)
    yield count * 2 * width * bias_bytes
    yield count * hidden * bias_bytes


def _swizzled(hidden: int, width: int, count: int, *, doubled: bool) -> Iterator[int]:
    """triton_kernels on Hopper: values and scales in layouts of their own, biases in 32 bits.

    quantization/mxfp4.py `_setup_kernel` (0.19) replaces the values, but leaves the scales of the
    checkpoint registered beside the swizzled ones; oracle/mxfp4.py drops them (0.32, taken to be so
    from 0.25 on). Scales have 256 rows or a multiple, and an even number of columns
    (triton_kernels, `HopperMXScaleLayout`). In 0.19 the width is a multiple of 64 and values have a
    multiple of 64 bytes of inputs, which both logs of gpt-oss-20b on H100 show (one and two ranks);
    a log of gpt-oss-120b on 0.25 shows neither.
    """
    width, step = (round_up(width, 64), 64) if doubled else (width, 1)
    for rows, columns in ((2 * width, hidden), (hidden, width)):
        yield count * rows * round_up(columns // 2, step)
        yield count * round_up(rows, 256) * round_up(columns // 32, 2)
        if doubled:
            yield count * rows * (columns // 32)
        yield count * rows * 4
