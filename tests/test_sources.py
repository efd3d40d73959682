"""Local sources to a lock: selection of files, faults, what is kept, and the lock's text."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.diagnostics import CompileError
from compiler.ir.facts import ModelFacts, TensorGroup
from compiler.ir.lock import (
    Lock,
    LockedFile,
    LockedSource,
    LockVersionError,
    lock_text,
    partial_lock_text,
    read_lock_text,
    with_partial_lock,
)
from compiler.ir.source import SourceName, is_local, parse_source
from compiler.ir.textfile import TextFile
from compiler.resolve.selection import quantizations, select
from compiler.resolve.sources import changed_sources, lock_sources, resolve_source
from compiler.resolve.tree import SourceMissingError
from tests.generators.models import (
    llama_tensors,
    llama_values,
    qwen3_config,
    qwen3_tensors,
    safetensors_header,
    write_folder,
    write_gguf,
    write_safetensors,
)
from tests.generators.published import locked, sources
from tests.generators.write_locks import ROOT, example_lock_text


def hf_folder(folder: Path, **documents: Any) -> Path:  # noqa: ANN401 (any JSON value)
    """A tiny Qwen3 with weights and a tokenizer."""
    write_safetensors(folder / "model.safetensors", qwen3_tensors())
    return write_folder(
        folder, {"config.json": qwen3_config(), "tokenizer.json": {"v": 1}, **documents}
    )


def gguf(path: Path) -> Path:
    return write_gguf(path, llama_values(), llama_tensors())


def fault(source: str, root: Path, code: str, words: str) -> tuple[str, ...]:
    """The source is refused with this code and these words; its hints."""
    with pytest.raises(CompileError) as caught:
        resolve_source(source, root)
    (found,) = caught.value.diagnostics
    assert (found.code, words in found.detail) == (code, True), found.detail
    assert found.detail.startswith(f"`{source[:80]}")
    return found.hints


# Names


@pytest.mark.parametrize(
    "path", ["./x.gguf", "../x", "/abs/x.gguf", "~/x", "./folder", "x.gguf", "models/x.GGUF", "."]
)
def test_paths(path: str) -> None:
    assert is_local(path)
    assert parse_source(path) == SourceName(path=path)


@pytest.mark.parametrize(
    ("source", "repository", "revision", "selector"),
    [
        ("Qwen/Qwen3-32B", "Qwen/Qwen3-32B", None, None),
        ("Qwen/Qwen3-32B@main", "Qwen/Qwen3-32B", "main", None),
        ("Qwen/Qwen3-32B@refs/pr/1:x", "Qwen/Qwen3-32B", "refs/pr/1", "x"),
        ("a/b:Q4_K_M", "a/b", None, "Q4_K_M"),
        ("a/b:sub/*Q4*.gguf", "a/b", None, "sub/*Q4*.gguf"),
        ("a/b.c:x.gguf", "a/b.c", None, "x.gguf"),
        ("hf.co/a/b:Q8_0", "a/b", None, "Q8_0"),
        ("https://huggingface.co/a/b/", "a/b", None, None),
        ("hf://a/b@v1", "a/b", "v1", None),
    ],
)
def test_repositories(
    source: str, repository: str, revision: str | None, selector: str | None
) -> None:
    assert not is_local(source)
    assert parse_source(source) == SourceName(
        repository=repository, revision=revision, selector=selector
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "one line"),
        ("a\nb", "one line"),
        ("x" * 2000, "one line"),
        ("qwen3:8b:x", "write `org/repo` for the hub"),
        ("gpt 2", "`./path` for a local path"),
        ("a/b/c.safetensors", "is written `a/b:c.safetensors`"),
        ("a/b:../../etc/passwd", "outside its repository"),
        ("a/b@../c", "neither"),
        ("-a/b", "neither"),
        ("a/b:x:y", "neither"),
        ("a b/c", "neither"),
    ],
)
def test_sources_that_are_not_understood(source: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("`", ".")):
        parse_source(source)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("https://huggingface.co/org/repo/tree/main", "org/repo"),
        ("http://huggingface.co/org/repo", "org/repo"),
        ("https://www.huggingface.co/org/repo/", "org/repo"),
        ("HTTPS://HuggingFace.co/org/repo", "org/repo"),
        ("https://huggingface.co/org/repo/tree/v1.0", "org/repo@v1.0"),
        ("https://huggingface.co/org/repo/commit/0ff1ce", "org/repo@0ff1ce"),
        ("https://huggingface.co/org/repo/tree/refs%2Fpr%2F1", "org/repo@refs/pr/1"),
        ("https://huggingface.co/org/repo/blob/main/x.gguf", "org/repo:x.gguf"),
        ("https://hf.co/org/repo/resolve/v1/a/x.gguf?download=true", "org/repo@v1:a/x.gguf"),
        ("https://huggingface.co/org/repo?show_file_info=a%2Fx.gguf", "org/repo:a/x.gguf"),
        ("https://huggingface.co/org/repo/tree/main/Q4_K_M", "org/repo:Q4_K_M/*.gguf"),
        ("https://huggingface.co/org/repo/blob/main/config.json", "org/repo"),
        ("https://huggingface.co/org/repo/discussions/3#abc", "org/repo"),
        ("hf.co/org/repo/x.gguf", "org/repo:x.gguf"),
        ("hf://org/repo/a/x.gguf", "org/repo:a/x.gguf"),
        ("org/repo/", "org/repo"),
        ("https://ollama.com/library/qwen3:8b", "qwen3:8b"),
        ("https://ollama.com/someone/mine", "registry.ollama.ai/someone/mine"),
        ("file:///srv/a%20b.gguf", "/srv/a b.gguf"),
    ],
)
def test_an_address_is_told_as_a_source(address: str, source: str) -> None:
    """People paste what stands in their browser; the answer says exactly what to write."""
    with pytest.raises(ValueError, match=re.escape(f"; write `{source}`") + "$"):
        parse_source(address)
    assert parse_source(source).path != address


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://mirror.example/org/repo", "set HF_ENDPOINT=https://mirror.example and write"),
        ("http://mirror:8080/a/b/tree/v1", "HF_ENDPOINT=http://mirror:8080 and write `a/b@v1`"),
        ("https://huggingface.co/datasets/org/data", "write `org/repo` for the hub"),
        ("https://huggingface.co/gpt2", "write `org/repo` for the hub"),
        ("https://huggingface.co/org/a b", "write `org/repo` for the hub"),
        ("file://file://file://", "write `org/repo` for the hub"),
        ("s3://bucket/model", "write `org/repo` for the hub"),
    ],
)
def test_an_address_that_names_no_source(address: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_source(address)


@pytest.mark.parametrize(
    ("source", "namespace", "model", "tag"),
    [
        ("qwen3:8b", "library", "qwen3", "8b"),
        ("gpt2", "library", "gpt2", "latest"),
        ("qwen2.5-coder:7b-instruct-q4_K_M", "library", "qwen2.5-coder", "7b-instruct-q4_K_M"),
        ("registry.ollama.ai/someone/mine:v1", "someone", "mine", "v1"),
    ],
)
def test_names_of_ollama(source: str, namespace: str, model: str, tag: str) -> None:
    assert is_local(source)
    found = parse_source(source).ollama
    assert found is not None
    assert (found.namespace, found.model, found.tag) == (namespace, model, tag)


@given(st.text(max_size=60))
def test_any_text_is_a_source_or_refused(text: str) -> None:
    try:
        name = parse_source(text)
    except ValueError:
        return
    assert [name.path, name.repository, name.ollama].count(None) == 2


# Selection


GGUFS = [
    "README.md",
    "mmproj-F16.gguf",
    "imatrix_unsloth.gguf",
    "M-BF16.gguf",
    "M-IQ4_XS.gguf",
    "M-Q4_K_M.gguf",
    "M-UD-Q4_K_XL.gguf",
    "M-UD-Q4_K_M.gguf",
    "Q8_0/M-Q8_0-00001-of-00002.gguf",
    "Q8_0/M-Q8_0-00002-of-00002.gguf",
]


@pytest.mark.parametrize(
    ("selector", "files"),
    [
        ("Q4_K_M", ("M-Q4_K_M.gguf",)),
        ("q4_k_m", ("M-Q4_K_M.gguf",)),
        ("UD-Q4_K_M", ("M-UD-Q4_K_M.gguf",)),
        ("Q4_K_XL", ("M-UD-Q4_K_XL.gguf",)),
        ("BF16", ("M-BF16.gguf",)),
        ("Q8_0", ("Q8_0/M-Q8_0-00001-of-00002.gguf", "Q8_0/M-Q8_0-00002-of-00002.gguf")),
        ("M-IQ4_XS.gguf", ("M-IQ4_XS.gguf",)),
        ("*IQ4*", ("M-IQ4_XS.gguf",)),
        ("M-Q8_0-00002-of-00002.gguf", ("Q8_0/M-Q8_0-00001-of-00002.gguf", GGUFS[-1])),
    ],
)
def test_selectors(selector: str, files: tuple[str, ...]) -> None:
    assert select(GGUFS, selector, None).gguf == files


@pytest.mark.parametrize(
    ("files", "selector", "words"),
    [
        (GGUFS, "Q5_K_M", "no `Q5_K_M`; there is: BF16, IQ4_XS, Q4_K_M, Q8_0, UD-Q4_K_M"),
        (GGUFS, "XS", "no `XS`"),
        (GGUFS, "M-UD*", "2 models"),
        (GGUFS, None, "6 models"),
        (GGUFS, "latest", "6 models"),
        (GGUFS[:-1], "Q8_0", "1 of 2 parts are missing: `Q8_0/M-Q8_0-00002"),
        (["model.safetensors", "config.json"], "Q4_K_M", "holds no GGUF file"),
        (["M-Q2_K_L.gguf", "M-Q4_K_M.gguf"], "Q2_K", "no `Q2_K`; there is: Q2_K_L, Q4_K_M"),
        (["M-Q4_K_P.gguf"], "Q4_K", "no `Q4_K`; there is: Q4_K_P"),
        (["M-IQ4_XS.gguf"], "IQ4", "no `IQ4`; there is: IQ4_XS"),
        (["M-Q4_K_XL.gguf"], "UD-Q4_K_XL", "no `UD-Q4_K_XL`; there is: Q4_K_XL"),
        (["M-BF16.gguf", "mmproj-F16.gguf"], "F16", "no `F16`; there is: BF16"),
        (["a/M-Q8_0.gguf", "b/M-Q8_0.gguf"], "Q8_0", "2 models: `a/M-Q8_0.gguf`, `b/"),
        (["M-Q8_0.gguf"], "x.gguf", "no file `x.gguf`; there is: `M-Q8_0.gguf`"),
        (["README.md"], None, "neither a config.json nor a GGUF"),
    ],
)
def test_empty_and_ambiguous_choices(files: list[str], selector: str | None, words: str) -> None:
    with pytest.raises(SourceMissingError) as caught:
        select(files, selector, None)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("files", "selector", "file"),
    [
        (["M-Q6_K.gguf", "M-Q6_K_L.gguf"], "Q6_K", "M-Q6_K.gguf"),
        (["M-Q6_K.gguf", "M-Q6_K_L.gguf"], "Q6_K_L", "M-Q6_K_L.gguf"),
        (["m_q4_k_m_v2.gguf", "m_q8_0_v2.gguf"], "Q4_K_M", "m_q4_k_m_v2.gguf"),
        (["M.i1-Q4_K_M.gguf", "M.imatrix.gguf"], "Q4_K_M", "M.i1-Q4_K_M.gguf"),
        (["M-imatrix-Q4_K_M.gguf", "M-Q8_0.gguf"], "Q4_K_M", "M-imatrix-Q4_K_M.gguf"),
        (["M-imatrix-Q4_K_M.gguf", "M-Q4_K_M.gguf"], "Q4_K_M", "M-Q4_K_M.gguf"),
        (["q4_k_m/model.gguf", "q8_0/model.gguf"], "Q4_K_M", "q4_k_m/model.gguf"),
        (["M-MXFP4.gguf"], "MXFP4_MOE", "M-MXFP4.gguf"),
        (["M-Q4_0.gguf", "M-Q4_0_4_8.gguf"], "q4_0", "M-Q4_0.gguf"),
        (["M-F16.gguf", "M-BF16.gguf", "mmproj-F16.gguf"], "F16", "M-F16.gguf"),
        (["M-Q8_0.gguf", "mmproj-M-Q8_0.gguf"], "*Q8_0*", "M-Q8_0.gguf"),
        (["M-Q8_0.gguf", "mmproj-F16.gguf"], "mmproj-F16", "mmproj-F16.gguf"),
        (["M-Q8_0.gguf", "old/M-Q8_0.gguf"], "M-Q8_0.gguf", "M-Q8_0.gguf"),
        (["M[1]-Q8_0.gguf", "M1-Q8_0.gguf"], "M[1]-Q8_0.gguf", "M[1]-Q8_0.gguf"),
        (["M-APEX.gguf", "M-Q8_0.gguf"], "apex", "M-APEX.gguf"),
        (["M-q4.gguf", "M-fp16.gguf"], "Q4", "M-q4.gguf"),
        (["M-Q4_K_M.gguf", "M-Q4.gguf"], "q4", "M-Q4.gguf"),
        (["M-IQ4_K_R4.gguf", "M-IQ4_K.gguf"], "IQ4_K", "M-IQ4_K.gguf"),
    ],
)
def test_neighbours_of_a_quantization(files: list[str], selector: str, file: str) -> None:
    assert select(files, selector, None).gguf == (file,)


def test_a_file_in_another_spelling() -> None:
    with pytest.raises(SourceMissingError) as caught:
        select(["M-Q8_0.gguf", "N-Q4_K_M.gguf"], "m-q8_0.gguf", None)
    assert caught.value.hints == ("did you mean `M-Q8_0.gguf`?",)


def test_spellings_of_16_bit() -> None:
    assert select(["m-FP16.gguf"], "F16", None).gguf == ("m-FP16.gguf",)
    assert select(["m-f16.gguf"], "FP16", None).gguf == ("m-f16.gguf",)


def test_quantizations_in_file_names() -> None:
    names = ["M-Q4_K_M.gguf", "m.q8_0.gguf", "M-IQ2_XXS-00001-of-00002.gguf", "gpt-oss-mxfp4.gguf"]
    assert quantizations(names) == ["IQ2_XXS", "MXFP4", "Q4_K_M", "Q8_0"]


@pytest.mark.parametrize(
    ("files", "weights"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (
            ["config.json", "consolidated.safetensors", "model.safetensors"],
            ["model.safetensors"],
        ),
        (["config.json", "pytorch_model.bin", "training_args.bin"], ["pytorch_model.bin"]),
        (["config.json", "openvino_model.bin", "pytorch_model.bin"], ["pytorch_model.bin"]),
        (["config.json", "model.fp16.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["config.json", "adapter_model.safetensors", "onnx/m.safetensors"], []),
        (["config.json", "model.safetensors", "model-Q8_0.gguf"], ["model.safetensors"]),
    ],
)
def test_each_weight_counts_once(files: list[str], weights: list[str]) -> None:
    assert list(select(files, None, None).weights) == weights


def test_mistral_without_a_config() -> None:
    own = ["params.json", "consolidated.safetensors", "tekken.json"]
    found = select(own, None, None)
    assert (found.weights, found.documents) == (
        ("consolidated.safetensors",),
        ("params.json", "tekken.json"),
    )
    both = select([*own, "config.json", "model.safetensors"], None, None)
    assert both.weights == ("model.safetensors",)
    with pytest.raises(SourceMissingError, match=r"neither a config\.json"):
        select(["params.json", "consolidated.00.pth"], None, None)


def test_gguf_beside_a_config() -> None:
    assert select(["config.json", "m.gguf"], None, None).gguf == ("m.gguf",)


# Local sources


def test_a_gguf_file(tmp_path: Path) -> None:
    size = gguf(tmp_path / "models" / "tiny.gguf").stat().st_size
    found = resolve_source("./models/tiny.gguf", tmp_path)
    assert (found.source, found.repository, found.revision) == ("./models/tiny.gguf", None, None)
    (file,) = found.files
    assert (file.name, file.bytes, file.sha256) == ("tiny.gguf", size, None)
    assert file.header_sha256 is not None
    assert found.facts.architecture == "llama"


def test_a_gguf_file_without_its_suffix(tmp_path: Path) -> None:
    """Ollama keeps models as blobs."""
    gguf(tmp_path / "x.gguf").rename(tmp_path / "sha256-abc")
    assert resolve_source("./sha256-abc", tmp_path).facts.architecture == "llama"


def test_a_split_set_from_any_of_its_parts(tmp_path: Path) -> None:
    tensors = llama_tensors()
    write_gguf(tmp_path / "m-00001-of-00002.gguf", llama_values(), tensors[:3])
    write_gguf(tmp_path / "m-00002-of-00002.gguf", {"split.no": 1}, tensors[3:])
    for part in ("1", "2"):
        found = resolve_source(f"./m-0000{part}-of-00002.gguf", tmp_path)
        assert [file.name for file in found.files] == [
            "m-00001-of-00002.gguf",
            "m-00002-of-00002.gguf",
        ]
        assert sorted(t.name for t in found.facts.expand()) == sorted(t[0] for t in tensors)
        assert not found.facts.sequential


def test_a_hugging_face_folder(tmp_path: Path) -> None:
    hf_folder(tmp_path / "m", **{"README.md": "x", "generation_config.json": {"top_k": 20}})
    found = resolve_source("./m", tmp_path)
    assert [file.name for file in found.files] == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert found.facts.format == "safetensors"
    assert found.facts.parameters == 1000 * 64 + 2 * (64 * 64 + 64 * 128)
    digests = {file.name: (file.sha256, file.header_sha256) for file in found.files}
    assert digests["config.json"][0] is not None
    assert digests["model.safetensors"][0] is None
    assert digests["model.safetensors"][1] is not None


def test_an_index_names_the_shards(tmp_path: Path) -> None:
    tensors = qwen3_tensors()
    write_safetensors(tmp_path / "model-00001-of-00002.safetensors", tensors[:2])
    write_safetensors(tmp_path / "model-00002-of-00002.safetensors", tensors[2:])
    write_safetensors(tmp_path / "stray.safetensors", [("stray", "F32", [9])])
    shards = {
        name: f"model-0000{1 if place < 2 else 2}-of-00002.safetensors"
        for place, (name, _, _) in enumerate(tensors)
    }
    index = {"metadata": {}, "weight_map": shards}
    write_folder(tmp_path, {"config.json": qwen3_config(), "model.safetensors.index.json": index})
    found = resolve_source(str(tmp_path), tmp_path)
    assert {t.name for t in found.facts.expand()} == set(shards)
    assert "stray.safetensors" not in {file.name for file in found.files}
    shards["missing.weight"] = "model-00001-of-00002.safetensors"
    write_folder(tmp_path, {"model.safetensors.index.json": index})
    fault(str(tmp_path), tmp_path, "source-corrupt", "`missing.weight`, which is in none")
    shards["missing.weight"] = "model-00009-of-00002.safetensors"
    write_folder(tmp_path, {"model.safetensors.index.json": index})
    fault(str(tmp_path), tmp_path, "source-missing", "which is not there")


def test_a_folder_with_config_only(tmp_path: Path) -> None:
    write_folder(tmp_path / "m", {"config.json": qwen3_config()})
    found = resolve_source("./m", tmp_path).facts
    assert (found.format, found.parameters, found.tensors) == ("config", 0, [])


def test_pooling_is_found_beside_the_weights(tmp_path: Path) -> None:
    modules = [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]
    pooling = {"pooling_mode_mean_tokens": True}
    hf_folder(tmp_path / "m", **{"modules.json": modules, "1_Pooling/config.json": pooling})
    found = resolve_source("./m", tmp_path).facts
    assert (found.task, found.pooling) == ("embed", "mean")


def test_the_cache_of_the_hub(tmp_path: Path) -> None:
    """models--org--repo: the main branch, names behind links, digests in the names of blobs."""
    cache = tmp_path / "models--Qwen--Qwen3-Reranker-0.6B"
    snapshot = cache / "snapshots" / "abc"
    write_folder(snapshot, {"config.json": qwen3_config()})
    blob = write_safetensors(cache / "blobs" / ("0" * 64), qwen3_tensors())
    (snapshot / "model.safetensors").symlink_to(blob)
    write_folder(cache, {"refs/main": "abc"})
    found = resolve_source(str(cache), tmp_path)
    assert found.facts.task == "rerank"  # The name is the repository's, not the snapshot's.
    assert found.files[1].sha256 == "0" * 64
    (cache / "refs" / "main").unlink()
    assert resolve_source(str(cache), tmp_path).facts == found.facts
    write_folder(cache / "snapshots" / "def", {"config.json": qwen3_config()})
    hints = fault(str(cache), tmp_path, "source-missing", "not one snapshot")
    assert hints == ("name the snapshot folder itself",)


def test_a_file_in_a_crowded_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a folder that is named is searched."""
    monkeypatch.setattr("compiler.resolve.tree._MAX_FILES", 3)
    gguf(tmp_path / "x.gguf")
    write_folder(tmp_path / "other", {f"{number}.txt": "" for number in range(9)})
    assert resolve_source("./x.gguf", tmp_path).facts.architecture == "llama"
    fault(str(tmp_path), tmp_path, "source-missing", "holds more than 3 files")


