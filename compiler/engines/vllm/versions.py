"""What changes from one vLLM version to the next, as data: one row a change, applied in order."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

Version = tuple[int, int, int]
LoggedTokens = Literal["blocks", "groups", "concurrency"]

OLDEST: Version = (0, 8, 5)
NEWEST: Version = (0, 33, 0)

_PATTERN = re.compile(
    r"v?(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?(?:\.?(?:post|rc|dev|a|b)\d*|\+[\w.]+)*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How one vLLM version behaves wherever versions differ in memory or command line."""

    utilization_permille: int = 900
    """Default of --gpu-memory-utilization."""
    charges_whole_device: bool = True
    """V1 before 0.9 charges all memory in use on the device to itself, CUDA context included."""
    graphs_in_budget: bool = False
    """Whether the estimate of the CUDA graph pool is taken off before the KV cache is sized."""
    full_graphs: bool = False
    """FULL graphs for pure decode beside the piecewise ones."""
    graph_step: int = 8
    """Distance of capture sizes from 256 upwards."""
    graphs_for_drafts: bool = False
    """Capture sizes reach to a decode batch with all its drafted tokens."""
    medusa: bool = True
    """Medusa heads may propose tokens."""
    drafts_with_models: bool = False
    """A model of its own may propose tokens; before, only heads on the target's states."""
    graph_pool_by_layer: bool = True
    """Before 0.10 the pool grew with layers x sizes; later graphs share one pool."""
    expert_graphs_by_layer: bool = True
    """The same for models with experts, until 0.11."""
    sampler_centi: int = 949
    """Peak of sampling in hundredths of one logits table (sequences x vocabulary x 4 bytes)."""
    sampler_small_centi: int = 700
    """The same below 128 sequences, where the sort needs less scratch."""
    moe_workspace_stays: bool = False
    """Buffers of fused experts are kept in a workspace instead of being freed."""
    gptq_zeros_are_whole: bool = False
    """Zero points of GPTQ experts are kept in 32 bits, packed; before, in the scales' type."""
    wide_expert_workspaces: bool = False
    """Each workspace of fused experts is at least as wide as the hidden state."""
    fuses_all_reduce: bool = False
    """All-reduce is fused with the norm on Hopper and Blackwell, in a workspace of FlashInfer."""
    fuses_all_reduce_of_ranks: bool = False
    """The same with data parallel ranks."""
    fuses_all_reduce_of_stages: bool = False
    """The same with pipeline stages."""
    keeps_delta_tuning: bool = False
    """What tuning the kernels of gated delta nets took is still held when the KV cache is sized."""
    more_hopper_kernels: bool = False
    """Twice the library memory on Hopper."""
    cold_compile_stays: bool = False
    """Memory of the first compilation is still held when the KV cache is sized."""
    cold_compile_peaks: bool = False
    """Memory of the first compilation is freed again, but counts as activation."""
    v2_dense: bool = False
    """Model runner V2 for Llama, Mistral and dense Qwen3."""
    v2_decoders: bool = False
    """Model runner V2 for every dense model that generates and has no recurrent layers."""
    v2_all: bool = False
    """Model runner V2 for all models."""
    v2_mixtures: frozenset[str] = frozenset()
    """Mixtures of experts that model runner V2 serves before it serves all models."""
    v2_charges_graphs: bool = False
    """Model runner V2 takes an estimate of its graphs off the budget; before, it said 0."""
    v2_drafts: frozenset[str] = frozenset()
    """Speculative methods that model runner V2 can do; with others V1 serves the model."""
    v2_ignores_offload: bool = False
    """Model runner V2 takes --cpu-offload-gb and does nothing with it."""
    null_block: bool = False
    """One block is set aside before a full-length request is checked for fit."""
    async_batches: bool = False
    """Sliding windows keep the tokens of every batch in flight, two with async scheduling."""
    closed_windows: bool = False
    """Windows of Cohere hold the token at their far end too."""
    hybrid_groups: bool = False
    """Layers of different attention share one pool in groups; before, all were sized as full."""
    hybrid_uneven: bool = False
    """Groups take the larger layer count when it is less than 1.5 times the smaller."""
    hybrid_prefixes: bool = False
    """Recurrent models with attention cache prefixes unless told otherwise."""
    mamba_every_block: bool = True
    """With prefix caching state space models keep a state for every block of tokens."""
    mamba_checkpoints: bool = False
    """With prefix caching Mamba-2 keeps one more state, from within a prefill."""
    nemotron_float_state: bool = False
    """Nemotron-H keeps its states in 32 bits unless config.json says otherwise."""
    mla_state_block: int = 64
    """Least step of the block size of latent attention beside recurrent layers."""
    pads_pages: bool = False
    """Pages that do not divide the largest are padded; before, such layers cannot share a pool."""
    packs_largest_group: bool = False
    """Where pages of several sizes share a block, it is as large as the largest group of layers."""
    stages_hold_all: bool = False
    """Each pipeline stage must have room for a full-length request of the whole model."""
    servers_by_rank: bool = False
    """One API server for each data parallel rank unless told otherwise."""
    logged_tokens: LoggedTokens = "blocks"
    """How the log line `GPU KV cache size` counts tokens."""
    plain_sparse_fp8: bool = False
    """Sparse latent attention keeps fp8 as it is on data centre Blackwell, without scales."""
    index_by_layer: bool = False
    """Layers of sparse attention that take over what an earlier one picked have no indexer."""
    mla_block: int = 16
    """Block size that FlashMLA asks for."""
    rope_of_trained: bool = False
    """Dynamic scaling of rotary positions has rows for the trained length only."""
    rope_of_tokens: bool = False
    """Qwen3-VL's cache of rotary positions has a row a token; before, four."""
    quantized_output: bool = False
    """The output may be quantized like any other matrix."""
    queries_alone: bool = False
    """Layers that read the KV of others have no projections of keys and values (Gemma 4)."""
    load_without_splits: bool = False
    """Weights load under max_split_size_mb=20: a tensor from 20 MiB keeps its whole segment."""
    mxfp4_swizzled: bool = False
    """triton_kernels swizzles MXFP4 on Hopper."""
    mxfp4_scales_stay: bool = False
    """The checkpoint's scales stay beside the swizzled ones."""
    kv_bytes_flag: bool = False
    """--kv-cache-memory-bytes exists."""
    runner_flag: bool = False
    """--runner and --convert exist; before, --task."""
    pooling_chunks: bool = False
    """Decoders that pool the last token prefill in chunks."""
    pooling_reranks_decoders: bool = False
    """Decoder rerankers (original Qwen3-Reranker) are converted by --hf-overrides."""
    many_sequences: bool = True
    """1024 sequences by default on GPUs of 70 GiB and more."""
    a100_is_small: bool = False
    """A100 takes the batch defaults of small GPUs."""
    gb10_is_small: bool = False
    """GB10 takes the batch defaults of small GPUs."""
    huge_gpus: bool = False
    """GPUs of 160 GiB and more have their own batch defaults."""
    snapshot_after_nccl: bool = False
    """NCCL is up before the first memory snapshot, so that it lies outside the budget."""


