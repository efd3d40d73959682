"""What an engine answers where nothing about it is particular: `Engine` but for its law."""

# ruff: noqa: ARG002  The arguments are the interface's.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from compiler.engines.interface import Saving
from compiler.ir.demand import ArgumentProblem, Demand
from compiler.ir.facts import ModelFacts
from compiler.ir.spec import ArgValue


class UsualEngine:
    """One process on files of its host, whose memory is what its flags say."""

    def release(self, version: str) -> str:
        """As the inventory writes it."""
        return version

    def other_release(self, version: str, text: str) -> str | None:
        """None: its names say nothing."""
        return None

    def takes_uuids(self, version: str) -> bool:
        """The CUDA runtime reads them, whatever the version."""
        return True

    def shares_gpus(self, version: str) -> bool:
        """It allocates what it needs and measures nothing."""
        return True

    def companions(self, args: Mapping[str, ArgValue]) -> Mapping[str, tuple[str, ...]]:
        """Arguments name no sources."""
        return {}

    def fetches(self, facts: ModelFacts) -> bool:
        """It is given files of its host."""
        return False

    def file_of(self, argument: str, value: object) -> str | None:
        """Every text names a file."""
        return value if isinstance(value, str) else None

    def shm_bytes(self, gpus: int) -> int:
        """It is one process."""
        return 0

    def cache_env(self, models_dir: str, cache_dir: str) -> dict[str, str]:
        """It keeps nothing between starts."""
        return {}

    def usual_kv_tokens(self, context: int, concurrency: int) -> int:
        """Room for every request at full length: the cache never grows."""
        return context * concurrency

    def leaner(
        self, saving: Saving, args: Mapping[str, ArgValue], version: str, layers: int = 0
    ) -> dict[str, ArgValue] | None:
        """None: no argument saves memory so."""
        return None

    def layers_of_experts(self, args: Mapping[str, ArgValue]) -> int:
        """It keeps no experts in RAM."""
        return 0

    def planned_split(self, argv: Sequence[str]) -> tuple[int, ...]:
        """It deals no layers out."""
        return ()

    def with_sizes_of(self, old: Sequence[str], new: list[str]) -> list[str]:
        """The new command: its sizes are what the sources say."""
        return new

    def gpus_per_shard(self, args: Mapping[str, ArgValue]) -> int:
        """It is cut by nothing that arguments say."""
        return 1

    def check_variable(self, name: str) -> ArgumentProblem | None:
        """None: variables change nothing."""
        return None

    def grow(self, demand: Demand, kv_bytes: int) -> Demand:
        """The demand itself: it allocates exactly what its flags say."""
        return demand

    def at_utilization(self, demand: Demand, utilization_permille: int) -> Demand:
        """The demand itself: it knows no utilization."""
        return demand

    def smaller_quantizations(self, facts: ModelFacts) -> Iterator[tuple[str, ModelFacts]]:
        """None: each checkpoint is a source of its own."""
        return iter(())
