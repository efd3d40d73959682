"""One entry over another: what a host says itself stands over what its range says."""

from __future__ import annotations

from typing import Any, TypeVar

from compiler.load.fields import Entry

Model = TypeVar("Model", bound=Entry)


def merged(base: Model, own: Model) -> Model:
    """An entry with what it does not say taken from another one, key by key."""
    said: dict[str, Any] = {}
    for key in base.model_fields_set | own.model_fields_set:
        below, above = getattr(base, key), getattr(own, key)
        if key not in own.model_fields_set or above is None:
            said[key] = below
        elif isinstance(above, Entry) and type(below) is type(above) and key != "gpus":
            said[key] = merged(below, above)
        elif key == "labels":
            said[key] = {**below, **above}
        else:
            said[key] = above
    if {"version", "build"} & own.model_fields_set:
        # They are two names of one thing.
        said |= {key: getattr(own, key) for key in ("version", "build")}
    return base.model_copy(update=said)