# What model runner V2 serves and can do (config/vllm.py `DEFAULT_V2_MODEL_RUNNER_ARCHITECTURES`,
# `_get_v2_model_runner_unsupported_features`, read in 0.25.1, 0.26, 0.28, 0.29 and 0.33).
_MIXTURES = frozenset({"DeepseekV2ForCausalLM", "GraniteMoeForCausalLM", "Qwen2MoeForCausalLM"})
_MORE_MIXTURES = frozenset(
    {"InklingForCausalLM", "InklingForConditionalGeneration", "LongcatFlashNgramForCausalLM"}
)
_DRAFTS = frozenset({"", "dflash", "dspark", "eagle", "eagle3", "mtp"})

# Each row: first version, what changes. From vLLM's source of the named versions:
# v1/worker/gpu_worker.py (budget), v1/worker/gpu_model_runner.py and v1/worker/gpu/ (graphs,
# runner V2), v1/core/kv_cache_utils.py (groups, log line, null block), engine/arg_utils.py
# (defaults, flags), v1/sample/ (sampler), model_executor/model_loader (splits).
_CHANGES: tuple[tuple[Version, dict[str, Any]], ...] = (
    (
        (0, 9, 0),
        {
            "charges_whole_device": False,
            "a100_is_small": True,
            "hybrid_groups": True,
            "logged_tokens": "groups",
            "mla_block": 64,
        },
    ),
    ((0, 9, 2), {"pooling_reranks_decoders": True}),
    ((0, 10, 0), {"graph_pool_by_layer": False, "pooling_chunks": True}),
    ((0, 10, 2), {"kv_bytes_flag": True, "runner_flag": True, "full_graphs": True}),
    (
        (0, 11, 0),
        {"graph_step": 16, "snapshot_after_nccl": True, "expert_graphs_by_layer": False},
    ),
    (
        (0, 12, 0),
        {"moe_workspace_stays": True, "nemotron_float_state": True, "graphs_for_drafts": True},
    ),
    ((0, 14, 0), {"stages_hold_all": True, "wide_expert_workspaces": True}),
    ((0, 15, 0), {"servers_by_rank": True, "drafts_with_models": True}),
    (
        (0, 17, 0),
        {
            "sampler_centi": 361,
            "sampler_small_centi": 361,
            "stages_hold_all": False,
            "fuses_all_reduce": True,
        },
    ),
    ((0, 18, 0), {"more_hopper_kernels": True, "keeps_delta_tuning": True}),
    ((0, 19, 0), {"hybrid_uneven": True, "mxfp4_swizzled": True, "mxfp4_scales_stay": True}),
    (
        (0, 20, 0),
        {
            "utilization_permille": 920,
            "graphs_in_budget": True,
            "keeps_delta_tuning": False,
            "cold_compile_peaks": True,
            "plain_sparse_fp8": True,
        },
    ),
    ((0, 20, 1), {"logged_tokens": "concurrency"}),
    (
        (0, 21, 0),
        {"load_without_splits": True, "rope_of_trained": True},
    ),
    ((0, 22, 0), {"fuses_all_reduce_of_ranks": True, "index_by_layer": True}),
    (
        (0, 23, 0),
        {
            "v2_dense": True,
            # Logs of 0.28 and 0.29 keep what compiling took; one of 0.22 gives it back.
            "cold_compile_peaks": False,
            "cold_compile_stays": True,
            "v2_ignores_offload": True,
            "v2_drafts": _DRAFTS,
            "quantized_output": True,
        },
    ),
    (
        (0, 25, 0),
        {
            "v2_decoders": True,
            "v2_mixtures": _MIXTURES,
            "fuses_all_reduce_of_stages": True,
            "mxfp4_scales_stay": False,
        },
    ),
    (
        (0, 26, 0),
        {
            "hybrid_prefixes": True,
            "async_batches": True,
            "v2_mixtures": _MIXTURES | _MORE_MIXTURES,
        },
    ),
    ((0, 27, 0), {"mla_state_block": 128}),
    (
        (0, 28, 0),
        {
            "gptq_zeros_are_whole": True,
            "v2_mixtures": _MIXTURES | _MORE_MIXTURES | {"DeepseekV4ForCausalLM"},
            "huge_gpus": True,
            "v2_ignores_offload": False,
            "mamba_every_block": False,
            "pads_pages": True,
        },
    ),
    (
        (0, 29, 0),
        {
            "gb10_is_small": True,
            "closed_windows": True,
            "v2_all": True,
            "v2_charges_graphs": True,
            "packs_largest_group": True,
        },
    ),
    (
        (0, 30, 0),
        {
            "queries_alone": True,
            "null_block": True,
            "cold_compile_stays": False,
            "cold_compile_peaks": True,
        },
    ),
    ((0, 32, 0), {"mamba_checkpoints": True, "rope_of_tokens": True}),
    ((0, 33, 0), {"medusa": False, "v2_drafts": _DRAFTS | {"ngram", "draft_model"}}),
)


def parse_version(text: str) -> Version | None:
    """The numbers of a version such as `0.33.0`, `v0.11` or `0.10.2.post1`; None for other text."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        return None
    major, minor, patch = match.groups()
    return int(major), int(minor), int(patch or 0)


def show_version(version: Version) -> str:
    """The version as vLLM writes it."""
    return ".".join(map(str, version))


@lru_cache(maxsize=64)
def rules_of(version: Version) -> Rules:
    """The rules of a version; those of the newest known one for anything newer."""
    rules = Rules()
    for first, change in _CHANGES:
        if first <= version:
            rules = replace(rules, **change)
    return rules
