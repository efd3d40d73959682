"""Whether vLLM has a class for a model, and what it can do with it."""

from __future__ import annotations

import re

from compiler.engines.vllm.launch.decide import effective_header, parallel_sizes, version_of
from compiler.engines.vllm.model.architectures import architectures
from compiler.engines.vllm.model.reading import settings
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import Version, show_version
from compiler.ir.demand import ArgumentProblem, Request

# The first release whose V1 engine runs encoders before decoders; older ones need V0 for them.
_FIRST_V1_PAIRS: Version = (0, 11, 0)
# Classes of Transformers without `base_model_tp_plan` (5.23) that vLLM 0.32 was seen to build over
# several ranks all the same.
_WITHOUT_PLAN = frozenset({"GPTBigCodeForCausalLM"})
# What config.json calls tables that are looked up by several tokens at once.
_TABLES = re.compile(r"ngram_vocab|(^|_)engram")


def encoder_decoder_problem(request: Request) -> ArgumentProblem | None:
    """Why a model of an encoder and a decoder is not served; None for any other."""
    header = effective_header(request)
    sections = [header, *(part for part in header.values() if isinstance(part, dict))]
    if not any(part.get("is_encoder_decoder") for part in sections):
        return None
    name, version, table = request.facts.architecture, version_of(request), architectures()
    shown = show_version(version)
    if not table.is_known(name):
        detail = f"vLLM {shown} has no class for `{name}`, an encoder with a decoder."
    elif not table.has(name, version):
        detail = _absent(name, version)
    elif version < _FIRST_V1_PAIRS:
        detail = f"vLLM {shown} runs `{name}` on its V0 engine, which the law does not cover."
    else:
        detail = f"`{name}` writes down speech, which is no task of modelc."
    return ArgumentProblem(code="engine-format", argument="model", detail=detail)


def class_problems(request: Request, shape: Shape) -> list[ArgumentProblem]:
    """A class that the version gave up, and stages that the class cannot make."""
    version, table = version_of(request), architectures()
    name = table.served_as(shape.architecture, version)
    problems = []
    gone = table.is_known(name) and not table.has(name, version) and _is_gone(name, version)
    if gone and not table.is_by_transformers(name, version):
        detail = _absent(name, version)
        problems.append(ArgumentProblem(code="engine-format", argument="model", detail=detail))
    stages, _ = parallel_sizes(request.args)
    if stages > 1 and not table.makes_stages(name, version):
        detail = f"vLLM {show_version(version)} cannot cut `{name}` into pipeline stages."
        problems.append(
            ArgumentProblem(
                code="wrong-argument", argument="pipeline_parallel_size", detail=detail,
                hint="Allow more tensor parallel ranks instead.",
            )
        )  # fmt: skip
    return problems


def table_problem(request: Request) -> ArgumentProblem | None:
    """Tables looked up by several tokens: as large as the model, and not counted by config.json."""
    if request.facts.tensors:
        return None
    for path, value in settings(effective_header(request)):
        if value and _TABLES.search(path[-1]):
            return ArgumentProblem(
                code="facts-missing",
                argument="model",
                detail=f"How large the tables of `{path[-1]}` are is known from tensors only.",
                hint="Lock the model from its files, so that its tensors are weighed.",
            )
    return None


def class_assumption(name: str, version: Version) -> str | None:
    """What is assumed of a model without a class of its own: vLLM may fall back on Transformers."""
    table, shown = architectures(), show_version(version)
    name = table.served_as(name, version)
    if not name or table.has(name, version):
        return None
    if table.is_by_transformers(name, version):
        sentence = f"vLLM {shown} runs `{name}` by Transformers"
        if not table.is_known(name):
            return f"{sentence}, where weights are not fused."
        last = show_version(table.last_release(name))
        return f"{sentence}; {last} was the last with its own class."
    if not table.is_known(name):
        return f"vLLM {shown} has no class for `{name}`; if it loads it, then by Transformers."
    if _is_gone(name, version):
        return None
    first = show_version(table.first_release(name))
    return f"vLLM {shown} has no class for `{name}` yet; {first} has it."


def held_whole(name: str, version: Version) -> bool:
    """Whether Transformers has no plan to cut it: vLLM 0.32 then puts all of it on every rank."""
    return name in _WITHOUT_PLAN and architectures().is_by_transformers(name, version)


def _is_gone(name: str, version: Version) -> bool:
    return architectures().last_release(name) < version


def _absent(name: str, version: Version) -> str:
    last = show_version(architectures().last_release(name))
    if _is_gone(name, version):
        return f"vLLM {show_version(version)} no longer has `{name}`; {last} was the last."
    first = show_version(architectures().first_release(name))
    return f"vLLM {show_version(version)} does not have `{name}` yet; {first} does."
