"""What is known of a model: whole screens, every architecture in a golden file, odd facts."""

# ruff: noqa: E501 (a screen is as wide as it is)

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import cli
from compiler.engines.registry import engine_of
from compiler.ir.engine_name import EngineName
from compiler.ir.facts import ModelFacts, TensorGroup
from compiler.ir.lock import Lock, LockedFile, LockedSource, lock_text, read_lock_text
from compiler.ir.profile import LayerKind, LayerRun, ModelProfile, layer_runs, row_bytes
from compiler.views.inspect import inspect_json, inspect_text, layers_words
from tests.generators.architectures import write_architecture
from tests.generators.models import write_folder
from tests.generators.published import locked

FOLDER = Path(__file__).parent / "golden" / "facts"
ENGINES: tuple[EngineName, ...] = ("llama.cpp", "vllm")


def profile(entry: LockedSource) -> ModelProfile:
    engine: EngineName = "llama.cpp" if entry.facts.format == "gguf" else "vllm"
    return engine_of(engine).profile(entry.facts)


def screen(entry: LockedSource) -> str:
    return inspect_text(entry, profile(entry), color=False)


def golden_entries() -> list[LockedSource]:
    return read_lock_text((FOLDER / "modelc.lock").read_text(encoding="utf-8")).sources


# Screens

QWEN3 = """\
Qwen/Qwen3-8B
  architecture    Qwen3ForCausalLM
  format          safetensors, bf16
  task            generate
  parameters      8,190,735,360
  vocabulary      151,936 tokens
  position limit  40,960 tokens
  tokenizer       not among the files
  layers          36 x full
  heads           32
  KV heads        8
  head size       128
  experts         none
  KV per token    f16 147,456 B, q8_0 78,336 B, fp8 73,728 B

Weights
  type   tensors     MiB    share
  BF16       399  15,623  100.0 %
  total      399  15,623

Files
  name                        bytes  sha256
  model.safetensors  16,381,470,720  unknown
  total              16,381,470,720
"""


def test_a_dense_model() -> None:
    assert screen(locked("Qwen/Qwen3-8B")) == QWEN3


def test_where_it_comes_from() -> None:
    entry = locked("Qwen/Qwen3-8B").model_copy(
        update={
            "revision": "f" * 40,
            "files": [
                LockedFile(name="a", bytes=1_234, sha256="0" * 64),
                LockedFile(name="b", bytes=1, header_sha256="1" * 64),
                LockedFile(name="tokenizer.json", bytes=1_000_000),
            ],
        }
    )
    text = screen(entry)
    assert f"  revision        {'f' * 40}\n" in text
    assert "  tokenizer       tokenizer.json\n" in text
    assert text.endswith(
        "Files\n"
        "  name                bytes  sha256\n"
        f"  a                   1,234  {'0' * 64}\n"
        f"  b                       1  {'1' * 64} (of the header)\n"
        "  tokenizer.json  1,000,000  unknown\n"
        "  total           1,001,235\n"
    )


def test_every_architecture(update_golden: bool) -> None:
    """Layers, heads, caches and weights of one model of each architecture that is known."""
    text = "\n".join(screen(entry).partition("\n\nFiles")[0] + "\n" for entry in golden_entries())
    path = FOLDER / "inspect.txt"
    if update_golden:
        path.write_text(text, encoding="utf-8")
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines()


# By hand: config.json and papers of the models


@pytest.mark.parametrize(
    ("source", "f16_bytes", "in_windows_bytes"),
    [
        ("./qwen3-8b.gguf", 36 * 2 * 8 * 128 * 2, 0),
        ("./Llama-3.2-3B", 28 * 2 * 8 * 128 * 2, 0),
        ("./DeepSeek-V3", 61 * (512 + 64) * 2, 0),
        ("./deepseek-v3.gguf", 61 * (512 + 64) * 2, 0),
        ("./gemma3-4b.gguf", 5 * 2 * 4 * 256 * 2, 29 * 2 * 4 * 256 * 2),
        ("./Gemma-3-27B", 10 * 2 * 16 * 128 * 2, 52 * 2 * 16 * 128 * 2),
        ("./gpt-oss-20b.gguf", 12 * 2 * 8 * 64 * 2, 12 * 2 * 8 * 64 * 2),
        ("./Qwen3-Next-80B-A3B", 12 * 2 * 2 * 256 * 2, 0),
        ("./qwen3-next-80b.gguf", 12 * 2 * 2 * 256 * 2, 0),
        ("./gemma-3n-e4b.gguf", 4 * 2 * 2 * 256 * 2, 16 * 2 * 2 * 256 * 2),
    ],
)
def test_cache_of_a_token(source: str, f16_bytes: int, in_windows_bytes: int) -> None:
    (entry,) = (entry for entry in golden_entries() if entry.source == source)
    caches = {cache.cache_type: cache for cache in profile(entry).token_cache or []}
    f16, q8_0, fp8 = caches["f16"], caches["q8_0"], caches["fp8"]
    assert (f16.growing_bytes, f16.sliding_bytes) == (f16_bytes, in_windows_bytes)
    assert (fp8.growing_bytes * 2, fp8.sliding_bytes * 2) == (f16_bytes, in_windows_bytes)
    assert q8_0.growing_bytes * 32 == fp8.growing_bytes * 34


