"""What a replica is asked for, as one digest: with another one its service has been changed."""

from __future__ import annotations

import hashlib
from dataclasses import fields

from compiler.ir.demand import Request


def asked_of(request: Request) -> str:
    """sha256 of all that a request says, its model's and companions' facts included."""
    told = [
        f"{field.name}={getattr(request, field.name)!r}"
        for field in fields(request)
        if field.name not in {"facts", "companions"}
    ]
    told.append(request.facts.model_dump_json())
    for argument, found in sorted(request.companions.items()):
        told += [argument, *(facts.model_dump_json() for facts in found)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
