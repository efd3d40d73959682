"""Generated documents are current, and say something of everything they are about."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from compiler.codes import CODES
from compiler.schemas import schema_text
from tables import architectures, errors, ggml_types, keys, schemas

ROOT = Path(__file__).resolve().parents[1]
PAGES = (architectures, errors, ggml_types, keys)
DOCUMENTS = {**{page.PATH: page.text for page in PAGES}, **schemas.PATHS}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_generated_document_is_current(path: str, *, update_golden: bool) -> None:
    made = DOCUMENTS[path]()
    if update_golden:
        (ROOT / path).write_text(made, encoding="utf-8")
    assert (ROOT / path).read_text(encoding="utf-8") == made


def test_every_generated_document_is_made_by_make_tables() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    written = {page.__name__ for page in (*PAGES, schemas)}
    assert all(f"-m {name} " in makefile for name in written)


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_cause_and_a_cure(code: str) -> None:
    summary, cause, cure = CODES[code]
    assert not summary.endswith(".")
    assert cause.endswith(".")
    assert cure.endswith(".")
    assert f"| `{code}` |" in errors.text()


def test_every_code_that_is_raised_is_listed() -> None:
    """`Diagnostic(code="...")` and the like, wherever they stand in the compiler."""
    raised = {
        code
        for path in (ROOT / "compiler").rglob("*.py")
        for code in re.findall(
            r'(?:Diagnostic|ArgumentProblem)\(\s*code="([a-z-]+)"', path.read_text(encoding="utf-8")
        )
    }
    assert raised
    assert raised <= CODES.keys()


@pytest.mark.parametrize("name", ["inventory", "models"])
def test_every_key_of_a_file_is_listed_with_its_meaning(name: str) -> None:
    schema = json.loads(schema_text(name))
    text = keys.text()
    for entry in (schema, *schema["$defs"].values()):
        for key in entry.get("properties", {}):
            rows = [line for line in text.splitlines() if line.startswith(f"| `{key}` | ")]
            assert rows, key
            assert all(len(row.split(" | ")[1]) > 10 for row in rows), rows


def test_a_default_stands_in_its_own_column() -> None:
    assert "| `priority` |" in keys.text()
    (row,) = (line for line in keys.text().splitlines() if line.startswith("| `priority` |"))
    assert row.endswith("| a whole number, 0 to 1,000 | 50 |")
