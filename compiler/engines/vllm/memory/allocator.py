"""How many bytes PyTorch's CUDA allocator counts for tensors that stay."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from compiler.engines.vllm.versions import Rules
from compiler.ir.units import MIB, round_up

# c10/cuda/CUDACachingAllocator.cpp, PyTorch 2.6 to 2.10: kMinBlockSize, kLargeBuffer,
# kMinLargeAlloc, kRoundLarge, and the remainder that is not split off (kSmallSize).
_BLOCK_BYTES = 512
_SHARED_BYTES = 20 * MIB
_LARGE_BYTES = 10 * MIB
_SEGMENT_BYTES = 2 * MIB
_REMAINDER_BYTES = MIB
# vLLM >= 0.21, model_executor/model_loader/base_loader.py: weights are loaded under
# max_split_size_mb=20, and a block of that size or more is never split.
_UNSPLIT_BYTES = 20 * MIB


def allocated_bytes(sizes: Iterable[int], rules: Rules) -> int:
    """What `torch.cuda.memory_allocated` grows by for the tensors of a loaded model, in order.

    From 10 MiB a tensor has a segment of its own, rounded to 2 MiB; from 1 MiB several share one of
    20 MiB. Each takes the smallest rest that holds it, and a rest of up to 1 MiB is not worth
    splitting off and counts as allocated.
    """
    total = 0
    rests: list[int] = []
    for size_bytes in sizes:
        block_bytes = round_up(max(0, size_bytes), _BLOCK_BYTES)
        if block_bytes <= _REMAINDER_BYTES:
            total += block_bytes
            continue
        unsplit = rules.load_without_splits and block_bytes >= _UNSPLIT_BYTES
        place = bisect_left(rests, block_bytes)
        if place < len(rests) and not unsplit:
            found_bytes = rests.pop(place)
        elif block_bytes < _LARGE_BYTES:
            found_bytes = _SHARED_BYTES
        else:
            found_bytes = round_up(block_bytes, _SEGMENT_BYTES)
        rest_bytes = found_bytes - block_bytes
        if unsplit or rest_bytes <= _REMAINDER_BYTES:
            total += found_bytes
        else:
            insort(rests, rest_bytes)
            total += block_bytes
    return total
