"""Changes that would let everything find a place, each tried before it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RemedyCode = Literal[
    "context", "concurrency", "kv-8-bit", "kv-tokens", "weights-8-bit", "rung", "fewer-bits",
    "experts-in-ram", "offload", "no-offload", "replicas", "optional", "rule", "rules", "thaw",
    "survives", "stages", "reserved", "utilization", "more-ram", "more-gpus", "more-hosts",
    "other-gpus",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One change, by a stable code, of a service or a device.

    `value` is what to write and `now` what stands there; what they are depends on the code, and
    docs/explain.md lists it.
    """

    code: RemedyCode
    subject: str
    """A service, a host or `host/index`."""
    value: str
    now: str = ""
    without: str = ""
    """Arguments to take out besides, divided by spaces."""
    cost: int
    """What is given up by it, so that the least change comes first; comparable, without a unit."""
