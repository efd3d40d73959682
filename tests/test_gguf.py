"""GGUF headers: what is read of them, what is refused, and how little it costs."""

from __future__ import annotations

import random
import resource
import struct
import time
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from compiler.ir.facts import ModelFacts
from compiler.ir.ggml_types import FILE_TYPES
from compiler.resolve.ggml import TENSOR_TYPES
from compiler.resolve.gguf import GgufHeader, read_gguf
from compiler.resolve.gguf_facts import FactsMissingError, gguf_facts, split_parts
from compiler.resolve.ranges import DamagedFileError, LocalFile
from tests.generators.models import gguf_bytes, llama_tensors, llama_values, write_gguf


def read(path: Path) -> GgufHeader:
    return read_gguf(LocalFile(path, path.name))


def facts(path: Path) -> ModelFacts:
    return gguf_facts([read(path)])


def tiny(
    folder: Path,
    changes: Mapping[str, object] | None = None,
    tensors: list[tuple[str, str, list[int]]] | None = None,
) -> Path:
    """A small llama with some values changed."""
    specs = llama_tensors() if tensors is None else tensors
    return write_gguf(folder / "tiny.gguf", llama_values(**(changes or {})), specs)


def damaged(folder: Path, raw: bytes, words: str) -> None:
    """The bytes are refused with these words."""
    path = folder / "damaged.gguf"
    path.write_bytes(raw)
    with pytest.raises(DamagedFileError, match=words):
        read(path)


def raw_tiny() -> bytes:
    header, data = gguf_bytes(llama_values(), llama_tensors())
    return header + bytes(data)


# What is read


def test_types_are_those_of_the_gguf_package() -> None:
    gguf = pytest.importorskip("gguf")
    sizes = {
        int(kind): (kind.name.lower(), *gguf.GGML_QUANT_SIZES[kind])
        for kind in gguf.GGMLQuantizationType
        if kind.name != "Q8_1"  # The package says 40 bytes, ggml-common.h's block_q8_1 has 36.
    }
    own = {
        number: (kind.name.lower(), kind.block, kind.bytes) for number, kind in TENSOR_TYPES.items()
    }
    assert {number: own[number] for number in sizes} == sizes


