"""Names that count: their order, and how many of them become one line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.ir.names import folded, grouped, natural_key

NAMES = st.lists(st.from_regex(r"[ab]-[0-9]{1,2}(/[0-3])?", fullmatch=True), max_size=12)


def test_ten_comes_after_nine() -> None:
    names = ["chat-10", "chat-2", "chat-1", "batch-11", "chat"]
    assert sorted(names, key=natural_key) == ["batch-11", "chat", "chat-1", "chat-2", "chat-10"]


def test_no_number_is_too_long_to_be_sorted() -> None:
    names = ["a" + "9" * 5_000, "a" + "8" * 5_000, "a8"]
    assert sorted(names, key=natural_key) == [names[2], names[1], names[0]]
    assert folded(sorted(names, key=natural_key))


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ([], ""),
        (["chat-0"], "chat-0"),
        (["chat-0", "chat-1"], "chat-[0-1]"),
        ([f"edge-{n:02}" for n in range(1, 21)], "edge-[01-20]"),
        (["h01", "h02", "h03", "h05"], "h[01-03,05]"),
        (["h8", "h9", "h10", "h11"], "h[8-11]"),
        (["h08", "h9"], "h08, h9"),
        (["h0", "h1"], "h[0-1]"),
        ([f"h{host}/{gpu}" for host in (1, 2) for gpu in (0, 1)], "h[1-2]/[0-1]"),
        (["a/0", "a/1", "b/0", "b/1"], "a/[0-1], b/[0-1]"),
        (["h1/0,1", "h2/0,1"], "h[1-2]/0,1"),
        # Whoever stands where can be read off: the order of the names is kept.
        (["h3", "h1", "h2"], "h3, h[1-2]"),
        (["h1", "h1", "h2"], "h[1-2]"),
        (["chat", "embed"], "chat, embed"),
    ],
)
def test_names_in_one_line(names: list[str], line: str) -> None:
    assert folded(names) == line


@given(NAMES)
def test_a_folded_line_names_each_once(names: list[str]) -> None:
    unique = sorted(set(names), key=natural_key)
    assert sorted(expanded(folded(unique)), key=natural_key) == unique


def test_groups_keep_the_order_of_their_first_items() -> None:
    assert grouped([("b", 1), ("a", 2), ("b", 3)]) == {"b": [1, 3], "a": [2]}


def expanded(line: str) -> list[str]:
    """The names of a folded line, written out by other means."""
    found = []
    for part in filter(None, re.split(r", ", line)):
        names = [""]
        for word in re.split(r"(\[[^\]]*\])", part):
            choices = numbers_of(word) if word.startswith("[") else [word]
            names = [name + choice for name in names for choice in choices]
        found += names
    return found


def numbers_of(word: str) -> list[str]:
    """`[01-03,5]` written out."""
    found = []
    for part in word.strip("[]").split(","):
        first, _, last = part.partition("-")
        found += [str(n).zfill(len(first)) for n in range(int(first), int(last or first) + 1)]
    return found
