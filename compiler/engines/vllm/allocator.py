"""How many bytes PyTorch's CUDA allocator counts for a tensor that stays."""

from __future__ import annotations

from compiler.engines.vllm.versions import Rules
from compiler.ir.units import MIB, round_up

# c10/cuda/CUDACachingAllocator.cpp, PyTorch 2.6 to 2.10: kMinBlockSize, kMinLargeAlloc,
# kRoundLarge and kLargeBuffer's remainder rule (kSmallSize, 1 MiB).
_BLOCK_BYTES = 512
_LARGE_BYTES = 10 * MIB
_SEGMENT_BYTES = 2 * MIB
_REMAINDER_BYTES = MIB
# vLLM >= 0.21, model_executor/model_loader/base_loader.py: weights are loaded under
# max_split_size_mb=20, and a block of that size or more is never split.
_UNSPLIT_BYTES = 20 * MIB


def allocated_bytes(size_bytes: int, rules: Rules) -> int:
    """What `torch.cuda.memory_allocated` grows by for one tensor of a loaded model.

    From 10 MiB a tensor has a segment of its own, rounded to 2 MiB. A rest of up to 1 MiB is not
    worth splitting off and counts as allocated.
    """
    if size_bytes <= 0:
        return 0
    if size_bytes < _LARGE_BYTES:
        return round_up(size_bytes, _BLOCK_BYTES)
    segment_bytes = round_up(size_bytes, _SEGMENT_BYTES)
    unsplit = rules.load_without_splits and size_bytes >= _UNSPLIT_BYTES
    if unsplit or segment_bytes - size_bytes <= _REMAINDER_BYTES:
        return segment_bytes
    return round_up(size_bytes, _BLOCK_BYTES)