def test_file_types_are_those_of_the_gguf_package() -> None:
    gguf = pytest.importorskip("gguf")
    names = {
        int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")
        for kind in gguf.LlamaFileType
        if kind.name != "GUESSED"
    }
    assert {number: FILE_TYPES[number] for number in names} == names


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_gguf_package_reads_the_same_tensors(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tiny(tmp_path)
    theirs = [
        (tensor.name, tensor.tensor_type.name.lower(), list(tensor.shape), int(tensor.n_bytes))
        for tensor in gguf.GGUFReader(path).tensors
    ]
    assert [(t.name, t.dtype.lower(), t.shape, t.bytes) for t in read(path).tensors] == theirs


def test_header_keeps_the_architecture_and_drops_the_tokenizer(tmp_path: Path) -> None:
    assert facts(tiny(tmp_path)).header == {
        "attention.head_count": 8,
        "attention.head_count_kv": [2, 4],
        "attention.layer_norm_rms_epsilon": 1e-05,
        "block_count": 2,
        "context_length": 4096,
        "embedding_length": 256,
        "general.file_type": 15,
        "general.name": "Tiny",
    }


def test_facts_of_a_small_llama(tmp_path: Path) -> None:
    found = facts(tiny(tmp_path))
    assert (found.format, found.architecture, found.task, found.pooling) == (
        "gguf",
        "llama",
        "generate",
        None,
    )
    assert (found.layers, found.vocabulary, found.position_limit) == (2, 1500, 4096)
    assert found.quantization == "Q4_K_M"
    assert found.parameters == 2 * 256 * 1500 + 256 + 2 * (256 * 64 + 256 + 512 * 256)


def test_blocks_become_groups_that_expand_to_the_file(tmp_path: Path) -> None:
    path = tiny(tmp_path)
    found = facts(path)
    assert [(group.name, group.index, group.dtype) for group in found.tensors] == [
        ("output.weight", [], "q6_K"),
        ("output_norm.weight", [], "f32"),
        ("token_embd.weight", [], "q4_K"),
        ("blk.*.attn_k.weight", ["0-1"], "q4_K"),
        ("blk.*.attn_norm.weight", ["0-1"], "f32"),
        ("blk.*.ffn_down.weight", ["0"], "q6_K"),
        ("blk.*.ffn_down.weight", ["1"], "q4_K"),
    ]
    assert [(t.name, t.dtype, t.shape, t.bytes) for t in found.expand()] == [
        (t.name, t.dtype, t.shape, t.bytes) for t in read(path).tensors
    ]
    assert found.sequential


def test_a_file_with_its_blocks_in_another_order_is_not_sequential(tmp_path: Path) -> None:
    tensors = llama_tensors(12)
    by_name = sorted(tensors, key=lambda tensor: tensor[0])  # blk.10 before blk.2
    found = facts(tiny(tmp_path, tensors=by_name))
    assert not found.sequential
    assert sorted(t.name for t in found.expand()) == sorted(name for name, _, _ in tensors)


def test_layers_that_differ_keep_their_order(tmp_path: Path) -> None:
    """A dense first block and expert blocks after it: the groups agree with both."""
    tensors = [("token_embd.weight", "f16", [64, 100])]
    for block in range(3):
        kinds = ["attn_q", "ffn_up"] if block == 0 else ["attn_q", "ffn_gate_inp", "ffn_up_exps"]
        tensors += [(f"blk.{block}.{kind}.weight", "f16", [64, 64]) for kind in [*kinds, "last"]]
    found = facts(tiny(tmp_path, tensors=tensors))
    assert found.sequential
    assert [tensor.name for tensor in found.expand()] == [name for name, _, _ in tensors]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_versions_and_byte_orders_give_the_same_facts(
    tmp_path: Path, version: int, order: str
) -> None:
    path = tmp_path / "other.gguf"
    write_gguf(path, llama_values(), llama_tensors(), version=version, order=order)
    assert read(path).big_endian == (order == ">")
    assert facts(path) == facts(tiny(tmp_path))


def test_alignment_is_the_file_s(tmp_path: Path) -> None:
    path = tmp_path / "aligned.gguf"
    write_gguf(path, llama_values(**{"general.alignment": 64}), llama_tensors(), alignment=64)
    assert facts(path).alignment == 64
    assert facts(path).sequential


def test_windows_do_not_show(tmp_path: Path) -> None:
    """Strings and arrays that lie over the end of a window are passed like others."""
    tokens = ["x" * (number % 700) for number in range(5000)]
    path = tiny(tmp_path, {"tokenizer.ggml.tokens": tokens})
    assert path.stat().st_size > 1 << 20
    assert facts(path).vocabulary == 5000


def test_vocabulary_without_a_tokenizer(tmp_path: Path) -> None:
    values = {k: v for k, v in llama_values().items() if not k.startswith("tokenizer")}
    path = write_gguf(tmp_path / "a.gguf", values, llama_tensors())
    assert facts(path).vocabulary == 1500
    path = write_gguf(tmp_path / "b.gguf", values | {"llama.vocab_size": 1400}, llama_tensors())
    assert facts(path).vocabulary == 1400


def test_quantization_without_a_file_type_is_the_commonest_type(tmp_path: Path) -> None:
    values = llama_values()
    del values["general.file_type"]
    assert facts(write_gguf(tmp_path / "a.gguf", values, llama_tensors())).quantization == "Q6_K"


def test_a_guessed_file_type_counts(tmp_path: Path) -> None:
    assert facts(tiny(tmp_path, {"general.file_type": 1024 + 16})).quantization == "Q5_K_S"


# Tasks


def task(
    folder: Path, architecture: str, extra: list[str], **changes: object
) -> tuple[str, str | None]:
    """Task and pooling of a file of this architecture with some more tensors."""
    values: dict[str, object] = {
        "general.architecture": architecture,
        f"{architecture}.block_count": 1,
    }
    values |= {f"{architecture}.{key}": value for key, value in changes.items()}
    tensors = [(name, "f32", [64, 64]) for name in ["token_embd.weight", *extra]]
    found = facts(write_gguf(folder / "task.gguf", values, tensors))
    return found.task, found.pooling


def test_a_causal_model_generates(tmp_path: Path) -> None:
    assert task(tmp_path, "qwen3", []) == ("generate", None)


def test_a_causal_model_that_pools_embeds(tmp_path: Path) -> None:
    assert task(tmp_path, "qwen3", [], pooling_type=3) == ("embed", "last")


@pytest.mark.parametrize("architecture", ["bert", "nomic-bert-moe", "jina-bert-v2", "modern-bert"])
def test_an_encoder_embeds(tmp_path: Path, architecture: str) -> None:
    assert task(tmp_path, architecture, []) == ("embed", None)


def test_a_ranking_head_reranks(tmp_path: Path) -> None:
    assert task(tmp_path, "bert", ["cls.weight"]) == ("rerank", None)
    assert task(tmp_path, "qwen3", [], pooling_type=4) == ("rerank", "rank")


def test_yes_and_no_are_one_score(tmp_path: Path) -> None:
    labels: dict[str, object] = {"classifier.output_labels": ["yes", "no"], "pooling_type": 4}
    assert task(tmp_path, "qwen3", ["cls.output.weight"], **labels) == ("rerank", "rank")


def test_a_head_with_several_labels_classifies(tmp_path: Path) -> None:
    labels: dict[str, object] = {
        "classifier.output_labels": ["joy", "fear", "anger"],
        "pooling_type": 4,
    }
    assert task(tmp_path, "bert", ["cls.output.weight"], **labels) == ("classify", "rank")


# What is no model


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"general.architecture": "clip"}, "does not say `vision.block_count`"),
        ({"general.type": "imatrix"}, "`imatrix` and no model"),
        ({"general.architecture": ""}, "names no architecture"),
        ({"llama.block_count": "two"}, "does not say `block_count`"),
        ({"llama.block_count": 0}, "speaks of 0 layers"),
        ({"llama.block_count": 4_000_000_000}, "speaks of 4000000000 layers"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(FactsMissingError, match=words):
        facts(tiny(tmp_path, changes))


@pytest.mark.parametrize(
    ("changes", "role", "layers"),
    [
        ({}, "model", 2),
        ({"general.type": "mmproj", "llama.vision.block_count": 27}, "mmproj", 27),
        ({"general.architecture": "clip", "clip.audio.block_count": 32}, "mmproj", 32),
        (
            {
                "general.architecture": "clip",
                "clip.vision.block_count": 27,
                "clip.audio.block_count": 32,
            },
            "mmproj",
            32,
        ),
        ({"general.type": "adapter"}, "adapter", 0),
        ({"adapter.type": "lora"}, "adapter", 0),
    ],
)
def test_roles_are_told_apart(
    tmp_path: Path, changes: dict[str, object], role: str, layers: int
) -> None:
    found = facts(tiny(tmp_path, changes))
    assert (found.role, found.layers) == (role, layers)


def test_a_vocabulary_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(FactsMissingError, match="no weights"):
        facts(tiny(tmp_path, tensors=[]))


def test_parts_of_a_split_set() -> None:
    assert split_parts("a/m-00002-of-00003.gguf") == [
        "a/m-00001-of-00003.gguf",
        "a/m-00002-of-00003.gguf",
        "a/m-00003-of-00003.gguf",
    ]
    assert split_parts("m-Q4_K_M.gguf") is None


# Damage


def short_arrays(count: int) -> bytes:
    """Arrays that are each short enough to be kept."""
    return b"".join(
        struct.pack("<Q2sIIQ", 2, f"{number:02}".encode(), 9, 0, 1024) + bytes(1024)
        for number in range(count)
    )


def test_not_a_gguf(tmp_path: Path) -> None:
    damaged(tmp_path, b"PK\x03\x04" + bytes(100), "does not start like a GGUF")
    damaged(tmp_path, b"", "ends at byte 0")


def test_version_one_is_refused(tmp_path: Path) -> None:
    damaged(tmp_path, b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1")


def test_a_copy_that_was_cut(tmp_path: Path) -> None:
    raw = raw_tiny()
    damaged(tmp_path, raw[:1000], "ends at byte 1000, inside its header")
    damaged(tmp_path, raw[:-100], "100 bytes shorter than its tensors")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (struct.pack("<QQ", 1 << 40, 0), "claims 1099511627776 tensors"),
        (struct.pack("<QQ", 0, 1 << 40), "1099511627776 values"),
        (struct.pack("<QQ", 1 << 16, 0), "claims 65536 tensors"),
        (struct.pack("<QQ", 0, 1 << 13), "8192 values"),
        (struct.pack("<QQ", 0, 65) + short_arrays(65), "65536 elements in short arrays"),
        (struct.pack("<QQQ", 0, 1, 1 << 60) + b"x", "a key of"),
        (struct.pack("<QQQ1sIQ", 0, 1, 1, b"k", 8, 1 << 60), "inside its header"),
        (struct.pack("<QQQ1sIIQ", 0, 1, 1, b"k", 9, 8, 1 << 60), "strings in `k`"),
        (struct.pack("<QQQ1sIIQ", 0, 1, 1, b"k", 9, 4, 1 << 60), "inside its header"),
        (struct.pack("<QQQ1sIIQ", 0, 1, 1, b"k", 9, 9, 1), "array of arrays"),
        (struct.pack("<QQQ1sI", 0, 1, 1, b"k", 99), "unknown type 99"),
    ],
)
def test_absurd_counts_and_lengths(tmp_path: Path, values: bytes, words: str) -> None:
    damaged(tmp_path, b"GGUF" + struct.pack("<I", 3) + values + bytes(64), words)


