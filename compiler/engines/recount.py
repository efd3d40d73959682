"""What the recount of plans knows of an engine, apart from its law.

Each engine has a `recount` of its own, which imports nothing of the engine and which no module of
the engine imports (tests/test_architecture.py): what both got wrong alike nobody would find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

from compiler.ir.inventory import Gpu
from compiler.ir.plan import Replica
from compiler.ir.spec import PlacementRules, Variant


class Recount(Protocol):
    """What must hold of a replica of one engine; each fault is a sentence without its full stop."""

    def cut(self, replica: Replica, gpus: Sequence[Gpu], rules: PlacementRules) -> Iterator[str]:
        """Of how it is cut over its GPUs."""

    def offload(self, replica: Replica, variant: Variant) -> Iterator[str]:
        """Of what it keeps in RAM."""

    def flags(self, replica: Replica, listen: str) -> dict[str, str]:
        """Flags of its command line and the values that the plan has for them; it listens there."""

    def memory(self, replica: Replica, gpus: Sequence[Gpu]) -> Iterator[str]:
        """Of what its command line lets it take; `gpus` are those of its shares."""


class UsualRecount:
    """An engine that takes any GPUs and is told no sizes beside its flags."""

    def cut(
        self,
        replica: Replica,  # noqa: ARG002
        gpus: Sequence[Gpu],  # noqa: ARG002
        rules: PlacementRules,  # noqa: ARG002
    ) -> Iterator[str]:
        """Nothing: any number of GPUs, of any kinds."""
        return iter(())

    def offload(self, replica: Replica, variant: Variant) -> Iterator[str]:  # noqa: ARG002
        """Nothing: it keeps nothing in RAM that the plan decides."""
        return iter(())

    def memory(self, replica: Replica, gpus: Sequence[Gpu]) -> Iterator[str]:  # noqa: ARG002
        """Nothing: it allocates what its sizes come to."""
        return iter(())


def flags_of(replica: Replica) -> dict[str, str]:
    """The flags of a command line, each with what stands behind it."""
    return {flag: value for flag, value in pairwise([*replica.argv, ""]) if flag.startswith("--")}