# Faults


def test_nothing_there(tmp_path: Path) -> None:
    fault("./x.gguf", tmp_path, "source-missing", "no such file or folder")
    (tmp_path / "empty").mkdir()
    fault("./empty", tmp_path, "source-missing", "neither a config.json nor a GGUF")


def test_a_source_that_is_not_understood(tmp_path: Path) -> None:
    fault("qwen3:8b:x", tmp_path, "source-invalid", "neither a path nor a repository")


def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    fault("./x.gguf", tmp_path, "source-corrupt", "`x.gguf` ends at byte 4")
    folder = hf_folder(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(b"short")
    fault("./m", tmp_path, "source-corrupt", "`model.safetensors` is too short")
    write_folder(folder, {"config.json": "{"})
    fault("./m", tmp_path, "source-corrupt", "`config.json` is not valid JSON")
    write_folder(folder, {"config.json": []})
    fault("./m", tmp_path, "source-corrupt", "`config.json` is no JSON object")
    write_folder(folder, {"config.json": "[" + "[]," * 300_000 + "[]]"})
    fault("./m", tmp_path, "source-corrupt", "`config.json` holds far more values")
    write_folder(folder, {"config.json": '{"architectures": ["\\ud800"]}'})
    fault("./m", tmp_path, "source-corrupt", "`config.json` holds text that is no Unicode")


def test_pointers_of_git_lfs(tmp_path: Path) -> None:
    """What a clone without git-lfs leaves."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    write_folder(tmp_path, {"x.gguf": pointer})
    write_folder(tmp_path / "m", {"config.json": qwen3_config(), "model.safetensors": pointer})
    fault("./x.gguf", tmp_path, "source-corrupt", "`x.gguf` is a pointer of Git LFS")
    fault("./m", tmp_path, "source-corrupt", "run `git lfs pull`")


def test_a_link_to_nothing(tmp_path: Path) -> None:
    """Only what the model is made of has to be there."""
    gguf(tmp_path / "m" / "a.gguf")
    (tmp_path / "m" / "notes.txt").symlink_to("gone")
    assert resolve_source("./m", tmp_path).files[0].name == "a.gguf"
    hf_folder(tmp_path / "n")
    (tmp_path / "n" / "tokenizer.json").unlink()
    (tmp_path / "n" / "tokenizer.json").symlink_to("gone")
    fault("./n", tmp_path, "source-missing", "`tokenizer.json` is a link to a file that is not")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """Linux takes any bytes for a name, and a lock is UTF-8."""
    folder = hf_folder(tmp_path / "m")
    names = [file.name for file in resolve_source("./m", tmp_path).files]
    (folder / os.fsdecode(b"\xff.json")).write_text("{}", encoding="utf-8")
    (folder / "a\nb.json").write_text("{}", encoding="utf-8")
    lock = lock_sources(["./m"], tmp_path, None, frozenset())
    assert [file.name for file in lock.sources[0].files] == names
    assert read_lock_text(lock_text(lock).encode().decode()) == lock


def test_a_path_that_was_meant_for_the_hub(tmp_path: Path) -> None:
    hints = fault("org/repo/sub/x.gguf", tmp_path, "source-missing", "no such file")
    assert hints == ("write `org/repo:sub/x.gguf` for a file on the hub",)
    assert fault("sub/x.gguf", tmp_path, "source-missing", "no such file") == ()
    assert fault("./a/b/x.gguf", tmp_path, "source-missing", "no such file") == ()


def test_a_home_of_nobody(tmp_path: Path) -> None:
    fault("~nobody-at-all/x.gguf", tmp_path, "source-missing", "no such file or folder")


def test_a_part_under_another_name(tmp_path: Path) -> None:
    """A third of a model must not pass for the whole."""
    tensors = llama_tensors()
    split = {"split.count": 2, "split.tensors.count": len(tensors)}
    first = write_gguf(tmp_path / "x.gguf", llama_values(**split, **{"split.no": 0}), tensors[:3])
    words = "`x.gguf` is part 1 of 1 by its name, and part 1 of 2 by its header"
    fault("./x.gguf", tmp_path, "source-corrupt", words)
    first.rename(tmp_path / "m-00001-of-00002.gguf")
    second = {"split.count": 2, "split.no": 1}
    write_gguf(tmp_path / "m-00002-of-00002.gguf", second, tensors[3:])
    assert len(resolve_source("./m-00002-of-00002.gguf", tmp_path).files) == 2
    write_gguf(tmp_path / "m-00002-of-00002.gguf", second, tensors[4:])
    words = f"its parts hold {len(tensors) - 1} of {len(tensors)} tensors"
    fault("./m-00001-of-00002.gguf", tmp_path, "source-corrupt", words)


def test_a_name_with_impossible_parts_stands_alone(tmp_path: Path) -> None:
    for name in ("m-00001-of-00000.gguf", "m-00003-of-00002.gguf"):
        gguf(tmp_path / name)
        assert [file.name for file in resolve_source(f"./{name}", tmp_path).files] == [name]


def test_numbers_below_zero_say_nothing(tmp_path: Path) -> None:
    hf_folder(tmp_path / "m", **{"config.json": qwen3_config(vocab_size=-5)})
    assert resolve_source("./m", tmp_path).facts.vocabulary == 0
    values = llama_values(**{"llama.context_length": -1})
    write_gguf(tmp_path / "x.gguf", values, llama_tensors())
    assert resolve_source("./x.gguf", tmp_path).facts.position_limit == 0


def test_the_hint_of_an_ambiguous_folder_names_its_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        gguf(tmp_path / "m" / f"{name}.gguf")
    hints = fault("./m", tmp_path, "source-missing", "2 models: `a.gguf`, `b.gguf`")
    assert "on disk by the path of its file" in hints[0]


def test_files_that_do_not_say_enough(tmp_path: Path) -> None:
    write_folder(tmp_path / "m", {"config.json": {"model_type": "x"}})
    fault("./m", tmp_path, "facts-missing", "`config.json` does not say")
    write_folder(tmp_path / "lora", {"adapter_config.json": {}})
    fault("./lora", tmp_path, "facts-missing", "is a LoRA adapter")
    write_gguf(tmp_path / "imatrix.gguf", llama_values(**{"general.type": "imatrix"}))
    fault("./imatrix.gguf", tmp_path, "facts-missing", "holds data of kind `imatrix`")


# Ollama's store

MODEL_LAYER = "application/vnd.ollama.image.model"
SPARE_LAYER = {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "1" * 64}


def pull(store: Path, name: str, *layers: dict[str, Any]) -> Path:
    """What `ollama pull` leaves of a model: its manifest."""
    path = store / "manifests" / "registry.ollama.ai" / "library" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schemaVersion": 2, "layers": layers}), encoding="utf-8")
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of Ollama's with one model, `qwen3:8b`."""
    blob = gguf(tmp_path / "model.gguf")
    digest = hashlib.sha256(blob.read_bytes()).hexdigest()
    (tmp_path / "store" / "blobs").mkdir(parents=True)
    blob.rename(tmp_path / "store" / "blobs" / f"sha256-{digest}")
    layer = {"mediaType": MODEL_LAYER, "digest": f"sha256:{digest}"}
    pull(tmp_path / "store", "qwen3/8b", SPARE_LAYER, layer)
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


def test_a_model_that_ollama_has_pulled(store: Path, tmp_path: Path) -> None:
    entry = resolve_source("qwen3:8b", tmp_path)
    (blob,) = (store / "blobs").iterdir()
    (file,) = entry.files
    assert (file.name, file.bytes) == (f"blobs/{blob.name}", blob.stat().st_size)
    assert file.sha256 == blob.name.removeprefix("sha256-")
    assert (entry.repository, entry.facts.architecture) == (None, "llama")
    assert resolve_source("registry.ollama.ai/library/qwen3:8b", tmp_path).facts == entry.facts


def test_upper_and_lower_case_are_one_to_ollama(store: Path, tmp_path: Path) -> None:
    facts = resolve_source("qwen3:8b", tmp_path).facts
    for name in ("Qwen3:8B", "registry.ollama.ai/Library/qwen3:8b"):
        assert resolve_source(name, tmp_path).facts == facts
    pull(store, "Qwen3/8B", SPARE_LAYER)
    assert resolve_source("qwen3:8b", tmp_path).facts == facts
    fault("Qwen3:8B", tmp_path, "facts-missing", "no GGUF file among its layers")


def test_what_ollama_has_not(store: Path, tmp_path: Path) -> None:
    hints = fault("qwen3", tmp_path, "source-missing", "of this model there is `qwen3:8b`")
    assert hints[0] == "run `ollama pull qwen3:latest`"
    assert "`org/repo` for the hub" in hints[1]
    pull(store, "qwen3/4b", {"mediaType": MODEL_LAYER, "digest": "sha256:" + "0" * 64})
    fault("qwen3:4b", tmp_path, "source-missing", "has its manifest and not its file")
    pull(store, "qwen3/mlx", SPARE_LAYER)
    fault("qwen3:mlx", tmp_path, "facts-missing", "no GGUF file among its layers")
    pull(store, "qwen3/bad", {"mediaType": MODEL_LAYER, "digest": "sha256:../../etc/passwd"})
    fault("qwen3:bad", tmp_path, "source-corrupt", "no sha256 digest")
    pull(store, "qwen3/worse").write_text("[" * 100_000, encoding="utf-8")
    fault("qwen3:worse", tmp_path, "source-corrupt", "manifest without layers")


def test_without_ollama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "nothing"))
    fault("qwen3:8b", tmp_path, "source-missing", "no store of Ollama's on this machine")


