"""Rules of review: what a plan must keep to be merged, and how it fares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

RuleName = Literal[
    "placed",
    "headroom",
    "unmoved",
    "max_restarts",
    "pinned_revisions",
    "quota",
    "survives_host",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """GPU memory that the services of one label's values may take, each value's together."""

    label: str
    limits_bytes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRules:
    """The rules of one file; a rule that is not given is not asked."""

    headroom_permille: int | None = None
    """Share of its budget that each GPU in use keeps free."""
    unmoved: tuple[str, ...] = ()
    """Services whose replicas neither move nor start again nor go."""
    max_restarts: int | None = None
    pinned_revisions: bool = False
    quota: Quota | None = None
    survives_host: tuple[str, ...] | None = None
    """Services that are left with a replica whichever host is lost; empty: all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a plan fares by one rule, for one service or for the fleet."""

    rule: RuleName
    service: str | None
    kept: bool
    detail: str
    """What was found, in a sentence; also where the rule is kept."""
    skipped: bool = field(default=False)
    """Whether nothing was asked: an optional service that is left out."""
