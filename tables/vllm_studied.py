"""Learns how far a plain reading is off for models that nobody looked at, and what was looked at.

Every model that is known exactly (a launch of it was measured, or vLLM's own class was built) is
read once more as if its family were unknown: its names are taken away, and only the sizes that all
config.json files share are left. How far weights, KV, compute and graphs are off then is the band
of a model whose family is unknown. Beside it the keys of all these files are listed: what such a
file says has been looked at. Both are written to compiler/engines/vllm/model/studied.json.

    python -m tables.vllm_studied REGISTRY

REGISTRY is model_executor/models/registry.py of the newest vLLM: classes that stand in one module
with a class that is known are taken to be known.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.activation import activation_of
from compiler.engines.vllm.memory.graphs import graphs_of
from compiler.engines.vllm.memory.kv import layout_of, request_blocks
from compiler.engines.vllm.memory.weights import weights_from_shape
from compiler.engines.vllm.model.architectures import class_stem
from compiler.engines.vllm.model.config import ShapeError, shape_of
from compiler.engines.vllm.model.reading import is_read, settings
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import NEWEST
from compiler.ir.inventory import GpuKind
from compiler.ir.units import GIB
from tests.truth.vllm import TRUTH

TARGET = Path(__file__).parent.parent / "compiler" / "engines" / "vllm" / "model" / "studied.json"
_KIND = GpuKind(name="any", memory_bytes=80 * GIB, cuda_total_bytes=79 * GIB, compute=(9, 0))
_ENTRY = re.compile(r'"(\w+)":\s*\(\s*"([\w.]+)",\s*"(\w+)"', re.DOTALL)
# Sections that other parts of the law read, and those that only name things.
_OTHER_SECTIONS = ("vision", "audio", "visual", "img_processor", "quantization", "compression")
_TRIVIAL: tuple[object, ...] = (None, False, 0, 0.0, "", [], {})


# Families whose files cannot be read plainly at all: what they are off by says nothing of others.
_ODD = {
    "ernie_vl": "two lists of experts in one key",
    "gemma4_e2b": "half of its weights are embeddings that each layer reads",
    "mistral_large_3": "keeps whole heads where latent attention keeps rows",
    "minicpm3": "keeps whole heads where latent attention keeps rows",
}
# Modules that read config.json: a word that they name is a key that has been looked at.
_READERS = ("config", "mixtures", "recurrent", "rope", "audio", "vision", "decide", "drafts")
_FEW_FAMILIES = 5
# Other names of sizes and lengths, which may stand beside those that are read.
_ALIASES = frozenset({"max_seq_len", "n_embd", "n_head", "n_layer", "n_positions", "num_heads"})
_WORD = re.compile(r'"([a-zA-Z][a-zA-Z0-9_]+)"')


def known_headers() -> dict[str, dict[str, Any]]:
    """The config.json of every model that is known exactly."""
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((TRUTH / "vllm_configs").glob("*.json"))
    }
    for name in ("vllm_classes.json", "vllm_vision_classes.json"):
        models = json.loads((TRUTH / name).read_text(encoding="utf-8"))["models"]
        found |= {key: entry["config"] for key, entry in models.items()}
    return found


def keys_of(header: Mapping[str, Any]) -> Iterator[str]:
    """The keys that say something, in the file and its sections but for towers'."""
    for key, value in header.items():
        if value in _TRIVIAL or any(part in key for part in _OTHER_SECTIONS):
            continue
        yield key
        if isinstance(value, dict):
            yield from keys_of(value)


def read_keys() -> set[str]:
    """The keys that the law itself names."""
    folder = TARGET.parent.parent
    texts = [path.read_text(encoding="utf-8") for name in _READERS
             for path in sorted(folder.glob(f"*/{name}*.py"))]  # fmt: skip
    return {word for text in texts for word in _WORD.findall(text)}


