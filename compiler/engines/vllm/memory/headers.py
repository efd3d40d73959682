"""Bytes of a model's weights on one GPU, from the tensors of its safetensors files."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from compiler.engines.vllm.launch.options import Options, vision_ranks
from compiler.engines.vllm.memory.allocator import allocated_bytes
from compiler.engines.vllm.memory.mxfp4 import mxfp4_backend, mxfp4_sizes
from compiler.engines.vllm.memory.stages import has_embedding, stage_layers
from compiler.engines.vllm.memory.vision import vision_sizes, whole_numbers
from compiler.engines.vllm.memory.weights import (
    FLOAT_ROUTERS,
    HEAD_NUMBER_BYTES,
    absorbed_sizes,
    borrowing_layers,
    classifies,
    index_sizes,
    input_buffers,
    padded_rows,
    rope_bytes,
    vocabulary_rows,
)
from compiler.engines.vllm.model.quantization import Scheme, scheme_of
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.facts import ModelFacts, TensorGroup
from compiler.ir.inventory import GpuKind

# How vLLM's model code names and cuts modules (model_executor/models/, 0.8 to 0.33).
_FUSED = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj"), "qkv_proj"),
    **dict.fromkeys(("query", "key", "value"), "qkv_proj"),
    **dict.fromkeys(("gate_proj", "up_proj"), "gate_up_proj"),
    **dict.fromkeys(("w1", "w3"), "w13"),
    **dict.fromkeys(("q_a_proj", "kv_a_proj_with_mqa"), "fused_qkv_a_proj"),
    **dict.fromkeys(("in_proj_qkv", "in_proj_z"), "in_proj_qkvz"),
    **dict.fromkeys(("in_proj_b", "in_proj_a"), "in_proj_ba"),
}
_BY_OUTPUT = frozenset(
    {"q_proj", "k_proj", "v_proj", "qkv_proj", "query", "key", "value", "query_key_value", "c_attn"}
    | {"gate_proj", "up_proj", "gate_up_proj", "w1", "w3", "fc1", "c_fc", "dense_h_to_4h"}
    | {"q_b_proj", "kv_b_proj", "in_proj", "in_proj_qkvz", "in_proj_qkv", "in_proj_z"}
    | {"in_proj_ba", "in_proj_b", "in_proj_a", "conv1d", "A_log", "dt_bias", "D", "sinks"}
    | {"dt_proj", "f_b_proj", "g_b_proj", "b_proj", "q_conv1d", "k_conv1d", "v_conv1d", "A"}
    | {"conv", "output_gate"}
    | {"qkv", "linear_fc1", "index_q_proj"}
)
_BY_INPUT = frozenset(
    {
        "o_proj",
        "down_proj",
        "w2",
        "out_proj",
        "c_proj",
        "fc2",
        "dense",
        "dense_4h_to_h",
        "proj",
        "linear_fc2",
        "x_proj",
    }
)
_FEW_KEYS = frozenset({"k_proj", "v_proj"})
_EMBEDDINGS = frozenset(
    {"embed_in", "embed_tokens", "wte", "word_embeddings", "tok_embeddings", "embeddings"}
)
_POSITIONS = frozenset({"wpe", "embed_positions", "position_embeddings"})
_HEADS = frozenset({"lm_head", "output", "embed_out"})
# Parameters that vLLM reads and does not keep, or keeps as a handful of bytes.
_DROPPED = re.compile(
    r"(^|\.)(g_idx|weight_shape|quant_map|nested_absmax|nested_quant_map|quant_state\..*|input_scale"
    r"|output_scale|k_scale|v_scale|kv_scale|inv_freq|masked_bias|position_ids|num_batches_tracked"
    r"|input_global_scale|weight_global_scale|weight_scale_2)$"
)
_VISION = re.compile(
    r"(^|\.)(visual|vision_tower|vision_model|vision_encoder|multi_modal_projector|mm_projector"
    r"|patch_merger|vision_language_adapter|embed_vision|pre_mm_projector_norm|vision_embed_tokens"
    r"|vpm|resampler|resampler_model|connector|projector|mlp1|mlp_AR|sam_model|vit_downsampler2?"
    r"|vit_large_projector|image_newline|view_seperator)(\.|$)"
)
_AUDIO = re.compile(r"(^|\.)(audio_tower|embed_audio)\.")
# Parts that speak, which vLLM leaves out (models/qwen2_5_omni_thinker.py).
_SPEECH = re.compile(r"^(talker|token2wav|code2wav)\.")
# A tower is as config.json has it if its tensors come to that, but for layers that are not loaded
# and tables that are computed.
_AS_CONFIGURED = (0.9, 1.1)
# Heads of encoders, which embedding leaves out.
_ENCODER_HEAD = re.compile(r"(^|\.)(pooler|classifier|score|head)\.")
_ENCODER_TABLES = frozenset({"position_embeddings", "token_type_embeddings"})
_FULL_PRECISION = re.compile(r"(A_log|dt_bias|e_score_correction_bias|expert_bias)$")
_SCALES = frozenset({"weight_scale", "weight_scale_inv", "scales", "absmax"})
_STACK_SUFFIX = re.compile(r"_(blocks|scales|bias)$")
# Dimensions of a weight matrix.
_MATRIX = 2
_FLOATS = frozenset({"BF16", "F16", "F32", "F64"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a tensor belongs: the part of the model, its module, the parameter's own name."""

    stem: str
    """Name up to the module, stars included."""
    module: str
    leaf: str
    vision: bool
    expert: bool


