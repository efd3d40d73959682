"""The vLLM engine: its memory law and its command line, from version 0.8.5 to 0.33."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from compiler.engines.vllm.demand import demands as law
from compiler.engines.vllm.flags import environment, releases
from compiler.engines.vllm.flags.check import check_arguments, normalize_arguments
from compiler.engines.vllm.flags.values import as_mapping
from compiler.engines.vllm.launch import command
from compiler.engines.vllm.launch.decide import parallel_sizes, version_of
from compiler.engines.vllm.launch.refusals import request_problems
from compiler.engines.vllm.profile import profile_of
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
from compiler.ir.facts import ModelFacts
from compiler.ir.profile import ModelProfile
from compiler.ir.spec import ArgValue


@dataclass(frozen=True, slots=True)
class VllmEngine:
    """vLLM behind the interface that the compiler knows."""

    name: Literal["vllm"] = "vllm"

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

    @property
    def key_variable(self) -> str:
        """Read by the API server (vllm/envs.py); `/health` is answered without it."""
        return "VLLM_API_KEY"

    def companions(self, args: Mapping[str, ArgValue]) -> Mapping[str, tuple[str, ...]]:
        """The draft model that `speculative_config` names."""
        model = as_mapping(args.get("speculative_config", {})).get("model")
        return {"speculative_config": (model,)} if isinstance(model, str) and model else {}

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
        return command.launch_of(demand, endpoint)

    def smaller_quantizations(
        self,
        facts: ModelFacts,  # noqa: ARG002
    ) -> Iterator[tuple[str, ModelFacts]]:
        """None: AWQ and GPTQ checkpoints are repositories of their own, each as its maker chose."""
        return iter(())

    def profile(self, facts: ModelFacts) -> ModelProfile:
        """The model for people, as its config.json describes it."""
        return profile_of(facts)
