"""Models that see and hear: their towers against vLLM's own classes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from compiler.engines.vllm.engine import ENGINE
from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.activation import Activation, activation_of
from compiler.engines.vllm.memory.headers import weights_from_tensors
from compiler.engines.vllm.memory.vision import vision_sizes
from compiler.engines.vllm.memory.weights import (
    absorbed_sizes,
    decoder_sizes,
    input_buffers,
    weights_from_shape,
)
from compiler.engines.vllm.model.config import shape_of
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import Version
from compiler.ir.facts import HeaderValue, ModelFacts, Tensor
from compiler.ir.units import MIB
from compiler.resolve.hf_facts import hf_facts
from tests.truth.vllm import TRUTH
from tests.vllm_cases import KINDS, config, demand, refusal, request

MODELS = json.loads((TRUTH / "vllm_vision_classes.json").read_text(encoding="utf-8"))["models"]
CUTS = [(name, int(ranks)) for name, entry in sorted(MODELS.items()) for ranks in entry["ranks"]]


def known(name: str, tensors: list[Tensor] | None = None) -> ModelFacts:
    """The facts that `modelc lock` makes of a published configuration."""
    return hf_facts(name, {"config.json": MODELS[name]["config"]}, tensors or [])


def shape(name: str) -> Shape:
    return shape_of(known(name).header)


def options(ranks: int = 1, version: Version = (0, 32, 0), *, whole: bool = False) -> Options:
    return Options(
        version=version,
        tensor_parallel=ranks,
        context=4096,
        sequences=16,
        batched_tokens=2048,
        replicate_vision=whole,
    )


@pytest.mark.parametrize(("name", "ranks"), CUTS)
def test_weights_are_those_of_the_class(name: str, ranks: int) -> None:
    """benchmarks/vllm_classes.py built each of these models from vLLM's class."""
    measured = MODELS[name]["ranks"][str(ranks)]
    if measured is None:
        found = refusal(request(dict(known(name).header), context=256), *["h200-sxm"] * ranks)
        assert found.code == "heads-not-divisible"
        return
    own, launch = shape(name), options(ranks)
    tower = sum(vision_sizes(own, launch))
    assert tower == pytest.approx(measured["tower_bytes"], rel=1e-5)
    law = sum(decoder_sizes(own, launch, None))
    if own.mla:
        # These are made once the weights are loaded.
        law -= own.count("full") * sum(absorbed_sizes(own, own.mla, launch))
    # Buffers that are no parameters are not listed.
    law -= sum(input_buffers(own, launch))
    # Positions of scaled latent attention are in 32 bits on GPUs, and in 16 in the CPU build.
    assert law == pytest.approx(measured["weights_bytes"], rel=1e-4)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_tower_that_is_not_cut_is_whole_on_every_rank(name: str) -> None:
    four = sum(vision_sizes(shape(name), options(4, whole=True)))
    assert four == sum(vision_sizes(shape(name), options()))


def test_a_tower_of_no_known_class_is_an_assumption() -> None:
    header: dict[str, HeaderValue] = {**known("gemma3_4b").header, "model_type": "homemade"}
    said = demand(request(header), "l40s").assumed
    assert any("vision tower of `homemade` is weighed as one of CLIP's" in each for each in said)
    said = demand(request(dict(known("gemma3_4b").header)), "l40s").assumed
    assert not any("vision tower" in each for each in said)


@pytest.mark.parametrize(("name", "version"), [("qwen3_vl", (0, 28, 0)), ("qwen35", (0, 31, 0))])
def test_positions_were_four_to_a_token(name: str, version: Version) -> None:
    own = shape(name)
    before, after = (
        sum(decoder_sizes(own, options(version=each), None)) for each in (version, (0, 32, 0))
    )
    assert before - after == 3 * 262144 * own.rope.dim * 2


def test_the_grid_was_not_always_cached() -> None:
    own = shape("qwen2_vl")
    before, after = (
        sum(vision_sizes(own, options(version=each))) for each in ((0, 11, 2), (0, 12, 0))
    )
    # 8,192 places of half a head of 80.
    assert after - before == 8192 * 40 * 2


def test_mistrals_own_format_was_not_cut() -> None:
    own = shape("mistral_small_native")
    one, two = (sum(vision_sizes(own, options(ranks, (0, 11, 0)))) for ranks in (1, 2))
    assert one == two


def test_heads_of_the_tower_must_be_divided() -> None:
    header = dict(known("glm4_5v").header)
    gpus = ["h200-sxm"] * 8
    found = refusal(request(header), *gpus)
    assert found.code == "heads-not-divisible"
    assert "12 attention heads of the vision tower" in found.detail
    for args in ({"mm_encoder_tp_mode": "data"}, {"language_model_only": True}):
        assert demand(request(header, args=dict(args)), *gpus).devices[0].weights.bytes


