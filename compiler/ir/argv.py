"""A command line taken apart: its words before the first flag, and its flags with their values."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

# A flag starts with a letter after its dashes: `-1` is a value, as in `--seed -1`.
_FLAG = re.compile(r"--?[A-Za-z]")


def arguments_of(argv: Sequence[str]) -> dict[str, list[str]]:
    """Each argument with its values, one for each time it is given; empty for a bare flag.

    Words before the first flag go by their position; a word after a flag is a value of it.
    """
    given: list[tuple[str, list[str]]] = []
    flagged = False
    for position, word in enumerate(argv):
        if _FLAG.match(word):
            flagged = True
            flag, equals, value = word.partition("=")
            given.append((flag, [value] if equals else []))
        elif flagged:
            given[-1][1].append(word)
        else:
            given.append((f"word {position + 1}" if position else "program", [word]))
    arguments: dict[str, list[str]] = {}
    for argument, words in given:
        arguments.setdefault(argument, []).append(shlex.join(words))
    return arguments