def test_the_key_of_a_sparse_indexer_is_counted() -> None:
    """DeepSeek V3.2 on vLLM: 128 bytes of fp8 key and its scale, at every cache type."""
    (entry,) = (entry for entry in golden_entries() if entry.source == "./DeepSeek-V3")
    sparse = {"index_n_heads": 64, "index_topk": 2048, "index_head_dim": 128}
    facts = entry.facts.model_copy(update={"header": {**entry.facts.header, **sparse}})
    with_key = engine_of("vllm").profile(facts).token_cache or []
    without = profile(entry).token_cache or []
    assert [
        more.growing_bytes - less.growing_bytes
        for more, less in zip(with_key, without, strict=True)
    ] == [61 * 132] * 3


@pytest.mark.parametrize(("elements", "size"), [(32, 34), (128, 136), (33, 68), (0, 0)])
def test_rows_of_q8_0(elements: int, size: int) -> None:
    assert row_bytes("q8_0", elements) == size


# Layers


def run(layers: int, **kind: Any) -> LayerRun:  # noqa: ANN401 (fields of many types)
    return LayerRun(layers=layers, **{"attention": "full", **kind})


SLIDING: dict[str, Any] = {"attention": "sliding", "window": 1024}


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([run(36)], "36 x full"),
        ([run(5, **SLIDING), run(1)] * 3, "3 x (5 x sliding 1,024, 1 x full)"),
        (
            [*[run(5, **SLIDING), run(1)] * 3, run(2, **SLIDING)],
            "3 x (5 x sliding 1,024, 1 x full), 2 x sliding 1,024",
        ),
        (
            [run(1, attention="latent"), *[run(4), run(2, attention="none", state="linear")] * 2],
            "1 x latent (MLA), 2 x (4 x full, 2 x linear)",
        ),
        ([run(2, state="recurrent"), run(1)], "2 x full + recurrent, 1 x full"),
        ([run(1, attention="none"), run(1, reads_other=True)], "1 x feed-forward only, 1 x full with another layer's KV"),
    ],
)  # fmt: skip
def test_words_of_layers(runs: list[LayerRun], words: str) -> None:
    assert layers_words(runs) == words


KINDS = st.lists(
    st.sampled_from(
        [LayerKind(attention="full"), LayerKind(attention="none"), LayerKind(**SLIDING)]
    ),
    max_size=40,
)


@given(KINDS)
def test_runs_are_the_layers(kinds: list[LayerKind]) -> None:
    runs = layer_runs(kinds)
    spread = [found for found in runs for _ in range(found.layers)]
    assert [LayerKind(**found.model_dump(exclude={"layers"})) for found in spread] == kinds
    assert all(one != other for one, other in pairwise(runs))


@given(KINDS)
def test_words_count_every_layer(kinds: list[LayerKind]) -> None:
    """`3 x (5 x a, 1 x b), 2 x a` read as a sum is the number of layers."""
    words = layers_words(layer_runs(kinds))
    for name in ("feed-forward only", "sliding 1,024", "full"):
        words = words.replace(f" x {name}", "")
    total = eval(words.replace(" x ", "*").replace(",", "+") or "0")  # noqa: S307 (our own text)
    assert total == len(kinds)


# Odd facts


def bare(**changes: object) -> ModelFacts:
    plain: dict[str, Any] = {
        "format": "config", "architecture": "x", "task": "generate", "parameters": 0, "layers": 2,
        "vocabulary": 0, "position_limit": 0, "quantization": "unknown", "header": {},
    }  # fmt: skip
    return ModelFacts(**{**plain, **changes})


