"""DeepSeek-V4: rows that stand for several tokens, their pool and the weights round them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.compressed import compressed_caches, packed_groups
from compiler.engines.vllm.memory.kv import layout_of, logged_tokens, needed_blocks, request_blocks
from compiler.engines.vllm.model.config import ShapeError, shape_of
from compiler.engines.vllm.model.quantization import scheme_of
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.facts import HeaderValue
from compiler.ir.units import GIB
from tests.vllm_cases import config, demand, request

FLASH = "DeepSeek-V4-Flash"


def shape() -> Shape:
    return shape_of(config(FLASH))


def launch(version: tuple[int, int, int] = (0, 25, 0), *, drafts: int = 0) -> Options:
    return Options(
        version=version,
        tensor_parallel=2,
        context=1_048_576,
        sequences=64,
        batched_tokens=4096,
        kv_dtype="fp8",
        draft_layers=drafts,
    )


def test_layers_share_a_block_by_the_size_of_their_pages() -> None:
    """21 layers of ratio 4 with an indexer, 20 of ratio 128, and a window in all 43 and the MTP."""
    own = shape().compressed
    assert own is not None
    groups = packed_groups(compressed_caches(shape(), own, launch(drafts=1)), launch(drafts=1))
    assert [(group.kind, group.block, group.window) for group in groups] == [
        ("rows", 256, 0),
        ("window", 64, 128),
        ("window", 64, 128),
        ("window", 4, 8),
        ("window", 8, 128),
    ]
    assert {size: count for size, count, _ in groups[0].pages} == {
        37440: 21,
        8640: 21,
        1728: 20,
    }


def test_tokens_are_those_of_a_log() -> None:
    """10.29 GiB on 0.25.0 with MTP hold 1,993,100 tokens, 1.90 requests of the full length."""
    options = launch(drafts=1)
    layout = layout_of(shape(), options)
    blocks = round(10.29 * GIB) // layout.block_bytes
    tokens = logged_tokens(layout, options, blocks)
    assert tokens == pytest.approx(1_993_100, rel=0.0005)
    assert blocks / request_blocks(layout, options) == pytest.approx(1.9, rel=0.001)
    assert needed_blocks(layout, options) > request_blocks(layout, options)


def test_from_0_29_on_a_block_is_as_large_as_the_largest_group() -> None:
    old, new = (layout_of(shape(), launch(version)) for version in ((0, 28, 0), (0, 29, 0)))
    assert new.block_bytes == 21 * 37440 + 21 * 8640 + 20 * 1728
    assert old.block_bytes > new.block_bytes
    options = launch((0, 29, 0))
    assert needed_blocks(new, options) == request_blocks(new, options)


def test_a_token_takes_an_eighth_of_what_plain_attention_would() -> None:
    options = launch()
    layout = layout_of(shape(), options)
    token_bytes = layout.block_bytes * request_blocks(layout, options) / options.context
    assert 5000 < token_bytes < 6000


def test_experts_are_in_four_bits_unless_the_config_says_other() -> None:
    header = config(FLASH)
    flash = scheme_of(shape().quantization, None)
    assert flash.for_module("model.layers.5.mlp.experts.0.gate_proj").kind == "mxfp4"
    assert flash.for_module("model.layers.5.self_attn.wq_b").kind == "fp8"
    base = scheme_of(shape_of({**header, "expert_dtype": "fp8"}).quantization, None)
    assert base.for_module("model.layers.5.mlp.experts.0.gate_proj").kind == "fp8"


def test_ratios_by_kinds_of_layers_are_those_of_the_list() -> None:
    header: dict[str, HeaderValue] = dict(config(FLASH))
    listed = header.pop("compress_ratios")
    assert isinstance(listed, list)
    names = {0: "window", 4: "csa", 128: "hca"}
    kinds: list[HeaderValue] = [names[ratio] for ratio in listed if isinstance(ratio, int)]
    header["layer_types"] = kinds
    header["compress_rates"] = {"window": 0, "csa": 4, "hca": 128}
    found, expected = shape_of(header).compressed, shape().compressed
    assert found is not None
    assert found == expected


def test_other_ratios_are_an_error() -> None:
    ratios: list[HeaderValue] = [16] * 43
    header = {**config(FLASH), "compress_ratios": ratios}
    with pytest.raises(ShapeError, match="compressed attention"):
        shape_of(header)


def test_it_fits_on_two_cards() -> None:
    wanted = request(FLASH, context=65536, concurrency=8, version="0.33.0")
    found = demand(wanted, *["h200-sxm"] * 2, linked=True)
    assert found.devices[0].weights.bytes < 80 * GIB
    assert found.devices[0].kv.bytes < 8 * GIB
    assert found.kv_tokens >= 65536


def test_plain_rows_take_more_than_packed_ones() -> None:
    packed = layout_of(shape(), launch())
    plain = layout_of(shape(), replace(launch(), kv_dtype="bfloat16"))
    assert plain.block_bytes > packed.block_bytes
