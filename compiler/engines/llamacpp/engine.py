"""llama.cpp behind the engine interface: its memory law and its command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from compiler.engines.interface import Engine, Saving
from compiler.engines.llamacpp.demand.demands import demands_for, options_of
from compiler.engines.llamacpp.flags import builds, environment, releases
from compiler.engines.llamacpp.flags.builds import Build, parse_build
from compiler.engines.llamacpp.launch import requests, savings
from compiler.engines.llamacpp.launch.command import command_line
from compiler.engines.llamacpp.launch.companions import (
    COMPANIONS,
    ROLE_WORDS,
    check_companions,
    loaded,
    named_companions,
)
from compiler.engines.llamacpp.model.header import FactsError
from compiler.engines.llamacpp.model.requantized import smaller_quantizations
from compiler.engines.llamacpp.model.shape import Shape, read_shape
from compiler.engines.llamacpp.profile import profile_of
from compiler.engines.llamacpp.traits import TRAITS
from compiler.engines.traits import Traits
from compiler.engines.usual import UsualEngine
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


class LlamaCpp(UsualEngine):
    """llama-server of one build, on GGUF files."""

    name: EngineName = "llama.cpp"
    traits: Traits = TRAITS

    def check_version(self, version: str) -> str | None:
        """What is wrong with this build, or None."""
        build = parse_build(version)
        if build is None:
            return "it is no build number (`9000`, `b9000`) and no release (`0.5.0`)"
        if build.number < builds.OLDEST_BUILD:
            return f"builds before b{builds.OLDEST_BUILD} are not known to the memory law"
        return None

    def release(self, version: str) -> str:
        """The number of the build, or the release."""
        return releases.release(version)

    def other_release(self, version: str, text: str) -> str | None:
        """The build that a name holds, if it is not this version's."""
        return releases.other_release(version, text)

    def version_check(self, version: str) -> VersionCheck:
        """What `llama-server --version` of this version prints."""
        return releases.version_check(version)

    def companions(self, args: Mapping[str, ArgValue]) -> Mapping[str, tuple[str, ...]]:
        """Draft model, projector and adapters that arguments name."""
        return named_companions(args)

    def leaner(
        self,
        saving: Saving,
        args: Mapping[str, ArgValue],
        version: str,  # noqa: ARG002, the interface's.
        layers: int = 0,
    ) -> dict[str, ArgValue] | None:
        """A cache in q8_0, and experts in RAM."""
        return savings.leaner(saving, args, layers)

    def layers_of_experts(self, args: Mapping[str, ArgValue]) -> int:
        """Those of `n_cpu_moe`."""
        return savings.layers_of_experts(args)

    def planned_split(self, argv: Sequence[str]) -> tuple[int, ...]:
        """The numbers of --tensor-split."""
        return savings.planned_split(argv)

    def check_request(self, request: Request) -> list[ArgumentProblem]:
        """Faults of a request that hold on any site."""
        build = parse_build(request.version)
        if build is None:
            return []  # The inventory is at fault, and check_version says so.
        if request.facts.format != "gguf":
            detail = f"llama.cpp reads GGUF files, and this model is `{request.facts.format}`"
            return [ArgumentProblem(code="engine-format", argument="model", detail=detail)]
        if request.facts.role != "model":
            detail = f"the file is no model but {ROLE_WORDS[request.facts.role]}"
            argument = next(name for name, role in COMPANIONS.items() if role == request.facts.role)
            hint = f"Name it as `{argument}` under the `args` of a model"
            return [
                ArgumentProblem(code="engine-format", argument="model", detail=detail, hint=hint)
            ]
        try:
            shape = read_shape(request.facts)
        except FactsError as error:
            return [ArgumentProblem(code="facts-missing", argument="model", detail=str(error))]
        problems = requests.check_request(request, shape, build)
        named = {problem.argument for problem in problems}
        return [
            *problems,
            *(
                problem
                for problem in check_companions(request, shape, build)
                if problem.argument not in named
            ),
        ]

    def check_variable(self, name: str) -> ArgumentProblem | None:
        """What is wrong with a user's environment variable of this name, or None."""
        return environment.check_variable(name)

    def demands(self, request: Request, site: Site) -> tuple[Demand, ...] | Refusal:
        """Ways to run the request on exactly this site: full offload first, then fewer layers."""
        found = _read(request)
        if isinstance(found, Refusal):
            return found
        return demands_for(request, site, *found)

    def launch(self, demand: Demand, endpoint: Endpoint) -> Launch:
        """The command line of a demand: the flags that were costed."""
        found = _read(demand.request)
        if isinstance(found, Refusal):
            raise TypeError(f"a demand of a request that is refused: {found.detail}")
        shape, build = found
        options = options_of(demand, shape, build)
        return Launch(
            argv=command_line(demand.request, options, build, endpoint),
            # All routes move under the prefix (server-http.cpp).
            health_path=f"{demand.request.args.get('api_prefix', '')}/health",
        )

    def smaller_quantizations(self, facts: ModelFacts) -> Iterator[tuple[str, ModelFacts]]:
        """The same shapes with fewer bits, as publishers quantize them."""
        return smaller_quantizations(facts)

    def profile(self, facts: ModelFacts) -> ModelProfile:
        """The model for people, as its header describes it."""
        return profile_of(facts)


def _read(request: Request) -> tuple[Shape, Build] | Refusal:
    build = parse_build(request.version)
    if build is None:
        return Refusal(code="version", detail=f"`{request.version[:40]}` is no llama.cpp build")
    if request.facts.format != "gguf":
        return Refusal(code="format", detail=f"llama.cpp cannot read `{request.facts.format}`")
    try:
        return loaded(request), build
    except FactsError as error:
        return Refusal(code="facts", detail=f"the model's facts are not usable: {error}")


ENGINE: Engine = LlamaCpp()
