"""docs/keys.md: every key that a user writes, from the JSON Schemas that editors read."""

# ruff: noqa: E501 (one sentence a line in Markdown)

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from compiler.schemas import schema_text
from tables.generated import main, table

PATH = "docs/keys.md"

FILES = {"inventory.yaml": "inventory", "models.yaml": "models", "review.yaml": "review"}

_HEAD = """\
# Keys

<!-- Made by `make tables` from the descriptions that editors show on hover. -->

Every key of the files that you write: what it means, what it takes, and what stands for it when it is left out.
Sizes have a binary unit (`512MiB`, `24GiB`); shares are numbers from 0 to 1; a `<name>` is one of your own.
An editor shows the same when the first line of the file is `# yaml-language-server: $schema=...` (`modelc schema inventory`, `models` or `review`).
The files that modelc writes (`modelc.lock`, `compiled/plan.json`, the diff as JSON) are described by `modelc schema lock`, `plan` and `diff`; nobody edits them.
"""

# What a pattern of the schemas stands for, for people.
_PATTERNS = (
    ("KiB|MiB", "a size, such as `24GiB`"),
    (r"^\d+\.\d+$", "a number such as `8.9`"),
    (r"^\d+(-\d+)?$", "ports, such as `8000-8099`"),
    ("(GPU|MIG)", "a UUID"),
    ("^/", "an absolute path"),
    ("[A-Za-z0-9._/:@-]{0,511}", "`repository/name:tag`"),
    ("[a-z0-9-]{0,48}", "a name: lower-case letters, digits and inner dashes"),
    ("[A-Za-z_][A-Za-z0-9_]", "a name of a variable"),
)


def text() -> str:
    """The whole document."""
    blocks = [_HEAD]
    for file, name in FILES.items():
        schema = json.loads(schema_text(name))
        blocks.append(f"## {file}\n")
        told: dict[str, str] = {}
        for title, entry in _mappings(schema):
            rows = [_row(schema, *item) for item in entry["properties"].items()]
            own = entry.get("title", "")
            first = told.setdefault(own, title) if title else title
            blocks.append(f"### {title or 'The file'}\n")
            if first != title:
                blocks.append(f"The keys of {first}.\n")
                continue
            blocks.append("\n".join(table(("key", "meaning", "value", "default"), rows)) + "\n")
    return "\n".join(blocks)


def _mappings(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each mapping that the file may hold with the path to it, the outer before the inner."""
    waiting = [("", schema)]
    while waiting:
        title, entry = waiting.pop(0)
        yield title, entry
        inner = []
        for key, field in entry["properties"].items():
            for suffix, found in _inside(schema, field):
                path = f"{title.strip('`')}.{key}{suffix}".lstrip(".")
                inner.append((f"`{path}`", found))
        waiting = [*inner, *waiting]


def _inside(schema: dict[str, Any], field: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The mappings that a value can be or hold, with what stands for the way to them."""
    for each in _choices(schema, field):
        if "properties" in each:
            yield "", each
        elif each.get("type") == "array":
            yield from ((f"[]{suffix}", found) for suffix, found in _inside(schema, each["items"]))
        elif each.get("type") == "object":
            for value in _values(each):
                inside = _inside(schema, value)
                yield from ((f".<name>{suffix}", found) for suffix, found in inside)


def _choices(schema: dict[str, Any], field: dict[str, Any]) -> list[dict[str, Any]]:
    """The forms that a value may have; none of them `null`, which stands for a key left out."""
    if "$ref" in field:
        return _choices(schema, schema["$defs"][field["$ref"].rpartition("/")[2]])
    several = field.get("anyOf") or field.get("oneOf")
    if several:
        return [form for each in several for form in _choices(schema, each)]
    return [] if field.get("type") == "null" else [field]


def _values(mapping: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(mapping.get("patternProperties", {}).values())
    if isinstance(mapping.get("additionalProperties"), dict):
        found.append(mapping["additionalProperties"])
    return found


def _row(schema: dict[str, Any], key: str, field: dict[str, Any]) -> tuple[str, ...]:
    meaning, default = _meaning(field["description"])
    forms = dict.fromkeys(_value(schema, form) for form in _choices(schema, field))
    return f"`{key}`", meaning, " or ".join(filter(None, forms)), default


def _meaning(description: str) -> tuple[str, str]:
    """What a key means, and what stands for it: the last sentences of a description say that."""
    for mark in ("Default: ", "Required"):
        before, found, after = description.rpartition(mark)
        if found:
            rest = f"{found if mark == 'Required' else ''}{after}".strip().rstrip(".")
            return before.strip(), rest[:1].lower() + rest[1:]
    return description, ""


def _value(schema: dict[str, Any], form: dict[str, Any]) -> str:
    """What a form of a value looks like, in words."""
    if "const" in form:
        return f"`{json.dumps(form['const'])}`"
    if "enum" in form:
        return ", ".join(f"`{value}`" for value in form["enum"])
    if "properties" in form:
        return "a map"
    kind = form.get("type")
    if kind == "array":
        each = [_value(schema, inner) for inner in _choices(schema, form["items"])]
        return f"a list of: {' or '.join(filter(None, each)) or 'values'}"
    if kind == "object":
        return "a map by name"
    return _scalar(form, kind)


def _scalar(form: dict[str, Any], kind: object) -> str:
    for part, words in _PATTERNS:
        if part in form.get("pattern", ""):
            return words
    low = form.get("minimum")
    high = form.get("maximum", form.get("exclusiveMaximum"))
    if kind == "boolean":
        return "`true` or `false`"
    if kind in ("integer", "number"):
        span = f", {low:,} to {high:,}" if low is not None and high is not None else ""
        return f"a{' whole' if kind == 'integer' else ''} number{span}"
    if isinstance(kind, list):
        return "a text or a number"
    return "a text" if kind == "string" else "any value"


if __name__ == "__main__":
    main(PATH, text)
