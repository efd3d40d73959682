"""Recurrent and hybrid models: weights and states against vLLM's own classes, and their pools."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from compiler.engines.vllm.engine import ENGINE
from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.caches import layer_caches
from compiler.engines.vllm.memory.kv import layout_of, request_blocks
from compiler.engines.vllm.memory.states import recurrent_state_bytes
from compiler.engines.vllm.memory.weights import absorbed_sizes, decoder_sizes, encoder_sizes
from compiler.engines.vllm.model.config import shape_of
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import Version, parse_version
from compiler.ir.facts import HeaderValue
from tests.truth.vllm import TRUTH
from tests.vllm_cases import demand, refusal, request

MODELS = json.loads((TRUTH / "vllm_classes.json").read_text(encoding="utf-8"))["models"]
RECURRENT = sorted(name for name in MODELS if MODELS[name]["ranks"]["1"]["state_bytes"])
KIMI: dict[str, HeaderValue] = {
    "architectures": ["KimiLinearForCausalLM"],
    "model_type": "kimi_linear",
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 27,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "mla_use_nope": True,
    "linear_attn_config": {
        "num_heads": 32,
        "head_dim": 128,
        "short_conv_kernel_size": 4,
        "kda_layers": [n for n in range(1, 28) if n not in {4, 8, 12, 16, 20, 24, 27}],
        "full_attn_layers": [4, 8, 12, 16, 20, 24, 27],
    },
    "num_experts": 256,
    "num_experts_per_token": 8,
    "num_shared_experts": 1,
    "moe_intermediate_size": 1024,
    "first_k_dense_replace": 1,
    "vocab_size": 163840,
    "model_max_length": 1048576,
    "torch_dtype": "bfloat16",
}


def options(
    version: Version,
    *,
    ranks: int = 1,
    state_bytes: int | None = None,
    prefixes: bool | None = None,
) -> Options:
    return Options(
        version=version,
        tensor_parallel=ranks,
        context=4096,
        sequences=16,
        batched_tokens=2048,
        ssm_dtype_bytes=state_bytes,
        prefix_caching=prefixes,
    )


def caches_of(shape: Shape, own: Options) -> list[list[int]]:
    """Of each kind of attention layer: how many, bytes of a token, and the window or 0."""
    layers = [layer for layer in layer_caches(shape, own) if layer.kind != "state"]
    found = Counter((layer.size_bytes, layer.window) for layer in layers)
    return [[count, *each] for each, count in sorted(found.items())]


CUTS = [(name, int(ranks)) for name, entry in sorted(MODELS.items()) for ranks in entry["ranks"]]


@pytest.mark.parametrize(("name", "ranks"), CUTS)
def test_weights_and_states_are_those_of_the_class(name: str, ranks: int) -> None:
    """benchmarks/vllm_classes.py built each of these models from vLLM's class."""
    measured = MODELS[name]["ranks"][str(ranks)]
    shape = shape_of(MODELS[name]["config"])
    if measured is None or (shape.encoder and ranks > 1):
        found = refusal(request(MODELS[name]["config"], context=256), *["l40s"] * ranks)
        assert found.code == "heads-not-divisible"
        return
    # The CPU build, which was asked, keeps states in 32 bits.
    own = options((0, 32, 0), ranks=ranks, state_bytes=4)
    sizes = encoder_sizes(shape, own) if shape.encoder else decoder_sizes(shape, own, None)
    law = sum(sizes)
    if shape.mla:
        # Copies that decoding multiplies by are made when the weights are loaded.
        law -= shape.count("full") * sum(absorbed_sizes(shape, shape.mla, own))
    assert law == pytest.approx(measured["weights_bytes"], rel=3e-4)
    if "caches" in measured:
        assert caches_of(shape, own) == measured["caches"]
    state = recurrent_state_bytes(shape.recurrent, own) if shape.recurrent else 0
    assert state == measured["state_bytes"]


def test_kimi_linear_has_as_many_weights_as_published() -> None:
    law = sum(decoder_sizes(shape_of(KIMI), options((0, 32, 0)), None)) // 2
    # 49.1 billion parameters; the dequantized projections of seven latent layers come on top.
    assert 49.0e9 < law < 49.3e9


