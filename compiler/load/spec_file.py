"""models.yaml as the user writes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from compiler.engines.registry import engine_names
from compiler.engines.traits import Traits
from compiler.ir.demand import DEFAULT_CONTEXT, DEFAULT_POOLING_CONTEXT
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import Task
from compiler.ir.spec import ArgValue, Offload, Preference, Spread
from compiler.load.engine_keys import key_of, with_engine_keys
from compiler.load.fields import Compute, Entry, EnvName, Listen, Slug, Text, safe_text

MAX_REPLICAS = 1000
# No published model comes near so many layers.
MAX_LAYERS = 10_000
# Ten million tokens is beyond every published position limit.
MAX_TOKENS = 10_000_000

DEFAULT_PRIORITY = 50
DEFAULT_CONCURRENCY = 4
"""llama-server's own number of slots; vLLM's default of 256 or more reserves memory to match."""

_ARGUMENT_NAME = re.compile(r"[a-z][a-z0-9_.]{0,99}")


def _argument_name(value: object) -> str:
    text = safe_text(value)
    if not _ARGUMENT_NAME.fullmatch(text):
        raise PydanticCustomError(
            "wrong_value", "An argument is lower-case letters, digits and `_`, as `max_model_len`"
        )
    return text


def _offload(value: object) -> Offload:
    if value in ("none", "auto", "cpu"):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_LAYERS:
        return value
    raise PydanticCustomError(
        "wrong_value", "This must be `none`, `auto`, `cpu` or a number of layers"
    )


def _argument(value: object) -> ArgValue:
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return [_argument(item) for item in value]
    if isinstance(value, dict):
        return {safe_text(key): _argument(item) for key, item in value.items()}
    raise PydanticCustomError("wrong_type", "This must be a text, number, truth value, list or map")


def _env_value(value: object) -> str:
    if isinstance(value, bool):
        raise PydanticCustomError("wrong_type", "Put the value in quotes: a program reads text")
    if isinstance(value, int | float):
        value = getattr(value, "text", str(value))
    return safe_text(value)


def _names(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(safe_text(item) for item in items)


def _model(value: object) -> str:
    text = safe_text(value)
    if not text.strip() or text != text.strip() or "\n" in text or "\t" in text:
        raise PydanticCustomError("wrong_value", "This must be `org/repo` or a path")
    return text


Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
Requests = Annotated[int, Field(ge=1, le=4096)]
OffloadField = Annotated[
    Any,
    BeforeValidator(_offload),
    WithJsonSchema(
        {"anyOf": [{"enum": ["none", "auto", "cpu"]}, {"type": "integer", "minimum": 0}]}
    ),
]
Argument = Annotated[Any, BeforeValidator(_argument), WithJsonSchema({})]
EnvValue = Annotated[
    str, BeforeValidator(_env_value), WithJsonSchema({"type": ["string", "number"]})
]
LabelValues = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
ArgName = Annotated[
    str,
    BeforeValidator(_argument_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_ARGUMENT_NAME.pattern}$"}),
]
Source = Annotated[str, BeforeValidator(_model), WithJsonSchema({"type": "string"})]


_FROM_SERVICE = "what the service says"
_CONCURRENCY = (
    "Requests in flight at once, 1 to 4096; vLLM's `max_num_seqs`, llama-server's `parallel`."
)
_OFFLOAD = (
    "llama.cpp: layers on the GPU. `none`: all of them, nothing in RAM; `auto`: as many as fit, "
    "the rest in RAM; `cpu`: none, no GPU is taken; a number: exactly so many."
)


def _model_source(default: str | None) -> Any:  # noqa: ANN401  As pydantic's Field.
    return Field(
        None,
        description="Where the model comes from: `org/repo[@revision][:quant or file]` of a hub, "
        "`name:tag` of Ollama, or a path such as `./models/x.gguf`, which lies on the hosts below "
        "`models_dir` as it lies here below models.yaml. "
        + (f"Default: {default}." if default else "Required, unless every variant has its own."),
    )


def _engine(default: str) -> Any:  # noqa: ANN401
    return Field(
        None,
        description=f"{' or '.join(f'`{name}`' for name in engine_names())}. Default: {default}: "
        "llama.cpp for GGUF files and Ollama's models, vLLM for others.",
    )


def _context(default: str) -> Any:  # noqa: ANN401
    return Field(
        None,
        description=f"Longest request in tokens, prompt and answer together. Default: {default}.",
    )


def _typical(default: str) -> Any:  # noqa: ANN401
    return Field(
        None,
        description="Tokens of a usual request, prompt and answer together. Concurrency times this "
        f"is the room that a replica's KV cache is to have on vLLM. Default: {default}.",
    )


def _kv_tokens(default: str) -> Any:  # noqa: ANN401
    return Field(
        None,
        description="Tokens that the KV cache is guaranteed to hold; on vLLM it grows into memory "
        f"that is left. Default: {default}.",
    )


class EngineArgsEntry(Entry):
    """Flags of one engine by their own names, with underscores."""

    args: dict[ArgName, Argument] = Field(
        {},
        description="Flags by the engine's own names, dashes as underscores and without the "
        "leading ones, such as `enforce_eager: true`; checked against the version. Default: none.",
    )


def _args_of(entry: Entry, name: EngineName) -> dict[str, ArgValue]:
    found = key_of(entry, name)
    return found.args if isinstance(found, EngineArgsEntry) else {}


class VariantEntry(Entry):
    """One rung: what it does not say, it takes from the service."""

    name: Slug = Field(description="Name of the variant, unique in its service. Required.")
    model: Source | None = _model_source(_FROM_SERVICE)
    engine: EngineName | None = _engine(f"{_FROM_SERVICE}, else by the model's files")
    context: Tokens | None = _context(_FROM_SERVICE)
    concurrency: Requests | None = Field(
        None, description=f"{_CONCURRENCY} Default: {_FROM_SERVICE}."
    )
    kv_tokens: Tokens | None = _kv_tokens(_FROM_SERVICE)
    typical: Tokens | None = _typical(_FROM_SERVICE)
    offload: OffloadField | None = Field(None, description=f"{_OFFLOAD} Default: {_FROM_SERVICE}.")

    def args_of(self, name: EngineName) -> dict[str, ArgValue]:
        """Flags for an engine."""
        return _args_of(self, name)


def _flags_of_variant(name: EngineName, traits: Traits) -> Any:  # noqa: ANN401
    said = f"Flags for {traits.server}; each stands over the service's own of that name."
    return Field(None, alias=name, description=said)


if not TYPE_CHECKING:
    VariantEntry = with_engine_keys(VariantEntry, EngineArgsEntry | None, _flags_of_variant)


class GpuSelectorEntry(Entry):
    """Which GPUs a service may take."""

    kinds: Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, description="GPU kinds that it may stand on, such as `[h200-sxm]`. Default: all."
    )
    min_compute: Compute | None = Field(
        None,
        description="Least compute capability of its GPUs, such as `8.0`. Default: what the engine "
        "and the weights need.",
    )
    tensor_parallel: (
        Annotated[list[Annotated[int, Field(ge=1, le=64)]], Field(min_length=1)] | None
    ) = Field(
        None,
        description="Numbers of GPUs that a replica may be cut over, such as `[1, 2, 4]`. Default: "
        "every number that the model's shape allows.",
    )


class PinEntry(Entry):
    """An exact place."""

    host: Text = Field(description="Host on which its only replica stands. Required.")
    gpus: Annotated[list[Annotated[int, Field(ge=0, lt=64)]], Field(min_length=1)] | None = Field(
        None,
        description="Its GPUs there, by their place in the list, counted from 0. Default: any of "
        "the host.",
    )


class PlacementEntry(Entry):
    """Where the replicas may stand."""

    hosts: dict[Text, LabelValues] = Field(
        {},
        description="Labels that a host must have, each with one value or a list of which one will "
        "do; `name` is the host's name. Default: every host.",
    )
    gpus: GpuSelectorEntry = Field(
        GpuSelectorEntry(), description="Which GPUs a replica may take. Default: all."
    )
    spread: Spread | None = Field(
        None,
        description="`host`: replicas stand on different hosts; `gpu`: on different GPUs. Default: "
        "they may stand together.",
    )
    apart_from: list[Slug] = Field(
        [], description="Services that it never shares a GPU with. Default: none."
    )
    pin: PinEntry | None = Field(
        None, description="An exact place, out of the solver's hands. Default: none."
    )
    exclusive: bool = Field(
        default=False,
        description="Whether each replica has its GPUs to itself. Default: `false`.",
    )
    one_per_host: dict[Text, LabelValues] = Field(
        {},
        description="One replica on each host that has these labels, however many there are, in "
        "place of `replicas`; `name` is the host's name. Default: `replicas` counts.",
    )


class ServiceEntry(Entry):
    """One service."""

    model: Source | None = _model_source(None)
    engine: EngineName | None = _engine(
        "by the model's files, or by its name while modelc.lock does not know it"
    )
    task: Task | None = Field(
        None,
        description="What the model is used for: `generate` (chat and completion), `embed`, "
        "`rerank` or `classify`. Default: what the model's own files say.",
    )
    replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] = Field(
        1, description=f"Running copies, 1 to {MAX_REPLICAS}. Default: 1."
    )
    min_available: Annotated[int, Field(ge=0, le=MAX_REPLICAS)] | None = Field(
        None,
        description="Replicas that stay up while a change is carried out, wherever there is a way "
        "to do it; the plan says where there is none. Default: all but a quarter, and at most one "
        "down of fewer than eight.",
    )
    priority: Annotated[int, Field(ge=0, le=1000)] = Field(
        DEFAULT_PRIORITY,
        description="0 to 1000. When not everything fits, the higher one is placed first and gets "
        f"the better variant. Default: {DEFAULT_PRIORITY}.",
    )
    context: Tokens | None = _context(
        f"{DEFAULT_CONTEXT} to generate and {DEFAULT_POOLING_CONTEXT} for other tasks, or the "
        "model's own limit when that is less"
    )
    concurrency: Requests = Field(
        DEFAULT_CONCURRENCY, description=f"{_CONCURRENCY} Default: {DEFAULT_CONCURRENCY}."
    )
    kv_tokens: Tokens | None = _kv_tokens(
        "one request of full length (vLLM), or context times concurrency (llama.cpp)"
    )
    typical: Tokens | None = _typical("`context`")
    min: bool = Field(
        default=False,
        description="Whether a replica takes no more memory than it needs to start: on vLLM the KV "
        "cache then stays at what is guaranteed. Default: `false`.",
    )
    variants: Annotated[list[VariantEntry], Field(min_length=1, max_length=32)] | None = Field(
        None,
        description="Ways to run it, the best first; each replica takes the best one with which "
        "the whole fleet fits. Default: one, of the service's own keys.",
    )
    placement: PlacementEntry = Field(
        PlacementEntry(), description="Where its replicas may stand. Default: anywhere."
    )
    survives: Literal["host"] | None = Field(
        None,
        description="`host`: room is kept so that after the loss of any one host each replica that "
        "stood there finds a place elsewhere, on any of its variants, while all others stay as "
        "they are. Default: no room is kept.",
    )
    offload: OffloadField = Field("none", description=f"{_OFFLOAD} Default: `none`.")
    optional: bool = Field(
        default=False,
        description="Whether it may be left out when the fleet is full; otherwise that is an "
        "error. Default: `false`.",
    )
    env: dict[EnvName, EnvValue] = Field(
        {},
        description="Environment variables of the engine, as text; but for those that the plan "
        "sets, that change memory unseen, or that are secret. Default: none.",
    )
    secrets: list[EnvName] = Field(
        [],
        description="Names of environment variables whose values stay on the host and never enter "
        "the repository. Default: none.",
    )
    labels: dict[Text, Text] = Field(
        {},
        description="Names and values of your own, such as `team: search`, that the plan carries "
        "for those who read it and for rules of review. Default: none.",
    )
    listen: Listen | None = Field(
        None,
        description="Address of its hosts on which the service is reached, as under `defaults` of "
        "the inventory. Default: what its host says.",
    )

    def args_of(self, name: EngineName) -> dict[str, ArgValue]:
        """Flags for an engine."""
        return _args_of(self, name)


def _flags_of_service(name: EngineName, traits: Traits) -> Any:  # noqa: ANN401
    said = f"Flags for {traits.server}, where it runs on {traits.title}."
    return Field(EngineArgsEntry(), alias=name, description=said)


if not TYPE_CHECKING:
    ServiceEntry = with_engine_keys(ServiceEntry, EngineArgsEntry, _flags_of_service)


class PolicyEntry(Entry):
    """Rules on change."""

    max_moves: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="How many running replicas one change may restart elsewhere. Default: any "
        "number, as few as possible.",
    )
    freeze: list[Slug] = Field(
        [], description="Services that a compile must not touch. Default: none."
    )
    consolidate: bool = Field(
        default=False,
        description="Whether all running replicas may move for a better plan, and not only those "
        "that are new, changed or have lost their place. Default: `false`.",
    )
    prefer: Preference = Field(
        "spread",
        description="Which of equally good plans: `spread` puts replicas of a service apart and "
        "takes idle GPUs before it squeezes neighbours, `pack` takes the fewest GPUs into use, "
        "`small-gpus` the smallest GPUs. Default: `spread`.",
    )


class SpecFile(Entry):
    """models.yaml."""

    version: Literal[1] = Field(description="Version of this file's format: 1. Required.")
    services: Annotated[dict[Slug, ServiceEntry], Field(min_length=1)] = Field(
        description="Wanted services by name, each one endpoint. Required, at least one."
    )
    policy: PolicyEntry = Field(
        PolicyEntry(), description="Rules on how much a compile may change."
    )
