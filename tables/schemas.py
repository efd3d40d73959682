"""schemas/: the JSON Schemas of the files that modelc reads and writes, from their types."""

from __future__ import annotations

from functools import partial

from compiler.schemas import SCHEMA_NAMES, schema_text
from tables.generated import main

PATHS = {f"schemas/{name}.schema.json": partial(schema_text, name) for name in SCHEMA_NAMES}

if __name__ == "__main__":
    for path, text in PATHS.items():
        main(path, text)
