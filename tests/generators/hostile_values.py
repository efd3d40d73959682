"""Values that no author of a file would write, and files in which some of them stand."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 63, 64, 127, 255, 4095, 4097, 65535, 65536, 10**6),
    *(2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30),
    *(0.0, 0.5, -0.5, 1.5, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")),
)
TEXTS: tuple[Any, ...] = (
    *("", " ", "a", "A", "none", "null", "true", "-", "--help", "..", "../..", "/", "//", "."),
    *("/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/mem", "file:///etc/passwd", "~", "~x"),
    *("64GB", "64", "64 GiB", "16k", "1e3", "0x10", "10%", "1:30", "12:30:45", "\ud800", "\x00"),
    *("\u202e", "\x1b[31m", "'", '"', "$(id)", "`id`", "{name}", "{0}", "%s", "*", "[", "a[0-9]"),
    *("h[01-99999999]", "h[2-1]", "h[a-b]", "x" * 70_000, "é" * 300, "a\nb", "a\tb", "re:(a+)+$"),
    *("re:(", "re:.*.*.*.*.*.*b", "re:(.|a)*x", "model.layers.*.*.*.*.*.*", "?" * 60, "gemma3"),
    *("127.0.0.1", "::1", "[::1]:80", "256.256.256.256", "http://x", "GPU-", "MIG-a/b/c", "bert"),
    *("org/repo:Q4", "org/repo@x:y:z", "a/b/c", "./x.gguf", "qwen3:8b", "hf.co/a/b", "safetensors"),
)


def hostile_value(dice: random.Random) -> Any:  # noqa: ANN401 (any value)
    """Something that no author of a file would write there."""
    match dice.randrange(8):
        case 0 | 1 | 2:
            return dice.choice(NUMBERS)
        case 3 | 4:
            return dice.choice(TEXTS)
        case 5:
            return dice.choice([None, True, False, [], {}, [[]], {"": {}}])
        case 6:
            return [dice.choice(NUMBERS + TEXTS) for _ in range(dice.randrange(5))]
        case _:
            return {dice.choice(TEXTS): dice.choice(NUMBERS) for _ in range(dice.randrange(3))}


def mutated_tree(dice: random.Random, tree: Any, value: Callable[[random.Random], Any]) -> Any:  # noqa: ANN401
    """A copy with one to three places changed, taken out, renamed or doubled."""
    tree = copy.deepcopy(tree)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        found = list(places(tree))
        if not found:
            break
        holder, key = dice.choice(found)
        match dice.randrange(6):
            case 0 if isinstance(holder, dict):
                holder[str(dice.choice(TEXTS))] = holder.pop(key)
            case 1:
                del holder[key]
            case 2:
                other, name = dice.choice(found)
                with contextlib.suppress(KeyError, IndexError):
                    holder[key] = copy.deepcopy(other[name])
            case 3 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = dice.choice((holder[key] + 1, holder[key] * 2, -holder[key]))
            case _:
                holder[key] = value(dice)
    return tree


def places(tree: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    """Every place in a document: what holds it, and its key there."""
    if isinstance(tree, dict):
        for key, inner in tree.items():
            yield tree, key
            yield from places(inner)
    if isinstance(tree, list):
        for index, inner in enumerate(tree[:50]):
            yield tree, index
            yield from places(inner)


def mutated_text(dice: random.Random, text: str) -> str:
    """A text with some of its lines or characters taken out, doubled, moved or replaced."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        lines = text.split("\n")
        at = dice.randrange(len(lines))
        where = dice.randrange(len(text) + 1)
        match dice.randrange(8):
            case 0:
                lines.insert(dice.randrange(len(lines) + 1), lines[at])
                text = "\n".join(lines)
            case 1:
                del lines[at]
                text = "\n".join(lines)
            case 2:
                lines[at] = " " * dice.randrange(6) + lines[at]
                text = "\n".join(lines)
            case 3:
                text = text[:where] + text[where + dice.randrange(20) :]
            case 4:
                text = text[:where] + str(dice.choice(TEXTS + NUMBERS)) + text[where:]
            case 5:
                marks = dice.choice(
                    ("{", "}", "[", "]", ":", "- ", "&a ", "*a", "!!x ", "|", "?", "#")
                )
                text = text[:where] + marks * dice.choice((1, 1, 40)) + text[where:]
            case 6:
                lines.insert(
                    at, dice.choice(("<<<<<<< HEAD", "=======", ">>>>>>> x", "---", "%YAML"))
                )
                text = "\n".join(lines)
            case _:
                key, colon, _ = lines[at].partition(":")
                written = (
                    json.dumps(hostile_value(dice))
                    if dice.random() < 0.5
                    else str(hostile_value(dice))
                )
                lines[at] = f"{key}{colon} {written}"
                text = "\n".join(lines)
    return text


def mutated_bytes(dice: random.Random, raw: bytes) -> bytes:
    """Bytes with some of them changed, taken out, doubled or cut."""
    found = bytearray(raw)
    for _ in range(dice.choice((1, 1, 2, 4))):
        if not found:
            break
        at = dice.randrange(len(found))
        match dice.randrange(5):
            case 0:
                found[at] = dice.randrange(256)
            case 1:
                found[at : at + 8] = dice.choice((0, 1, 2**31, 2**63, 2**64 - 1)).to_bytes(
                    8, "little"
                )
            case 2:
                del found[at : at + dice.randrange(1, 40)]
            case 3:
                found[at:at] = found[at : at + dice.randrange(1, 200)]
            case _:
                del found[at:]
    return bytes(found)
