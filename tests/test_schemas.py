"""The JSON Schemas in schemas/ are the ones that the types give, and the examples satisfy them."""

from __future__ import annotations

import json
import re
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


@pytest.mark.parametrize("name", ["inventory", "models"])
def test_every_key_says_what_it_means_and_its_default(name: str) -> None:
    schema = json.loads(schema_text(name))
    entries = {"the file": schema, **schema["$defs"]}
    keys = [
        (f"{entry}.{key}", field)
        for entry, described in entries.items()
        for key, field in described.get("properties", {}).items()
    ]
    unsaid = [place for place, field in keys if not field.get("description", "").endswith(".")]
    # What is given key by key has its defaults there.
    single = [(place, field) for place, field in keys if "#/$defs/" not in str(field)]
    unsaid += [
        place
        for place, field in single
        if not re.search(r"\b(Required|Default: )", field.get("description", ""))
    ]
    assert len(single) > len(keys) / 2
    assert unsaid == []
