"""Hostile inputs of every file that modelc reads, each from a seed, and what a run made of one.

`attack(kind, seed, folder)` writes the files of one attack and gives the command that meets them;
`attempt` runs it in this process and says what is wrong with how it ended, if anything is.
"""

from __future__ import annotations

import contextlib
import copy
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

from compiler.cli import run
from tests.generators.gguf_draft import Draft
from tests.generators.gguf_shapes import SHAPES, draft, write_draft
from tests.generators.hf_configs import CONFIGS
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
MEMORY_BYTES = 1 << 30
"""What no input may add to the memory of the process."""

_FLEETS = ("homelab", "mixed", "rag")
_NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 63, 64, 127, 255, 4095, 4097, 65535, 65536, 10**6),
    *(2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30),
    *(0.0, 0.5, -0.5, 1.5, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")),
)
_TEXTS: tuple[Any, ...] = (
    *("", " ", "a", "A", "none", "null", "true", "-", "--help", "..", "../..", "/", "//", "."),
    *("/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/mem", "file:///etc/passwd", "~", "~x"),
    *("64GB", "64", "64 GiB", "16k", "1e3", "0x10", "10%", "1:30", "12:30:45", "\ud800", "\x00"),
    *("\u202e", "\x1b[31m", "'", '"', "$(id)", "`id`", "{name}", "{0}", "%s", "*", "[", "a[0-9]"),
    *("h[01-99999999]", "h[2-1]", "h[a-b]", "x" * 70_000, "é" * 300, "a\nb", "a\tb", "re:(a+)+$"),
    *("re:(", "re:.*.*.*.*.*.*b", "re:(.|a)*x", "model.layers.*.*.*.*.*.*", "?" * 60, "gemma3"),
    *("127.0.0.1", "::1", "[::1]:80", "256.256.256.256", "http://x", "GPU-", "MIG-a/b/c", "bert"),
    *("org/repo:Q4", "org/repo@x:y:z", "a/b/c", "./x.gguf", "qwen3:8b", "hf.co/a/b", "safetensors"),
)


def hostile_value(dice: random.Random) -> Any:  # noqa: ANN401 (any value)
    """Something that no author of a file would write there."""
    match dice.randrange(8):
        case 0 | 1 | 2:
            return dice.choice(_NUMBERS)
        case 3 | 4:
            return dice.choice(_TEXTS)
        case 5:
            return dice.choice([None, True, False, [], {}, [[]], {"": {}}])
        case 6:
            return [dice.choice(_NUMBERS + _TEXTS) for _ in range(dice.randrange(5))]
        case _:
            return {dice.choice(_TEXTS): dice.choice(_NUMBERS) for _ in range(dice.randrange(3))}


def mutated_tree(dice: random.Random, tree: Any, value: Callable[[random.Random], Any]) -> Any:  # noqa: ANN401
    """A copy with one to three places changed, taken out, renamed or doubled."""
    tree = copy.deepcopy(tree)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        places = list(_places(tree))
        if not places:
            break
        holder, key = dice.choice(places)
        match dice.randrange(6):
            case 0 if isinstance(holder, dict):
                holder[str(dice.choice(_TEXTS))] = holder.pop(key)
            case 1:
                del holder[key]
            case 2:
                other, name = dice.choice(places)
                with contextlib.suppress(KeyError, IndexError):
                    holder[key] = copy.deepcopy(other[name])
            case 3 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = dice.choice((holder[key] + 1, holder[key] * 2, -holder[key]))
            case _:
                holder[key] = value(dice)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    if isinstance(tree, dict):
        for key, inner in tree.items():
            yield tree, key
            yield from _places(inner)
    if isinstance(tree, list):
        for index, inner in enumerate(tree[:50]):
            yield tree, index
            yield from _places(inner)