UNKNOWN = """\
./x
  architecture    x
  format          config, unknown
  task            generate
  parameters      unknown
  vocabulary      unknown
  position limit  unknown
  tokenizer       not among the files
  layers          2 of unknown kind
  heads           unknown
  KV heads        unknown
  head size       unknown
  experts         unknown
  KV per token    unknown
  state           unknown

Weights
  unknown

Files
  unknown
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_not_known_is_said(engine: EngineName) -> None:
    facts = bare()
    entry = LockedSource(source="./x", files=[], facts=facts)
    assert inspect_text(entry, engine_of(engine).profile(facts), color=False) == UNKNOWN


def test_weights_are_counted_where_the_rest_is_not_known() -> None:
    groups = [
        TensorGroup(name="a.*.b", index=["0-3,7"], dtype="F16", shape=[2, 5], bytes=20),
        TensorGroup(name="c", dtype="F32", shape=[50], bytes=200),
    ]
    found = engine_of("vllm").profile(bare(tensors=groups)).weights or []
    assert [(one.dtype, one.tensors, one.bytes) for one in found] == [
        ("F32", 1, 200),
        ("F16", 5, 100),
    ]


@pytest.mark.parametrize("index", ["9-0", "0-999999", "0-999999,0-999999"])
@pytest.mark.parametrize("engine", ENGINES)
def test_absurd_ranges_take_no_time(engine: EngineName, index: str) -> None:
    group = TensorGroup(name="a.*", index=[index], dtype="F16", shape=[1], bytes=2)
    for form in ("gguf", "config"):
        facts = bare(format=form, tensors=[group])
        entry = LockedSource(source="./x", files=[], facts=facts)
        assert inspect_text(entry, engine_of(engine).profile(facts), color=False)


@pytest.mark.parametrize("source", ["./Llama-3.2-3B", "./Gemma-3-27B", "./llama32-1b.gguf"])
@pytest.mark.parametrize("engine", ENGINES)
def test_absurd_numbers_of_layers_take_no_time(engine: EngineName, source: str) -> None:
    (entry,) = (entry for entry in golden_entries() if entry.source == source)
    text = json.dumps(entry.facts.header)
    for key in ("num_hidden_layers", "block_count"):
        text = text.replace(f'"{key}": ', f'"{key}": 1000000000')
    facts = entry.facts.model_copy(update={"header": json.loads(text)})
    assert engine_of(engine).profile(facts).layers is None


ODD: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-4, 2**70) | st.floats(allow_nan=False)
    | st.text(max_size=4) | st.lists(st.integers(-2, 80) | st.none(), max_size=4)
)  # fmt: skip


@settings(max_examples=200)
@given(st.integers(0, 61), st.dictionaries(st.integers(0, 40), ODD, max_size=4))
def test_odd_headers_give_a_profile(number: int, changes: dict[int, Any]) -> None:
    """Whatever a header says, each engine gives a profile that both views can show."""
    entries = golden_entries()
    entry = entries[number % len(entries)]
    keys = sorted(entry.facts.header)
    odd = {keys[place % len(keys)]: value for place, value in changes.items()}
    facts = entry.facts.model_copy(update={"header": {**entry.facts.header, **odd}})
    changed = entry.model_copy(update={"facts": facts})
    for engine in ENGINES:
        found = engine_of(engine).profile(facts)
        assert inspect_text(changed, found, color=True)
        assert json.loads(inspect_json(changed, found))["profile"]["engine"] == engine


def test_nothing_in_a_text_acts_on_the_terminal() -> None:
    entry = locked("Qwen/Qwen3-8B")
    facts = entry.facts.model_copy(
        update={"architecture": "\x1b[2Jevil\u202e", "quantization": "a\nb"}
    )
    hostile = entry.model_copy(
        update={"facts": facts, "files": [LockedFile(name="\x1b]0;x\x07", bytes=1)]}
    )
    assert "\x1b" not in screen(hostile)
    assert "\u202e" not in screen(hostile)
    assert "\x1b" in inspect_text(hostile, profile(hostile), color=True)


# JSON and the command


def test_json() -> None:
    entry = locked("Qwen/Qwen3-8B")
    found = json.loads(inspect_json(entry, profile(entry)))
    assert set(found) == {"source", "repository", "revision", "files", "facts", "profile"}
    kept = {
        "format",
        "role",
        "architecture",
        "task",
        "pooling",
        "parameters",
        "layers",
        "vocabulary",
    }
    kept |= {"position_limit", "answer_limit", "quantization"}
    assert set(found["facts"]) == kept
    assert ModelProfile.model_validate(found["profile"]) == profile(entry)
    assert ModelFacts.model_fields.keys() - kept == {"header", "tensors", "sequential", "alignment"}


def inspected(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["inspect", *arguments]) == 0
    return capsys.readouterr().out


def test_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_architecture("smollm3-3b", tmp_path / "m.gguf")
    assert "  layers          36 x full\n" in inspected(capsys, "./m.gguf")
    write_folder(tmp_path / "m", {"config.json": {"architectures": ["X"], "num_hidden_layers": 3}})
    assert "  layers          3 of unknown kind\n" in inspected(capsys, "./m")
    assert json.loads(inspected(capsys, "./m", "--format", "json"))["facts"]["layers"] == 3


def test_a_locked_model_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lock = Lock(sources=[locked("Qwen/Qwen3-8B")])
    (tmp_path / "modelc.lock").write_text(lock_text(lock), encoding="utf-8")
    assert inspected(capsys, "Qwen/Qwen3-8B") == QWEN3


def test_a_model_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["inspect", "./none"]) == 1
    assert "error[source-missing]" in capsys.readouterr().err
