"""Whatever the user's files hold, loading ends soon, and with faults rather than a traceback."""

from __future__ import annotations

import json
import re
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.codes import CODES
from compiler.diagnostics import CompileError, Diagnostic
from compiler.inputs import Inputs, load
from compiler.ir.lock import Lock, lock_text
from compiler.ir.textfile import TextFile
from compiler.load.inventory_file import InventoryFile
from compiler.load.spec_file import SpecFile
from tests.generators.published import locked

INVENTORY = """\
version: 1
defaults:
  target: systemd
  gpu: {reserved: 512MiB, utilization: 0.95}
  ram: 64GiB
  ports: 8000-8099
  engines:
    vllm: {version: 0.33.0, bin: /opt/vllm/bin/vllm, image: "vllm/vllm-openai:v0.33.0"}
    llama.cpp: {build: 9000}
hosts:
  tower:
    labels: {zone: a}
    gpus:
      - {kind: rtx-3090, uuid: GPU-6f1c2d9e-30b1-4a6e-9a52-0b8f5d1e7c01, reserved: 1536MiB}
      - {kind: card}
  rack-[01-03]:
    address: "{name}.dc1.example"
    gpus: {kind: a100-sxm-80gb, count: 4, islands: [[0, 1], [2, 3]]}
gpu_kinds:
  card: {memory: 24564MiB, compute: "8.9", cuda_total: 24080MiB}
"""
SPEC = """\
version: 1
services:
  chat:
    model: Qwen/Qwen3-8B
    replicas: 2
    context: 32768
    placement: {spread: host, hosts: {name: [tower, rack-01]}, gpus: {min_compute: 8.0}}
    variants:
      - {name: bf16}
      - {name: q4, model: "unsloth/Qwen3-8B-GGUF:Q4_K_M", offload: auto}
    vllm: {args: {enforce_eager: true}}
    env: {VLLM_LOGGING_LEVEL: INFO}
    secrets: [HF_TOKEN]
  rank: {model: BAAI/bge-reranker-v2-m3, optional: true, placement: {apart_from: [chat]}}
policy: {max_moves: 2, freeze: [rank]}
"""
LOCK = lock_text(
    Lock(
        sources=[
            locked("BAAI/bge-reranker-v2-m3"),
            locked("Qwen/Qwen3-8B"),
            locked("unsloth/Qwen3-8B-GGUF:Q4_K_M"),
        ]
    )
)
# A fraction of this is usual; the rest is for a busy machine.
SOON = settings(deadline=timedelta(minutes=1), derandomize=True)

PIECES = st.sampled_from(
    [
        *"[]{},:-?#|>'\"\\~0\t\n\x00\x85\u2028\u202eÄ", ": ", "- ", "? ", "\n  ", "\n    ", "|\n",
        "&a ", "*a", "!!int ", "!x ", ">-\n", "%YAML 1.1\n", "---\n", "...\n", "<<: ", "\\x", "\\u",
        '"\\U00110000"', '"\\ud800"', "null", "true", "on", "-1", "012", "0x10", ".inf", "1e999",
        "1.10", "9" * 30, "64GB", "0B", "9999TiB", "[1-2]", "[0-9999]", "[2-1]", "{name}", "../",
        "version: 2\n", "a/b",
    ]
)  # fmt: skip
WORDS = sorted(set(re.findall(r"[A-Za-z_][A-Za-z0-9_.-]*", INVENTORY + SPEC)))
KEYS = st.sampled_from(
    sorted({*WORDS, *InventoryFile.model_fields, *SpecFile.model_fields, "max_model_len", "port"})
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 9999)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | KEYS
    | st.sampled_from(["24GiB", "0.33.0", "8000-8999", "/bin/x", "h[1-3]", "Qwen/Qwen3-8B", "8.9"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def changed(draw: st.DrawFn, text: str) -> str:
    """The text with a few places cut out or written over."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 12))
        text = text[:start] + draw(PIECES | st.text(max_size=6)) + text[end:]
    return text


@st.composite
def rewritten(draw: st.DrawFn, text: str) -> str:
    """The text with some of its words exchanged for other words and values."""
    pieces = re.split(r"([A-Za-z0-9_./-]+)", text)
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, (len(pieces) - 3) // 2)) * 2 + 1
        pieces[position] = json.dumps(draw(VALUES)) if draw(st.booleans()) else draw(KEYS)
    return "".join(pieces)


def loads(inventory: str, spec: str) -> list[Diagnostic]:
    """The faults of two texts, each with a code of ours and a place inside its file."""
    texts = {"inventory.yaml": inventory, "models.yaml": spec}
    files = {path: TextFile(path=path, text=text) for path, text in texts.items()}
    lock = TextFile(path="modelc.lock", text=LOCK)
    inputs = Inputs(
        inventory=files["inventory.yaml"], spec=files["models.yaml"], lock=lock, previous=None
    )
    try:
        load(inputs)
    except CompileError as error:
        faults = list(error.diagnostics)
    else:
        return []
    assert faults
    for fault in faults:
        assert fault.code in CODES
        assert fault.location is not None
        n_lines = len(texts[fault.location.path].splitlines())
        # What is missing at the end is missed on the line after it.
        assert 1 <= fault.location.line <= n_lines + 1
        assert fault.location.column >= 1
    return faults


def test_the_unchanged_files_have_no_fault() -> None:
    assert loads(INVENTORY, SPEC) == []


@SOON
@given(st.text(), st.text())
def test_any_text(inventory: str, spec: str) -> None:
    assert loads(inventory, spec)


@SOON
@given(st.lists(PIECES | st.text(max_size=4), max_size=40).map("".join))
def test_any_text_that_looks_like_yaml(text: str) -> None:
    assert loads(text, SPEC)


@SOON
@given(changed(INVENTORY))
def test_an_inventory_with_slips(text: str) -> None:
    loads(text, SPEC)


@SOON
@given(changed(SPEC))
def test_a_spec_with_slips(text: str) -> None:
    loads(INVENTORY, text)


@SOON
@given(rewritten(INVENTORY), rewritten(SPEC))
def test_files_with_other_words_and_values(inventory: str, spec: str) -> None:
    loads(inventory, spec)


@SOON
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_data(hosts: dict[str, object], services: dict[str, object]) -> None:
    loads(
        json.dumps({"version": 1, "hosts": hosts}),
        json.dumps({"version": 1, "services": services}),
    )


@SOON
@given(changed(INVENTORY), changed(SPEC))
def test_the_same_texts_have_the_same_faults(inventory: str, spec: str) -> None:
    assert loads(inventory, spec) == loads(inventory, spec)
