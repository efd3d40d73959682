"""JSON Schemas of the files that modelc reads and writes, generated from their types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

SCHEMA_NAMES = ("inventory", "models", "review", "plan", "lock", "diff")


def schema_text(name: str) -> str:
    """The JSON Schema of a file; KeyError for a name that is none of SCHEMA_NAMES."""
    document = _model(name).model_json_schema(by_alias=True, mode="validation")
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _model(name: str) -> type[BaseModel]:
    from compiler.ir.changes import Diff
    from compiler.ir.lock import Lock
    from compiler.ir.plan import Plan
    from compiler.load.inventory_file import InventoryFile
    from compiler.load.review import ReviewFile
    from compiler.load.spec_file import SpecFile

    models: dict[str, type[BaseModel]] = {
        "inventory": InventoryFile,
        "models": SpecFile,
        "review": ReviewFile,
        "plan": Plan,
        "lock": Lock,
        "diff": Diff,
    }
    return models[name]
