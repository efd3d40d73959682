"""Engines by name: what each answers for itself, and which one a model is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from compiler.engines.registry import engine_names, engine_of, traits_of, usual_engine
from compiler.ir.engine_name import EngineName
from compiler.ir.lock import Lock, LockedSource, read_lock_text
from compiler.load.spec import load_spec
from compiler.load.yamltext import parse_yaml
from compiler.single import Asked, question_of

GOLDEN = Path(__file__).parent / "golden" / "every-target" / "modelc.lock"


def locked_gguf(source: str) -> LockedSource:
    """A GGUF file under the name of a repository."""
    lock = read_lock_text(GOLDEN.read_text(encoding="utf-8"))
    gguf = next(each for each in lock.sources if each.facts.format == "gguf")
    return gguf.model_copy(update={"source": source, "repository": source})


@pytest.mark.parametrize(
    ("source", "engine"),
    [
        ("Qwen/Qwen3-32B", "vllm"),
        ("unsloth/Qwen3-8B-GGUF:Q4_K_M", "llama.cpp"),
        ("org/quiet:Q4_K_M", "llama.cpp"),
        ("./models/x.gguf", "llama.cpp"),
        ("./models/x", "vllm"),
        ("qwen3:8b", "llama.cpp"),
    ],
)
def test_what_nobody_has_read_is_for_an_engine_by_its_name(source: str, engine: str) -> None:
    assert usual_engine(source, None) == engine


def test_a_known_model_is_for_the_engine_of_its_files_everywhere() -> None:
    quiet = locked_gguf("org/quiet")
    lock = Lock(sources=[quiet])
    text = "version: 1\nservices: {chat: {model: org/quiet}}"
    spec, faults = load_spec(parse_yaml("models.yaml", text), lock)
    assert spec is not None
    assert faults == []
    assert spec.services[0].variants[0].engine == "llama.cpp"
    assert question_of(quiet, Asked(), lambda _: quiet).engine == "llama.cpp"


def test_every_engine_answers_under_its_own_name() -> None:
    assert engine_names() == get_args(EngineName)
    for name in engine_names():
        engine, traits = engine_of(name), traits_of(name)
        assert engine.name == name
        assert engine.traits is traits
        assert engine.check_version(traits.newest) is None
        assert engine.release(traits.newest) == traits.newest
        assert engine.other_release(traits.newest, traits.image_of(traits.newest)) is None
        assert set(traits.paths_or_names) <= set(traits.reads)


@pytest.mark.parametrize(
    ("version", "takes"), [("v0.9.2", False), ("0.9.2", False), ("v0.24", True), ("0.33.0", True)]
)
def test_a_version_is_read_by_the_engine_alone(version: str, takes: bool) -> None:
    assert engine_of("vllm").takes_uuids(version) == takes


def test_savings_are_arguments_that_the_engine_takes() -> None:
    for name in engine_names():
        found = engine_of(name).leaner("cache-8-bit", {}, traits_of(name).newest)
        assert found, json.dumps(name)
    assert engine_of("vllm").leaner("weights-8-bit", {}, "0.19.0") is None
    assert engine_of("vllm").leaner("weights-8-bit", {}, "0.20.0") == {"quantization": "fp8"}
    assert engine_of("llama.cpp").leaner("experts-in-ram", {"cpu_moe": True}, "9000") is None
