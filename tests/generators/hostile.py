"""Hostile inputs of every file that modelc reads, each from a seed, and what a run made of one.

`attack(kind, seed, folder)` writes the files of one attack and gives the command that meets them;
`attempt` runs it in this process and says what is wrong with how it ended, if anything is.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

from compiler.cli import run
from tests.generators.gguf_draft import Draft
from tests.generators.gguf_shapes import SHAPES, draft, write_draft
from tests.generators.hf_configs import CONFIGS
from tests.generators.hostile_hub import TOKEN, attack_hub, hostile_hub, in_haste
from tests.generators.hostile_trees import attack_tree
from tests.generators.hostile_values import (
    TEXTS,
    hostile_value,
    mutated_bytes,
    mutated_text,
    mutated_tree,
)
from tests.generators.models import (
    llama_tensors,
    llama_values,
    qwen3_config,
    qwen3_tensors,
    safetensors_header,
    write_folder,
    write_gguf,
)

ROOT = Path(__file__).resolve().parents[2]
CPU_SECONDS = 5.0
"""What no input may take; the largest fleet of the examples takes a fifth of it."""
WALL_SECONDS = 60.0
"""What no input may let the user wait, though nothing is computed."""
_MAX_COMPARED_BYTES = 1 << 20
MEMORY_BYTES = 1 << 30
"""What no input may add to the memory of the process."""

_FLEETS = ("homelab", "mixed", "rag")
Writer = Callable[[random.Random, Path], list[str]]
"""Writes the files of an attack into an empty folder, and gives the command that meets them."""


def _fleet(dice: random.Random, folder: Path, changed: str) -> list[str]:
    source = ROOT / "inventories" / dice.choice(_FLEETS)
    for name in ("inventory.yaml", "models.yaml", "modelc.lock"):
        shutil.copy(source / name, folder)
    path = folder / changed
    text = path.read_text(encoding="utf-8")
    if changed == "modelc.lock" and dice.random() < 0.8:
        text = json.dumps(mutated_tree(dice, json.loads(text), hostile_value))
    elif changed != "modelc.lock" and dice.random() < 0.5:
        from ruamel.yaml import YAML

        tree = YAML(typ="safe", pure=True).load(text)
        # JSON is YAML; what only Python's JSON has (NaN) is a text there.
        text = json.dumps(mutated_tree(dice, tree, hostile_value))
    else:
        text = mutated_text(dice, text)
    path.write_text(text, encoding="utf-8", errors="replace")
    return ["compile", str(folder), "--previous", "none", "--out", str(folder / "out")]


def _inventory(dice: random.Random, folder: Path) -> list[str]:
    return _fleet(dice, folder, "inventory.yaml")


def _spec(dice: random.Random, folder: Path) -> list[str]:
    return _fleet(dice, folder, "models.yaml")


def _lock(dice: random.Random, folder: Path) -> list[str]:
    return _fleet(dice, folder, "modelc.lock")


@cache
def _configs() -> tuple[dict[str, Any], ...]:
    measured = sorted((ROOT / "tests" / "truth" / "vllm_configs").glob("*.json"))
    return (*CONFIGS.values(), *(json.loads(path.read_text("utf-8")) for path in measured))


_QUANTIZED: tuple[dict[str, Any], ...] = (
    {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
    {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
    {"quant_method": "gptq", "bits": 4, "group_size": 128, "modules_to_not_convert": ["lm_head"]},
    {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["re:.*gate$"],
     "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}}},
)  # fmt: skip


def _config(dice: random.Random, folder: Path) -> list[str]:
    config = dict(dice.choice(_configs()))
    if dice.random() < 0.3:
        config["quantization_config"] = copy.deepcopy(dice.choice(_QUANTIZED))
    mutated = mutated_tree(dice, config, hostile_value)
    write_folder(folder / "m", {"config.json": json.dumps(mutated)})
    return _estimate(dice, folder / "m", "vllm")


_DOCUMENTS: dict[str, Any] = {
    "config_sentence_transformers.json": {"prompts": {"query": "q"}, "x": "y"},
    "generation_config.json": {"max_new_tokens": 2048, "temperature": 0.6},
    "hf_quant_config.json": {"quantization": {"quant_algo": "FP8", "exclude_modules": ["x"]}},
    "modules.json": [
        {"idx": 0, "type": "sentence_transformers.models.Transformer", "path": ""},
        {"idx": 1, "type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 64, "pooling_mode_cls_token": True},
    "quantize_config.json": {"bits": 4, "group_size": 128, "sym": True},
    "sentence_bert_config.json": {"max_seq_length": 512},
    "tokenizer_config.json": {"model_max_length": 512, "tokenizer_class": "X"},
    "tokenizer.json": {"model": {"vocab": {"a": 0}}},
    "pytorch_model.bin.index.json": {"metadata": {"total_size": 128000}, "weight_map": {"a": "b"}},
    "model.safetensors.index.json": {
        "metadata": {"total_size": 1 << 20},
        "weight_map": {name: "model.safetensors" for name, _, _ in qwen3_tensors()},
    },
    "params.json": {"dim": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 1000, "hidden_dim": 128},
}  # fmt: skip


def _documents(dice: random.Random, folder: Path) -> list[str]:
    """The small files beside config.json: tokenizers, indices, poolings."""
    chosen = dice.sample(sorted(_DOCUMENTS), dice.randrange(1, 6))
    documents: dict[str, Any] = {"config.json": qwen3_config()}
    for name in chosen:
        text = json.dumps(mutated_tree(dice, _DOCUMENTS[name], hostile_value))
        documents[name] = mutated_text(dice, text) if dice.random() < 0.2 else text
    write_folder(folder / "m", documents)
    if "params.json" in chosen and dice.random() < 0.5:
        (folder / "m" / "config.json").unlink()
    if dice.random() < 0.7:
        _write_safetensors(folder / "m" / "model.safetensors", *safetensors_header(qwen3_tensors()))
    return (
        ["lock", str(_locked(folder, "./m"))]
        if dice.random() < 0.5
        else _estimate(dice, folder / "m", "vllm")
    )


def _safetensors(dice: random.Random, folder: Path) -> list[str]:
    header, size = safetensors_header(qwen3_tensors())
    if dice.random() < 0.2:
        # What the file says of itself decides nothing.
        entries = json.loads(header[8:])
        entries["__metadata__"] = {"format": str(dice.choice(TEXTS)), "x": "y"}
        body = json.dumps(entries).encode("utf-8", "replace")
        header = len(body).to_bytes(8, "little") + body
    elif dice.random() < 0.6:
        entries = mutated_tree(dice, json.loads(header[8:]), hostile_value)
        body = json.dumps(entries).encode("utf-8", "replace")
        header = len(body).to_bytes(8, "little") + body
    else:
        header = mutated_bytes(dice, header)
    write_folder(folder / "m", {"config.json": qwen3_config()})
    _write_safetensors(folder / "m" / "model.safetensors", header, size)
    return _estimate(dice, folder / "m", "vllm")


def _write_safetensors(path: Path, header: bytes, size: int) -> None:
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)


def _gguf(dice: random.Random, folder: Path) -> list[str]:
    """Headers of every family, a value or a tensor of them changed."""
    name = dice.choice(sorted(SHAPES))
    model = _small(draft(name))
    for _ in range(dice.choice((1, 1, 2))):
        if dice.random() < 0.7:
            key = dice.choice(sorted(model.header))
            model.header[key] = _gguf_number(dice, model.header[key])
        else:
            at = dice.randrange(len(model.tensors))
            tensor, ne, _ = model.tensors[at]
            changed = list(ne)
            changed[dice.randrange(len(changed))] = dice.choice((1, 2, 3, 32, 256, 4096, 1 << 20))
            model.tensors[at] = (
                dice.choice((tensor, tensor + "x", "output.weight")),
                tuple(changed),
                "f32",
            )
    # Some files would be larger than any disk; their header is written all the same.
    with contextlib.suppress(OSError):
        write_draft(name, model, folder / "m.gguf")
    return _estimate(dice, folder / "m.gguf", "llama.cpp")


def _small(model: Draft) -> Draft:
    """The first layers of a model: the same kinds of layers in a hundredth of the time."""
    kept = [
        row
        for row in model.tensors
        if not row[0].startswith("blk.") or int(row[0].split(".")[1]) < 6
    ]
    layers = {int(row[0].split(".")[1]) for row in kept if row[0].startswith("blk.")}
    header = dict(model.header)
    header["block_count"] = len(layers)
    return Draft(arch=model.arch, quant=model.quant, header=header, tensors=kept)


def _gguf_number(dice: random.Random, value: Any) -> Any:  # noqa: ANN401 (any value)
    if isinstance(value, list):
        short = value[: dice.randrange(1, len(value) + 1)]
        return [
            int(dice.choice((0, 1, 2, -1, 2**31 - 1))) if dice.random() < 0.2 else int(each)
            for each in short
        ]
    return dice.choice(
        (0, 1, 2, 3, 5, 63, 64, 100, 1000, 65536, 2**20, 2**31, 2**32 - 1, 0.5, True, "x")
    )


def _gguf_raw(dice: random.Random, folder: Path) -> list[str]:
    """Bytes of a header: lengths, counts, types and texts."""
    path = folder / "m.gguf"
    size = write_draft("m", _small(draft(dice.choice(sorted(SHAPES)))), path)
    with path.open("rb") as file:
        raw = file.read(4 << 20)
    cut = dice.choice((200, 700, 3000))
    header = mutated_bytes(dice, raw[:cut]) + raw[cut:]
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size - len(raw))
    return _estimate(dice, folder / "m.gguf", "llama.cpp")


def _ollama(dice: random.Random, folder: Path) -> list[str]:
    digest = "ab" * 32
    layer = {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": f"sha256:{digest}",
        "size": 9,
    }
    manifest = {
        "schemaVersion": 2,
        "config": {},
        "layers": [layer, {"mediaType": "x", "digest": "y"}],
    }
    text = json.dumps(mutated_tree(dice, manifest, hostile_value))
    path = folder / "store" / "manifests" / "registry.ollama.ai" / "library" / "m" / "8b"
    path.parent.mkdir(parents=True)
    path.write_text(mutated_text(dice, text) if dice.random() < 0.3 else text, "utf-8", "replace")
    write_gguf(folder / "store" / "blobs" / f"sha256-{digest}", llama_values(), llama_tensors())
    return ["estimate", "m:8b", "--gpu", "rtx-4090"]


_VLLM_ARGS = ("enforce_eager=true", "kv_cache_dtype=fp8", "quantization=fp8", "enable_lora=true")
_LLAMACPP_ARGS = ("cache_type_k=q8_0", "flash_attn=on", "cache_type_v=q4_0", "n_cpu_moe=2")


def _estimate(dice: random.Random, model: Path, engine: str) -> list[str]:
    command = ["estimate", str(model), "--gpu", dice.choice(("rtx-4090", "h100-sxm", "cpu"))]
    if dice.random() < 0.3:
        command += ["--task", dice.choice(("generate", "embed", "rerank", "classify"))]
    if dice.random() < 0.4:
        args = _VLLM_ARGS if engine == "vllm" else _LLAMACPP_ARGS
        for arg in dice.sample(args, dice.randrange(1, 3)):
            command += ["--arg", arg]
    return ["inspect", str(model)] if dice.random() < 0.1 else command


def _locked(folder: Path, source: str) -> Path:
    text = json.dumps({"version": 1, "services": {"a": {"model": source}}})
    (folder / "models.yaml").write_text(text, encoding="utf-8")
    return folder


def _hub(dice: random.Random, folder: Path) -> list[str]:
    source = attack_hub(dice, folder)
    if dice.random() < 0.3:
        return [dice.choice(("estimate", "inspect")), source]
    if dice.random() < 0.5:
        (folder / "modelc.lock").write_text('{"version": 1, "sources": []}\n', encoding="utf-8")
    return ["lock", str(_locked(folder, source))]


def _tree(dice: random.Random, folder: Path) -> list[str]:
    return attack_tree(dice, folder, ROOT)


KINDS: dict[str, Writer] = {
    "inventory": _inventory,
    "spec": _spec,
    "lock": _lock,
    "config": _config,
    "documents": _documents,
    "safetensors": _safetensors,
    "gguf": _gguf,
    "gguf-raw": _gguf_raw,
    "ollama": _ollama,
    "hub": _hub,
    "tree": _tree,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A command, and the folder with the files that it meets."""

    command: list[str]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one run ended; `fault` is empty when it ended as it must."""

    code: int
    said: str
    fault: str


class OutOfTimeError(BaseException):
    """No except clause of ours may catch it."""


def attack(kind: str, seed: int, folder: Path) -> Attack:
    """Writes the files of one attack into an empty folder."""
    dice = random.Random(f"{kind}/{seed}")  # noqa: S311 (repeatable)
    return Attack(command=KINDS[kind](dice, folder), folder=folder)


def attempt(met: Attack) -> Outcome:
    """Runs a command in this process.

    No traceback, no bug of ours, no hang, no memory gone, no file lost, no secret and no control
    character on the screen.
    """
    code, fault = 0, ""
    out, err = io.StringIO(), io.StringIO()
    before = resource.getrusage(resource.RUSAGE_SELF)
    standing = _files(met.folder)
    environment = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hostile_hub().port}",
        "HF_HOME": str(met.folder / "hf"),
        "HF_TOKEN": TOKEN,
        "OLLAMA_MODELS": str(met.folder / "store"),
    }
    try:
        with (
            mock.patch.dict(os.environ, environment),
            in_haste(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _in_time(),
        ):
            code = run(met.command)
    except OutOfTimeError as late:
        fault = f"more than {late} s: {traceback.format_exc(limit=-12)}"
    except BaseException:  # noqa: BLE001 (whatever it is, it is the fault)
        fault = traceback.format_exc(limit=-4)
    after = resource.getrusage(resource.RUSAGE_SELF)
    said = err.getvalue()
    grown = (after.ru_maxrss - before.ru_maxrss) << 10
    faults = (
        fault,
        said[-600:] if "internal]" in said or "This is a bug" in said else "",
        f"{grown >> 20} MiB of memory" if grown > MEMORY_BYTES else "",
        f"exit code {code}" if code not in {0, 1, 64} else "",
        f"exit code {code} without a word" if code and not said.strip() else "",
        _seen(out.getvalue() + said),
        _lost(standing, _files(met.folder), failed=code != 0),
    )
    return Outcome(code=code, said=said, fault=next(filter(None, faults), ""))


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Raises OutOfTimeError in the block when it takes too much of the CPU, or of the day."""
    clocks = (
        (signal.SIGPROF, signal.ITIMER_PROF, CPU_SECONDS),
        (signal.SIGALRM, signal.ITIMER_REAL, WALL_SECONDS),
    )
    previous = []
    for sign, clock, seconds in clocks:
        previous.append(signal.signal(sign, _stop))
        signal.setitimer(clock, seconds)
    try:
        yield
    finally:
        for (sign, clock, _), handler in zip(clocks, previous, strict=True):
            signal.setitimer(clock, 0)
            signal.signal(sign, handler)


