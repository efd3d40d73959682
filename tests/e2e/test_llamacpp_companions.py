"""LoRA adapters, draft models and projectors: llama-server allocates what the plan says."""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from compiler.engines.llamacpp.flags.builds import STUDIED_BUILD, parse_build
from compiler.engines.llamacpp.launch.options import Moves, Options, Override, ProjectorOptions
from compiler.engines.llamacpp.launch.projector import pictures
from compiler.engines.llamacpp.memory.law import usage
from compiler.engines.llamacpp.model.lora import adapted
from compiler.engines.llamacpp.model.projector import read_projector
from compiler.engines.llamacpp.placed.weights import padded_bytes
from compiler.engines.llamacpp.vision.law import compute_bytes
from compiler.ir.facts import ModelFacts
from compiler.ir.units import MIB
from compiler.resolve.gguf import read_gguf
from compiler.resolve.gguf_facts import gguf_facts
from compiler.resolve.ranges import LocalFile
from tests.e2e.fleet import Fleet, on_paper_gpus, served
from tests.e2e.tiny_models import write_adapter, write_decoder
from tests.generators import companions
from tests.generators.projectors import PROJECTORS, write_projector
from tests.oracle import projectors
from tests.oracle.cases import settled, shape_of, write_model
from tests.oracle.probe import Case, Sizes, ask

ON_GPUS = ("adapted-0", "drafted-0", "half-0", "looks-up-0", "sees-0", "two-0")
REPLICAS = (*ON_GPUS, "host-0")
MODELS = """
version: 1
services:
  adapted:
    model: ./models/tiny.gguf
    task: generate
    context: 4096
    concurrency: 2
    llama.cpp: {args: {lora: [./models/first.gguf, ./models/second.gguf]}}
  drafted:
    model: ./models/tiny.gguf
    task: generate
    context: 4096
    concurrency: 2
    llama.cpp:
      args:
        model_draft: ./models/draft.gguf
        cache_type_k_draft: q8_0
        cache_type_v_draft: q8_0
        spec_draft_n_max: 5
  half:
    model: ./models/tiny.gguf
    task: generate
    context: 4096
    concurrency: 1
    offload: 2
    llama.cpp:
      args: {model_draft: ./models/draft.gguf, gpu_layers_draft: 3, lora: ./models/first.gguf}
  host:
    model: ./models/tiny.gguf
    task: generate
    context: 4096
    concurrency: 2
    offload: cpu
    llama.cpp:
      args:
        model_draft: ./models/draft.gguf
        lora: ./models/first.gguf
        mmproj: ./models/mmproj.gguf
  looks-up:
    model: ./models/tiny.gguf
    task: generate
    context: 4096
    concurrency: 4
    llama.cpp: {args: {spec_type: ngram-simple, ubatch_size: 128}}
  sees:
    model: ./models/tiny.gguf
    task: generate
    context: 4096
    concurrency: 1
    placement: {pin: {host: box, gpus: [0, 1]}}
    llama.cpp: {args: {mmproj: ./models/mmproj.gguf, mmproj_device: CUDA1}}
  two:
    model: ./models/tiny.gguf
    task: generate
    context: 16384
    concurrency: 128
    placement: {pin: {host: box, gpus: [0, 1]}}
    llama.cpp: {args: {model_draft: ./models/draft.gguf, lora: ./models/first.gguf}}
"""
_BUFFER = re.compile(r"CUDA(\d) +(model|LoRA|KV|compute) buffer size = +([0-9.]+) MiB")
_PARTS = {"model": "weights", "LoRA": "weights", "KV": "kv", "compute": "compute"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, llama_server: Path) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    write_decoder(folder / "models" / "tiny.gguf", "F16")
    write_decoder(folder / "models" / "draft.gguf", "Q8_0")
    write_adapter(folder / "models" / "first.gguf", rank=8)
    write_adapter(folder / "models" / "second.gguf", rank=8)
    write_projector("tiny", folder / "models" / "mmproj.gguf")
    program = on_paper_gpus(folder, llama_server)
    with served(
        folder,
        MODELS,
        REPLICAS,
        engine=f"llama.cpp: {{build: {STUDIED_BUILD}, bin: {program}}}",
        host="ram: 12GiB, gpus: {kind: rtx-4090, count: 2}",
        environment={"LLAMA_ARG_LOG_VERBOSITY": "4"},
    ) as running:
        yield running


