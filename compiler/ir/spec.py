"""What should run: services, their variants in order of preference, and the rules of placement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from compiler.ir.engine_name import EngineName
from compiler.ir.facts import Task

ArgValue = bool | int | float | str | list["ArgValue"] | dict[str, "ArgValue"]
Offload = Literal["none", "auto", "cpu"] | int
Spread = Literal["host", "gpu"]
Preference = Literal["spread", "pack", "small-gpus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to run a service, with everything it does not say itself taken from the service."""

    name: str
    model: str
    engine: EngineName
    context: int | None
    """None: 8,192 tokens, or the model's limit when that is less."""
    concurrency: int
    kv_tokens: int | None
    typical: int | None = None
    """Tokens of a usual request; the room wanted is concurrency x typical. None: `context`."""
    offload: Offload
    args: dict[str, ArgValue] = field(default_factory=dict)
    """Engine flags by their own names, dashes as underscores, without leading dashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Takes a replica's place out of the solver's hands."""

    host: str
    gpus: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRules:
    """Where replicas of a service may stand."""

    host_labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Label to allowed values; `name` matches the host's name."""
    kinds: tuple[str, ...] = ()
    min_compute: tuple[int, int] | None = None
    tensor_parallel: tuple[int, ...] = ()
    spread: Spread | None = None
    apart_from: tuple[str, ...] = ()
    pin: Pin | None = None
    exclusive: bool = False
    """Nobody else stands on the GPUs of a replica."""
    one_per_host: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """One replica on each host with these labels; empty: `replicas` counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One wanted endpoint."""

    name: str
    task: Task | None
    """None: what the model's files say it is for."""
    replicas: int
    priority: int
    optional: bool
    variants: tuple[Variant, ...]
    placement: PlacementRules
    min_available: int | None = None
    """Replicas that stay up while a plan is carried out, wherever that is possible; None: all but
    a quarter, and at most one down of fewer than eight."""
    min: bool = False
    """Whether a replica takes no more memory than it needs to start."""
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    survives: Literal["host"] | None = None
    """`host`: room is kept so that the loss of any one host is borne."""
    listen: str | None = None
    """The address on which it is reached, or `none`; None: what its host says."""
    labels: dict[str, str] = field(default_factory=dict)
    """What people call it by; no pass of the placement reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules on change."""

    max_moves: int | None = None
    freeze: tuple[str, ...] = ()
    consolidate: bool = False
    """Whether all may move for a better plan, and not only what is new, changed or evicted."""
    prefer: Preference = "spread"
    """Which of equally good plans: replicas apart, fewest GPUs in use, or the smallest GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """All services, sorted by name, and the policy."""

    services: tuple[Service, ...]
    policy: Policy

    def service(self, name: str) -> Service:
        """The service of this name; KeyError when there is none."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)
