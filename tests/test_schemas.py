"""The JSON Schemas in schemas/ are the ones that the types give, and the examples satisfy them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from compiler.schemas import SCHEMA_NAMES, schema_text

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = sorted(path.parent for path in (ROOT / "inventories").glob("*/models.yaml"))


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_the_committed_schema_is_current(name: str, *, update_golden: bool) -> None:
    path = ROOT / "schemas" / f"{name}.schema.json"
    if update_golden:
        path.write_text(schema_text(name), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == schema_text(name)


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_the_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text(name)))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
@pytest.mark.parametrize("name", ["inventory", "models"])
def test_an_editor_accepts_the_examples(folder: Path, name: str) -> None:
    text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
    data = YAML(typ="safe", pure=True).load(text)
    jsonschema.validate(data, json.loads(schema_text(name)))


@pytest.mark.parametrize(
    "fault",
    [
        {"version": 1, "hosts": {"a": {"ram": 64}}},
        {"version": 1, "hosts": {"a": {"ram": "64GB"}}},
        {"version": 1, "hosts": {"a": {"ram": "64GiB", "colour": "red"}}},
        {"version": 2, "hosts": {"a": {"ram": "64GiB"}}},
    ],
)
def test_an_editor_marks_faults(fault: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(fault, json.loads(schema_text("inventory")))