@pytest.mark.parametrize("replica", REPLICAS)
def test_it_is_healthy(fleet: Fleet, replica: str) -> None:
    assert fleet.get(replica, "/health") == {"status": "ok"}


@pytest.mark.parametrize("replica", ON_GPUS)
def test_it_logs_the_plans_buffers_of_each_gpu(fleet: Fleet, replica: str) -> None:
    """Model and companions together; adapters are applied after a first, smaller reservation."""
    sums: dict[tuple[int, str], float] = {}
    computed: dict[tuple[int, str], float] = {}
    for owner, gpu, kind, size in _logged(fleet.log(replica)):
        key = (int(gpu), _PARTS[kind])
        if kind == "compute":
            # A later reservation stands for an earlier.
            sums[key] = sums.get(key, 0.0) - computed.get((int(gpu), owner), 0.0)
            computed[int(gpu), owner] = size
        sums[key] = sums.get(key, 0.0) + size
    # The weights of a projector are not logged.
    parts = ("weights", "kv", "compute") if replica != "sees-0" else ("kv", "compute")
    planned = {
        (gpu, part): share["breakdown"][part]["bytes"] / MIB
        for gpu, share in enumerate(fleet.replica(replica)["shares"])
        for part in parts
        if share["breakdown"][part]["bytes"]
    }
    sums = {key: size for key, size in sums.items() if key[1] in parts}
    assert sums == {key: pytest.approx(size, abs=0.0151) for key, size in planned.items()}


def _logged(log: str) -> Iterator[tuple[str, str, str, float]]:
    """Owner, GPU, kind and MiB of each buffer."""
    owner = "model"
    for line in log.splitlines():
        if "loading draft model" in line:
            owner = "draft"
        if "warmup with image size" in line:
            owner = "projector"
        found = _BUFFER.search(line)
        if found:
            yield owner, found[1], found[2], float(found[3])


def test_a_host_logs_the_plans_buffers(fleet: Fleet) -> None:
    found = re.findall(r"CPU\w* +(model|LoRA|KV) buffer size = +([0-9.]+) MiB", fleet.log("host-0"))
    planned = fleet.replica("host-0")["ram_breakdown"]
    projector = read_projector(_facts(fleet.folder / "models" / "mmproj.gguf"))
    seen = sum(padded_bytes(weight, on_gpu=False) for weight in projector.weights)
    weights = sum(float(size) for kind, size in found if kind != "KV")
    assert weights == pytest.approx((planned["weights"]["bytes"] - seen) / MIB, abs=0.0251)
    cached = sum(float(size) for kind, size in found if kind == "KV")
    assert cached == pytest.approx(planned["kv"]["bytes"] / MIB, abs=0.0101)


def _facts(path: Path) -> ModelFacts:
    return gguf_facts([read_gguf(LocalFile(path, path.name))])


@pytest.mark.parametrize("replica", ["drafted-0", "host-0"])
def test_the_draft_is_used(fleet: Fleet, replica: str) -> None:
    # Of random weights, the first token may end the text, and nothing is drafted for an ended one.
    body = {"prompt": "abc", "n_predict": 32, "ignore_eos": True, "temperature": 0}
    timings = fleet.post(replica, "/completion", body)["timings"]
    assert timings["predicted_n"] == 32
    assert timings["draft_n"] > 0


def test_both_adapters_are_applied(fleet: Fleet) -> None:
    found = fleet.get("adapted-0", "/lora-adapters")
    assert [(Path(each["path"]).name, each["scale"]) for each in found] == [
        ("first.gguf", 1.0),
        ("second.gguf", 1.0),
    ]