def weights_from_tensors(
    facts: ModelFacts, shape: Shape, options: Options, kind: GpuKind | None
) -> int | None:
    """Bytes that `Model loading took` reports for one rank, computed from the real tensors.

    None where the tensors do not decide: when vLLM quantizes 16-bit weights while loading, and with
    compressed attention, whose modules have names and cuts of their own.
    """
    scheme = scheme_of(shape.quantization, options.quantization)
    if shape.compressed or (shape.quantization is None and scheme.kind != "none"):
        return None
    if kind is not None:
        scheme = replace(scheme, compute=kind.compute)
    sums: Counter[tuple[str, int, str]] = Counter()
    configured = _tower_is_as_configured(facts, shape)
    for group in facts.tensors:
        if not (configured and _is_of_tower(group.name, shape)):
            _add_group(sums, group, shape, options, scheme)
    # Layer by layer, attention first, as the model's code makes them.
    ordered = sorted(sums, key=lambda key: ("*" in key[0], key[1], "attn" not in key[0]))
    single = [sums[key] for key in ordered if "*" not in key[0]]
    layered = [sums[key] for key in ordered if "*" in key[0]]
    towers = vision_sizes(shape, options) if configured else ()
    computed = _computed_sizes(shape, options, scheme, kind)
    return allocated_bytes([*single, *towers, *layered, *computed], options.rules)


def has_tied_output(facts: ModelFacts, shape: Shape, options: Options) -> bool:
    """Whether the files hold an output that config.json says is the embedding."""
    if not shape.tied or options.pooling or facts.format != "safetensors":
        return False
    return any(_place(group.name).module in _HEADS for group in facts.tensors)


def _tower_is_as_configured(facts: ModelFacts, shape: Shape) -> bool:
    """Whether the towers are those of a known class in 16 bits, whose cuts are known."""
    tower = [group for group in facts.tensors if _is_of_tower(group.name, shape)]
    known = shape.vision is not None and shape.vision.family != "unknown"
    if not tower or not known or any(group.dtype not in _FLOATS for group in tower):
        return False
    numbers = sum(math.prod(group.shape) * group.count() for group in tower)
    least, most = (bound * whole_numbers(shape) for bound in _AS_CONFIGURED)
    return least < numbers < most


def _is_of_tower(name: str, shape: Shape) -> bool:
    """Whether a tensor is one of the shape's towers; audio towers of other classes are not."""
    heard = bool(shape.audio) and _AUDIO.search(name) is not None
    return heard or _VISION.search(name) is not None