def _stop(sign: int, _frame: FrameType | None) -> None:
    raise OutOfTimeError(CPU_SECONDS if sign == signal.SIGPROF else WALL_SECONDS)


def _seen(text: str) -> str:
    """What must not be shown: the token, or a character that moves the cursor or turns the line."""
    if TOKEN in text:
        return "the token is shown"
    found = next((sign for sign in text if not sign.isprintable() and sign != "\n"), None)
    return f"{found!r} is shown: {text[max(0, text.index(found) - 80) :][:160]!r}" if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """What stands in a folder."""

    digests: dict[str, str]
    """By path; "" for what is no file."""
    listed: str
    """The manifests in it, one after another."""


def _files(folder: Path) -> _Files:
    digests, listed = {}, ""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            is_file = path.is_file() and not path.is_symlink()
            # Weights are holes of many gigabytes, and nobody's to write.
            is_file = is_file and path.stat().st_size <= _MAX_COMPARED_BYTES
            raw = path.read_bytes() if is_file else b""
            digests[str(path)] = hashlib.sha256(raw).hexdigest() if is_file else ""
            listed += raw.decode("utf-8", "replace") if name == "MANIFEST" else ""
    return _Files(digests=digests, listed=listed)


def _lost(before: _Files, after: _Files, *, failed: bool) -> str:
    """A file that a run changed or took though it failed, or that was not modelc's to take."""
    for path, digest in before.digests.items():
        if after.digests.get(path) == digest:
            continue
        if failed:
            return f"it fails, and {path!r} is not as it was"
        is_ours = digest in before.listed if digest else False
        if path.endswith(("/modelc.lock", "/MANIFEST")) or is_ours:
            continue
        if not digest or digest not in after.digests.values():
            return f"{path!r} is lost"
    return ""
