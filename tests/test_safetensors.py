"""safetensors headers: what is read of them and what is refused."""

from __future__ import annotations

import hashlib
import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.ir.facts import ModelFacts, Tensor, TensorGroup
from compiler.resolve.groups import group_tensors
from compiler.resolve.ranges import DamagedFileError, LocalFile
from compiler.resolve.safetensors import SafetensorsHeader, read_safetensors
from tests.generators.models import safetensors_header, write_safetensors


def read(path: Path) -> SafetensorsHeader:
    return read_safetensors(LocalFile(path, path.name))


def damaged(folder: Path, raw: bytes, words: str) -> None:
    """The bytes are refused with these words."""
    path = folder / "damaged.safetensors"
    path.write_bytes(raw)
    with pytest.raises(DamagedFileError, match=words):
        read(path)


def framed(document: Any) -> bytes:  # noqa: ANN401 (any JSON value)
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return struct.pack("<Q", len(body)) + body


def entry(dtype: object, shape: object, offsets: object) -> bytes:
    return framed({"t": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}) + bytes(64)


def test_tensors_in_the_order_of_their_data(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", [("b", "BF16", [2, 3]), ("a", "F32", [4])])
    assert list(read(path).tensors) == [
        Tensor(name="b", dtype="BF16", shape=[2, 3], bytes=12),
        Tensor(name="a", dtype="F32", shape=[4], bytes=16),
    ]


def test_the_digest_is_of_the_header(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", [("a", "F32", [4])])
    header, _ = safetensors_header([("a", "F32", [4])])
    assert read(path).sha256 == hashlib.sha256(header).hexdigest()


def test_a_header_larger_than_a_window(tmp_path: Path) -> None:
    tensors = [(f"model.layers.{layer}.weight", "BF16", [1]) for layer in range(20_000)]
    path = write_safetensors(tmp_path / "m.safetensors", tensors)
    found = read(path).tensors
    assert len(found) == 20_000
    assert [group.index for group in group_tensors(found)] == [["0-19999"]]


def test_types_of_less_than_a_byte(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(entry("F4", [32], [0, 16]))
    assert read(path).tensors[0].bytes == 16


def test_an_empty_file_of_tensors(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", [])
    assert read(path).tensors == ()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "too short"),
        (struct.pack("<Q", 1 << 62), "claims a header of 4611686018427387904 bytes"),
        (struct.pack("<Q", 100) + b"{}", "claims a header of 100 bytes"),
        (framed(b"{nonsense"), "not valid JSON"),
        (framed(b"[" * 100_000), "no JSON object"),
        (framed([]), "no JSON object"),
        (framed({"t": 3}), "in no known way"),
        (framed(b'{"t":' + b"[" * 100_000), "`t` in no known way"),
        (framed({"__metadata__": [[]]}), "`__metadata__` in no known way"),
        (framed(b'{"a":"b"}{'), "in no known way"),
        (framed(b'{"__metadata__":{}} x'), "goes on after its end"),
        (framed(b'{"t":{"dtype":}}'), "not valid JSON"),
        (entry("F32", [4], [0]), "in no known way"),
        (entry("F32", [-4], [0, -16]), "in no known way"),
        (entry("F32", [True], [0, 4]), "in no known way"),
        (entry("X9", [4], [0, 16]), "stored? `t` as `X9`|stores `t` as `X9`"),
        (entry("F32", [4], [0, 12]), "12 bytes, which its shape does not take"),
        (entry("F32", [4], [8, 24]), "a hole or an overlap in its data at byte 0"),
        (entry("F32", [400], [0, 1600]), "1536 bytes shorter than its tensors"),
    ],
)
def test_damage(tmp_path: Path, raw: bytes, words: str) -> None:
    damaged(tmp_path, raw, words)


def test_tensors_over_each_other(tmp_path: Path) -> None:
    same = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    damaged(tmp_path, framed({"a": same, "b": same}) + bytes(64), "hole or an overlap")


# Groups


def names(*tensors: tuple[str, str]) -> list[tuple[str, list[str], str]]:
    """Groups of tensors given by name and type."""
    made = [Tensor(name=name, dtype=dtype, shape=[1], bytes=1) for name, dtype in tensors]
    groups = group_tensors(made)
    assert sorted((t.name, t.dtype) for t in _expand(groups)) == sorted(tensors)
    return [(group.name, group.index, group.dtype) for group in groups]


def _expand(groups: list[TensorGroup]) -> list[Tensor]:
    facts = ModelFacts(
        format="safetensors",
        architecture="X",
        task="generate",
        parameters=0,
        layers=0,
        vocabulary=0,
        position_limit=0,
        quantization="bf16",
        header={},
        tensors=groups,
    )
    return list(facts.expand())


def test_experts_of_all_layers_are_one_group() -> None:
    tensors = [
        (f"model.layers.{layer}.mlp.experts.{expert}.up_proj.weight", "BF16")
        for layer in range(3)
        for expert in range(4)
    ]
    assert names(*tensors) == [
        ("model.layers.*.mlp.experts.*.up_proj.weight", ["0-2", "0-3"], "BF16")
    ]


def test_layers_with_other_experts_are_groups_of_their_own() -> None:
    tensors = [("l.0.e.0.w", "BF16"), ("l.0.e.1.w", "BF16"), ("l.1.e.1.w", "BF16")]
    assert names(*tensors) == [
        ("l.*.e.*.w", ["0", "0-1"], "BF16"),
        ("l.*.e.*.w", ["1", "1"], "BF16"),
    ]


def test_types_that_differ_split_a_group() -> None:
    tensors = [("l.0.w", "BF16"), ("l.1.w", "F8_E4M3"), ("l.2.w", "BF16")]
    assert names(*tensors) == [("l.*.w", ["0,2"], "BF16"), ("l.*.w", ["1"], "F8_E4M3")]


def test_numbers_that_are_parts_of_words_stay() -> None:
    assert names(("conv1d.w2.7", "F32")) == [("conv1d.w2.*", ["7"], "F32")]


def test_names_that_could_not_be_put_together_stay_whole() -> None:
    assert names(("a.007.b", "F32"), ("a.7.b", "F32")) == [
        ("a.007.b", [], "F32"),
        ("a.*.b", ["7"], "F32"),
    ]


def test_a_star_in_a_name(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", [("a.*.b", "F32", [4])])
    damaged(tmp_path, path.read_bytes(), "a name that no model has")


words = st.sampled_from(["a", "b", "blk", "0", "1", "2", "3", "10", "007", "x1", ""])


@given(
    st.dictionaries(
        st.lists(words, min_size=1, max_size=5).map(".".join),
        st.sampled_from([("BF16", 1), ("BF16", 2), ("F32", 1)]),
        max_size=40,
    )
)
def test_groups_expand_to_the_same_tensors(kinds: dict[str, tuple[str, int]]) -> None:
    """Law: grouping loses nothing, invents nothing, and names no tensor twice."""
    tensors = [
        Tensor(name=name, dtype=dtype, shape=[size], bytes=size)
        for name, (dtype, size) in kinds.items()
    ]
    expanded = _expand(group_tensors(tensors))
    assert sorted(t.name for t in expanded) == sorted(kinds)
    assert {t.name: (t.dtype, t.shape[0]) for t in expanded} == kinds


def described(names: list[str]) -> bytes:
    """A header with a scalar of each name, one behind the other."""
    entries = [
        f'"{name}": {{"dtype": "U8", "shape": [], "data_offsets": [{place}, {place + 1}]}}'
        for place, name in enumerate(names)
    ]
    return framed(("{" + ", ".join(entries) + "}").encode()) + bytes(len(names))


def test_metadata_and_escapes_in_names(tmp_path: Path) -> None:
    """Braces and quotes inside texts end nothing."""
    path = tmp_path / "model.safetensors"
    inner = {"format": "pt", "note": 'a } " { \\ , end'}
    tensor = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
    path.write_bytes(framed({"__metadata__": inner, 'a"b': tensor}) + b"\0\0")
    assert [each.name for each in read(path).tensors] == ['a"b']


@pytest.mark.parametrize(
    ("names", "words"),
    [(["t", "t"], "two tensors of the same name"), ([r"\ud800"], "a name that no model has")],
)
def test_names_that_no_model_has(tmp_path: Path, names: list[str], words: str) -> None:
    damaged(tmp_path, described(names), words)


def test_a_hostile_header_takes_little_memory(tmp_path: Path) -> None:
    """Two bytes of JSON are sixty in memory, if they are ever parsed."""
    raw = framed(b'{"__metadata__":[' + b"[]," * 5_000_000 + b"[]]}")
    tracemalloc.start()
    try:
        damaged(tmp_path, raw, "in no known way")
        assert tracemalloc.get_traced_memory()[1] < 3 * len(raw)
    finally:
        tracemalloc.stop()


def test_too_many_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.resolve.safetensors._MAX_TENSORS", 3)
    damaged(tmp_path, described(["a", "b", "c", "d"]), "more than 3 tensors")