def mutated_text(dice: random.Random, text: str) -> str:
    """A text with some of its lines or characters taken out, doubled, moved or replaced."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        lines = text.split("\n")
        at = dice.randrange(len(lines))
        where = dice.randrange(len(text) + 1)
        match dice.randrange(8):
            case 0:
                lines.insert(dice.randrange(len(lines) + 1), lines[at])
                text = "\n".join(lines)
            case 1:
                del lines[at]
                text = "\n".join(lines)
            case 2:
                lines[at] = " " * dice.randrange(6) + lines[at]
                text = "\n".join(lines)
            case 3:
                text = text[:where] + text[where + dice.randrange(20) :]
            case 4:
                text = text[:where] + str(dice.choice(_TEXTS + _NUMBERS)) + text[where:]
            case 5:
                marks = dice.choice(
                    ("{", "}", "[", "]", ":", "- ", "&a ", "*a", "!!x ", "|", "?", "#")
                )
                text = text[:where] + marks * dice.choice((1, 1, 40)) + text[where:]
            case 6:
                lines.insert(
                    at, dice.choice(("<<<<<<< HEAD", "=======", ">>>>>>> x", "---", "%YAML"))
                )
                text = "\n".join(lines)
            case _:
                key, colon, _ = lines[at].partition(":")
                written = (
                    json.dumps(hostile_value(dice))
                    if dice.random() < 0.5
                    else str(hostile_value(dice))
                )
                lines[at] = f"{key}{colon} {written}"
                text = "\n".join(lines)
    return text


def mutated_bytes(dice: random.Random, raw: bytes) -> bytes:
    """Bytes with some of them changed, taken out, doubled or cut."""
    found = bytearray(raw)
    for _ in range(dice.choice((1, 1, 2, 4))):
        if not found:
            break
        at = dice.randrange(len(found))
        match dice.randrange(5):
            case 0:
                found[at] = dice.randrange(256)
            case 1:
                found[at : at + 8] = dice.choice((0, 1, 2**31, 2**63, 2**64 - 1)).to_bytes(
                    8, "little"
                )
            case 2:
                del found[at : at + dice.randrange(1, 40)]
            case 3:
                found[at:at] = found[at : at + dice.randrange(1, 200)]
            case _:
                del found[at:]
    return bytes(found)


# Attacks: each writes its files and gives the command.

Attack = Callable[[random.Random, Path], list[str]]


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
        entries["__metadata__"] = {"format": str(dice.choice(_TEXTS)), "x": "y"}
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
    os.environ["OLLAMA_MODELS"] = str(folder / "store")
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


KINDS: dict[str, Attack] = {
    "inventory": _inventory,
    "spec": _spec,
    "lock": _lock,
    "config": _config,
    "documents": _documents,
    "safetensors": _safetensors,
    "gguf": _gguf,
    "gguf-raw": _gguf_raw,
    "ollama": _ollama,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one run ended; `fault` is empty when it ended as it must."""

    code: int
    said: str
    fault: str


class OutOfTimeError(BaseException):
    """No except clause of ours may catch it."""


def attack(kind: str, seed: int, folder: Path) -> list[str]:
    """Writes the files of one attack into an empty folder, and gives the command that meets it."""
    return KINDS[kind](random.Random(f"{kind}/{seed}"), folder)  # noqa: S311 (repeatable)


def attempt(command: list[str]) -> Outcome:
    """Runs a command in this process: no traceback, no bug of ours, no hang, no memory gone."""
    code, fault = 0, ""
    out, err = io.StringIO(), io.StringIO()
    before = resource.getrusage(resource.RUSAGE_SELF)
    previous = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(command)
    except OutOfTimeError:
        fault = f"more than {CPU_SECONDS:g} s: {traceback.format_exc(limit=-3)}"
    except BaseException:  # noqa: BLE001 (whatever it is, it is the fault)
        fault = traceback.format_exc(limit=-4)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    after = resource.getrusage(resource.RUSAGE_SELF)
    said = err.getvalue()
    if "internal]" in said or "This is a bug" in said:
        fault = fault or said[-600:]
    grown = (after.ru_maxrss - before.ru_maxrss) << 10
    if grown > MEMORY_BYTES:
        fault = fault or f"{grown >> 20} MiB of memory"
    if not fault and code not in {0, 1, 64}:
        fault = f"exit code {code}"
    if not fault and code and not said.strip():
        fault = f"exit code {code} without a word"
    return Outcome(code=code, said=said, fault=fault)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise OutOfTimeError