def families() -> dict[str, list[str]]:
    """Keys that change the shape of few families' models, with the classes of all their files."""
    changing: set[str] = set()
    classes: dict[str, set[str]] = {}
    for header in known_headers().values():
        try:
            shape = shape_of(header)
        except ShapeError:
            continue
        stem = class_stem(shape.architecture)
        for path, value in settings(header):
            key = path[-1]
            if value in _TRIVIAL or any(part in each for part in _OTHER_SECTIONS for each in path):
                continue
            classes.setdefault(key, set()).add(stem)
            if key not in changing and is_read(header, shape, path):
                changing.add(key)
    return {
        key: sorted(found)
        for key, found in sorted(classes.items())
        if key in changing - _ALIASES and len(found) <= _FEW_FAMILIES and key.isidentifier()
    }


def numbers() -> list[str]:
    """Keys that are whole numbers, or nothing, wherever they stand."""
    kinds: dict[str, set[type]] = {}
    for header in known_headers().values():
        for path, value in settings(header):
            if value is not None:
                kinds.setdefault(path[-1], set()).add(type(value))
    return sorted(key for key, found in kinds.items() if found == {int} and key.isidentifier())


def ratios() -> dict[str, list[tuple[float, str]]]:
    """Of each part, known over read plainly, for every model."""
    found: dict[str, list[tuple[float, str]]] = {
        part: [] for part in ("weights", "kv", "compute", "compute_of_pictures", "graphs")
    }
    for name, header in known_headers().items():
        try:
            known = shape_of(header)
            plain = shape_of(_anonymous(header))
        except ShapeError:
            continue
        if known.encoder or name in _ODD:
            continue
        for part, size in _parts(known).items():
            other = _parts(plain)[part]
            if size and other:
                seen = part == "compute" and known.vision is not None
                found["compute_of_pictures" if seen else part].append((size / other, name))
    return {part: sorted(values) for part, values in found.items()}


def _anonymous(header: Mapping[str, Any]) -> dict[str, Any]:
    """The file without the names by which a family is known, in any section."""
    return {
        key: _anonymous(value) if isinstance(value, dict) else value
        for key, value in header.items()
        if key not in {"model_type", "architectures"}
    }


def _parts(shape: Shape) -> dict[str, int]:
    options = Options(version=NEWEST, context=32768, sequences=64, batched_tokens=8192)
    layout = layout_of(shape, options)
    return {
        "weights": weights_from_shape(shape, options, _KIND),
        "kv": request_blocks(layout, options) * layout.block_bytes if layout.exists else 0,
        "compute": activation_of(shape, options, _KIND).transient_bytes,
        "graphs": graphs_of(shape, options, _KIND, linked=False).larger_bytes,
    }


def studied_classes(registry: str) -> list[str]:
    """Classes that are known, and those that stand in one module with them."""
    modules = {name: module for name, module, _ in _ENTRY.findall(registry)}
    own = {
        name for header in known_headers().values() for name in header.get("architectures") or []
    }
    known = {modules[name] for name in own if name in modules}
    return sorted(own | {name for name, module in modules.items() if module in known})


def main() -> None:
    """Write the file, and print what is furthest off."""
    found = ratios()
    for part, values in found.items():
        print(part, "least", values[:6], "most", values[-6:])
    bands = {
        part: {
            "low_permille": max(0, 1000 - int(1000 * values[0][0])),
            "high_permille": max(0, -int(-(1000 * values[-1][0]) // 1) - 1000),
        }
        for part, values in found.items()
    }
    keys = {key for header in known_headers().values() for key in keys_of(header)} | read_keys()
    keys = {key for key in keys if key.isidentifier()}
    data = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    classes = data.get("classes", [])
    if len(sys.argv) > 1:
        classes = studied_classes(Path(sys.argv[1]).read_text(encoding="utf-8"))
    learnt = {
        "bands": bands,
        "classes": classes,
        "families": families(),
        "keys": sorted(keys),
        "numbers": numbers(),
    }
    text = json.dumps(learnt, indent=1)
    TARGET.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