def linear(name: str, *shape: int, bias: bool = True) -> list[Tensor]:
    sizes = {f"{name}.weight": list(shape)} | ({f"{name}.bias": [shape[0]]} if bias else {})
    return [
        Tensor(name=each, dtype="BF16", shape=sizes[each], bytes=2 * _numbers(sizes[each]))
        for each in sizes
    ]


def _numbers(sizes: list[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def paligemma_tensors() -> list[Tensor]:
    """google/paligemma2-3b as its files have it: a tower, a projector and Gemma 2."""
    tower, decoder = "vision_tower.vision_model", "language_model.model"
    found = [
        *linear(f"{tower}.embeddings.patch_embedding", 1152, 3, 14, 14),
        *linear(f"{tower}.embeddings.position_embedding", 256, 1152, bias=False),
        *linear(f"{tower}.post_layernorm", 1152),
        *linear("multi_modal_projector.linear", 2304, 1152),
        *linear(f"{decoder}.embed_tokens", 257216, 2304, bias=False),
        *linear(f"{decoder}.norm", 2304, bias=False),
    ]
    for layer in range(27):
        block = f"{tower}.encoder.layers.{layer}"
        for name in ("layer_norm1", "layer_norm2"):
            found += linear(f"{block}.{name}", 1152)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            found += linear(f"{block}.self_attn.{name}", 1152, 1152)
        found += linear(f"{block}.mlp.fc1", 4304, 1152)
        found += linear(f"{block}.mlp.fc2", 1152, 4304)
    for layer in range(26):
        block = f"{decoder}.layers.{layer}"
        for name, rows, columns in (
            ("self_attn.q_proj", 2048, 2304),
            ("self_attn.k_proj", 1024, 2304),
            ("self_attn.v_proj", 1024, 2304),
            ("self_attn.o_proj", 2304, 2048),
            ("mlp.gate_proj", 9216, 2304),
            ("mlp.up_proj", 9216, 2304),
            ("mlp.down_proj", 2304, 9216),
        ):
            found += linear(f"{block}.{name}", rows, columns, bias=False)
        for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            found += linear(f"{block}.{name}_layernorm", 2304, bias=False)
    return found


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_tensors_of_a_known_class_are_cut_as_it_cuts_them(ranks: int) -> None:
    facts = known("paligemma2", paligemma_tensors())
    own, launch = shape_of(facts.header), options(ranks)
    found = weights_from_tensors(facts, own, launch, None)
    assert found is not None
    # The allocator's segments depend on the order of the small ones.
    assert found == pytest.approx(weights_from_shape(own, launch, None), rel=5e-3)
    # The projector is not cut: half of everything would be less.
    assert found > sum(decoder_sizes(own, launch, None))


@pytest.mark.parametrize(
    ("extra", "times"),
    [
        ("talker.model.layers.0.mlp.down_proj", 0),
        ("token2wav.code2wav_dit_model.proj_out", 0),
        ("audio_tower.layers.0.fc1", 1),
    ],
)
def test_what_speaks_is_left_out_and_what_hears_is_whole(extra: str, times: int) -> None:
    launch, more = options(2), linear(extra, 8192, 8192, bias=False)
    plain = known("paligemma2", paligemma_tensors())
    with_it = known("paligemma2", [*paligemma_tensors(), *more])
    own = shape_of(plain.header)
    weights = [weights_from_tensors(facts, own, launch, None) or 0 for facts in (plain, with_it)]
    assert weights[1] - weights[0] == times * 8192 * 8192 * 2


def test_a_tower_that_the_file_does_not_have_as_configured_is_taken_from_its_tensors() -> None:
    """Half of the layers are there: no class says how they are cut, so projectors stay whole."""
    tensors = [
        each
        for each in paligemma_tensors()
        if "encoder.layers.1" not in each.name and "encoder.layers.2" not in each.name
    ]
    facts = known("paligemma2", tensors)
    own = shape_of(facts.header)
    full, half = (
        weights_from_tensors(each, own, options(2), None) or 0
        for each in (known("paligemma2", paligemma_tensors()), facts)
    )
    assert 0.1e9 < full - half < 0.3e9


def test_a_quantized_tower_is_taken_from_its_tensors() -> None:
    def quantized(tensor: Tensor) -> Tensor:
        if ".mlp.fc1.weight" not in tensor.name:
            return tensor
        return tensor.model_copy(update={"dtype": "F8_E4M3", "bytes": tensor.bytes // 2})

    facts = known("paligemma2", [quantized(each) for each in paligemma_tensors()])
    own = shape_of(facts.header)
    plain = weights_from_tensors(known("paligemma2", paligemma_tensors()), own, options(), None)
    less = weights_from_tensors(facts, own, options(), None)
    assert plain is not None
    assert less is not None
    # The allocator rounds both in its own way.
    assert plain - less == pytest.approx(27 * 4304 * 1152, rel=0.2)


# Workspaces of cuBLAS on an L40S.
CUBLAS_BYTES = 9 * MIB


def peaks(
    name: str, *, requests: int = 16, images: int = 999, ranks: int = 1, batch: int = 2048
) -> Activation:
    launch = replace(options(ranks), sequences=requests, images=images, context=8192)
    launch = replace(launch, batched_tokens=batch)
    return activation_of(shape(name), launch, KINDS["l40s"])


def forward_bytes(name: str, *, requests: int = 16, images: int = 999, ranks: int = 1) -> int:
    return peaks(name, requests=requests, images=images, ranks=ranks).forward_bytes


def test_a_batch_of_pictures_goes_through_the_tower_at_once() -> None:
    """Gemma 3 makes 256 tokens of 4,096 patches: eight pictures fill a batch of 2,048 tokens.

    Their pixels and what they are embedded as stay beside the tower's own pass.
    """
    full = forward_bytes("gemma3_4b")
    held = 8 * (896 * 896 * 3 + 256 * 2560) * 2
    assert full == 8 * (4096 * (5 * 1152 + 2 * 4304) + 256 * 2560) * 2 + held + CUBLAS_BYTES
    assert forward_bytes("gemma3_4b", images=0) < full
    # One request with one picture brings no more than that.
    alone = forward_bytes("gemma3_4b", requests=1, images=1) - CUBLAS_BYTES
    text = forward_bytes("gemma3_4b", images=0) - CUBLAS_BYTES
    assert alone == max((full - CUBLAS_BYTES) // 8, text + held // 8)
    # Two GPUs share the projections and the MLP, and nothing else.
    assert full // 2 < forward_bytes("gemma3_4b", ranks=2) < full


def test_the_largest_picture_is_profiled_whatever_the_batch() -> None:
    """16,384 tokens of Qwen2-VL are 65,536 patches of 14 by 14 pixels, each of two frames."""
    tower = (65536 * (5 * 1280 + 2 * 5120) + 16384 * 1536) * 2
    held = (65536 * 3 * 2 * 14 * 14 + 16384 * 1536) * 2
    assert forward_bytes("qwen2_vl") == tower + held + CUBLAS_BYTES


def test_pictures_are_still_held_while_sampling() -> None:
    without, held = (peaks("gemma3_4b", images=images) for images in (0, 999))
    assert held.sampler_bytes - without.sampler_bytes == 8 * (896 * 896 * 3 + 256 * 2560) * 2


def test_only_whole_pictures_fill_a_batch() -> None:
    """Of Gemma 3's pictures of 256 tokens, a batch of 500 holds one and one of 512 two."""
    one, two = (peaks("gemma3_4b", batch=batch).sampler_bytes for batch in (500, 512))
    rest = one - peaks("gemma3_4b", batch=256).sampler_bytes
    # The batch's hidden states are kept as well.
    assert rest == (500 - 256) * 2560 * 2
    assert two - one == (896 * 896 * 3 + 256 * 2560 + 12 * 2560) * 2


@pytest.mark.parametrize(
    "damage",
    [{"depth": 1 << 40}, {"embed_dim": -1280}, {"patch_size": -14}, {"num_heads": -16, "depth": 0}],
)
def test_damaged_towers_do_no_harm(damage: dict[str, HeaderValue]) -> None:
    header = dict(known("qwen2_vl").header)
    section = header["vision_config"]
    assert isinstance(section, dict)
    header["vision_config"] = {**section, **damage}
    found = ENGINE.check_request(request(header))
    assert not found or found[0].code == "facts-missing"


def test_drafts_see_nothing() -> None:
    """A shape without a tower has no parts of one."""
    plain = replace(shape("qwen2_vl"), vision=None)
    assert list(vision_sizes(plain, options())) == []


def test_gemma_3_as_published_is_the_model_that_was_measured() -> None:
    """The 4B's config.json leaves its heads and its vocabulary to Transformers' class."""
    path = TRUTH / "vllm_configs" / "gemma-3-4b-it.json"
    header = json.loads(path.read_text(encoding="utf-8"))
    left_out = {"vocab_size", "head_dim", "num_attention_heads", "num_key_value_heads"}
    text = header["text_config"].items()
    published = {**header, "text_config": {key: item for key, item in text if key not in left_out}}
    found = shape_of(hf_facts("gemma-3", {"config.json": published}, []).header)
    measured = shape_of(header)
    for name in ("vocabulary", "heads", "kv_heads", "head_dim", "attention", "window", "vision"):
        assert getattr(found, name) == getattr(measured, name)


@pytest.mark.parametrize("name", ["Ovis", "MolmoForCausalLM", "Phi4MMForCausalLM"])
def test_a_tower_without_a_section_is_an_assumption(name: str) -> None:
    found = demand(request({**config("Qwen3-8B"), "architectures": [name]}), "l40s")
    assert any(f"tower of `{name}` is not weighed" in sentence for sentence in found.assumed)
