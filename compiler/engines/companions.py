"""Sources that a variant's arguments name beside its model: drafts, projectors and adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from compiler.engines.registry import engine_of

if TYPE_CHECKING:
    from compiler.ir.facts import ModelFacts
    from compiler.ir.lock import Lock, LockedSource
    from compiler.ir.spec import Variant


def sources_of(variant: Variant) -> Iterator[tuple[str | None, str]]:
    """Every source that a variant needs locked, with the argument that names it; None: `model`."""
    yield None, variant.model
    for argument, sources in sorted(engine_of(variant.engine).companions(variant.args).items()):
        for source in sources:
            yield argument, source


def companions_of(variant: Variant, lock: Lock) -> dict[str, tuple[LockedSource, ...]]:
    """The locked companions of a variant, by argument; those that are not locked are left out."""
    named = engine_of(variant.engine).companions(variant.args)
    found = {
        argument: tuple(entry for source in sources if (entry := lock.find(source)))
        for argument, sources in named.items()
    }
    return {argument: entries for argument, entries in found.items() if entries}


def companion_facts(
    companions: Mapping[str, tuple[LockedSource, ...]],
) -> dict[str, tuple[ModelFacts, ...]]:
    """Their facts, as a request holds them."""
    return {
        argument: tuple(entry.facts for entry in entries)
        for argument, entries in companions.items()
    }
