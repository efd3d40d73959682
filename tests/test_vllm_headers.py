"""Weights from a checkpoint's tensors agree with those from its config, and follow the tensors."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.headers import weights_from_tensors
from compiler.engines.vllm.memory.weights import weights_from_shape
from compiler.engines.vllm.model.config import shape_of
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.facts import HeaderValue, ModelFacts, TensorGroup
from compiler.ir.inventory import GpuKind
from compiler.ir.units import GIB, MIB
from tests.truth.vllm import TRUTH

A100 = GpuKind(
    name="a100-sxm-80gb", memory_bytes=80 * GIB, cuda_total_bytes=79 * GIB, compute=(8, 0)
)
OPTIONS = Options(version=(0, 33, 0), context=4096, sequences=16, batched_tokens=2048)
_SIZES = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "F8_E4M3": 1, "U8": 1, "I64": 8}


def config(name: str) -> dict[str, HeaderValue]:
    loaded: dict[str, HeaderValue] = json.loads(
        (TRUTH / "vllm_configs" / f"{name}.json").read_text()
    )
    return loaded


def group(name: str, dtype: str, *shape: int, index: tuple[str, ...] = ()) -> TensorGroup:
    size = math.prod(shape) * _SIZES[dtype]
    return TensorGroup(name=name, index=list(index), dtype=dtype, shape=list(shape), bytes=size)


def linear(name: str, rows: int, columns: int, kind: str, *index: str) -> list[TensorGroup]:
    """The tensors that a checkpoint of this quantization has for one linear module."""
    match kind:
        case "awq":
            return [
                group(f"{name}.qweight", "I32", columns, rows // 8, index=index),
                group(f"{name}.qzeros", "I32", columns // 128, rows // 8, index=index),
                group(f"{name}.scales", "F16", columns // 128, rows, index=index),
            ]
        case "fp8-block":
            scale = (-(-rows // 128), -(-columns // 128))
            return [
                group(f"{name}.weight", "F8_E4M3", rows, columns, index=index),
                group(f"{name}.weight_scale_inv", "F32", *scale, index=index),
            ]
        case "fp8-channel":
            return [
                group(f"{name}.weight", "F8_E4M3", rows, columns, index=index),
                group(f"{name}.weight_scale", "BF16", rows, 1, index=index),
            ]
        case "nvfp4":
            return [
                group(f"{name}.weight_packed", "U8", rows, columns // 2, index=index),
                group(f"{name}.weight_scale", "F8_E4M3", rows, columns // 16, index=index),
                group(f"{name}.weight_global_scale", "F32", 1, index=index),
            ]
        case _:
            return [group(f"{name}.weight", "BF16", rows, columns, index=index)]


def checkpoint(shape: Shape, kind: str = "none") -> list[TensorGroup]:
    """The tensors of a decoder with grouped query attention, experts or not."""
    layers = f"0-{shape.layers - 1}"
    block, hidden = "model.layers.*", shape.hidden
    keys = shape.kv_heads * shape.head_dim
    tensors = [group("model.embed_tokens.weight", "BF16", shape.vocabulary, hidden)]
    for name, rows in (("q", shape.heads * shape.head_dim), ("k", keys), ("v", keys)):
        tensors += linear(f"{block}.self_attn.{name}_proj", rows, hidden, kind, layers)
        if shape.qkv_bias:
            tensors.append(
                group(f"{block}.self_attn.{name}_proj.bias", "BF16", rows, index=(layers,))
            )
    tensors += linear(
        f"{block}.self_attn.o_proj", hidden, shape.heads * shape.head_dim, kind, layers
    )
    if shape.qk_norm:
        for name in ("q", "k"):
            tensors.append(
                group(
                    f"{block}.self_attn.{name}_norm.weight", "BF16", shape.head_dim, index=(layers,)
                )
            )
    if shape.experts:
        count, width = f"0-{shape.experts.count - 1}", shape.experts.width
        tensors.append(
            group(f"{block}.mlp.gate.weight", "BF16", shape.experts.count, hidden, index=(layers,))
        )
        path = f"{block}.mlp.experts.*"
        index: tuple[str, ...] = (layers, count)
    else:
        path, index, width = f"{block}.mlp", (layers,), shape.inner
    tensors += linear(f"{path}.gate_proj", width, hidden, kind, *index)
    tensors += linear(f"{path}.up_proj", width, hidden, kind, *index)
    tensors += linear(f"{path}.down_proj", hidden, width, kind, *index)
    for name in ("input_layernorm", "post_attention_layernorm"):
        tensors.append(group(f"{block}.{name}.weight", "BF16", hidden, index=(layers,)))
    tensors.append(group("model.norm.weight", "BF16", hidden))
    tensors.append(group("lm_head.weight", "BF16", shape.vocabulary, hidden))
    return tensors


def facts(header: dict[str, HeaderValue], tensors: list[TensorGroup]) -> ModelFacts:
    shape = shape_of(header)
    return ModelFacts(
        format="safetensors",
        architecture=shape.architecture,
        task="generate",
        parameters=0,
        layers=shape.layers,
        vocabulary=shape.vocabulary,
        position_limit=shape.position_limit,
        quantization="bf16",
        header=header,
        tensors=tensors,
    )


def weigh(name: str, tensors: list[TensorGroup], options: Options = OPTIONS) -> int:
    header = config(name)
    found = weights_from_tensors(facts(header, tensors), shape_of(header), options, A100)
    assert found is not None
    return found


CASES = [
    ("Llama-3.1-8B", "none"),
    ("Qwen2.5-7B", "none"),
    ("Qwen3-14B", "none"),
    ("Qwen3-0.6B", "none"),
    ("Qwen3-32B-AWQ", "awq"),
    ("Qwen2.5-72B-AWQ", "awq"),
    ("Qwen3-8B-FP8", "fp8-block"),
    ("Llama-3.3-70B-FP8-dynamic", "fp8-channel"),
    ("Qwen3-14B-NVFP4", "nvfp4"),
    ("Qwen3-30B-A3B", "none"),
    ("Qwen3-235B-A22B-FP8", "fp8-block"),
]


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_tensors_and_config_agree(name: str, kind: str, ranks: int) -> None:
    shape, options = shape_of(config(name)), replace(OPTIONS, tensor_parallel=ranks)
    by_config = weights_from_shape(shape, options, A100)
    by_tensors = weigh(name, checkpoint(shape, kind), options)
    assert abs(by_tensors / by_config - 1) < 0.0005


def test_experts_are_spread_whole_with_expert_parallel() -> None:
    shape = shape_of(config("Qwen3-30B-A3B"))
    options = replace(OPTIONS, tensor_parallel=4, expert_parallel=True)
    by_tensors = weigh("Qwen3-30B-A3B", checkpoint(shape), options)
    assert abs(by_tensors / weights_from_shape(shape, options, A100) - 1) < 0.0005


def test_a_tied_output_is_not_loaded_twice() -> None:
    shape = shape_of(config("Qwen3-0.6B"))
    with_head = checkpoint(shape)
    without = [tensor for tensor in with_head if tensor.name != "lm_head.weight"]
    assert weigh("Qwen3-0.6B", with_head) == weigh("Qwen3-0.6B", without)


def test_pooling_models_have_no_output() -> None:
    shape = shape_of(config("Llama-3.1-8B"))
    pooling = weigh("Llama-3.1-8B", checkpoint(shape), replace(OPTIONS, pooling=True))
    head_bytes = shape.vocabulary * shape.hidden * 2
    assert weigh("Llama-3.1-8B", checkpoint(shape)) - pooling == head_bytes


def test_float32_checkpoints_are_held_in_16_bits() -> None:
    shape = shape_of(config("Llama-3.1-8B"))
    wide = [
        tensor.model_copy(update={"dtype": "F32", "bytes": tensor.bytes * 2})
        for tensor in checkpoint(shape)
    ]
    assert weigh("Llama-3.1-8B", wide) == weigh("Llama-3.1-8B", checkpoint(shape))


def test_a_tensor_that_the_config_does_not_know_is_weighed() -> None:
    shape = shape_of(config("Llama-3.1-8B"))
    extra = group("model.layers.*.extra.weight", "BF16", 1024, 4096, index=("0-31",))
    more = weigh("Llama-3.1-8B", [*checkpoint(shape), extra])
    assert more - weigh("Llama-3.1-8B", checkpoint(shape)) == 32 * 8 * MIB


def test_prediction_layers_load_only_for_speculation() -> None:
    shape = shape_of(config("Llama-3.1-8B"))
    extra = group("model.layers.*.self_attn.o_proj.weight", "BF16", 4096, 4096, index=("32",))
    tensors = [*checkpoint(shape), extra]
    plain = weigh("Llama-3.1-8B", checkpoint(shape))
    assert weigh("Llama-3.1-8B", tensors) == plain
    assert weigh("Llama-3.1-8B", tensors, replace(OPTIONS, draft_layers=1)) > plain


def test_quantizing_while_loading_is_not_decided_by_tensors() -> None:
    header = config("Llama-3.1-8B")
    options = replace(OPTIONS, quantization="fp8")
    tensors = checkpoint(shape_of(header))
    assert weights_from_tensors(facts(header, tensors), shape_of(header), options, A100) is None


def test_gpt_oss_experts_lie_as_the_kernels_pad_them() -> None:
    header = config("gpt-oss-20b")
    shape = shape_of(header)
    dense = [tensor for tensor in checkpoint(shape) if ".mlp." not in tensor.name]
    blocks = group(
        "model.layers.*.mlp.experts.gate_up_proj_blocks", "U8", 32, 5760, 90, 16, index=("0-23",)
    )
    router = group("model.layers.*.mlp.router.weight", "BF16", 32, 2880, index=("0-23",))
    by_tensors = weigh("gpt-oss-20b", [*dense, blocks, router])
    assert abs(by_tensors / weights_from_shape(shape, OPTIONS, A100) - 1) < 0.0005
