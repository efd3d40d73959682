"""Steps of the allocator run one after another, each as often as a graph repeats it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from compiler.engines.llamacpp.ggml.allocator import TAKE, Action, Results, Step

_ENDLESS = 1 << 62

Sizes = tuple[int, ...]
"""Bytes of each device, host last."""


class Arena:
    """Free blocks of one device's buffer, by address, and the largest size it ever had.

    Sizes are multiples of the device's alignment.
    """

    __slots__ = ("free", "largest")

    def __init__(self, free: Sequence[tuple[int, int]] = ((0, _ENDLESS),)) -> None:
        self.free = list(free)
        self.largest = 0

    def allocate(self, size: int) -> int:
        """The address of the smallest free block that fits (`ggml_dyn_tallocr_alloc`)."""
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


Lasting = tuple[tuple[int, int], ...]
"""Numbers and addresses of what lasts."""
State = tuple[tuple[tuple[tuple[int, int], ...], ...], tuple[int, ...], Lasting]
"""The free blocks of every device, and the addresses of the results that are still needed."""


class _Point:
    """A state between two steps, and where each step that was run from here led, and its sizes."""

    __slots__ = ("led", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.led: dict[Turn, tuple[_Point, Sizes]] = {}


class Turn(NamedTuple):
    """A step in an order of steps, and layers like whose weights are those that it copies."""

    at: int
    likes: tuple[int, ...]
    """Those of the step itself, and of the two before it."""


class Script:
    """The steps of a graph, to be run with some left out and others repeated.

    Where a step leads depends on the state before it alone, so that each is run once from each
    state; long repetitions come back to the same few.
    """

    __slots__ = ("_fit", "_once", "_points", "_size_of", "_start", "_steps", "_typed", "regular")

    def __init__(
        self,
        steps: Sequence[Step],
        devices: int,
        size_of: Callable[[int, str, int], int],
        once: frozenset[int] = frozenset(),
    ) -> None:
        """`size_of` gives the bytes of a weight by like layer, name and device.

        `once`: the steps for whose results the opening one takes room, too.
        """
        opening, *self._steps = steps
        self._size_of = size_of
        self._points: dict[State, _Point] = {}
        self._typed: dict[Turn, Sequence[Action]] = {}
        empty = _Point((tuple(tuple(Arena().free) for _ in range(devices)), (), ()))
        self._start = self._run(empty, opening.actions, opening.kept)
        numbers: dict[Results, int] = {}
        self._fit = [
            tuple(numbers.setdefault(each, len(numbers)) for each in (step.before, step.after))
            for step in steps
        ]
        self._once = once
        self.regular = all(step.regular for step in steps)
        """Whether the weights of a layer are copied by its own steps alone."""

    def __len__(self) -> int:
        """The number of steps behind the opening one."""
        return len(self._steps)

    def whole(self) -> Sizes:
        """Bytes of each device for the graph as it is."""
        point, sizes = self._start
        for step in self._steps:
            point, more = self._run(point, step.actions, step.kept)
            sizes = tuple(map(max, sizes, more))
        return sizes

    def sizes(self, order: Sequence[Turn]) -> Sizes | None:
        """Bytes of each device when the steps behind the opening one are run in this order.

        None where one does not find the results that it needs, or takes a copy twice, or where one
        is left out or repeated for which the opening step takes room.
        """
        runs = [turn.at for turn in order] if self._once else []
        if any(runs.count(at) != 1 for at in self._once):
            return None
        point, sizes = self._start
        seen = {sizes}
        _, found = self._fit[0]
        for turn in order:
            needed, after = self._fit[turn[0] + 1]
            if needed != found:
                return None
            found = after
            known = point.led.get(turn)
            if known is None:
                try:
                    known = self._run(point, self._actions(turn), self._steps[turn.at].kept)
                except KeyError:
                    return None
                point.led[turn] = known
            point, sizes = known
            seen.add(sizes)
        return tuple(map(max, *seen, sizes))

    def _actions(self, turn: Turn) -> Sequence[Action]:
        """What a step takes and gives back when the weights are those of these layers."""
        found = self._typed.get(turn)
        if found is None:
            found = self._typed[turn] = self._typed_actions(self._steps[turn.at], turn.likes)
        return found

    def _typed_actions(self, step: Step, likes: Sequence[int]) -> Sequence[Action]:
        size_of = self._size_of
        if not step.typed:
            return step.actions
        actions = list(step.actions)
        for index, (device, _, number, offset) in enumerate(actions):
            if number in step.typed:
                back, name = step.typed[number]
                actions[index] = (device, size_of(likes[back], name, device), number, offset)
        return actions

    def _run(
        self, point: _Point, actions: Iterable[Action], kept: Sequence[int]
    ) -> tuple[_Point, Sizes]:
        blocks, known, lasting = point.state
        arenas = [Arena(free) for free in blocks]
        addresses, inputs = list(known), dict(lasting)
        for device, size, number, offset in actions:
            if offset == TAKE:
                address = arenas[device].allocate(size)
                if number >= 0:
                    addresses.append(address)
                elif number in inputs:
                    raise KeyError(number)
                else:
                    inputs[number] = address
            elif number >= 0:
                arenas[device].release(addresses[number] + offset, size)
            elif offset:
                arenas[device].release(inputs[number] + offset, size)
            else:
                arenas[device].release(inputs.pop(number), size)
        state = (
            tuple(tuple(arena.free) for arena in arenas),
            tuple(addresses[number] for number in kept),
            tuple(sorted(inputs.items())),
        )
        after = self._points.setdefault(state, _Point(state))
        return after, tuple(arena.largest for arena in arenas)
