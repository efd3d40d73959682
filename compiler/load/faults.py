"""Validation errors of pydantic, turned into diagnostics with a place in the user's file."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from compiler.diagnostics import Diagnostic, Location, did_you_mean
from compiler.load.instead import written_instead

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from compiler.ir.document import Document, KeyPath

Model = TypeVar("Model", bound=BaseModel)

# Each pruning takes out at least one level of the file; a deeper file than this is refused before.
_MAX_PRUNINGS = 24

# Unlike None, no value that a file can hold.
_ABSENT = object()
# Longer names and values are cut: a diagnostic stays readable on one screen.
_MAX_SHOWN = 60

_CODES = {
    "extra_forbidden": "unknown-key",
    "missing": "missing-key",
    "size": "wrong-unit",
    "unsafe_text": "unsafe-text",
    "wrong_value": "wrong-value",
    "literal_error": "wrong-value",
    "greater_than": "wrong-value",
    "greater_than_equal": "wrong-value",
    "less_than": "wrong-value",
    "less_than_equal": "wrong-value",
    "too_short": "wrong-value",
    "too_long": "wrong-value",
    "string_pattern_mismatch": "wrong-value",
    "value_error": "wrong-value",
    "secret": "secret-in-spec",
}
# What is refused for what it holds has no other spelling.
_NOT_ANSWERED = frozenset({"secret", "unsafe_text"})


def validate(model: type[Model], document: Document) -> tuple[Model | None, list[Diagnostic]]:
    """The document's data as a model, and every fault with its place, the document's own first.

    With faults, the model holds what is left when the faulty keys are taken out, so that the checks
    that follow can report their faults in the same run; None when nothing is left.
    """
    data = document.data
    faults: list[Diagnostic] = []
    for _ in range(_MAX_PRUNINGS):
        try:
            return model.model_validate(data), _in_order(document, faults)
        except ValidationError as error:
            items = error.errors(include_url=False)
        # Only the first look reports: what is missing after a pruning was there before it.
        faults = faults or [_diagnostic(model, document, item) for item in items]
        if not isinstance(data, dict):
            break
        before, data = data, copy.deepcopy(data)
        for item in items:
            _prune(data, _path_in(document, item["loc"]), missing=item["type"] == "missing")
        # A file of no or another version is read on as one of this version.
        data["version"] = 1
        if data == before:
            break
    return None, _in_order(document, faults)


def _prune(data: object, path: KeyPath, *, missing: bool) -> None:
    """Takes the faulty key out; what lacks a key goes as a whole, and so does a list."""
    steps = list(path[:-1] if missing else path)
    while steps and isinstance(steps[-1], int):
        steps.pop()
    here = data
    for step in steps[:-1]:
        if isinstance(step, int) or not isinstance(here, dict) or step not in here:
            if isinstance(here, list) and isinstance(step, int) and step < len(here):
                here = here[step]
                continue
            return
        here = here[step]
    if steps and isinstance(here, dict):
        here.pop(steps[-1], None)


def _in_order(document: Document, faults: list[Diagnostic]) -> list[Diagnostic]:
    return [*document.faults, *sorted(set(faults), key=_order)]


def _order(fault: Diagnostic) -> tuple[Location, str]:
    return fault.location or Location("", 0, 0), fault.detail


def _diagnostic(model: type[BaseModel], document: Document, item: ErrorDetails) -> Diagnostic:
    path = _path_in(document, item["loc"])
    code = _CODES.get(item["type"], "wrong-type")
    shown = ".".join(str(step) for step in path) or "the file"
    key = str(path[-1]) if path else ""
    hints: tuple[str, ...] = ()
    is_about_key = item["loc"][-1:] == ("[key]",)
    location = document.key(*path) if is_about_key else document.value(*path)
    match code:
        case "unknown-key":
            location = document.key(*path)
            # Where two forms are possible, a key of the one may be none of the other.
            known = [name for name in _fields_at(model, path[:-1]) if name != key]
            close = did_you_mean(key, known)
            detail = (
                f"`{_short(key)}` is no key of `{'.'.join(map(str, path[:-1])) or 'the file'}`."
            )
            listed = ", ".join(f"`{name}`" for name in sorted(known))
            hints = close or ((f"Known keys: {listed}.",) if known else ())
        case "missing-key":
            location = document.key(*path[:-1])
            detail = f"`{'.'.join(map(str, path[:-1])) or 'the file'}` needs the key `{key}`."
        case _:
            detail = f"`{_short(shown)}`: {_sentence(item)}"
            named = next((str(step) for step in reversed(path) if isinstance(step, str)), "")
            instead = (
                None if item["type"] in _NOT_ANSWERED else written_instead(named, item["input"])
            )
            hints = (f"Write `{named}: {instead}`.",) if instead else ()
    return Diagnostic(code=code, detail=detail, location=location, hints=hints)


def _sentence(item: ErrorDetails) -> str:
    text = item["msg"]
    if item["type"] in {"dict_type", "model_type", "model_attributes_type"}:
        text = "This must be a mapping of keys to values"
    elif item["type"] == "list_type":
        text = "This must be a list"
    elif item["type"] == "int_type" and re.fullmatch(r"[1-9][0-9]*", str(item["input"])):
        text = "This must be a number, without quotes"
    elif item["type"] == "literal_error":
        text = f"This must be {item['ctx']['expected']}"
    elif item["type"] == "string_pattern_mismatch":
        text = f"This must match `{item['ctx']['pattern']}`"
    elif item["type"] in {"too_short", "too_long"}:
        return _length_sentence(item["ctx"])
    text = text.removesuffix(".")
    if text.startswith("Input should be "):
        text = "This must be " + text.removeprefix("Input should be ")
    given = _as_written(item["input"])
    shows_itself = item["type"] in {"secret", "unsafe_text"} or f"`{given}`" in text
    return f"{text}." if shows_itself or not given else f"{text}, not `{_short(given)}`."


def _length_sentence(context: dict[str, Any]) -> str:
    least, most = context.get("min_length"), context.get("max_length")
    bound = f"at most {most} entries" if least is None else f"at least {least} entry"
    return f"This needs {bound}, not {context['actual_length']}."


def _as_written(value: object) -> str:
    """A scalar as the user wrote it; empty for anything else."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(getattr(value, "text", value)) if isinstance(value, str | int | float) else ""


def _short(text: str) -> str:
    shown = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
    return "".join(char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in shown)


def _path_in(document: Document, loc: tuple[str | int, ...]) -> KeyPath:
    """The part of a pydantic loc that is in the file: steps into unions and validators left out."""
    path: KeyPath = ()
    here: object = document.data
    for position, step in enumerate(loc):
        if step == "[key]":
            break
        inner = _step_into(here, step)
        if inner is not _ABSENT:
            here = inner
        elif position == len(loc) - 1 and isinstance(here, dict) and isinstance(step, str):
            return (*path, step)
        else:
            continue
        path = (*path, step)
    return path


def _step_into(here: object, step: str | int) -> object:
    if isinstance(here, dict):
        return here.get(step, _ABSENT)
    if isinstance(here, list) and isinstance(step, int) and step < len(here):
        return here[step]
    return _ABSENT


def _fields_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """Names of the fields that are known at a path."""
    models: list[type[BaseModel]] = [model]
    for step in path:
        following: list[type[BaseModel]] = []
        for each in models:
            by_alias = {info.alias or name: info for name, info in each.model_fields.items()}
            if isinstance(step, str) and step in by_alias:
                following += _models_in(by_alias[step].annotation)
        models = following or models
    return [info.alias or name for each in models for name, info in each.model_fields.items()]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]
