"""ggml's graph allocator: what is taken and given back when (ggml-alloc.c, 2026-10-01).

When a tensor is allocated, written over or freed follows from the graph alone; only addresses
depend on what happened before. So a graph becomes steps here, and `steps` runs them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compiler.engines.llamacpp.ggml.tensor import NOWHERE, Origin, Tensor

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

Results = tuple[tuple[int, int], ...]
"""Device and bytes of results that are still needed, in the order in which they are next read."""

LATEST = 2
"""A layer is computed in part in the steps of so many layers behind it."""

TAKE = -1
"""In place of an offset: the bytes are taken, not given back."""

Action = tuple[int, int, int, int]
"""Device, bytes, number of a result, and the offset in it of the bytes that are given back."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a part of a graph takes and gives back, whatever the addresses are.

    Inputs and their copies last: they have numbers below 0, the same in every step. Other results
    have numbers from 0 on: those from before, then those that are taken here.
    """

    before: Results
    """The other results of earlier steps."""
    actions: tuple[Action, ...]
    """In order."""
    kept: tuple[int, ...]
    """The numbers of those that the next step finds."""
    after: Results
    """The same."""
    typed: Mapping[int, tuple[int, str]]
    """Of the results that are copies of weights: which layer's, as so many before the step's own,
    and the name of the weight."""
    regular: bool
    """Whether these come from a layer at most LATEST before the step's, and are gone at its end."""


class Planner:
    """Steps of one graph. Mutable and slotted, for it sees every tensor."""

    __slots__ = (
        "_actions",
        "_before",
        "_fresh",
        "_lasting",
        "_numbers",
        "_results",
        "_size_on",
        "_typed",
        "steps",
    )

    def __init__(self, size_on: Callable[[Tensor, int], int]) -> None:
        self.steps: list[Step] = []
        self._size_on = size_on
        self._actions: list[Action] = []
        self._before: Results = ()
        # Of every result that is yet to be given back and does not last: device and bytes. Outputs
        # are never given back.
        self._results: dict[int, tuple[int, int]] = {}
        self._numbers: dict[int, int] = {}
        self._lasting = 0
        self._fresh = 0
        self._typed: dict[int, Origin] = {}

    def plan(
        self, nodes: Sequence[Placed], leafs: Sequence[Placed], starts: Sequence[int] = ()
    ) -> list[Step]:
        """A step for what stands before the first start, and one from each start to the next.

        Inputs come first and nodes in order; a source is freed after its last reader
        (`ggml_gallocr_alloc_graph_impl`). A start is the position of a node; of two equal ones the
        first has a step of nothing.
        """
        coming = deque(starts)
        for tensor, device in leafs:
            self._allocate(tensor, device)
        self._count_readers(nodes)
        for index, (tensor, device) in enumerate(nodes):
            while coming and coming[0] == index:
                coming.popleft()
                self._end_step(self._read_next(nodes, index))
            sources = tensor.src
            for source in sources:
                if not source.allocated and source.home == NOWHERE:
                    self._allocate(source, device)
            if tensor.view_of is None:
                self._allocate(tensor, device)
            for source in sources:
                source.children -= 1
                if source.children == 0 and source.views == 0:
                    self._free(source)
        self._end_step(list(self._results))
        return self.steps

    def _end_step(self, kept: Sequence[int]) -> None:
        """End a step, and begin the next with these results."""
        numbers = self._numbers
        own = len(self.steps) - 1
        step = Step(
            before=self._before,
            actions=tuple(self._actions),
            kept=tuple(numbers[result] for result in kept),
            after=tuple(self._results[result] for result in kept),
            typed={numbers[result]: (own - at, name) for result, (at, name) in self._typed.items()},
            regular=self._typed.keys().isdisjoint(kept)
            and all(0 <= own - at <= LATEST for at, _ in self._typed.values()),
        )
        self.steps.append(step)
        self._actions, self._before, self._typed = [], step.after, {}
        numbers.update((result, number) for number, result in enumerate(kept))
        self._fresh = len(kept)

    def _read_next(self, nodes: Sequence[Placed], index: int) -> list[int]:
        """The results that are needed behind a node, by their next reader."""
        wanted = set(self._results)
        found: list[int] = []
        for at in range(index, len(nodes)):
            if not wanted:
                break
            for source in nodes[at][0].src:
                data = source.view_of or source
                if data.allocated and data.result in wanted:
                    wanted.remove(data.result)
                    found.append(data.result)
        return [*found, *(result for result in self._results if result in wanted)]

    def _count_readers(self, nodes: Sequence[Placed]) -> None:
        """Count children and views, and allocate the inputs before any node."""
        for tensor, device in nodes:
            if tensor.view_of is not None and tensor.op is not None:
                tensor.view_of.views += 1
            if tensor.is_input:
                self._allocate(tensor, device)
            for source in tensor.src:
                source.children += 1
                if source.is_input:
                    self._allocate(source, device)

    def _allocate(self, tensor: Tensor, device: int) -> None:
        if tensor.allocated or tensor.home != NOWHERE or tensor.view_of is not None:
            return
        tensor.allocated = True
        if tensor.op in _IN_PLACE:
            for source in tensor.src:
                if _reusable(source, tensor):
                    self._take_over(source, tensor)
                    return
        size = self._size_on(tensor, device)
        tensor.place, tensor.size, tensor.result = device, size, id(tensor)
        if tensor.lasts:
            self._lasting += 1
            number = -self._lasting
        else:
            number = self._fresh
            self._fresh += 1
            if not tensor.is_output:
                self._results[tensor.result] = (device, size)
        self._numbers[tensor.result] = number
        if tensor.origin is not None:
            self._typed[tensor.result] = tensor.origin
        self._actions.append((device, size, number, TAKE))

    def _take_over(self, source: Tensor, tensor: Tensor) -> None:
        device, result = source.place, source.result
        size = self._size_on(tensor, device)
        tensor.place, tensor.size, tensor.result = device, size, result
        source.allocated = False
        if tensor.is_output:
            self._results.pop(result, None)
        if size < source.size:
            if result in self._results:
                self._results[result] = (device, size)
            self._actions.append((device, source.size - size, self._numbers[result], size))

    def _free(self, source: Tensor) -> None:
        viewed = source.view_of
        if viewed is None:
            if source.allocated:
                self._release(source)
            return
        viewed.views -= 1
        if viewed.views == 0 and viewed.children == 0 and viewed.allocated:
            self._release(viewed)

    def _release(self, tensor: Tensor) -> None:
        if tensor.is_output:
            return
        self._results.pop(tensor.result, None)
        self._actions.append((tensor.place, tensor.size, self._numbers[tensor.result], 0))
        tensor.allocated = False


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
