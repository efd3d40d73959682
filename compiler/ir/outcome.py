"""What a change of the fleet would do: to its services, and to what runs."""

from __future__ import annotations

from typing import Literal

from compiler.ir.changes import Diff
from compiler.ir.facts import Record

OutcomeCode = Literal["in-place", "moves", "loses-replicas", "loses-services"]


class ServiceOutcome(Record):
    """One service before and after."""

    service: str
    wanted: int
    replicas_before: int
    replicas_after: int
    room_before_permille: int
    """Full-length requests that the KV caches of all its replicas hold, in thousandths."""
    room_after_permille: int


class WhatIf(Record):
    """A plan with changes, against the one without."""

    changes: list[str]
    """As they were given."""
    code: OutcomeCode
    services: list[ServiceOutcome]
    """Those whose replicas or room change."""
    diff: Diff


class Loss(Record):
    """What it would mean to lose one host or one GPU."""

    lost: str
    """A host, or `host/index`."""
    stood: list[str]
    """Replicas that stand there."""
    code: OutcomeCode
    """`in-place`: nothing is lost, nothing moves. `moves`: all go on, some elsewhere.
    `loses-replicas`: of a service fewer run than before. `loses-services`: of one none."""
    moves: int
    """Replicas that start elsewhere, those of other places among them."""
    seconds: int
    """Until all run again at most, by their start timeouts: hosts side by side, the replicas of a
    host one after another."""
    short: dict[str, int]
    """How many replicas of a service are lost, by its name."""


class Sizing(Record):
    """The fewest hosts of one make that hold all services with all the room that they want."""

    kind: str
    per_host: int
    """GPUs of each host."""
    hosts: int
    """0 when no number of them does."""
    gpus: int
    at_least: int
    """No fewer hosts have the memory, whatever the placement."""
    why: str = ""
    """Why no number of them does."""