def test_the_users_own_store(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / ".ollama").mkdir(parents=True)
    store.rename(home / ".ollama" / "models")
    monkeypatch.delenv("OLLAMA_MODELS")
    monkeypatch.setenv("HOME", str(home))
    assert resolve_source("qwen3:8b", tmp_path).facts.architecture == "llama"


def test_a_users_model_of_ollamas_reads_like_a_repository(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = store / "manifests" / "registry.ollama.ai" / "library"
    library.rename(library.with_name("me"))
    assert resolve_source("registry.ollama.ai/me/qwen3:8b", tmp_path).facts.layers == 2
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CompileError) as caught:
        resolve_source("me/qwen3:8b", tmp_path)
    (found,) = caught.value.diagnostics
    assert "write `registry.ollama.ai/me/qwen3:8b` for what Ollama has pulled" in found.hints


# What an interrupted lock has left


def test_a_partial_lock_adds_what_the_lock_has_not(tmp_path: Path) -> None:
    before = lock_of(tmp_path, "./a.gguf")
    text = lock_text(before)
    partial = partial_lock_text(lock_of(tmp_path, "./a.gguf", "./b.gguf"), text)
    found = with_partial_lock(before, text, TextFile(path="x", text=partial))
    assert found is not None
    assert [entry.source for entry in found.sources] == ["./a.gguf", "./b.gguf"]
    alone = partial_lock_text(before, "")
    assert with_partial_lock(None, "", TextFile(path="x", text=alone)) == before


