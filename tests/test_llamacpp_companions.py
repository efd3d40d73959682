"""Draft models, projectors and LoRA adapters of llama.cpp: what they take, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.engines.llamacpp.demand.demands import options_of
from compiler.engines.llamacpp.engine import ENGINE
from compiler.engines.llamacpp.flags.builds import parse_build
from compiler.engines.llamacpp.launch.companions import loaded
from compiler.engines.llamacpp.launch.draft import options_of_draft
from compiler.engines.llamacpp.launch.options import ProjectorOptions
from compiler.engines.llamacpp.launch.projector import pictures
from compiler.engines.llamacpp.memory.extras import extras
from compiler.engines.llamacpp.memory.law import usage
from compiler.engines.llamacpp.model.projector import read_projector
from compiler.engines.llamacpp.model.shape import read_shape
from compiler.ir.catalog import builtin_kinds
from compiler.ir.demand import (
    ArgumentProblem,
    Breakdown,
    Demand,
    Endpoint,
    Located,
    Refusal,
    Request,
    Site,
)
from compiler.ir.facts import ModelFacts
from compiler.ir.spec import ArgValue
from compiler.ir.units import GIB, MIB
from compiler.resolve.gguf import read_gguf
from compiler.resolve.gguf_facts import gguf_facts
from compiler.resolve.ranges import LocalFile
from tests.generators.companions import write_adapter
from tests.generators.gguf_shapes import facts
from tests.generators.projectors import PROJECTORS, write_projector

KIND = builtin_kinds()["rtx-4090"]
BUILD = "b11390"


def _read(path: Path) -> ModelFacts:
    return gguf_facts([read_gguf(LocalFile(path, path.name))])


@cache
def adapter(model: str = "qwen3-8b", rank: int = 16, dtype: str = "f16") -> ModelFacts:
    shape = read_shape(facts(model))
    with TemporaryDirectory() as folder:
        return _read(
            write_adapter(
                Path(folder) / "lora.gguf", shape.arch, shape.weights, rank=rank, dtype=dtype
            )
        )


@cache
def projector(name: str) -> ModelFacts:
    with TemporaryDirectory() as folder:
        return _read(write_projector(name, Path(folder) / "mmproj.gguf"))


def request(
    companions: Mapping[str, ModelFacts | tuple[ModelFacts, ...]] | None = None,
    model: str = "qwen3-8b",
    **more: object,
) -> Request:
    """A request whose companions are named by their arguments."""
    found = {
        argument: given if isinstance(given, tuple) else (given,)
        for argument, given in (companions or {}).items()
    }
    args: dict[str, ArgValue] = {
        argument: [f"./{argument}-{index}.gguf" for index in range(len(each))]
        if argument == "lora"
        else f"./{argument}.gguf"
        for argument, each in found.items()
    }
    own = more.pop("args", {})
    assert isinstance(own, dict)
    fields: dict[str, object] = {
        "version": BUILD, "task": "generate", "context": 8192, "concurrency": 2,
    } | more  # fmt: skip
    return Request(
        engine="llama.cpp",
        facts=facts(model),
        args=args | own,
        companions=found,
        **fields,  # type: ignore[arg-type]
    )


def demands(asked: Request, gpus: int = 1, budget_bytes: int = 23 * GIB) -> tuple[Demand, ...]:
    assert not ENGINE.check_request(asked)
    site = Site(kinds=(KIND,) * gpus, budgets_bytes=(budget_bytes,) * gpus)
    found = ENGINE.demands(asked, site)
    assert not isinstance(found, Refusal), found
    return found


def argv(demand: Demand) -> dict[str, str]:
    places = {
        argument: tuple(Located(path=f"/srv/{argument}-{index}") for index in range(len(found)))
        for argument, found in demand.request.companions.items()
    }
    words = ENGINE.launch(
        demand,
        Endpoint(
            bin="llama-server",
            model_path="/srv/model.gguf",
            revision=None,
            served_name="chat",
            listen="127.0.0.1",
            port=8000,
            shares_bytes=(),
            companions=places,
        ),
    ).argv
    flags = [index for index, word in enumerate(words) if word.startswith("--")]
    return {
        words[index]: " ".join(words[index + 1 : after])
        for index, after in zip(flags, [*flags[1:], len(words)], strict=True)
    }


def one_fault(asked: Request) -> ArgumentProblem:
    (problem,) = ENGINE.check_request(asked)
    return problem


def growth(part: str, wider: Breakdown, plain: Breakdown) -> int:
    size: int = getattr(wider, part).bytes - getattr(plain, part).bytes
    return size


# ---- LoRA


def test_an_adapter_lies_beside_the_weights_that_it_adapts() -> None:
    plain, wider = demands(request())[0], demands(request({"lora": adapter()}))[0]
    size = sum(tensor.bytes for tensor in adapter().expand())
    assert growth("weights", wider.devices[0], plain.devices[0]) == size
    assert growth("kv", wider.devices[0], plain.devices[0]) == 0
    assert f"with {-(-size // MIB)} MiB of LoRA adapters" in wider.devices[0].weights.why


def test_adapters_are_split_with_their_layers() -> None:
    asked = request({"lora": adapter()}, offload=20)
    plain, wider = demands(request(offload=20), 2)[0], demands(asked, 2)[0]
    size = sum(tensor.bytes for tensor in adapter().expand())
    places = zip((*wider.devices, wider.host), (*plain.devices, plain.host), strict=True)
    grown = [growth("weights", new, old) for new, old in places]
    assert sum(grown) == size
    assert all(grown)


def test_a_larger_rank_takes_more() -> None:
    small, large = (
        demands(request({"lora": adapter(rank=rank)}))[0].devices[0] for rank in (8, 64)
    )
    assert large.weights.bytes > small.weights.bytes
    assert large.compute.bytes >= small.compute.bytes


def test_adapters_read_beside_a_mapped_model_count_in_ram() -> None:
    args = {"load_mode": "mmap"}
    (plain,) = demands(request(args=args, offload="cpu"), 0)
    (wider,) = demands(request({"lora": adapter()}, args=args, offload="cpu"), 0)
    size = sum(tensor.bytes for tensor in adapter().expand())
    assert growth("weights", wider.host, plain.host) == size


@pytest.mark.parametrize(("version", "flag"), [
    ("b6000", "--lora /srv/lora-0 --lora /srv/lora-1"),
    ("b9000", "--lora /srv/lora-0,/srv/lora-1"),
])  # fmt: skip
def test_adapters_are_named_as_the_build_takes_them(version: str, flag: str) -> None:
    asked = request({"lora": (adapter(), adapter(rank=8))}, version=version)
    demand = demands(asked)[0]
    places = {"lora": (Located(path="/srv/lora-0"), Located(path="/srv/lora-1"))}
    endpoint = Endpoint(
        bin="s", model_path="m", revision=None, served_name="n", listen="l", port=1,
        shares_bytes=(), companions=places,
    )  # fmt: skip
    assert flag in " ".join(ENGINE.launch(demand, endpoint).argv)


def test_an_adapter_of_another_architecture_does_not_fit() -> None:
    assert "`llama`, not `qwen3`" in one_fault(request({"lora": adapter("llama32-1b")})).detail


def test_an_adapter_of_another_size_does_not_fit() -> None:
    detail = one_fault(request({"lora": adapter("qwen3-4b")})).detail
    assert "and the model's is of" in detail
    assert "`blk.0." in detail


def test_an_adapter_of_a_tensor_that_the_model_lacks_does_not_fit() -> None:
    deeper = adapter("qwen3-32b")
    assert one_fault(request({"lora": deeper})).code == "engine-format"


def test_half_a_pair_does_not_fit() -> None:
    found = adapter()
    half = found.model_copy(
        update={"tensors": [each for each in found.tensors if not each.name.endswith("lora_b")]}
    )
    assert "only one of" in one_fault(request({"lora": half})).detail


def test_a_model_is_no_adapter() -> None:
    assert "must be a LoRA adapter" in one_fault(request({"lora": facts("qwen3-8b")})).detail


def test_an_adapter_of_an_embedding_that_is_also_the_output_is_refused() -> None:
    shape = read_shape(facts("llama32-1b"))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lora.gguf"
        write_adapter(path, "llama", shape.weights, suffixes=("token_embd.weight",))
        found = _read(path)
    assert shape.tied
    problem = one_fault(request({"lora": found}, model="llama32-1b"))
    assert "also the output layer" in problem.detail


# ---- drafts

DRAFT = {"model_draft": facts("qwen3-1.7b")}


def test_a_draft_takes_weights_cache_and_buffers_of_its_own() -> None:
    """What is beside the model is what the law says of the draft under its own options."""
    plain, wider = demands(request())[0], demands(request(DRAFT))[0]
    build = parse_build(BUILD)
    assert build
    shape = loaded(wider.request)
    options = options_of(wider, shape, build)
    under = options_of_draft(options)
    assert under is not None
    alone = usage(read_shape(facts("qwen3-1.7b")), under, build)
    assert growth("weights", wider.devices[0], plain.devices[0]) == alone.weights[0]
    assert growth("kv", wider.devices[0], plain.devices[0]) == alone.cache.total(0)
    assert "draft model" in wider.devices[0].kv.why
    assert (under.cells, under.slots) == (options.all_cells, options.slots)


def test_the_model_keeps_a_row_of_logits_for_each_drafted_token() -> None:
    few = demands(request(DRAFT, args={"spec_draft_n_max": 1}))[0]
    many = demands(request(DRAFT, args={"spec_draft_n_max": 16}))[0]
    vocabulary = read_shape(facts("qwen3-8b")).vocabulary
    rows = 2 * (16 - 1)
    assert growth("compute", many.host, few.host) >= rows * vocabulary * 4
    assert growth("compute", many.devices[0], few.devices[0]) >= 0


def test_looking_up_ngrams_costs_rows_and_no_weights() -> None:
    plain = demands(request())[0]
    looking = demands(request(args={"spec_type": "ngram-simple"}))[0]
    assert growth("weights", looking.devices[0], plain.devices[0]) == 0
    assert growth("kv", looking.devices[0], plain.devices[0]) == 0
    assert looking.host.compute.bytes > plain.host.compute.bytes
    assert argv(looking)["--spec-ngram-simple-size-m"] == "48"


def test_the_draft_stays_on_the_gpu_while_its_model_leaves_it() -> None:
    ladder = demands(request(DRAFT, offload="auto"))
    held = [demand.devices[0].kv.bytes for demand in ladder]
    assert held == sorted(held, reverse=True)
    last_on_gpu = argv(ladder[-2])
    assert last_on_gpu["--n-gpu-layers"] == "1"
    assert last_on_gpu["--gpu-layers-draft"] == "29"
    assert argv(ladder[-1])["--gpu-layers-draft"] == "0"


def test_a_draft_leaves_room_for_fewer_layers() -> None:
    budget = 6 * GIB

    def most(asked: Request) -> int:
        fitting = (d for d in demands(asked, 1, budget) if d.devices[0].high_bytes <= budget)
        return next(d.split.gpu_layers or 0 for d in fitting)

    assert 0 < most(request(DRAFT, offload="auto")) < most(request(offload="auto"))


def test_a_draft_is_cut_over_the_gpus_as_its_model_is() -> None:
    plain, wider = demands(request(), 2)[0], demands(request(DRAFT), 2)[0]
    assert all(
        growth("kv", new, old) > 0 for new, old in zip(wider.devices, plain.devices, strict=True)
    )


def test_a_draft_of_another_vocabulary_is_refused() -> None:
    detail = one_fault(request({"model_draft": facts("llama32-1b")})).detail
    assert "128,256 tokens" in detail


def test_an_encoder_drafts_nothing() -> None:
    assert "encoder" in one_fault(request({"model_draft": facts("bge-m3")})).detail


def test_a_draft_head_is_no_draft_model() -> None:
    head = facts("qwen3-1.7b").model_copy(update={"architecture": "eagle3"})
    assert "`eagle3`" in one_fault(request({"model_draft": head})).detail


def test_a_build_with_a_draft_context_a_slot_is_refused() -> None:
    problem = one_fault(request(DRAFT, version="b8000"))
    assert problem.code == "unsupported-argument"
    assert "b9842" in problem.detail


@pytest.mark.parametrize("kind", ["draft-dspark", "draft-eagle3"])
def test_drafts_with_a_graph_of_their_own_are_refused(kind: str) -> None:
    assert one_fault(request(args={"spec_type": kind})).code == "unsupported-argument"


def test_an_unknown_kind_of_speculation_is_named() -> None:
    assert "`magic`" in one_fault(request(args={"spec_type": "magic"})).detail


def test_nothing_is_drafted_for_embeddings() -> None:
    asked = request({"model_draft": facts("qwen3-0.6b-embed")}, "qwen3-0.6b-embed", task="embed")
    assert one_fault(asked).code == "task-mismatch"


@pytest.mark.parametrize(
    ("args", "needed"),
    [
        ({"gpu_layers_draft": 8}, "model_draft"), ({"gpu_layers_draft": 3}, "model_draft"),
        ({"image_max_tokens": 100}, "mmproj"), ({"mmproj_offload": False}, "mmproj"),
    ],
)  # fmt: skip
def test_a_flag_of_a_companion_needs_the_companion(args: dict[str, ArgValue], needed: str) -> None:
    assert one_fault(request(args=args)).detail.endswith(f"without `{needed}`")


@settings(max_examples=30)
@given(
    layers=st.integers(0, 40),
    types=st.sampled_from(["f16", "q8_0"]),
    drafted=st.integers(1, 32),
    gpus=st.integers(0, 3),
    slots=st.integers(1, 8),
)
def test_the_flags_of_a_draft_are_those_costed(
    layers: int, types: str, drafted: int, gpus: int, slots: int
) -> None:
    args: dict[str, ArgValue] = {
        "gpu_layers_draft": layers,
        "cache_type_k_draft": types,
        "cache_type_v_draft": types,
        "spec_draft_n_max": drafted,
    }
    asked = request(DRAFT, args=args, concurrency=slots, offload="auto" if not gpus else "none")
    demand = demands(asked, gpus)[0]
    build = parse_build(BUILD)
    assert build
    options = options_of(demand, loaded(asked), build)
    flags = argv(demand)
    assert options.draft is not None
    assert flags["--model-draft"] == "/srv/model_draft-0"
    assert flags["--spec-type"] == "draft-simple"
    assert (
        int(flags["--gpu-layers-draft"])
        == options.draft.gpu_layers
        == (min(layers, 29) if gpus else 0)
    )
    assert flags["--cache-type-k-draft"] == options.draft.cache_type_k == types
    assert flags["--cache-type-v-draft"] == options.draft.cache_type_v == types
    assert int(flags["--spec-draft-n-max"]) == options.drafted_tokens == drafted
    assert options.output_rows == min(options.batch, slots * (1 + drafted))


# ---- projectors

VISION = {"mmproj": projector("gemma-3-4b")}


def test_a_projector_lies_on_one_gpu() -> None:
    plain = demands(request(model="gemma3-4b"), 2)[0]
    wider = demands(request(VISION, "gemma3-4b", args={"mmproj_device": "CUDA1"}), 2)[0]
    size = sum(tensor.bytes for tensor in projector("gemma-3-4b").expand())
    build = parse_build(BUILD)
    assert build
    (extra,) = extras(loaded(wider.request), options_of(wider, loaded(wider.request), build), build)
    assert extra.weights[0] == 0
    assert size <= extra.weights[1] <= size + 128 * 1000
    assert "projector for pictures of 256 tokens" in wider.devices[1].compute.why
    assert "projector" not in wider.devices[0].weights.why
    total = sum(breakdown.weights.bytes for breakdown in wider.devices)
    assert total - sum(each.weights.bytes for each in plain.devices) == extra.weights[1]


def test_a_projector_can_stay_on_the_host() -> None:
    asked = request(VISION, "gemma3-4b", args={"mmproj_offload": False})
    demand = demands(asked)[0]
    assert "projector" in demand.host.weights.why
    assert "projector" not in demand.devices[0].weights.why
    assert "--no-mmproj-offload" in argv(demand)


def test_a_projector_follows_its_model_to_the_host() -> None:
    (demand,) = demands(request(VISION, "gemma3-4b", offload="cpu"), 0)
    assert "projector" in demand.host.weights.why
    flags = argv(demand)
    assert "--no-mmproj-offload" in flags
    assert flags["--mmproj"] == "/srv/mmproj-0"


def test_fewer_image_tokens_take_less() -> None:
    sizes = [
        demands(
            request(
                {"mmproj": projector("qwen2.5-vl-7b")},
                "qwen25-7b",
                args={"image_max_tokens": tokens} if tokens else {},
            )
        )[0]
        .devices[0]
        .compute
        for tokens in (256, 1024, 0)
    ]
    assert sizes[0].bytes < sizes[1].bytes < sizes[2].bytes
    assert "4,096 tokens" in sizes[2].why
    # What is reserved at start is the low end: a larger picture makes the buffer grow.
    assert sizes[2].low_bytes < sizes[2].bytes == sizes[2].high_bytes


def test_the_image_tokens_are_on_the_command_line() -> None:
    asked = request(
        {"mmproj": projector("qwen2.5-vl-7b")}, "qwen25-7b", args={"image_max_tokens": 512}
    )
    flags = argv(demands(asked)[0])
    assert flags["--image-max-tokens"] == "512"
    assert flags["--mtmd-batch-max-tokens"] == "1024"
    assert flags["--mmproj-device"] == "CUDA0"


def test_tiles_are_looked_at_together_up_to_the_batch() -> None:
    found = read_projector(projector("internvl3-8b"))
    warm, most = pictures(found, ProjectorOptions(gpu=0))
    assert (warm.count, most.count) == (1, 4)
    _, alone = pictures(found, ProjectorOptions(gpu=0, batch_tokens=256))
    assert alone.count == 1


def test_a_projector_of_another_width_is_refused() -> None:
    assert "elements" in one_fault(request(VISION)).detail


def test_a_picture_must_fit_the_ubatch_of_a_model_that_reads_it_at_once() -> None:
    problem = one_fault(request(VISION, "gemma3-4b", args={"ubatch_size": 128}))
    assert problem.argument == "ubatch_size"


def test_a_picture_cannot_have_more_tokens_than_it_may() -> None:
    asked = request(
        {"mmproj": projector("qwen2.5-vl-7b")},
        "qwen25-7b",
        args={"image_min_tokens": 1024, "image_max_tokens": 512},
    )
    assert one_fault(asked).argument == "image_min_tokens"


def test_an_older_build_has_other_projectors() -> None:
    assert "b9842" in one_fault(request(VISION, "gemma3-4b", version="b9000")).detail


def test_an_older_build_has_a_wider_band() -> None:
    new, old = (
        demands(request(VISION, "gemma3-4b", version=version))[0].devices[0].compute
        for version in ("b11390", "b10000")
    )
    assert new.bytes == new.high_bytes
    assert old.bytes < old.high_bytes


def test_a_gpu_that_is_not_there_is_refused() -> None:
    asked = request(VISION, "gemma3-4b", args={"mmproj_device": "CUDA3"})
    found = ENGINE.demands(asked, Site(kinds=(KIND,), budgets_bytes=(23 * GIB,)))
    assert isinstance(found, Refusal)
    assert "CUDA3" in found.detail


def test_a_tower_that_is_not_known_has_a_wide_band_and_says_so() -> None:
    known = projector("gemma-3-4b")
    header = dict(known.header) | {"projector_type": "novel"}
    asked = request({"mmproj": known.model_copy(update={"header": header})}, "gemma3-4b")
    demand = demands(asked)[0]
    compute = demand.devices[0].compute
    assert compute.low_bytes < compute.bytes < compute.high_bytes
    assert any("`novel`" in sentence for sentence in demand.assumed)


@pytest.mark.parametrize("name", PROJECTORS)
def test_every_tower_gives_demands_on_every_kind_of_site(name: str) -> None:
    found = read_projector(projector(name))
    assert found.exact
    warm, most = pictures(found, ProjectorOptions(gpu=0))
    assert 0 < warm.patches <= most.patches * most.count


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vision.patch_size", 0), ("vision.embedding_length", 1 << 30),
        ("vision.attention.head_count", 0), ("vision.image_size", 1 << 20),
        ("vision.block_count", 1 << 20), ("has_vision_encoder", False),
    ],
)  # fmt: skip
def test_a_damaged_projector_is_refused(key: str, value: int) -> None:
    known = projector("gemma-3-4b")
    header = dict(known.header) | {key: value}
    asked = request({"mmproj": known.model_copy(update={"header": header})}, "gemma3-4b")
    assert one_fault(asked).code == "facts-missing"


def test_all_companions_together() -> None:
    asked = request(
        {
            "lora": adapter("gemma3-4b"),
            "model_draft": facts("gemma3-1b"),
            "mmproj": projector("gemma-3-4b"),
        },
        "gemma3-4b",
    )
    (breakdown,) = demands(asked)[0].devices
    assert "LoRA adapters" in breakdown.weights.why
    assert "draft model" in breakdown.weights.why
    assert "projector" in breakdown.weights.why
