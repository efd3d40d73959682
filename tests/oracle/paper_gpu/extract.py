"""Takes out of a llama.cpp source tree the functions by which ggml-cuda decides sizes.

The paper GPU is compiled with them, so that it answers as that very release does. The result
is written outside the repository: nothing of llama.cpp is kept here.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Piece(NamedTuple):
    """A function, struct or constant of ggml-cuda: its file, its beginning, what to put before."""

    file: str
    begins: str
    before: str = ""


# In the order in which they need each other.
PIECES = (
    Piece("topk-moe.cuh", "struct ggml_cuda_topk_moe_args"),
    Piece(
        "topk-moe.cu", "bool ggml_cuda_should_use_topk_moe(const ggml_tensor * gating_op", "static "
    ),
    Piece("ggml-cuda.cu", "static bool ggml_cuda_topk_moe_fusion("),
    Piece("ggml-cuda.cu", "static constexpr int MOE_WEIGHTED_REDUCTION_MAX_EXPERTS"),
    Piece("ggml-cuda.cu", "struct ggml_cuda_moe_weighted_reduction_match"),
    Piece("ggml-cuda.cu", "static bool ggml_cuda_match_moe_weighted_reduction("),
    Piece("fattn-common.cuh", "struct ggml_cuda_flash_attn_ext_f16_extra_data"),
    Piece(
        "fattn-common.cuh",
        "static inline ggml_cuda_flash_attn_ext_f16_extra_data "
        "ggml_cuda_flash_attn_ext_get_f16_extra_data(",
    ),
    Piece("fattn.cu", "enum best_fattn_kernel"),
    Piece("fattn.cu", "static bool ggml_cuda_fattn_kv_type_supported("),
    Piece("fattn.cu", "static best_fattn_kernel ggml_cuda_get_best_fattn_kernel("),
    Piece("fattn.cu", "size_t ggml_cuda_flash_attn_ext_get_alloc_size(", "static "),
    Piece("fattn.cu", "bool ggml_cuda_flash_attn_ext_supported(", "static "),
    Piece("lightning-indexer.cu", "bool ggml_cuda_lightning_indexer_supported(", "static "),
    Piece("ggml-cuda.cu", "static bool ggml_backend_cuda_device_supports_op("),
    Piece("ggml-cuda.cu", "static int64_t get_op_batch_size("),
    Piece("ggml-cuda.cu", "static void ggml_backend_cuda_graph_optimize("),
)


class MovedError(Exception):
    """ggml-cuda no longer has a piece where it was: the paper GPU must be brought up to date."""


def extract(source: Path) -> str:
    """The text of all pieces of a llama.cpp source tree, as one C++ file."""
    folder = source / "ggml" / "src" / "ggml-cuda"
    texts = {
        name: (folder / name).read_text(encoding="utf-8")
        for name in sorted({piece.file for piece in PIECES})
    }
    return "\n\n".join(piece.before + _piece(texts[piece.file], piece) for piece in PIECES) + "\n"


def _piece(text: str, piece: Piece) -> str:
    start = text.find(piece.begins)
    if start < 0:
        raise MovedError(f"{piece.file} has no `{piece.begins}`")
    opening, semicolon = text.index("{", start), text.index(";", start)
    end = (semicolon if semicolon < opening else _closing(text, opening)) + 1
    found = text[start : end + (text[end : end + 1] == ";")]
    # Streams of a CUDA graph are found by looking at a running GPU; what stands before them
    # decides how long tensors live.
    running = found.find("#ifdef USE_CUDA_GRAPH")
    return found if running < 0 else found[:running] + "}"


def _closing(text: str, opening: int) -> int:
    """Where the brace closes that opens at a position; the pieces have none in strings."""
    depth = 0
    for position in range(opening, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if not depth:
            return position
    raise MovedError("a brace that never closes")