def test_what_the_lock_has_stays(tmp_path: Path) -> None:
    before = lock_of(tmp_path, "./a.gguf")
    (entry,) = before.sources
    other = Lock(sources=[entry.model_copy(update={"revision": "0ff1ce"})])
    partial = partial_lock_text(other, lock_text(before))
    assert with_partial_lock(before, lock_text(before), TextFile(path="x", text=partial)) == before


@pytest.mark.parametrize("end", [3, 70, 200, -3])
def test_a_partial_lock_that_is_stale_or_cut_is_nothing(tmp_path: Path, end: int) -> None:
    before = lock_of(tmp_path, "./a.gguf")
    more = lock_of(tmp_path, "./a.gguf", "./b.gguf")
    stale = TextFile(path="x", text=partial_lock_text(more, "another lock"))
    assert with_partial_lock(before, lock_text(before), stale) == before
    cut = TextFile(path="x", text=partial_lock_text(more, lock_text(before))[:end])
    assert with_partial_lock(before, lock_text(before), cut) == before


def lock_of(root: Path, *names: str) -> Lock:
    for name in names:
        gguf(root / name)
    return lock_sources(names, root, None, frozenset())


# What has changed since


def test_sources_that_have_changed(tmp_path: Path) -> None:
    gguf(tmp_path / "a.gguf")
    hf_folder(tmp_path / "b")
    lock = lock_sources(["./a.gguf", "./b"], tmp_path, None, frozenset())
    assert changed_sources(lock, tmp_path) == []
    write_gguf(tmp_path / "a.gguf", llama_values(**{"llama.context_length": 77}), llama_tensors())
    write_folder(tmp_path / "b", {"config.json": {**qwen3_config(), "num_hidden_layers": 77}})
    first, second = changed_sources(lock, tmp_path)
    assert (first.code, second.code) == ("lock-stale", "lock-stale")
    assert first.detail == "`./a.gguf` has changed since it was locked: `a.gguf`."
    assert first.hints == ("Run `modelc lock --update ./a.gguf` and review what it changes.",)
    assert "`config.json`" in second.detail
    (tmp_path / "a.gguf").write_bytes(b"GGUF, cut off")
    assert "`a.gguf`" in changed_sources(lock, tmp_path)[0].detail