def tensor_damage(folder: Path, tensor: bytes, words: str) -> None:
    values, _ = gguf_bytes({"general.architecture": "llama"}, [])
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    damaged(folder, head + values[len(head) :].rstrip(b"\0") + tensor + bytes(4096), words)


@pytest.mark.parametrize(
    ("shape", "kind", "offset", "words"),
    [
        ([1 << 40, 1 << 40], 0, 0, "elements"),
        ([100], 12, 0, r"rows of \[100\] elements of `t` as q4_K"),
        ([256], 0, 8, "not aligned"),
        ([256], 4, 0, "removed"),
        ([256], 77, 0, "tensor type 77"),
        ([1, 1, 1, 1, 1], 0, 0, "5 dimensions"),
        ([1 << 20], 0, 0, "shorter than its tensors"),
    ],
)
def test_impossible_tensors(
    tmp_path: Path, shape: list[int], kind: int, offset: int, words: str
) -> None:
    form = f"<Q1sI{len(shape)}QIQ"
    tensor_damage(tmp_path, struct.pack(form, 1, b"t", len(shape), *shape, kind, offset), words)


def test_tensors_in_one_place(tmp_path: Path) -> None:
    raw = bytearray(raw_tiny())
    second = raw.index(b"output_norm.weight")
    offset = second + len(b"output_norm.weight") + 4 + 8 + 4
    raw[offset : offset + 8] = bytes(8)
    damaged(tmp_path, bytes(raw), "in the same place")