def test_a_picture_is_seen(fleet: Fleet) -> None:
    url = f"data:image/bmp;base64,{b64encode(_bitmap(300, 200)).decode()}"
    content = [
        {"type": "text", "text": "abc"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    answer = fleet.post(
        "sees-0",
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": content}], "max_tokens": 4},
    )
    # The picture is shrunk to 8 x 8 patches, each of which is a token.
    assert answer["usage"]["prompt_tokens"] > 8 * 8


def _bitmap(width: int, height: int) -> bytes:
    """A grey picture, uncompressed."""
    row = -(-3 * width // 4) * 4
    header = b"BM" + struct.pack("<IHHI", 54 + row * height, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, row * height, 0, 0, 0, 0)
    return header + b"\x80" * (row * height)


# Families whose graphs differ, and what an adapter of each usually adapts.
ADAPTED = {
    "llama32-1b": companions.USUAL,
    "gemma3-4b": companions.USUAL,
    "phi3-mini": ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight"),
    "qwen3-30b-a3b": (
        *companions.USUAL,
        *(f"ffn_{name}_exps.weight" for name in ("gate", "up", "down")),
    ),
    "qwen35-9b": (*companions.USUAL, "attn_qkv.weight", "attn_gate.weight", "ssm_out.weight"),
    "deepseek-v2-lite": (*companions.USUAL, "attn_kv_a_mqa.weight"),
    "lfm2-1.2b": (*companions.USUAL, "shortconv.in_proj.weight", "shortconv.out_proj.weight"),
    "mamba2-2.7b": ("ssm_in.weight", "ssm_out.weight"),
    "bge-m3": companions.USUAL,
}


def test_the_law_of_adapters_is_that_of_libllama(tmp_path: Path, llama_server: Path) -> None:
    assert llama_server.exists()
    cases = [case for model in ADAPTED for case in _cases(model, tmp_path)]
    cases.sort(key=lambda case: case.options.gpus)
    build = parse_build(str(STUDIED_BUILD))
    assert build is not None
    for case, answer in ask(cases, tmp_path):
        assert not answer.error, (case, answer.error)
        facts = tuple(_facts(tmp_path / name) for name in case.adapters)
        shape = adapted(shape_of(tmp_path / case.file_name), facts)
        found = usage(shape, case.options, build)
        ours = tuple(
            Sizes(
                weights=found.weights[device],
                cache=found.cache.total(device),
                compute=found.compute[device],
            )
            for device in range(case.options.gpus + 1)
        )
        assert ours == answer.devices, case


def _cases(model: str, folder: Path) -> Iterator[Case]:
    plain = Options(
        cells=8192, slots=2, unified=False, batch=2048, ubatch=512, gpu_layers=999, gpus=1
    )
    case = Case(model=model, options=plain, adapters=(f"{model}-lora.gguf",))
    shape = shape_of(write_model(case, folder))
    companions.write_adapter(
        folder / case.adapters[0], shape.arch, shape.weights, suffixes=ADAPTED[model]
    )
    moved = Moves(overrides=(Override(pattern="ffn_down", gpu=None),))
    for options in (
        plain,
        replace(plain, gpus=2),
        replace(plain, gpu_layers=4, memory_map=True),
        replace(plain, gpus=2, gpu_layers=shape.layers_in_file // 2),
        replace(plain, moves=moved),
        replace(plain, gpus=0),
    ):
        yield settled(replace(case, options=options), shape)


@pytest.mark.parametrize("flash_attention", [True, False])
def test_the_law_of_projectors_is_that_of_libmtmd(
    tmp_path: Path, llama_server: Path, flash_attention: bool
) -> None:
    """The picture reserved at start and the largest, for each kind of tower."""
    assert llama_server.exists()
    expected = {}
    for name in PROJECTORS:
        path = write_projector(name, tmp_path / f"{name}.gguf")
        projector = read_projector(_facts(path))
        tower = projector.towers[0]
        weights = sum(weight.size_bytes for weight in projector.weights)
        for picture in pictures(projector, ProjectorOptions(gpu=0)):
            sizes = compute_bytes(tower, picture, on_gpu=True, flash_attention=flash_attention)
            assert sizes is not None
            look = projectors.Look(
                path=path,
                width=picture.across * tower.patch,
                height=picture.down * tower.patch,
                count=picture.count,
                flash_attention=flash_attention,
            )
            expected[look] = projectors.Seen(gpu=weights + sizes[0], host=sizes[1])
    assert dict(projectors.ask(expected)) == expected
