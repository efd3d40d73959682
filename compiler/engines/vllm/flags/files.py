"""Which files the values of vLLM's arguments name."""

from __future__ import annotations

import json
import re

# A text with one of these is taken for the template itself (entrypoints/chat_utils.py,
# `_load_chat_template`).
_INLINE = re.compile(r"[{}\n]")


def file_of(argument: str, value: object) -> str | None:
    """The path that a value names; None where it names none."""
    if argument == "lora_modules":
        value = _module_path(value)
    if not isinstance(value, str) or (argument == "chat_template" and _INLINE.search(value)):
        return None
    return value


def _module_path(module: object) -> object:
    """Where an adapter lies: `name=path`, or JSON with `name` and `path` (LoRAParserAction)."""
    if not isinstance(module, str):
        return None
    if not module.lstrip().startswith("{"):
        return module.partition("=")[2]
    try:
        found = json.loads(module)
    except ValueError:
        return None
    return found.get("path") if isinstance(found, dict) else None
