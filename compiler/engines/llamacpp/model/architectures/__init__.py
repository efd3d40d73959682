"""One row an architecture: what each is to the memory law, and how far that is proven."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from compiler.engines.llamacpp.model.architectures.encoders import ROWS as ENCODERS
from compiler.engines.llamacpp.model.architectures.neighbours import ROWS as NEIGHBOURS
from compiler.engines.llamacpp.model.architectures.plain import ROWS as PLAIN
from compiler.engines.llamacpp.model.architectures.record import Architecture
from compiler.engines.llamacpp.model.architectures.recurrent import ROWS as RECURRENT
from compiler.engines.llamacpp.model.architectures.sparse import ROWS as SPARSE
from compiler.engines.llamacpp.model.architectures.unserved import ROWS as UNSERVED
from compiler.engines.llamacpp.model.architectures.windowed import ROWS as WINDOWED

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {**ENCODERS, **RECURRENT, **SPARSE, **WINDOWED, **PLAIN, **NEIGHBOURS, **UNSERVED}
)
UNKNOWN = Architecture()
"""What nobody has looked at: nothing about it is exact."""


def architecture(name: str) -> Architecture:
    """The row of a `general.architecture`."""
    return ARCHITECTURES.get(name, UNKNOWN)


def with_trait(name: str) -> frozenset[str]:
    """The architectures that have a trait, other than none."""
    return frozenset(each for each, row in ARCHITECTURES.items() if getattr(row, name))
