"""ggml's graph allocator: the best-fit arena of each device (ggml-alloc.c, 2026-10-01)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from compiler.engines.llamacpp.tensor import NOWHERE, Tensor

_ENDLESS = 1 << 62

# Operations that may write over a source (ggml-alloc.c `ggml_op_can_inplace`).
_IN_PLACE = frozenset(
    {
        "fill",
        "scale",
        "add",
        "add_id",
        "sub",
        "mul",
        "div",
        "sqr",
        "sqrt",
        "unary",
        "rope",
        "rms_norm",
        "clamp",
        "soft_max",
        "log",
    }
)

Placed = tuple[Tensor, int]
"""A tensor and the device on which it is allocated."""

State = tuple[tuple[tuple[tuple[int, int], ...], ...], tuple[tuple[int, int], ...]]
"""The free blocks of every device, and device and address of every result still needed."""


class Arena:
    """Free blocks of one device's buffer, by address, and the largest size it ever had."""

    __slots__ = ("align", "free", "largest")

    def __init__(self, align: int) -> None:
        self.align = align
        self.free: list[tuple[int, int]] = [(0, _ENDLESS)]
        self.largest = 0

    def allocate(self, size: int) -> int:
        """The address of the smallest free block that fits (`ggml_dyn_tallocr_alloc`)."""
        size = -(-size // self.align) * self.align
        free = self.free
        best, best_size = len(free) - 1, _ENDLESS
        for index in range(len(free) - 1):
            room = free[index][1]
            if size <= room <= best_size:
                best, best_size = index, room
        address, room = free[best]
        if room == size:
            del free[best]
        else:
            free[best] = (address + size, room - size)
        self.largest = max(self.largest, address + size)
        return address

    def release(self, address: int, size: int) -> None:
        """Give a block back and join it with its neighbours (`ggml_dyn_tallocr_free_bytes`)."""
        size = -(-size // self.align) * self.align
        free = self.free
        for index, (start, room) in enumerate(free):
            if start + room == address:
                joined = room + size
                if index + 1 < len(free) and start + joined == free[index + 1][0]:
                    joined += free[index + 1][1]
                    del free[index + 1]
                free[index] = (start, joined)
                return
            if address + size == start:
                joined = room + size
                if index and free[index - 1][0] + free[index - 1][1] == address:
                    before = free[index - 1]
                    free[index - 1] = (before[0], before[1] + joined)
                    del free[index]
                else:
                    free[index] = (address, joined)
                return
        # Blocks of no bytes (copies of no states) can stand out of order: as ggml, from the left.
        place = next((i for i, (start, _) in enumerate(free) if start >= address), len(free))
        free.insert(place, (address, size))


def allocate_graph(
    nodes: Sequence[Placed],
    leafs: Sequence[Placed],
    arenas: Sequence[Arena],
    size_on: Callable[[Tensor, int], int],
    marked: Collection[int] = (),
) -> list[State]:
    """Run the allocator over a graph; the arenas keep the sizes (`ggml_gallocr_alloc_graph_impl`).

    Inputs come first and nodes in order; a source is freed after its last reader. Gives the state
    before each node whose `id` is marked.
    """
    states: list[State] = []
    live: list[Tensor] = []
    since = 0
    for tensor, device in leafs:
        _allocate(tensor, device, arenas, size_on)
    _count_readers(nodes, arenas, size_on)
    for index, (tensor, device) in enumerate(nodes):
        if id(tensor) in marked:
            live = [each for each in live if each.allocated]
            live += [each for each, _ in nodes[since:index] if each.allocated]
            since = index
            states.append(_state(arenas, live))
        for source in tensor.src:
            if not source.allocated:
                _allocate(source, device, arenas, size_on)
        if tensor.view_of is None:
            _allocate(tensor, device, arenas, size_on)
        for source in tensor.src:
            source.children -= 1
            if source.children == 0 and source.views == 0:
                _free(source, arenas)
    return states


def _state(arenas: Sequence[Arena], live: Sequence[Tensor]) -> State:
    """What is free, and where the results stand that are still needed.

    Two of these may have changed places between two rounds, which leaves the same room free.
    """
    free = tuple(tuple(arena.free) for arena in arenas)
    return free, tuple((each.place, each.address) for each in live)


def _count_readers(
    nodes: Sequence[Placed], arenas: Sequence[Arena], size_on: Callable[[Tensor, int], int]
) -> None:
    """Count children and views, and allocate the inputs before any node."""
    for tensor, device in nodes:
        if tensor.view_of is not None and tensor.op is not None:
            tensor.view_of.views += 1
        if tensor.is_input:
            _allocate(tensor, device, arenas, size_on)
        for source in tensor.src:
            source.children += 1
            if source.is_input:
                _allocate(source, device, arenas, size_on)


def _allocate(
    tensor: Tensor,
    device: int,
    arenas: Sequence[Arena],
    size_on: Callable[[Tensor, int], int],
) -> None:
    if tensor.allocated or tensor.home != NOWHERE or tensor.view_of is not None:
        return
    tensor.allocated = True
    if tensor.op in _IN_PLACE:
        for source in tensor.src:
            if _reusable(source, tensor):
                _take_over(source, tensor, arenas, size_on)
                return
    tensor.place = device
    tensor.size = size_on(tensor, device)
    tensor.address = arenas[device].allocate(tensor.size)


def _reusable(source: Tensor, tensor: Tensor) -> bool:
    # Views and residents are never allocated, so they are never written over.
    return (
        source.allocated
        and not source.is_output
        and source.children == 1
        and source.views == 0
        and source.dtype == tensor.dtype
        and source.ne == tensor.ne
        and source.nb == tensor.nb
    )


def _take_over(
    source: Tensor,
    tensor: Tensor,
    arenas: Sequence[Arena],
    size_on: Callable[[Tensor, int], int],
) -> None:
    tensor.place, tensor.address = source.place, source.address
    tensor.size = size_on(tensor, tensor.place)
    source.allocated = False
    arena = arenas[tensor.place]
    old = -(-source.size // arena.align) * arena.align
    new = -(-tensor.size // arena.align) * arena.align
    if new < old:
        arena.release(tensor.address + new, old - new)


def _free(source: Tensor, arenas: Sequence[Arena]) -> None:
    viewed = source.view_of
    if viewed is None:
        if source.allocated:
            _release(source, arenas)
        return
    viewed.views -= 1
    if viewed.views == 0 and viewed.children == 0 and viewed.allocated:
        _release(viewed, arenas)


def _release(tensor: Tensor, arenas: Sequence[Arena]) -> None:
    if tensor.is_output:
        return
    arenas[tensor.place].release(tensor.address, tensor.size)
    tensor.allocated = False
