"""Writes modelc.lock of the bundled examples from published shapes.

    python -m tests.generators.write_locks [FOLDER ...]     (none: every folder in inventories/)

The sources are read from the `model:` keys of each folder's models.yaml.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

from compiler.ir.lock import Lock, lock_text
from tests.generators.published import locked

ROOT = Path(__file__).resolve().parents[2]


def example_lock_text(folder: Path) -> str:
    """The lock of one folder's models.yaml; KeyError names a source without published shapes."""
    spec = YAML(typ="safe", pure=True).load((folder / "models.yaml").read_text(encoding="utf-8"))
    return lock_text(Lock(sources=[locked(source) for source in sorted(set(_models(spec)))]))


def _models(value: object) -> Iterator[str]:
    """Every value of a `model` key, wherever it stands."""
    if isinstance(value, dict):
        for key, member in value.items():
            if key == "model" and isinstance(member, str):
                yield member
            else:
                yield from _models(member)
    elif isinstance(value, list):
        for member in value:
            yield from _models(member)


def main(names: list[str]) -> None:
    """Write the locks of the named folders."""
    folders = [Path(name) for name in names] or sorted(
        path.parent for path in (ROOT / "inventories").glob("*/models.yaml")
    )
    for folder in folders:
        (folder / "modelc.lock").write_text(example_lock_text(folder), encoding="utf-8")
        print(folder.name)


if __name__ == "__main__":
    main(sys.argv[1:])
