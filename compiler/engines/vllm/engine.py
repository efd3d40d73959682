"""The vLLM engine: its memory law and its command line, from version 0.8.5 to 0.33."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler.engines.interface import Engine, Saving
from compiler.engines.traits import Traits
from compiler.engines.usual import UsualEngine
from compiler.engines.vllm.demand import demands as law
from compiler.engines.vllm.demand.utilization import utilization_of
from compiler.engines.vllm.flags import environment, releases
from compiler.engines.vllm.flags.check import check_arguments, normalize_arguments
from compiler.engines.vllm.flags.files import file_of
from compiler.engines.vllm.flags.values import as_mapping
from compiler.engines.vllm.launch import command, savings
from compiler.engines.vllm.launch.decide import parallel_sizes, version_of
from compiler.engines.vllm.launch.refusals import request_problems
from compiler.engines.vllm.profile import profile_of
from compiler.engines.vllm.traits import TRAITS
from compiler.engines.vllm.versions import parse_version, rules_of
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
from compiler.ir.units import GIB

# vLLM's documentation starts containers with --shm-size=10g for tensor parallelism; a single rank
# exchanges only requests between its processes.
_SHM_BYTES_SPLIT = 10 * GIB
_SHM_BYTES_SINGLE = 1 * GIB


class VllmEngine(UsualEngine):
    """vLLM behind the interface that the compiler knows."""

    name: EngineName = "vllm"
    traits: Traits = TRAITS

    def check_version(self, version: str) -> str | None:
        """What is wrong with this version string, or None."""
        return releases.version_problem(version)

    def release(self, version: str) -> str:
        """The version with three numbers, `0.33.0`."""
        return releases.release(version)

    def other_release(self, version: str, text: str) -> str | None:
        """The release that a name holds, if it is not this version."""
        return releases.other_release(version, text)

    def version_check(self, version: str) -> VersionCheck:
        """What `vllm --version` of this version prints."""
        return releases.version_check(version)

    def takes_uuids(self, version: str) -> bool:
        """From 0.24 on; before, CUDA_VISIBLE_DEVICES must be numbers."""
        return (parse_version(version) or releases.TAKES_UUIDS) >= releases.TAKES_UUIDS

    def shares_gpus(self, version: str) -> bool:
        """From 0.9 on; 0.8 charges all that is in use on its GPU to itself."""
        found = parse_version(version)
        return found is None or not rules_of(found).charges_whole_device

    def companions(self, args: Mapping[str, ArgValue]) -> Mapping[str, tuple[str, ...]]:
        """The draft model that `speculative_config` names."""
        model = as_mapping(args.get("speculative_config", {})).get("model")
        return {"speculative_config": (model,)} if isinstance(model, str) and model else {}

    def fetches(self, facts: ModelFacts) -> bool:
        """It gets all but GGUF files by the id of their repository."""
        return facts.format != "gguf"

    def file_of(self, argument: str, value: object) -> str | None:
        """The path that a value names; templates and adapters may be written in other ways."""
        return file_of(argument, value)

    def shm_bytes(self, gpus: int) -> int:
        """What its processes exchange."""
        return _SHM_BYTES_SPLIT if gpus > 1 else _SHM_BYTES_SINGLE

    def cache_env(self, models_dir: str, cache_dir: str) -> dict[str, str]:
        """A warm compile cache keeps the memory of a later start as it was measured."""
        return {
            "HF_HOME": f"{models_dir}/huggingface",
            # Code of models, which is run: others may write to what they fetch, and not to this.
            "HF_MODULES_CACHE": f"{cache_dir}/modules",
            "VLLM_CACHE_ROOT": f"{cache_dir}/vllm",
        }

    def usual_kv_tokens(self, context: int, concurrency: int) -> int:  # noqa: ARG002
        """One request of full length; the cache grows into what is left."""
        return context

    def leaner(
        self,
        saving: Saving,
        args: Mapping[str, ArgValue],
        version: str,
        layers: int = 0,  # noqa: ARG002
    ) -> dict[str, ArgValue] | None:
        """A cache in FP8, and weights that are made FP8 while they are loaded."""
        return savings.leaner(saving, args, version)

    def with_sizes_of(self, old: Sequence[str], new: list[str]) -> list[str]:
        """The old utilization, where the new one is hardly another."""
        return savings.with_utilization_of(old, new)

    def gpus_per_shard(self, args: Mapping[str, ArgValue]) -> int:
        """Pipeline stages x data parallel engines."""
        stages, engines = parallel_sizes(args)
        return stages * engines

    def check_request(self, request: Request) -> list[ArgumentProblem]:
        """Faults of a request that hold on any site."""
        if request.facts.role != "model":
            detail = "the file is no model but a projector or an adapter of one"
            return [ArgumentProblem(code="engine-format", argument="model", detail=detail)]
        version = version_of(request)
        args = normalize_arguments(request.args, version)
        return check_arguments(args, version) + request_problems(request)

    def check_variable(self, name: str) -> ArgumentProblem | None:
        """What is wrong with a user's environment variable of this name, or None."""
        return environment.check_variable(name)

    def demands(self, request: Request, site: Site) -> tuple[Demand, ...] | Refusal:
        """The one way to run the request on exactly this site."""
        return law.demands_of(request, site)

    def grow(self, demand: Demand, kv_bytes: int) -> Demand:
        """The same replica with this much KV on each GPU."""
        return law.grown(demand, kv_bytes)

    def at_utilization(self, demand: Demand, utilization_permille: int) -> Demand:
        """What vLLM would take given this share of each GPU's CUDA total."""
        return law.at_utilization(demand, utilization_permille)

    def launch(self, demand: Demand, endpoint: Endpoint) -> Launch:
        """The command line of a demand."""
        estimates = law.estimates_of(demand.request, demand.site)
        utilization = utilization_of(demand, estimates, endpoint)
        return command.launch_of(demand, endpoint, estimates[0].options, utilization)

    def profile(self, facts: ModelFacts) -> ModelProfile:
        """The model for people, as its config.json describes it."""
        return profile_of(facts)


ENGINE: Engine = VllmEngine()