def test_a_name_twice(tmp_path: Path) -> None:
    raw = raw_tiny().replace(b"blk.1.attn_k.weight", b"blk.0.attn_k.weight")
    damaged(tmp_path, raw, "two tensors of the same name")
    raw = raw_tiny().replace(b"general.name", b"general.type")
    damaged(tmp_path, raw, "the key `general.type` twice")


@pytest.mark.parametrize("alignment", [0, 3, 1 << 30])
def test_impossible_alignment(tmp_path: Path, alignment: int) -> None:
    values = llama_values(**{"general.alignment": alignment})
    header, _ = gguf_bytes(values, [])
    damaged(tmp_path, header, "power of two")


class InMemory:
    """A file that is a header and a hole after it."""

    name = "fuzz.gguf"

    def __init__(self, raw: bytes, size_bytes: int) -> None:
        self._raw = raw
        self.size_bytes = size_bytes

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size_bytes - offset))
        return self._raw[offset : offset + length].ljust(length, b"\0")


def mutated(rng: random.Random, header: bytes) -> bytes:
    """Some bytes changed, most of them in the first half; sometimes the end is gone."""
    raw = bytearray(header)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(raw)) if rng.random() < 0.7 else rng.randrange(600)
        raw[place] = rng.choice((0, 1, 8, 9, 127, 128, 255, rng.randrange(256)))
    if rng.random() < 0.1:
        del raw[rng.randrange(len(raw)) :]
    return bytes(raw)


def outcome(file: InMemory) -> str:
    """What reading comes to; anything but facts and the two refusals is a crash."""
    try:
        gguf_facts([read_gguf(file)])
    except DamagedFileError:
        return "damaged"
    except FactsMissingError:
        return "no model"
    return "facts"


def test_mutated_headers_never_crash() -> None:
    """Ten thousand damaged headers: facts or a refusal, in bounded time and memory."""
    rng = random.Random(20260601)  # noqa: S311 (not a secret)
    values = {k: v for k, v in llama_values().items() if not k.startswith("tokenizer")}
    values |= {"tokenizer.ggml.tokens": ["a"] * 1100, "tokenizer.chat_template": "x" * 300}
    header, data = gguf_bytes(values, llama_tensors())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    outcomes = Counter(
        outcome(InMemory(raw, len(raw) + data))
        for raw in (mutated(rng, header) for _ in range(10_000))
    )
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert set(outcomes) == {"facts", "damaged", "no model"}
    assert grown_kib < 200 << 10
    assert time.process_time() - started < 60


def test_a_large_vocabulary_is_passed_over(tmp_path: Path) -> None:
    """A header with 150,000 tokens and merges: little memory, and time for a laptop to spare."""
    path = tiny(
        tmp_path,
        {
            "tokenizer.ggml.tokens": [f"token {number}" for number in range(150_000)],
            "tokenizer.ggml.merges": [f"{number} {number}" for number in range(150_000)],
        },
    )
    read(path)
    started = time.process_time()
    read(path)
    assert time.process_time() - started < 0.5  # 0.03 s alone; the machine may be busy.
    tracemalloc.start()
    read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 << 20
