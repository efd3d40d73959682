"""modelc with a third engine: its name and its row in the registry are all that is added."""

# ruff: noqa: E402  The name comes before whatever reads it.
# mypy: disable-error-code="assignment, misc, index"

from __future__ import annotations

from typing import Literal, get_args

from compiler.ir import engine_name

engine_name.EngineName = Literal[*get_args(engine_name.EngineName), "tiny"]

from compiler.engines import registry

registry.PACKAGES["tiny"] = "tests.tiny"

from compiler.cli import main

if __name__ == "__main__":
    main()