def test_sources_that_are_elsewhere_are_not_asked_for(tmp_path: Path) -> None:
    gguf(tmp_path / "a.gguf")
    lock = lock_sources(["./a.gguf"], tmp_path, None, frozenset())
    (tmp_path / "a.gguf").unlink()
    assert changed_sources(lock, tmp_path) == []


# The lock


def test_a_lock_keeps_drops_and_updates(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        gguf(tmp_path / f"{name}.gguf")
    first = lock_sources(["./b.gguf", "./a.gguf", "./a.gguf"], tmp_path, None, frozenset())
    assert [entry.source for entry in first.sources] == ["./a.gguf", "./b.gguf"]
    (tmp_path / "a.gguf").unlink()
    write_gguf(tmp_path / "b.gguf", llama_values(**{"llama.context_length": 99}), llama_tensors())
    seen: list[str] = []
    wanted = ["./a.gguf", "./b.gguf", "./c.gguf"]
    second = lock_sources(wanted, tmp_path, first, frozenset(), lambda step: seen.append(step.item))
    assert seen == ["./c.gguf"]
    assert second.sources[:2] == first.sources
    third = lock_sources(["./b.gguf"], tmp_path, second, frozenset({"./b.gguf"}))
    assert [entry.facts.position_limit for entry in third.sources] == [99]


def test_all_faults_at_once(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        lock_sources(["./a.gguf", "not good", "./b"], tmp_path, None, frozenset())
    assert sorted(found.code for found in caught.value.diagnostics) == [
        "source-invalid",
        "source-missing",
        "source-missing",
    ]


def test_the_text_of_a_lock_reads_back() -> None:
    lock = Lock(sources=[locked(source) for source in sources()])
    text = lock_text(lock)
    assert read_lock_text(text) == lock
    assert lock_text(read_lock_text(text)) == text
    assert text.endswith("}\n")


def test_the_text_is_sorted_by_source() -> None:
    lock = Lock(sources=[locked(source) for source in sources()])
    backwards = Lock(sources=list(reversed(lock.sources)))
    assert lock_text(backwards) == lock_text(lock)


def test_a_tensor_group_is_one_line() -> None:
    text = lock_text(Lock(sources=[locked("Qwen/Qwen3-8B")]))
    line = (
        '{"name": "model.layers.*.self_attn.k_proj.weight", "index": ["0-35"], "dtype": "BF16", '
        '"shape": [1024, 4096], "bytes": 8388608}'
    )
    assert line in [row.strip().rstrip(",") for row in text.splitlines()]
    assert len(text.splitlines()) < 60


def test_locks_of_other_versions() -> None:
    for version, age in ((0, "older"), (2, "newer")):
        with pytest.raises(LockVersionError, match=age) as caught:
            read_lock_text(json.dumps({"version": version, "whatever": 1}))
        assert caught.value.found == version


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "`version` is missing"),
        ("{}\n<<<<<<< HEAD\n{}\n", "both sides of a merge"),
        ("{}\n=======\r\n{}\n", "both sides of a merge"),
        ("{}\n<<<<<<<<<\n", "not valid JSON"),
        ('{"version": true}', "`version` is missing"),
        ('{"version": 1}', "`sources`"),
        ('{"version": 1, "sources": [{"source": 3}]}', "`sources.0.source`"),
    ],
)
def test_texts_that_are_no_lock(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read_lock_text(text)
    assert not isinstance(caught.value, LockVersionError)


@pytest.mark.parametrize("ranges", ["", "a", "0-", "-3", "1,,2", "1-2-3", "0-9999999", "9" * 5000])
def test_ranges_that_are_none(ranges: str) -> None:
    """A lock can be edited by hand."""
    text = lock_text(Lock(sources=[locked("Qwen/Qwen3-8B")])).replace('"0-35"', json.dumps(ranges))
    with pytest.raises(ValueError, match=r"`sources\.0\.facts\.tensors\.\d+\.index\.0`"):
        read_lock_text(text)


def test_published_sizes_are_those_of_the_files() -> None:
    """Sizes that the publishers show, in GB; a header of some MB is not in ours."""
    shown = {
        "unsloth/DeepSeek-R1-Distill-Llama-70B-GGUF:Q5_K_S": 48.66,
        "unsloth/DeepSeek-R1-Distill-Llama-70B-GGUF:Q4_K_M": 42.52,
        "unsloth/DeepSeek-R1-Distill-Llama-70B-GGUF:Q3_K_M": 34.27,
        "unsloth/Qwen3-32B-GGUF:Q4_K_M": 19.76,
        "unsloth/Qwen3-8B-GGUF:Q4_K_M": 5.03,
        "ggml-org/gpt-oss-20b-GGUF": 12.11,
        "openai/gpt-oss-20b": 13.76,
        "Qwen/Qwen3-32B": 65.53,
    }
    for source, size in shown.items():
        assert locked(source).files[0].bytes / 1e9 == pytest.approx(size, abs=0.015), source


def test_safetensors_headers_are_small() -> None:
    """The generator writes what the format says."""
    header, data = safetensors_header(qwen3_tensors())
    assert int.from_bytes(header[:8], "little") == len(header) - 8
    assert data == 2 * (1000 * 64 + 2 * (64 * 64 + 64 * 128))


@pytest.mark.parametrize(
    "spec", sorted(ROOT.glob("inventories/*/models.yaml")), ids=lambda p: p.parent.name
)
def test_example_locks_are_current(spec: Path) -> None:
    """After a change of an example: python -m tests.generators.write_locks."""
    lock = spec.parent / "modelc.lock"
    assert lock.read_text(encoding="utf-8") == example_lock_text(spec.parent)


def test_every_field_is_documented() -> None:
    """A new field of the lock is decided about in docs/facts.md as well."""
    text = (ROOT / "docs" / "facts.md").read_text(encoding="utf-8")
    fields = {*ModelFacts.model_fields, *TensorGroup.model_fields, *LockedSource.model_fields}
    fields |= {*LockedFile.model_fields, *Lock.model_fields}
    fields -= {"sources", "files", "facts"}  # They hold the others.
    assert [field for field in sorted(fields) if f"{field}`" not in text] == []


def test_published_sources_are_sorted_and_typed() -> None:
    assert sources() == sorted(sources())
    assert all(isinstance(locked(source), LockedSource) for source in sources()[:2])
