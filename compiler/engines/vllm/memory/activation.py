"""What the profiling run needs above the weights: transient peak and tables that stay."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.engines.vllm.launch.options import Options, uses_runner_v2, vision_ranks
from compiler.engines.vllm.memory.mxfp4 import mxfp4_backend
from compiler.engines.vllm.memory.weights import vocabulary_rows
from compiler.engines.vllm.model.pictures import COLOURS
from compiler.engines.vllm.model.shape import Experts, Shape, Vision
from compiler.ir.inventory import GpuKind
from compiler.ir.units import KIB, MIB

_LOGIT_BYTES = 4
# Runner V2 samples natively in less scratch than FlashInfer's top-k/top-p: 1.6 logits tables,
# read off the A100 log of 0.31 (v1/worker/gpu/sample/).
_NATIVE_V2_CENTI = 160
_SMALL_SEQUENCES = 128
# envs.py VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE, 394 MiB since 0.11; allocated once.
_FLASHINFER_WORKSPACE_BYTES = 394 * MIB
# Sparse attention with an indexer, a token: two logs of DeepSeek-V4-Flash, 5.30 GiB at 8224 tokens
# and 1.39 GiB at 2048.
_INDEXED_TOKEN_BYTES = 648 * KIB
# Kernel autotuning beside the embedding table on the first start, from two pairs of cold and warm
# logs (Qwen2.5-3B-AWQ on 0.29, Qwen3-14B on 0.28).
_COLD_STAYS_BYTES = 358 * MIB
_COLD_PEAK_BYTES = 154 * MIB
# What cuBLAS works in, from torch's allocator: for each handle and stream 32 MiB on Hopper (torch
# 2.10, newer ones on Blackwell too) and 8.1 MiB elsewhere, cuBLASLt 1 MiB (torch 2.10,
# aten/src/ATen/cuda/CublasHandlePool.cpp `parseChosenWorkspaceSize`). That there are two on Hopper
# is fitted: 27 peaks of sampling of 0.17 to 0.19 over seven vocabularies leave 57 MiB, give or take
# 5, beside their logits and hidden states. 10.x was not measured; 0 is the CPU build.
_CUBLAS_BYTES = {0: 0, 9: 64 * MIB, 10: 64 * MIB}
_CUBLAS_OTHER_BYTES = 9 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """Memory of the profiling run above the weights."""

    forward_bytes: int
    """Peak of the forward pass."""
    sampler_bytes: int
    """Peak of sampling or pooling."""
    persistent_bytes: int
    """Workspaces and tables that stay allocated."""
    cold_peak_bytes: int
    """Transient peak of a first start, with kernels still to be compiled."""
    cold_stays_bytes: int
    """Memory of a first start that is still held when the KV cache is sized."""

    @property
    def transient_bytes(self) -> int:
        """The larger peak: forward pass and sampler follow one another."""
        return max(self.forward_bytes, self.sampler_bytes)


def activation_of(shape: Shape, options: Options, kind: GpuKind) -> Activation:
    """Activation memory of one GPU (v1/worker/gpu_model_runner.py `profile_run`)."""
    workspace_bytes = images_bytes = 0
    if shape.encoder:
        forward_bytes = _encoder_forward(shape, options)
    else:
        forward_bytes = _decoder_forward(shape, options)
        if shape.experts:
            forward_bytes, workspace_bytes = _with_experts(
                shape, shape.experts, options, forward_bytes, kind
            )
    if shape.vision and not options.language_model_only and options.profile_images:
        vision = _capped(shape.vision, options)
        forward_bytes = _with_vision(shape, vision, options, forward_bytes)
        images_bytes = _images(shape, vision, options)
    persistent_bytes = workspace_bytes + _tables(shape, options) + _received(shape, options)
    draft = options.drafts_here
    if draft is not None:
        # Target and draft run one after the other. The hidden states between them are kept
        # (v1/spec_decode/llm_base_proposer.py, before 0.15 eagle.py).
        persistent_bytes += options.batched_tokens * shape.hidden * shape.dtype_bytes
        if draft.shape is not None:
            forward_bytes = max(forward_bytes, _decoder_forward(draft.shape, options))
    if options.flashinfer_attention:
        persistent_bytes += _FLASHINFER_WORKSPACE_BYTES
    held_bytes = images_bytes + _CUBLAS_BYTES.get(kind.compute[0], _CUBLAS_OTHER_BYTES)
    forward_bytes += held_bytes
    sampler_bytes = _sampler(shape, options)
    if sampler_bytes and not shape.encoder:
        sampler_bytes += held_bytes
    cold_peak, cold_stays = _cold(shape, options, max(forward_bytes, sampler_bytes))
    return Activation(
        forward_bytes=forward_bytes,
        sampler_bytes=sampler_bytes,
        persistent_bytes=persistent_bytes,
        cold_peak_bytes=cold_peak,
        cold_stays_bytes=cold_stays,
    )


def _capped(vision: Vision, options: Options) -> Vision:
    """The tower with pictures of at most so many pixels, where their size is free (Qwen-VL)."""
    if options.picture_pixels is None or vision.family != "qwen":
        return vision
    side = vision.patch * vision.merge
    return replace(vision, tokens=max(1, options.picture_pixels // side**2))


def _encoder_forward(shape: Shape, options: Options) -> int:
    """Residual, hidden state, both sides of the MLP and the fused query, key and value."""
    return options.batched_tokens * (5 * shape.hidden + 2 * shape.inner) * shape.dtype_bytes


def _decoder_forward(shape: Shape, options: Options) -> int:
    """Residual and hidden state with the widest intermediate of a layer."""
    ranks, experts = options.tensor_parallel, shape.experts
    width = (experts.shared_width if experts else shape.inner) // ranks
    mlp = 3 * width
    attention = (3 * shape.heads + 4 * shape.kv_heads) * shape.head_dim // ranks
    if shape.mla:
        mla = shape.mla
        per_head = 2 * (mla.nope_dim + mla.rope_dim) + mla.nope_dim + 2 * mla.value_dim
        attention = shape.heads // ranks * per_head
    mixer = 3 * shape.recurrent.inner // ranks if shape.recurrent else 0
    # A stage that is not the last returns hidden state and residual beside those it works on.
    states = 3 if options.is_last_stage else 5
    width_bytes = (states * shape.hidden + max(mlp, attention, mixer)) * shape.dtype_bytes
    if shape.compressed or (shape.mla and shape.mla.index_heads):
        width_bytes = max(width_bytes, _INDEXED_TOKEN_BYTES)
    return options.batched_tokens * width_bytes


def _with_experts(
    shape: Shape, experts: Experts, options: Options, forward_bytes: int, kind: GpuKind
) -> tuple[int, int]:
    """Forward peak and workspace of fused experts (layers/fused_moe/modular_kernel.py)."""
    tokens, number, hidden = options.batched_tokens, shape.dtype_bytes, shape.hidden
    width = experts.width // options.expert_shards
    # Data parallel ranks send their tokens to one another (all2all_backend, its default).
    tokens *= options.data_parallel
    routed = tokens * experts.active
    if shape.model_type == "gpt_oss" and mxfp4_backend(options, kind) != "marlin":
        # triton_kernels allocate and free as they go (fused_moe/gpt_oss_triton_kernels_moe.py).
        return max(forward_bytes, routed * (3 * width + hidden) * number), 0
    if shape.model_type == "gpt_oss":
        buffers_bytes = routed * (3 * width + hidden) * number
        extra_bytes = 0
    elif options.rules.wide_expert_workspaces:
        # fused_moe.py `TritonExperts.workspace_shapes`, 0.14 to 0.33.
        buffers_bytes = routed * (max(2 * width, hidden) + max(width, hidden)) * number
        extra_bytes = tokens * hidden * number
    else:
        buffers_bytes = routed * (max(2 * width, hidden) + width) * number
        extra_bytes = tokens * hidden * number
    if options.rules.moe_workspace_stays:
        kept_bytes = buffers_bytes + extra_bytes - tokens * hidden * number
        return max(forward_bytes, 3 * tokens * hidden * number), kept_bytes
    peak_bytes = 2 * tokens * hidden * number + buffers_bytes + extra_bytes
    return max(forward_bytes, peak_bytes), 0


def _with_vision(shape: Shape, vision: Vision, options: Options, forward_bytes: int) -> int:
    """Embedded inputs beside the text forward, or the tower's own pass on the largest image."""
    tokens, number = options.batched_tokens, shape.dtype_bytes
    text_bytes = forward_bytes + tokens * shape.hidden * number
    if not vision.tokens or not options.images:
        return text_bytes
    encoded = _encoded_tokens(vision, options)
    # Residual and hidden state are whole; the projections and the MLP are cut.
    # Of these 14,368 numbers a patch of Gemma 3's class held 13,804 at its peak, and of InternVL's
    # 13,312 12,875 (0.32, CPU build).
    cut = (3 * vision.width + 2 * vision.inner) // vision_ranks(shape, options)
    tower = encoded * vision.patches_a_token * (2 * vision.width + cut) * number
    return max(text_bytes, tower + encoded * shape.hidden * number)