def test_kimi_keeps_latent_vectors_beside_states_in_32_bits() -> None:
    shape, own = shape_of(KIMI), options((0, 33, 0))
    assert shape.count("full") == 7
    assert shape.count("linear") == 20
    assert shape.recurrent is not None
    state = recurrent_state_bytes(shape.recurrent, own)
    assert state == 3 * 4096 * 3 * 2 + 32 * 128 * 128 * 4
    layout = layout_of(shape, own)
    # Blocks of latent attention are multiples of 128 tokens, and one holds a state.
    token = (512 + 64) * 2
    assert layout.block_size == -(-state // (128 * token)) * 128
    # Seven latent layers make one group, twenty recurrent ones three.
    assert [group.kind for group in layout.groups] == ["state"] * 3 + ["full"]
    assert layout.block_bytes == 7 * layout.block_size * token


def test_states_of_nemotron_are_in_32_bits_where_the_version_says_so() -> None:
    recurrent = shape_of(MODELS["nemotron"]["config"]).recurrent
    assert recurrent is not None
    sizes = [recurrent_state_bytes(recurrent, options(v)) for v in ((0, 11, 0), (0, 32, 0))]
    assert sizes[1] - sizes[0] == 2 * 128 * 64 * 128


@pytest.mark.parametrize("version", ["0.11.2", "0.25.1", "0.33.0"])
@pytest.mark.parametrize("name", RECURRENT)
def test_hybrids_are_costed_without_a_guess(name: str, version: str) -> None:
    found = demand(request(MODELS[name]["config"], version=version), "h200-sxm", "h200-sxm")
    assert not any("costed as attention" in sentence for sentence in found.assumed)
    assert found.devices[0].kv.bytes > 0


def test_a_state_takes_less_than_attention_would() -> None:
    config = MODELS["jamba"]["config"]
    hybrid = demand(request(config, context=131072), "h200-sxm")
    attention = demand(
        request({**config, "attn_layer_period": 1, "attn_layer_offset": 0}, context=131072),
        "h200-sxm",
    )
    # One layer of eight attends.
    assert hybrid.devices[0].kv.bytes < attention.devices[0].kv.bytes // 6


PREFIXES = [
    # Version, prefix caching, states of one request of Mamba-2: hybrids cache prefixes by
    # themselves from 0.26 on, and 0.32 keeps one more state from within a prefill.
    ("0.25.1", None, 1),
    ("0.30.0", None, 2),
    ("0.30.0", False, 1),
    ("0.33.0", None, 3),
]


@pytest.mark.parametrize(("version", "prefixes", "states"), PREFIXES)
def test_prefix_caching_keeps_more_states(version: str, prefixes: bool | None, states: int) -> None:
    parsed = parse_version(version)
    assert parsed is not None
    layout = layout_of(shape_of(MODELS["falcon_h1"]["config"]), options(parsed, prefixes=prefixes))
    assert {group.states for group in layout.groups if group.kind == "state"} == {states}


def test_until_0_27_prefix_caching_keeps_a_state_for_every_block() -> None:
    shape, own = shape_of(MODELS["granite"]["config"]), options((0, 26, 0))
    layout = layout_of(shape, own)
    # Blocks are whole chunks of 256 tokens that hold a state, and every group has them.
    assert layout.block_size % 256 == 0
    assert request_blocks(layout, own) == len(layout.groups) * -(-4096 // layout.block_size)


def test_mamba_needs_as_much_for_a_long_request_as_for_a_short_one() -> None:
    config = MODELS["mamba"]["config"]
    sizes = {
        demand(request(config, context=context), "l40s").devices[0].kv.bytes
        for context in (1024, 65536)
    }
    assert len(sizes) == 1


def test_the_parts_of_a_hybrid_are_told_apart_for_people() -> None:
    profile = ENGINE.profile(request(MODELS["falcon_h1"]["config"]).facts)
    assert profile.layers is not None
    assert profile.state_bytes


def as_transformers_5_writes(header: dict[str, HeaderValue]) -> dict[str, HeaderValue]:
    """Layers under their newer names, in a list also where a pattern had them."""
    words = {
        "mamba": "linear_attention",
        "attention": "full_attention",
        "M": "linear_attention",
        "*": "full_attention",
        "-": "mlp",
        "E": "moe",
    }
    written = dict(header)
    pattern = written.pop("hybrid_override_pattern", None)
    for key in ("layer_types", "layers_block_type"):
        if isinstance(kinds := written.get(key), list):
            written[key] = [words.get(str(kind), kind) for kind in kinds]
    if isinstance(pattern, str):
        del written["num_hidden_layers"]
        written["layers_block_type"] = [words[letter] for letter in pattern]
    return written


@pytest.mark.parametrize("name", ["granite", "lfm2", "nemotron", "zamba2"])
def test_both_spellings_of_layers_are_the_same_model(name: str) -> None:
    header = MODELS[name]["config"]
    assert shape_of(as_transformers_5_writes(header)) == shape_of(header)


def test_kimi_linear_without_a_section_of_its_own() -> None:
    """Transformers 5 lists the layers and names the sizes beside all others."""
    full = {4, 8, 12, 16, 20, 24, 27}
    written = {key: value for key, value in KIMI.items() if key != "linear_attn_config"}
    written |= {
        "layer_types": [
            "full_attention" if number in full else "linear_attention" for number in range(1, 28)
        ],
        "linear_num_heads": 32,
        "linear_head_dim": 128,
        "linear_conv_kernel_dim": 4,
    }
    assert shape_of(written) == shape_of(KIMI)


def test_ring_repeats_its_layers_in_groups() -> None:
    """Ling 2.5's hybrids: five layers of Kimi's delta attention, then one of latent attention."""
    written = {key: value for key, value in KIMI.items() if key != "linear_attn_config"}
    header = {**written, "model_type": "bailing_hybrid", "layer_group_size": 6}
    header |= {"num_hidden_layers": 12, "head_dim": 128, "short_conv_kernel_size": 4}
    shape = shape_of(header)
    assert shape.attention == (*("linear",) * 5, "full") * 2
    assert shape.recurrent is not None
    assert (shape.recurrent.kind, shape.recurrent.value_heads) == ("kda", 32)
