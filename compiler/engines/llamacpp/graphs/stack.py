"""The layers of a model as the allocator sees them, and how few of them tell what all take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from compiler.engines.llamacpp.ggml.steps import Turn
from compiler.engines.llamacpp.launch.options import NO_MOVES, Moves
from compiler.engines.llamacpp.model.shape import Shape
from compiler.engines.llamacpp.placed.layers import Layout
from compiler.engines.llamacpp.placed.weights import loads

# Rounds of more layers would make a stack too long that is needed once.
_LONGEST_ROUND = 2


class Block(NamedTuple):
    """One layer in a job: a layer of the model that looks like it, and its device."""

    like: int
    device: int
    cache_device: int = -1
    """The device of the layer whose KV cache it reads; -1 for a layer with a cache of its own."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The layers of a model in a job, and a shorter one that stands for it."""

    blocks: tuple[Block, ...]
    abridged: tuple[Block, ...]
    """Blocks whatever the types of their weights: at least one in each place in which the others
    are."""
    order: tuple[Turn, ...]
    """For each of the blocks the one among the abridged that is in the same place."""


@lru_cache(maxsize=4096)
def stack_of(
    shape: Shape, moves: Moves, layout: Layout, *, in_place: bool, abridge: bool, late: bool
) -> Stack:
    """The layers of a model in a job.

    `in_place`: host weights are multiplied where they are, so that their types do not matter.
    `late`: what a layer takes is given back two layers behind it.
    """
    found = loads(shape, moves).layers
    blocks = []
    known: dict[Block, Block] = {}
    for index, (device, layer) in enumerate(zip(layout.layers, found, strict=True)):
        owner = shape.layers[index].cache_of
        like = layer.like_on_host if device == layout.host else layer.like_on_gpu
        block = Block(
            layer.form if in_place else like,
            device,
            -1 if owner in (None, index) else layout.layers[owner],
        )
        blocks.append(known.setdefault(block, block))
    return _stack(blocks, [layer.form for layer in found], abridge=abridge, late=late)


@lru_cache(maxsize=4096)
def host_part(shape: Shape, layout: Layout, *, abridge: bool, late: bool) -> Stack:
    """Host weights multiplied in place, and of the layers that leave the host alone one of a kind.

    The whole stack where a layer on a GPU comes before one that needs the host.
    """
    stack = stack_of(shape, NO_MOVES, layout, in_place=True, abridge=abridge, late=late)
    host, blocks = layout.host, stack.blocks
    hosted = sum(block.device == host for block in blocks)
    rest = blocks[hosted:]
    if not hosted or any(host in (each.device, each.cache_device) for each in rest):
        return stack
    kinds: dict[int, Block] = {}
    for block in rest[:-1]:
        kinds.setdefault(block.like, block)
    some = [*blocks[:hosted], *kinds.values(), *rest[-1:]]
    return _stack(some, range(len(blocks)), abridge=abridge, late=late)


def _stack(blocks: Sequence[Block], forms: Sequence[int], *, abridge: bool, late: bool) -> Stack:
    """The stack of these blocks; `forms` has the kind of each layer whatever its weights' types."""
    likes = [block.like for block in blocks]
    befores = zip(likes, (-1, *likes), (-1, -1, *likes), strict=False)
    # A cache on another device travels to each layer that shares it, at the start of a split.
    if not abridge or any(block.cache_device not in (-1, block.device) for block in blocks):
        return Stack(tuple(blocks), tuple(blocks), tuple(map(Turn, range(len(blocks)), befores)))
    untyped = [block._replace(like=forms[block.like]) for block in blocks]
    places = _places(untyped, late=late)
    abridged = [untyped[index] for index in _distinct(places)]
    numbers = _numbers(_tripled(abridged), late=late)
    if numbers.keys() >= set(places):
        abridged = _tripled(abridged)
    else:
        numbers = _numbers(abridged, late=late)
    # Many stacks are kept, and most turns of each are equal.
    known: dict[Turn, Turn] = {}
    turns = map(Turn, (numbers[place] for place in places), befores)
    order = tuple(known.setdefault(turn, turn) for turn in turns)
    return Stack(tuple(blocks), tuple(abridged), order)


def _numbers(blocks: Sequence[Block], *, late: bool) -> dict[object, int]:
    """The first of the blocks in each place."""
    numbers: dict[object, int] = {}
    for number, place in enumerate(_places(blocks, late=late)):
        numbers.setdefault(place, number)
    return numbers


def _places(blocks: Sequence[Block], *, late: bool) -> list[object]:
    """The place of each block, equal for equal ones.

    What a block takes and frees follows from itself and its neighbours, for it is computed in part
    beside the next one, or `late`: beside the one behind that. An input is copied to a device for
    the first of the blocks that read it there, or `late`: beside the one before it, as what only
    the last block reads; and freed behind the last.
    """
    first = {block: at for at, block in reversed(list(enumerate(blocks)))}
    last = {block: at for at, block in enumerate(blocks)}
    own = [(block, first[block] == at, last[block] == at) for at, block in enumerate(blocks)]
    before = [(block, is_last) for block, _, is_last in own]
    if late:
        two_before = (None, None, *before)
        return list(zip(two_before, (None, *before), own, (*own[1:], None), strict=False))
    behind = [(block, is_first) for block, is_first, _ in own[1:]]
    return list(zip((None, *before), own, (*behind, None), strict=False))


def _distinct(places: Sequence[object]) -> list[int]:
    """Positions of a shorter row in which every place comes up and has the neighbours it had.

    What stands between two equal places can go if it comes up elsewhere.
    """
    stays = list(range(len(places)))
    start = 0
    seen: set[object] = set()
    while start < len(stays):
        last = {places[index]: position for position, index in enumerate(stays)}
        here = places[stays[start]]
        end, bound = start, len(stays)
        for position in range(start, len(stays)):
            if position > bound:
                break
            place = places[stays[position]]
            if place == here:
                end = position
            if place not in seen:
                bound = min(bound, last[place])
        del stays[start:end]
        seen.add(here)
        start += 1
    return stays


def _tripled(blocks: Sequence[Block]) -> list[Block]:
    """Two equal rounds of blocks become three, which stand for two and for more as well."""
    result: list[Block] = []
    start = 0
    while start < len(blocks):
        period, rounds = _repetition(blocks[start:])
        result += [*blocks[start : start + period]] * (3 if rounds == 2 else rounds)  # noqa: PLR2004
        start += period * rounds
    return result


def _repetition(blocks: Sequence[Block]) -> tuple[int, int]:
    """Length and number of the equal rounds at the beginning, at least one of one block."""
    for period in range(1, min(_LONGEST_ROUND, len(blocks) // 2) + 1):
        rounds = 1
        while blocks[rounds * period : (rounds + 1) * period] == blocks[:period]:
            rounds += 1
        if rounds > 1:
            return period, rounds
    return 1, 1