def _encoded_tokens(vision: Vision, options: Options) -> int:
    """Tokens of pictures in one batch (multimodal/encoder_budget.py, 0.32).

    Whole pictures: as many as text has tokens, one at least, and no more than the requests bring.
    """
    a_request = max(1, min(options.images, options.context // vision.tokens))
    pictures = max(1, options.batched_tokens // vision.tokens)
    return min(pictures, options.sequences * a_request) * vision.tokens


def _images(shape: Shape, vision: Vision, options: Options) -> int:
    """Pixels of the largest pictures that fill a batch, and what their tokens are embedded as.

    Both are alive until the profiling run ends (v1/worker/gpu_model_runner.py `profile_run`:
    `batched_dummy_mm_inputs` and the encoder cache, 0.9 to 0.33).
    """
    if not options.images or not vision.tokens:
        return 0
    encoded = _encoded_tokens(vision, options)
    patch_numbers = COLOURS * vision.frames * vision.patch**2
    pixels = encoded * vision.patches_a_token * patch_numbers
    return (encoded * shape.hidden + pixels) * shape.dtype_bytes


def _sampler(shape: Shape, options: Options) -> int:
    """Sampling works on a few copies of the logits; pooling on one hidden state a sequence."""
    if not options.is_last_stage:
        return 0
    kept_bytes = options.batched_tokens * shape.hidden * shape.dtype_bytes
    if shape.encoder:
        return options.sequences * shape.hidden * _LOGIT_BYTES
    if options.pooling:
        return kept_bytes + options.sequences * shape.hidden * _LOGIT_BYTES
    rules = options.rules
    centi = (
        rules.sampler_centi if options.sequences >= _SMALL_SEQUENCES else rules.sampler_small_centi
    )
    if uses_runner_v2(shape, options) and not options.flashinfer_sampler:
        centi = _NATIVE_V2_CENTI
    peak_bytes = options.sequences * shape.vocabulary * _LOGIT_BYTES * centi // 100
    if options.draft_tokens:
        peak_bytes = max(peak_bytes, _verification(shape, options))
    return peak_bytes + kept_bytes


def _verification(shape: Shape, options: Options) -> int:
    """Logits of every drafted token, in the model's type and in 32 bits (rejection_sampler.py)."""
    rows = options.sequences * (1 + options.draft_tokens)
    return rows * shape.vocabulary * (shape.dtype_bytes + _LOGIT_BYTES)


def _tables(shape: Shape, options: Options) -> int:
    """Runner V2 keeps token counts and a bit mask of prompt tokens for each sequence and token."""
    pooled = options.pooling or shape.encoder
    if pooled or not options.is_last_stage or not uses_runner_v2(shape, options):
        return 0
    cells = options.sequences * shape.vocabulary
    return cells * 4 + cells // 8


def _received(shape: Shape, options: Options) -> int:
    """A later stage keeps a buffer for the hidden states and residuals of a whole batch.

    v1/worker/gpu_model_runner.py `make_empty_intermediate_tensors`, 0.8 to 0.33.
    """
    if options.is_first_stage:
        return 0
    return 2 * options.batched_tokens * shape.hidden * shape.dtype_bytes


def _cold(shape: Shape, options: Options, warm_bytes: int) -> tuple[int, int]:
    """Compilation benchmarks kernels on tensors as large as their arguments, the embedding too."""
    if not options.compiles or shape.encoder:
        return warm_bytes, 0
    if shape.multimodal and not options.language_model_only:
        # Models that see or hear look their tokens up before the compiled part runs, which then has
        # hidden states for its input (v1/worker/gpu_model_runner.py `supports_mm_inputs`). Two logs
        # of Gemma 4 that compile from nothing have neither table nor tuning (0.22 and 0.26).
        return warm_bytes, 0
    table_bytes = 0
    if options.is_first_stage or options.is_last_stage:
        table_bytes = vocabulary_rows(shape, options) * shape.hidden * shape.dtype_bytes
    if options.rules.cold_compile_peaks:
        return max(warm_bytes, table_bytes + _COLD_PEAK_BYTES), 0
    if options.rules.cold_compile_stays:
        return warm_bytes + _COLD_STAYS_BYTES, table_bytes
    return warm_bytes, 0