def _add_group(
    sums: Counter[tuple[str, int, str]],
    group: TensorGroup,
    shape: Shape,
    options: Options,
    scheme: Scheme,
) -> None:
    place = _place(group.name)
    if _is_left_out(group.name, place, shape, options, scheme):
        return
    size = _on_rank(group, place, shape, options, _held_bytes(group, place, shape, options, scheme))
    layers, copies = _numbers(group, place)
    key = _FUSED.get(place.module, place.module)
    copies_on_rank = -(-copies // options.expert_ranks) if place.expert else copies
    limit, here = _layer_limit(place, shape, options), _on_stage(place, shape, options)
    # Files have an indexer for every layer; layers that borrow another's picks load none.
    without = borrowing_layers(shape, options) if ".indexer." in group.name else frozenset()
    for layer in layers:
        if layer < limit and layer in here and layer not in without:
            sums[(place.stem, layer, f"{key}.{place.leaf}")] += size * copies_on_rank


def _on_stage(place: _Place, shape: Shape, options: Options) -> range:
    """Which of a group's layers this pipeline stage holds; layer 0 stands for what has none.

    Towers stand on every stage, embeddings on the first, and what follows the layers on the last.
    """
    everywhere, nowhere = range(1 << 30), range(0)
    if place.vision or options.pipeline_parallel == 1:
        return everywhere
    drafts = place.stem.startswith(("mtp", "model.mtp"))
    if "*" in place.stem and not drafts:
        here = stage_layers(shape, options)
        # Prediction layers are numbered behind the last one.
        return range(here.start, 1 << 30) if options.is_last_stage else here
    if place.module in _EMBEDDINGS:
        return everywhere if has_embedding(shape, options) else nowhere
    if place.module in _POSITIONS:
        return everywhere if options.is_first_stage else nowhere
    return everywhere if options.is_last_stage else nowhere


def _place(name: str) -> _Place:
    pieces = name.split(".")
    leaf = pieces[-1]
    bare = _STACK_SUFFIX.sub("", leaf)
    if len(pieces) == 1:
        module, stem = leaf, ""
    elif bare in _BY_OUTPUT | _BY_INPUT:
        # Stacked experts and single parameters have no `.weight` behind their name.
        module, stem = bare, ".".join(pieces[:-1])
        leaf = leaf.removeprefix(bare).lstrip("_") or "weight"
    else:
        module, stem = pieces[-2], ".".join(pieces[:-2])
    return _Place(
        stem=stem,
        module=module,
        leaf=leaf,
        vision=(_VISION.search(name) or _AUDIO.search(name)) is not None,
        expert=".experts." in name,
    )


def _is_left_out(name: str, place: _Place, shape: Shape, options: Options, scheme: Scheme) -> bool:
    """Tensors that this launch does not load, or that vLLM drops after loading."""
    if _DROPPED.search(name) or _SPEECH.search(name):
        return True
    if place.vision and options.language_model_only:
        return True
    if name.startswith(("mtp.", "model.mtp.")) and not options.draft_layers:
        return True
    if place.module in _HEADS and (shape.tied or options.pooling):
        return True
    if shape.encoder and not classifies(shape) and _ENCODER_HEAD.search(name):
        return True
    if name.startswith("cls."):
        return True
    kept = scheme.zero_points or (place.expert and scheme.kind == "gptq") or scheme.keeps_zeros
    if place.leaf in {"qzeros", "weight_zero_point"} and not kept:
        return True
    return place.expert and scheme.kind == "mxfp4" and shape.model_type == "gpt_oss"


def _held_bytes(
    group: TensorGroup, place: _Place, shape: Shape, options: Options, scheme: Scheme
) -> int:
    """Bytes of one whole tensor in the dtype in which vLLM keeps it."""
    count = math.prod(group.shape)
    if place.leaf == "qzeros" and place.expert and scheme.kind == "gptq" and not scheme.zero_points:
        # quantization/gptq_marlin.py `w13_qzeros` has the type of the scales until 0.27.
        return count * (4 if options.rules.gptq_zeros_are_whole else 2)
    if place.leaf == "weight_scale_inv" and scheme.repeats_scales and scheme.block is not None:
        return count * scheme.block[0] * 2
    if group.dtype not in _FLOATS and place.leaf != "absmax":
        return group.bytes
    if _FULL_PRECISION.search(group.name):
        return count * 4
    if place.module == "gate" and shape.experts and shape.model_type in FLOAT_ROUTERS:
        return count * 4
    if shape.encoder and _ENCODER_HEAD.search(group.name):
        return count * HEAD_NUMBER_BYTES
    if place.leaf in _SCALES:
        return count * (4 if scheme.kind in {"fp8", "int8", "bnb4", "bnb8"} else 2)
    return count * shape.dtype_bytes


def _on_rank(group: TensorGroup, place: _Place, shape: Shape, options: Options, size: int) -> int:
    """The part of one tensor that a rank holds."""
    ranks = options.tensor_parallel
    if place.vision:
        return _vision_on_rank(group, place, shape, options, size)
    if (
        place.module in _EMBEDDINGS | _HEADS
        and place.leaf == "weight"
        and len(group.shape) == _MATRIX
    ):
        if group.shape[0] < shape.vocabulary:
            return size
        return size // group.shape[0] * vocabulary_rows(shape, options)
    if shape.encoder and place.module in _ENCODER_TABLES:
        return size // group.shape[0] * padded_rows(group.shape[0])
    if shape.encoder or (place.expert and options.expert_ranks > 1):
        return size
    if place.module in _FEW_KEYS and shape.kv_heads < ranks:
        return size // max(1, shape.kv_heads)
    if place.expert:
        ranks = options.expert_shards
    if place.module in _BY_OUTPUT:
        return size // ranks
    if place.module in _BY_INPUT and not _is_by_row(group, place):
        return size // ranks
    return size


def _is_by_row(group: TensorGroup, place: _Place) -> bool:
    """Biases and scales of one number a row: cutting the inputs leaves them whole."""
    if place.leaf == "bias":
        return True
    return place.leaf == "weight_scale" and (len(group.shape) < _MATRIX or group.shape[-1] == 1)


def _vision_on_rank(
    group: TensorGroup, place: _Place, shape: Shape, options: Options, size: int
) -> int:
    """Matrices of blocks are cut, whatever the class; its projector and audio may be whole."""
    block = place.module in _BY_OUTPUT | _BY_INPUT and len(group.shape) == _MATRIX
    if not block or _AUDIO.search(group.name):
        return size
    return size // vision_ranks(shape, options)


def _numbers(group: TensorGroup, place: _Place) -> tuple[list[int], int]:
    """Layers of a group, and how many of its tensors are stacked into one."""
    layers, copies = [0], 1
    before = group.name.split("*")
    for text, numbers in zip(before, group.indices(), strict=False):
        if place.expert and text.endswith(".experts."):
            copies = len(numbers)
        else:
            layers = numbers
    return layers, copies


def _layer_limit(place: _Place, shape: Shape, options: Options) -> int:
    """First layer that is not loaded: prediction layers lie behind the last one."""
    if not place.vision and ".layers.*" in f".{place.stem}" and not place.stem.startswith("mtp"):
        return shape.layers + options.draft_layers
    return 1 << 30


def _computed_sizes(
    shape: Shape, options: Options, scheme: Scheme, kind: GpuKind | None
) -> Iterator[int]:
    """What vLLM holds beside the checkpoint's tensors, or in another layout."""
    if not shape.learnt_positions:
        yield rope_bytes(shape, options)
    yield from input_buffers(shape, options)
    if shape.second_embedding and has_embedding(shape, options):
        yield vocabulary_rows(shape, options) * shape.hidden * shape.dtype_bytes
    here = stage_layers(shape, options)
    if shape.mla:
        for _ in _latent_layers(shape, here):
            yield from absorbed_sizes(shape, shape.mla, options)
        yield from index_sizes(shape, shape.mla, options)
    if shape.experts and scheme.kind == "mxfp4" and shape.model_type == "gpt_oss":
        width = shape.experts.width // options.expert_shards
        count = -(-shape.experts.count // options.expert_ranks)
        backend = mxfp4_backend(options, kind)
        for _ in shape.experts.layers.intersection(here):
            yield from mxfp4_sizes(shape.hidden, width, count, backend)


def _latent_layers(shape: Shape, here: range) -> list[int]:
    """Layers of a stage with latent attention; some models mix them with recurrent ones."""
    kinds = shape.attention
    return [
        layer for layer in here if layer >= len(kinds) or kinds[layer] not in {"linear", "mamba"}
    ]
