"""The problems of environment variables that every engine finds alike."""

from __future__ import annotations

from compiler.ir.demand import ArgumentProblem


def managed_variable(name: str, hint: str) -> ArgumentProblem:
    """The problem of a variable that stands for a decision of the plan."""
    detail = f"`{name}` is a variable that the plan decides."
    return ArgumentProblem(code="managed-argument", argument=name, detail=detail, hint=hint)


def uncosted_variable(name: str, reason: str, hint: str = "") -> ArgumentProblem:
    """The problem of a variable that changes memory, for a reason that ends the sentence."""
    return ArgumentProblem(
        code="unsupported-argument",
        argument=name,
        detail=f"`{name}` changes what the engine takes: {reason}.",
        hint=hint or "Take it out.",
    )
