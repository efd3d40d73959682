"""What the compiler asks of an engine; one module-level object per engine answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol

from compiler.engines.traits import Traits
from compiler.ir.demand import (
    ArgumentProblem,
    Demand,
    Endpoint,
    Launch,
    Refusal,
    Request,
    Site,
    VersionCheck,
)
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import ModelFacts
from compiler.ir.profile import ModelProfile
from compiler.ir.spec import ArgValue

Saving = Literal["cache-8-bit", "weights-8-bit", "experts-in-ram"]


class Engine(Protocol):
    """One engine. All methods are pure functions of their arguments."""

    @property
    def name(self) -> EngineName:
        """As the spec and the inventory call it."""

    @property
    def traits(self) -> Traits:
        """What it is, whatever it runs."""

    def check_version(self, version: str) -> str | None:
        """What is wrong with this version string, or None."""

    def release(self, version: str) -> str:
        """The version as every plan writes it: `v0.33` and `0.33.0` are the same engine."""

    def other_release(self, version: str, text: str) -> str | None:
        """The release that an image's name or a program's path holds, if it is not this version."""

    def version_check(self, version: str) -> VersionCheck:
        """By what its own `--version` a unit knows the engine of this version."""

    def takes_uuids(self, version: str) -> bool:
        """Whether CUDA_VISIBLE_DEVICES may name GPUs by their UUIDs."""

    def shares_gpus(self, version: str) -> bool:
        """Whether it leaves alone, in its own sums, what others hold on its GPU."""

    def companions(self, args: Mapping[str, ArgValue]) -> Mapping[str, tuple[str, ...]]:
        """Model sources that arguments name, by argument; values that are no source are left out.

        They are locked like models, and `Request.companions` and `Endpoint.companions` carry what
        they are and where they lie.
        """

    def fetches(self, facts: ModelFacts) -> bool:
        """Whether it is given a hub's id and gets the pinned revision of such a model itself."""

    def file_of(self, argument: str, value: object) -> str | None:
        """The file or folder that a value of one of `traits.reads` names; None where it names
        none.
        """

    def shm_bytes(self, gpus: int) -> int:
        """Shared memory that a container of so many GPUs needs; 0 for what a runtime gives."""

    def cache_env(self, models_dir: str, cache_dir: str) -> dict[str, str]:
        """Variables that keep what it fetches and compiles in folders of the host."""

    def usual_kv_tokens(self, context: int, concurrency: int) -> int:
        """Tokens that its KV cache holds at least, where a service does not say a number."""

    def leaner(
        self, saving: Saving, args: Mapping[str, ArgValue], version: str, layers: int = 0
    ) -> dict[str, ArgValue] | None:
        """Arguments beside those given that save memory in a way; None where this version cannot,
        or they do it already. `layers`: of how many the experts go to RAM.
        """

    def layers_of_experts(self, args: Mapping[str, ArgValue]) -> int:
        """Of how many layers the experts are in RAM by these arguments."""

    def planned_split(self, argv: Sequence[str]) -> tuple[int, ...]:
        """How a command line deals layers out, one number a GPU; empty where it does not say."""

    def with_sizes_of(self, old: Sequence[str], new: list[str]) -> list[str]:
        """A new command with the sizes of an old one that the law has rounded otherwise."""

    def gpus_per_shard(self, args: Mapping[str, ArgValue]) -> int:
        """GPUs for each tensor parallel rank: stages x engines that arguments ask for, else 1."""

    def check_request(self, request: Request) -> list[ArgumentProblem]:
        """Faults that hold on any site: unknown or managed arguments, wrong task or format."""

    def check_variable(self, name: str) -> ArgumentProblem | None:
        """What is wrong with an environment variable of this name: it stands for what the plan
        decides, or changes memory in a way that no law covers. None when nothing is.
        """

    def demands(self, request: Request, site: Site) -> tuple[Demand, ...] | Refusal:
        """Ways to run the request on exactly this site, best first.

        vLLM gives one. llama.cpp gives the full offload first and then, where request.offload is
        `auto`, one for each smaller number of GPU layers. Budgets are not applied: a demand may
        exceed them, and the compiler drops what does not fit.
        """

    def grow(self, demand: Demand, kv_bytes: int) -> Demand:
        """The same replica with this much KV on each device (whole steps, at most the maximum)."""

    def at_utilization(self, demand: Demand, utilization_permille: int) -> Demand:
        """What the engine would take given this share of each GPU's CUDA total."""

    def launch(self, demand: Demand, endpoint: Endpoint) -> Launch:
        """The command line of a demand."""

    def smaller_quantizations(self, facts: ModelFacts) -> Iterator[tuple[str, ModelFacts]]:
        """Facts of the model in smaller quantizations that could be had of it, largest first."""

    def profile(self, facts: ModelFacts) -> ModelProfile:
        """The model for people, as this engine reads it; what it cannot tell is None."""
