"""Facts of one model of each architecture, against a lock that is reviewed like code."""

from __future__ import annotations

from pathlib import Path

from compiler.engines.llamacpp.model.shape import read_shape
from compiler.ir.facts import ModelFacts
from compiler.ir.lock import Lock, lock_text
from compiler.resolve.sources import lock_sources
from tests.generators import gguf_shapes
from tests.generators.architectures import GGUF, write_architecture
from tests.generators.companions import write_adapter
from tests.generators.hf_configs import CONFIGS
from tests.generators.models import write_folder
from tests.generators.projectors import write_projector

Described = tuple[str, str, list[int], int]

GOLDEN = Path(__file__).parent / "golden" / "facts" / "modelc.lock"
# One shape of each architecture that the other generator knows.
SHAPES = (
    *("llama32-1b", "mixtral-8x7b", "phi3-mini", "qwen25-7b", "qwen3-8b", "qwen3-4b-rerank"),
    *("qwen3-30b-a3b", "gemma2-9b", "gemma3-4b", "deepseek-v2-lite", "deepseek-v3", "gpt-oss-20b"),
    *("bge-m3", "nomic-embed", "command-r-35b", "glm4-32b", "glm45-air", "qwen3-next-80b"),
    *("qwen35-9b", "qwen35-35b-a3b", "lfm2-1.2b", "mamba2-2.7b"),
)


# What is no model of its own: a LoRA adapter and a projector.
ADAPTER, PROJECTOR = "llama32-1b-lora", "qwen2.5-vl-7b"


def make(root: Path) -> Lock:
    """Write every model and lock it."""
    named = (*SHAPES, *GGUF, ADAPTER, PROJECTOR)
    sources = [f"./{name}.gguf" for name in named] + [f"./{name}" for name in CONFIGS]
    for name in SHAPES:
        gguf_shapes.write(name, root / f"{name}.gguf")
    for name in GGUF:
        write_architecture(name, root / f"{name}.gguf")
    adapted = read_shape(gguf_shapes.facts("llama32-1b"))
    write_adapter(root / f"{ADAPTER}.gguf", adapted.arch, adapted.weights)
    write_projector(PROJECTOR, root / f"{PROJECTOR}.gguf")
    for name, config in CONFIGS.items():
        write_folder(root / name, {"config.json": config})
    return lock_sources(sources, root, None, frozenset())


def test_facts_of_every_architecture(tmp_path: Path, update_golden: bool) -> None:
    """A changed line is a changed fact of a model that somebody has."""
    lock = make(tmp_path)
    if update_golden:
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(lock_text(lock), encoding="utf-8")
    assert lock_text(lock).splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()
    assert len({entry.facts.architecture for entry in lock.sources}) >= 25


def _by_name(facts: ModelFacts) -> list[Described]:
    return sorted((t.name, t.dtype, t.shape, t.bytes) for t in facts.expand())


def test_the_reader_and_the_other_generator_agree(tmp_path: Path) -> None:
    """Shapes given as facts are what is read when they are written to a file."""
    for name in gguf_shapes.SHAPES:
        path = tmp_path / f"{name}.gguf"
        gguf_shapes.write(name, path)
        (entry,) = lock_sources([str(path)], tmp_path, None, frozenset()).sources
        read, given = entry.facts, gguf_shapes.facts(name)
        assert _by_name(read) == _by_name(given), name
        assert (read.task, read.pooling, read.parameters, read.layers) == (
            given.task,
            given.pooling,
            given.parameters,
            given.layers,
        ), name
        assert (read.vocabulary, read.position_limit) == (given.vocabulary, given.position_limit)
        own = {key: value for key, value in read.header.items() if key != "general.name"}
        assert own == {key: given.header[key] for key in sorted(given.header)}, name
