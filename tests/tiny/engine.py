"""A third engine: weights cut over its GPUs, one KiB of cache a token, and nothing else."""

from __future__ import annotations

from compiler.engines.interface import Engine
from compiler.engines.traits import Traits
from compiler.engines.usual import UsualEngine
from compiler.ir.demand import (
    ArgumentProblem,
    Breakdown,
    Demand,
    Endpoint,
    Launch,
    Part,
    Refusal,
    Request,
    Site,
    Split,
    VersionCheck,
)
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import ModelFacts
from compiler.ir.profile import ModelProfile
from compiler.ir.units import KIB
from tests.tiny.traits import TRAITS

_FLAGS = frozenset({"words_file", "journal"})


class TinyEngine(UsualEngine):
    """The stand-in behind the interface."""

    name: EngineName = "tiny"  # type: ignore[assignment]  # tests/tiny/modelc.py adds the name.
    traits: Traits = TRAITS

    def check_version(self, version: str) -> str | None:
        return None if version[:1].isdigit() else f"`{version}` is no version of Tiny"

    def version_check(self, version: str) -> VersionCheck:
        return VersionCheck(wanted=f"^tiny {version}$", readable="^tiny [0-9]")

    def check_request(self, request: Request) -> list[ArgumentProblem]:
        return [
            ArgumentProblem(code="unknown-argument", argument=name, detail=f"Tiny has no `{name}`")
            for name in request.args
            if name not in _FLAGS
        ]

    def demands(self, request: Request, site: Site) -> tuple[Demand, ...] | Refusal:
        weights = sum(group.bytes * group.count() for group in request.facts.tensors)
        tokens = request.kv_tokens or self.usual_kv_tokens(request.context, request.concurrency)
        ranks = max(1, len(site.kinds))
        device = Breakdown(
            weights=Part.exact(weights // ranks, "the tensors, cut over ranks"),
            kv=Part.exact(tokens * KIB // ranks, "1 KiB a token"),
        )
        return (
            Demand(
                request=request,
                site=site,
                split=Split(tensor_parallel=ranks),
                devices=(device,) * len(site.kinds),
                host=Breakdown() if site.kinds else device,
                kv_tokens=tokens,
            ),
        )

    def launch(self, demand: Demand, endpoint: Endpoint) -> Launch:
        args = (f"--{key.replace('_', '-')}={each}" for key, each in demand.request.args.items())
        return Launch(
            argv=(
                *(endpoint.bin, endpoint.model_path, "--name", endpoint.served_name),
                *("--address", f"{endpoint.listen}:{endpoint.port}"),
                *("--ranks", str(demand.split.tensor_parallel), *args),
            ),
            health_path="/alive",
        )

    def profile(self, facts: ModelFacts) -> ModelProfile:  # noqa: ARG002
        return ModelProfile(engine=self.name)


ENGINE: Engine = TinyEngine()
