"""The memory law of llama.cpp against libllama, for one model of each family."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from compiler.engines.llamacpp.flags.builds import STUDIED_BUILD, parse_build
from compiler.engines.llamacpp.memory.law import usage
from compiler.engines.llamacpp.model.architectures import record, with_trait
from tests.generators import gguf_truth
from tests.generators.gguf_shapes import facts
from tests.oracle import family_rows, model_files
from tests.oracle.cases import shape_of
from tests.truth.llamacpp_accuracy import libllama_rows, libllama_rows_2, log_rows

ROWS: dict[str, list[Any]] = YAML(typ="safe", pure=True).load(
    family_rows.PATH.read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize("model", ROWS)
def test_libllama_allocates_what_the_law_says(model: str, folder: Path) -> None:
    path = folder / f"{model}.gguf"
    model_files.write_model(model, None, path)
    shape = shape_of(path)
    build = parse_build(f"b{STUDIED_BUILD}")
    assert build is not None
    for words, gpus, host in ROWS[model]:
        found = usage(shape, family_rows.options_of(words), build)
        ours = [
            [found.weights[device], found.cache.total(device), found.compute[device]]
            for device in range(len(gpus) + 1)
        ]
        assert ours == [*gpus, host], words
        assert found.compute_low == found.compute == found.compute_high


def test_every_model_has_rows_and_is_known_exactly(folder: Path) -> None:
    assert set(ROWS) == set(family_rows.MODELS)
    architectures = set()
    for model in ROWS:
        path = folder / f"{model}.gguf"
        model_files.write_model(model, None, path)
        architectures.add(shape_of(path).arch)
    assert architectures <= with_trait("exact")


def test_what_is_marked_exact_has_rows_of_libllama(folder: Path) -> None:
    """A row claims no more than was compared: with libllama itself, or with a real log."""
    compared = {facts(row.model).architecture for row in libllama_rows()}
    compared |= {gguf_truth.facts(row["model"]).architecture for row in libllama_rows_2()}
    compared |= {facts(row["shape"]).architecture for row in log_rows()}
    for model in ROWS:
        path = folder / f"{model}.gguf"
        model_files.write_model(model, None, path)
        compared.add(shape_of(path).arch)
    assert with_trait("exact") - compared == set()


def test_every_trait_of_an_architecture_is_asked_somewhere() -> None:
    home = Path(record.__file__).parents[2]
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in home.rglob("*.py")
        if path.parent != Path(record.__file__).parent or path.name == "record.py"
    )
    for field in fields(record.Architecture):
        # `source` is for people: docs/architectures.md.
        asked = re.search(rf"[a-z)]\.{field.name}\b|with_trait\(\"{field.name}\"\)", text)
        assert asked or field.name == "source", field.name
