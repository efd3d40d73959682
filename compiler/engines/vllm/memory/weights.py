"""Bytes of a model's weights on one GPU, from the shape alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.allocator import allocated_bytes
from compiler.engines.vllm.memory.compressed import compressed_sizes, draft_sizes
from compiler.engines.vllm.memory.mixers import mixer_sizes
from compiler.engines.vllm.memory.mxfp4 import mxfp4_backend, mxfp4_sizes
from compiler.engines.vllm.memory.per_layer import per_layer_sizes, per_layer_tables
from compiler.engines.vllm.memory.stages import has_embedding, stage_layers
from compiler.engines.vllm.memory.vision import vision_sizes
from compiler.engines.vllm.model.architectures import architectures
from compiler.engines.vllm.model.quantization import Scheme, scheme_of
from compiler.engines.vllm.model.shape import Experts, Mla, Shape
from compiler.ir.inventory import GpuKind
from compiler.ir.units import round_up

# model_executor/layers/vocab_parallel_embedding.py: DEFAULT_VOCAB_PADDING_SIZE.
_VOCABULARY_STEP = 64


def weights_from_shape(shape: Shape, options: Options, kind: GpuKind | None) -> int:
    """Bytes that `Model loading took` reports for one rank, computed from config.json.

    Every parameter of the loaded model is one allocation: fused and sharded as the model's code
    does it (model_executor/models/), rounded as the allocator does it.
    """
    sizes = encoder_sizes(shape, options) if shape.encoder else decoder_sizes(shape, options, kind)
    return allocated_bytes(sizes, options.rules)


def decoder_sizes(shape: Shape, options: Options, kind: GpuKind | None) -> Iterator[int]:
    """Bytes of each parameter of the language model and its tower on one rank."""
    scheme = scheme_of(shape.quantization, options.quantization)
    if kind is not None:
        scheme = replace(scheme, compute=kind.compute)
    yield from table_sizes(shape, options, scheme)
    # Every pipeline stage builds the tower, though only the first runs it.
    yield from vision_sizes(shape, options)
    yield from _shared_sizes(shape, options)
    for layer in stage_layers(shape, options):
        yield from layer_sizes(shape, options, scheme, layer, kind)
    for _ in range(options.draft_layers if options.is_last_stage else 0):
        # A prediction layer has a projection of two hidden states and two norms beside its block.
        place = shape.layers if shape.compressed else shape.layers - 1
        yield from layer_sizes(shape, options, scheme, place, kind)
        yield 2 * shape.hidden * shape.hidden * shape.dtype_bytes
        if shape.compressed:
            yield from draft_sizes(shape, options)
    if options.is_last_stage:
        yield shape.hidden * shape.dtype_bytes
    if shape.mla:
        yield from index_sizes(shape, shape.mla, options)
    yield from input_buffers(shape, options)
    if options.is_first_stage or not shape.learnt_positions:
        yield position_bytes(shape, options)


def table_sizes(shape: Shape, options: Options, scheme: Scheme | None = None) -> Iterator[int]:
    """Bytes of the embedding and of the output on one rank."""
    table_bytes = vocabulary_rows(shape, options) * shape.hidden * shape.dtype_bytes
    if has_embedding(shape, options):
        yield table_bytes
        yield from [table_bytes] * shape.second_embedding
        yield from per_layer_tables(shape, options)
    if options.is_last_stage and not shape.tied and not options.pooling:
        output = scheme.of_output if scheme and options.rules.quantized_output else None
        rows = vocabulary_rows(shape, options)
        yield from output.sizes(rows, shape.hidden, 2) if output else [table_bytes]


def vocabulary_rows(shape: Shape, options: Options) -> int:
    """Rows of the embedding on one rank: padded, then sharded."""
    ranks = options.tensor_parallel
    return round_up(padded_rows(shape.vocabulary), ranks) // ranks


def rope_bytes(shape: Shape, options: Options) -> int:
    """Cached cosines and sines, which the model holds as a buffer; Transformers computes them."""
    if architectures().is_by_transformers(shape.architecture, options.version):
        return 0
    rope, rows = shape.rope, shape.rope.positions
    if options.rules.rope_of_tokens:
        rows = rope.token_positions or rows
    if options.rules.rope_of_trained:
        rows = rope.trained_positions or rows
    numbers = rows * rope.dim + rope.local_positions * (rope.local_dim or rope.dim)
    return numbers * rope.number_bytes


def position_bytes(shape: Shape, options: Options) -> int:
    """The position table, or the rotary cache in its place."""
    if shape.learnt_positions:
        return shape.learnt_positions * shape.hidden * shape.dtype_bytes
    return rope_bytes(shape, options)


def layer_sizes(
    shape: Shape, options: Options, scheme: Scheme, layer: int, kind: GpuKind | None
) -> Iterator[int]:
    """Bytes of each parameter of one decoder layer on one rank."""
    linear = _Linear(scheme, f"model.layers.{layer}.", shape.dtype_bytes)
    yield from chain(
        _attention_sizes(shape, options, linear, layer, kind),
        _mlp_sizes(shape, options, linear, layer, kind),
        [shape.hidden * shape.dtype_bytes] * (shape.norms + 4 * shape.residual_gates),
        per_layer_sizes(shape),
    )


@dataclass(frozen=True, slots=True)
class _Linear:
    """Sizes of the linear modules of one layer, in the scheme that each of them has."""

    scheme: Scheme
    prefix: str
    dtype_bytes: int

    def __call__(self, name: str, rows: int, columns: int, *, bias: bool = False) -> list[int]:
        scheme = self.scheme.for_module(self.prefix + name)
        sizes = scheme.sizes(rows, columns, self.dtype_bytes)
        return [*sizes, rows * self.dtype_bytes] if bias else sizes


def _attention_sizes(
    shape: Shape, options: Options, linear: _Linear, layer: int, kind: GpuKind | None
) -> Iterator[int]:
    keeps = shape.attention[layer] if layer < len(shape.attention) else "full"
    if shape.recurrent and keeps in {"linear", "mamba", "both"}:
        yield from mixer_sizes(shape, shape.recurrent, options, linear)
    if keeps in {"none", "linear", "mamba"} or shape.shared_blocks:
        return
    if shape.compressed:
        yield from compressed_sizes(shape, shape.compressed, options, linear, layer, kind)
    elif shape.mla:
        yield from _mla_sizes(shape, shape.mla, options, linear, layer)
    else:
        shares_kv = shape.doubled_inner or shape.per_layer_width
        reads = bool(shares_kv) and layer >= shape.layers - shape.kv_shared_layers
        reads = reads and options.rules.queries_alone
        yield from _gqa_sizes(shape, options, linear, layer, reads=reads)


def _gqa_sizes(
    shape: Shape, options: Options, linear: _Linear, layer: int, *, reads: bool
) -> Iterator[int]:
    """Bytes of attention; a layer that reads the KV of another has queries alone."""
    is_full = layer >= len(shape.attention) or shape.attention[layer] != "sliding"
    ranks, number = options.tensor_parallel, shape.dtype_bytes
    heads = shape.heads // ranks
    kv_heads, head_dim = kv_heads_and_dim(shape, ranks, is_full=is_full)
    if shape.query_rank:
        yield from linear("self_attn.qkv_proj", shape.query_rank + 2 * head_dim, shape.hidden)
        yield shape.query_rank * number
        yield from linear("self_attn.wq", heads * head_dim, shape.query_rank)
        yield from linear("self_attn.o_proj", shape.hidden, heads * head_dim)
        return
    query = heads * (2 if shape.query_gate else 1)
    rows = (query if reads else query + 2 * kv_heads) * head_dim
    yield from linear("self_attn.qkv_proj", rows, shape.hidden, bias=shape.qkv_bias)
    yield from linear("self_attn.o_proj", shape.hidden, heads * head_dim, bias=shape.out_bias)
    if shape.qk_norm:
        yield from [head_dim * number] * (1 if reads else 2)
    if layer in shape.block_layers:
        yield from _block_key_sizes(shape, ranks, linear)
    if shape.sinks:
        yield heads * number


def _block_key_sizes(shape: Shape, ranks: int, linear: _Linear) -> Iterator[int]:
    """MiniMax-M3's indexer: queries by head, one key for all (models/minimax_m3/, 0.24 to 0.33)."""
    heads = max(1, shape.block_key_heads // ranks)
    yield from linear("self_attn.index_q_proj", heads * shape.block_keys, shape.hidden)
    yield from linear("self_attn.index_k_proj", shape.block_keys, shape.hidden)
    yield from [shape.block_keys * shape.dtype_bytes] * 2


def kv_heads_and_dim(shape: Shape, ranks: int, *, is_full: bool) -> tuple[int, int]:
    """KV heads on one rank and their size: a head is never cut, so few heads are replicated."""
    if shape.mla and shape.mla.expanded:
        # Values are padded to the size of a key.
        return shape.heads // ranks, shape.mla.nope_dim + shape.mla.rope_dim
    if is_full and shape.global_dim:
        return max(1, (shape.global_heads or shape.kv_heads) // ranks), shape.global_dim
    return max(1, shape.kv_heads // ranks), shape.head_dim


def _mla_sizes(
    shape: Shape, mla: Mla, options: Options, linear: _Linear, layer: int
) -> Iterator[int]:
    """Down projections are replicated, up projections sharded by heads (models/deepseek_v2.py)."""
    number, hidden = shape.dtype_bytes, shape.hidden
    heads = shape.heads // options.tensor_parallel
    query = heads * (mla.nope_dim + mla.rope_dim)
    if mla.query_rank:
        rows = mla.query_rank + mla.kv_rank + mla.rope_dim
        yield from linear("self_attn.fused_qkv_a_proj", rows, hidden)
        yield mla.query_rank * number
        if mla.gated:
            yield from linear("self_attn.g_proj", heads * mla.value_dim, hidden)
        yield from linear("self_attn.q_b_proj", query, mla.query_rank)
    else:
        yield from linear("self_attn.q_proj", query, hidden)
        yield from linear("self_attn.kv_a_proj_with_mqa", mla.kv_rank + mla.rope_dim, hidden)
    yield mla.kv_rank * number
    yield from linear("self_attn.kv_b_proj", heads * (mla.nope_dim + mla.value_dim), mla.kv_rank)
    yield from linear("self_attn.o_proj", hidden, heads * mla.value_dim)
    yield from absorbed_sizes(shape, mla, options)
    if mla.has_indexer(layer, by_layer=options.rules.index_by_layer):
        yield from linear("self_attn.indexer.wq_b", mla.index_heads * mla.index_dim, mla.query_rank)
        yield from linear("self_attn.indexer.wk", mla.index_dim, hidden)
        yield mla.index_heads * hidden * number


def absorbed_sizes(shape: Shape, mla: Mla, options: Options) -> Iterator[int]:
    """W_UK_T and W_UV of one layer, copies in 16 bits that decoding multiplies by.

    attention/backends/mla/common.py `process_weights_after_loading`, 0.8 to 0.33.
    """
    if mla.expanded:
        return
    heads = shape.heads // options.tensor_parallel
    yield heads * mla.nope_dim * mla.kv_rank * shape.dtype_bytes
    yield heads * mla.value_dim * mla.kv_rank * shape.dtype_bytes


def borrowing_layers(shape: Shape, options: Options) -> frozenset[int]:
    """Layers that read what the indexer of an earlier one picked, and have none."""
    by_layer = shape.mla is not None and options.rules.index_by_layer
    return shape.mla.borrowing if by_layer and shape.mla else frozenset()


def index_sizes(shape: Shape, mla: Mla, options: Options) -> Iterator[int]:
    """What sparse attention picks for each token, and the rotation that picking has of its own.

    models/deepseek_v2.py, 0.11 to 0.33.
    """
    if mla.index_topk:
        yield options.batched_tokens * mla.index_topk * 4
        if mla.index_rotates:
            yield rope_bytes(shape, options)


def input_buffers(shape: Shape, options: Options) -> Iterator[int]:
    """What a batch gets beside its embeddings, in buffers made with the weights.

    Pictures of Qwen3-VL reach the first layers too (models/qwen3_vl.py `deepstack_input_embeds`,
    0.11 to 0.33), and Gemma 4 reads an embedding a layer (models/gemma4_mm.py
    `per_layer_embeddings`, 0.19 to 0.33).
    """
    if not shape.multimodal:
        return
    token_bytes = options.batched_tokens * shape.dtype_bytes
    if shape.vision and not options.language_model_only:
        yield from [token_bytes * shape.hidden] * shape.vision.deep_levels
    if shape.per_layer_width:
        yield token_bytes * shape.layers * shape.per_layer_width


def _mlp_sizes(
    shape: Shape, options: Options, linear: _Linear, layer: int, kind: GpuKind | None
) -> Iterator[int]:
    if shape.experts and layer in shape.experts.layers:
        yield from _expert_sizes(shape, shape.experts, options, linear, kind)
        if not shape.experts.beside_dense:
            return
        yield from [shape.hidden * shape.dtype_bytes] * 3
    if shape.shared_blocks:
        if shape.attention[layer] == "both":
            yield from _adapter_sizes(shape, options)
        return
    if shape.inner == 0 or ("none" in shape.attention and shape.attention[layer] != "none"):
        # Mamba has no MLP; a layer of Nemotron-H is either attention, Mamba or MLP.
        return
    doubled = shape.doubled_inner and layer >= shape.layers - shape.kv_shared_layers
    inner = 2 * shape.inner if doubled else shape.inner
    width, bias = inner // options.tensor_parallel, shape.out_bias and not shape.gated
    if shape.gated:
        yield from linear("mlp.gate_up_proj", 2 * width, shape.hidden)
    else:
        yield from linear("mlp.up_proj", width, shape.hidden, bias=bias)
    yield from linear("mlp.down_proj", shape.hidden, width, bias=bias)


def _shared_sizes(shape: Shape, options: Options) -> Iterator[int]:
    """Zamba2's shared blocks: attention over embedding and hidden state (models/zamba2.py)."""
    number, hidden, ranks = shape.dtype_bytes, shape.hidden, options.tensor_parallel
    for _ in range(shape.shared_blocks):
        rows = (shape.heads + 2 * shape.kv_heads) * shape.head_dim // ranks
        yield rows * 2 * hidden * number
        yield hidden * shape.heads * shape.head_dim // ranks * number
        yield 2 * shape.inner // ranks * hidden * number
        yield shape.inner // ranks * hidden * number
        yield from (2 * hidden * number, hidden * number)


def _adapter_sizes(shape: Shape, options: Options) -> Iterator[int]:
    """What a hybrid layer of Zamba2 has of its own: adapters of the MLP and a projection."""
    number, hidden = shape.dtype_bytes, shape.hidden
    yield shape.adapter_rank * hidden // options.tensor_parallel * number
    yield 2 * shape.inner // options.tensor_parallel * shape.adapter_rank * number
    yield hidden * hidden * number


FLOAT_ROUTERS = frozenset(
    {"ernie4_5_moe", "ernie4_5_moe_vl", "glm4_moe", "glm4_moe_lite", "glm4v_moe_text", "hy_v3"}
    | {"afmoe", "minimax_m2", "step3p5"}
)
"""Models whose router is kept in 32 bits (`params_dtype` of the gates in models/, 0.32)."""


def _expert_sizes(
    shape: Shape, experts: Experts, options: Options, linear: _Linear, kind: GpuKind | None
) -> Iterator[int]:
    """Experts lie in two stacked tensors; the router is replicated (layers/fused_moe/layer.py)."""
    hidden, number, ranks = shape.hidden, shape.dtype_bytes, options.tensor_parallel
    # Kimi K3's experts work between two projections (models/kimi_k3/nvidia/model.py, 0.32).
    inner = experts.hidden or hidden
    if experts.hidden:
        yield from linear("mlp.routed_expert_down_proj", inner, hidden)
        yield from linear("mlp.routed_expert_up_proj", hidden, inner)
        yield from [inner * number] * experts.hidden_norm
    yield experts.count * hidden * (4 if shape.model_type in FLOAT_ROUTERS else number)
    count = -(-experts.count // options.expert_ranks)
    width = experts.width // options.expert_shards
    into = 2 if shape.gated else 1
    scheme = linear.scheme.for_module(f"{linear.prefix}mlp.experts.0.gate_proj")
    if scheme.kind == "mxfp4" and shape.model_type == "gpt_oss":
        yield from mxfp4_sizes(hidden, width, count, mxfp4_backend(options, kind))
    else:
        for size in (
            *scheme.sizes(into * width, inner, number),
            *scheme.sizes(inner, width, number),
        ):
            yield count * size
        if scheme.kind == "gptq" and not scheme.zero_points:
            # Unused zero points in the scales' type, in 32 bits of eight each from 0.28 on
            # (quantization/gptq_marlin.py `w13_qzeros`, auto_gptq.py).
            number_bytes = 4 if options.rules.gptq_zeros_are_whole else 2
            for rows, columns in ((into * width, inner), (inner, width)):
                groups = -(-columns // (scheme.group or columns))
                yield count * groups * (rows * scheme.bits // 32) * number_bytes
        if scheme.kind == "nvfp4":
            # Two global scales and two input scales an expert, each in its own block of the stack.
            yield count * 32
    if experts.shared_width:
        shared = experts.shared_width // ranks
        yield from linear("mlp.shared_expert.gate_up_proj", into * shared, hidden)
        yield from linear("mlp.shared_expert.down_proj", hidden, shared)
        if experts.shared_gate:
            yield hidden * number
    if experts.router_bias:
        yield experts.count * 4
    if experts.picture_width:
        seeing = replace(experts, width=experts.picture_width, shared_width=0, picture_width=0)
        yield from _expert_sizes(shape, seeing, options, linear, kind)


# Encoders whose linear modules and norms have no biases (models/modernbert.py, bert_with_rope.py).
_BIASLESS_ENCODERS = frozenset({"modernbert", "nomic_bert"})


def encoder_sizes(shape: Shape, options: Options) -> Iterator[int]:
    """Bytes of each parameter of a bidirectional encoder (models/bert.py, roberta.py).

    One GPU is assumed: these models are small, and the law refuses to cut them.
    """
    hidden, inner, number = shape.hidden, shape.inner, shape.dtype_bytes
    yield padded_rows(shape.vocabulary) * hidden * number
    if shape.learnt_positions:
        yield padded_rows(shape.learnt_positions) * hidden * number
    else:
        yield rope_bytes(shape, options)
    yield padded_rows(shape.type_vocabulary) * hidden * number
    rows_up = 2 * inner if shape.gated else inner
    biased = shape.model_type not in _BIASLESS_ENCODERS
    for _ in range(shape.layers):
        yield 3 * hidden * hidden * number
        yield hidden * hidden * number
        yield rows_up * hidden * number
        yield inner * hidden * number
        yield from [hidden * number] * 2
        if biased:
            yield from (3 * hidden * number, rows_up * number)
            yield from [hidden * number] * 4
    if classifies(shape):
        yield hidden * hidden * HEAD_NUMBER_BYTES
        yield hidden * HEAD_NUMBER_BYTES


HEAD_NUMBER_BYTES = 4
"""Heads of classifiers are kept in 32 bits (`head_dtype` of config/model.py, 0.32); versions that
keep them in 16 take less by a few MiB at most."""


def classifies(shape: Shape) -> bool:
    """Whether an encoder has a head with a dense layer; for embedding vLLM loads none."""
    return "Classification" in shape.architecture


def padded_rows(rows: int) -> int:
    """Rows of an embedding table on one rank of one (vocab_parallel_embedding.py)."""
    return round_up(rows, _VOCABULARY_STEP)
