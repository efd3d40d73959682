"""Settings of models.yaml that a command line gives: `chat.replicas=4`, `policy.max_moves=1`."""

from __future__ import annotations

import json
from collections.abc import Iterable

from compiler.diagnostics import CompileError, Diagnostic, did_you_mean
from compiler.engines.registry import engine_names
from compiler.ir.textfile import TextFile
from compiler.load.yamltext import PlainFloat, parse_yaml

# Keys with a dot in them, which divides all others.
_DOTTED = tuple(name for name in engine_names() if "." in name)


def with_settings(spec: TextFile, settings: Iterable[str]) -> TextFile:
    """The text of a spec with these settings in it, or the same without any.

    Raises CompileError for what is no setting, and for a service that the spec does not have. What
    a key or a value may be is checked when the text is read.
    """
    given = list(settings)
    if not given:
        return spec
    data = parse_yaml(spec.path, spec.text).data
    if not isinstance(data, dict):
        return spec
    for setting in given:
        _set(data, setting)
    return TextFile(path=f"{spec.path} with --set", text=_flow(data))


def _set(data: dict[str, object], setting: str) -> None:
    path, equals, value = setting.partition("=")
    name, *keys = _keys(path.strip())
    if not equals or not keys or not all(keys):
        raise CompileError(
            [
                Diagnostic(
                    code="wrong-value",
                    detail=f"`--set {setting[:80]}` is no setting of a service.",
                    hints=("Write for example `--set chat.replicas=4`.",),
                )
            ]
        )
    read = parse_yaml(f"--set {setting[:80]}", f"value: {value}\n").data
    services = data.get("services")
    known = services if isinstance(services, dict) else {}
    if name == "policy":
        _put(data, [name, *keys], read["value"] if isinstance(read, dict) else None, setting)
    elif name in known:
        _put(known, [name, *keys], read["value"] if isinstance(read, dict) else None, setting)
    else:
        raise CompileError(
            [
                Diagnostic(
                    code="unknown-service",
                    detail=f"`--set {setting[:80]}` names the service `{name}`.",
                    hints=did_you_mean(name, known),
                )
            ]
        )


def _keys(path: str) -> list[str]:
    """The keys of a path, divided by dots but for those inside the name of an engine."""
    for name in _DOTTED:
        path = path.replace(name, name.replace(".", "\0"))
    return [key.replace("\0", ".") for key in path.split(".")]


def _put(data: object, path: list[str], value: object, setting: str) -> None:
    key, *rest = path
    if isinstance(data, list) and key.isdecimal() and int(key) < len(data):
        if rest:
            _put(data[int(key)], rest, value, setting)
        else:
            data[int(key)] = value
    elif isinstance(data, dict):
        if rest:
            _put(data.setdefault(key, {}), rest, value, setting)
        else:
            data[key] = value
    else:
        raise CompileError(
            [
                Diagnostic(
                    code="wrong-value",
                    detail=f"`--set {setting[:80]}` names `{key}` where there is no such key.",
                    hints=("A variant is named by its place, from 0: `chat.variants.0.context`.",),
                )
            ]
        )


def _flow(value: object) -> str:
    """A value in flow style, on one line: JSON, but for floats as they are written."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, PlainFloat):
        return value.text
    return json.dumps(value)
