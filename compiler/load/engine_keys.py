"""Keys of the user's files that are named like engines: one for each engine of the registry."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, create_model

from compiler.engines.registry import engine_names, traits_of

if TYPE_CHECKING:
    from compiler.engines.traits import Traits
    from compiler.ir.engine_name import EngineName

Model = TypeVar("Model", bound=BaseModel)


def with_engine_keys(
    base: type[Model], annotation: object, field: Callable[[EngineName, Traits], Any]
) -> type[Model]:
    """The model with a key for each engine; `field` describes one, under the alias of its name."""
    fields: dict[str, Any] = {
        _attribute(name): (annotation, field(name, traits_of(name))) for name in engine_names()
    }
    return create_model(
        base.__name__, __base__=base, __module__=base.__module__, __doc__=base.__doc__, **fields
    )


def key_of(entry: BaseModel, name: EngineName) -> object:
    """What an entry says under the name of an engine."""
    return getattr(entry, _attribute(name))


def _attribute(name: EngineName) -> str:
    """An attribute of Python's for the key, which may have a dot in it."""
    return re.sub(r"\W", "_", name)
