"""Variables that vLLM, PyTorch and NCCL read in place of flags: managed, uncosted, or harmless.

vLLM's are of vllm/envs.py from 0.8.5 to 0.33; one that is not listed there is not known to change
what the law counts.
"""

from __future__ import annotations

from types import MappingProxyType

from compiler.engines.variables import managed_variable, uncosted_variable
from compiler.ir.demand import ArgumentProblem

_STAGES = "Write `pipeline_parallel_size`; the law cuts layers as vLLM does by default."
_SPLITS = "Leave it out: vLLM loads weights under allocator settings of its own from 0.21 on."
_BACKEND = "Write `vllm: {args: {attention_backend: ...}}`, which is costed."

_MANAGED = MappingProxyType(
    {
        "VLLM_CACHE_ROOT": "The plan gives each replica its folders.",
        "VLLM_CPU_KVCACHE_SPACE": "Say `kv_tokens` in the service.",
        "VLLM_PORT": "The inventory gives the address and the range of ports.",
        "VLLM_MODEL_REDIRECT_PATH": "Say `model` in the service.",
        "VLLM_TARGET_DEVICE": "The inventory says which devices there are.",
        "LOCAL_RANK": "The plan starts all ranks of a replica together.",
    }
)

_RUNNER = "another engine or runner has other buffers than the law counts"
_GRAPHS = "CUDA graphs are counted, captured or profiled in another way"
_ATTENTION = "another attention backend has other workspaces"
_MOE = "the experts' kernels have other workspaces"
_GEMM = "other matrix kernels have other workspaces and weight layouts"
_ALLREDUCE = "the buffers in which ranks exchange have another size"
_ALLOCATOR = "PyTorch's allocator rounds and keeps memory in another way"
_NCCL = "NCCL's buffers have another size"

_UNCOSTED = MappingProxyType(
    {
        "VLLM_USE_V1": _RUNNER,
        "VLLM_USE_V2_MODEL_RUNNER": _RUNNER,
        "VLLM_ENABLE_V1_MULTIPROCESSING": "the engine's process and its server's become one",
        "VLLM_ENABLE_STARTUP_PLAN": "memory is taken as an earlier start found it",
        "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS": _GRAPHS,
        "VLLM_USE_BREAKABLE_CUDAGRAPH": _GRAPHS,
        "VLLM_ATTENTION_BACKEND": _ATTENTION,
        "VLLM_FLASH_ATTN_VERSION": _ATTENTION,
        "VLLM_MLA_DISABLE": "the KV cache holds whole heads in place of latents",
        "VLLM_USE_TRTLLM_ATTENTION": _ATTENTION,
        "VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE": "it is the size of FlashInfer's workspace",
        "VLLM_SPARSE_INDEXER_MAX_LOGITS_MB": "it is the size of the sparse indexer's logits",
        "VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE": "layers share KV in another way",
        "VLLM_USE_FLASHINFER_SAMPLER": "the sampler has other buffers",
        "VLLM_PP_LAYER_PARTITION": "stages hold other numbers of layers",
        "VLLM_REPLICATE_EMBED": "each rank holds the whole embedding",
        "VLLM_FUSED_MOE_CHUNK_SIZE": "it is the size of the experts' intermediate buffers",
        "VLLM_ENABLE_FUSED_MOE_ACTIVATION_CHUNKING": _MOE,
        "VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE": _MOE,
        "VLLM_USE_DEEP_GEMM": _GEMM,
        "VLLM_MOE_USE_DEEP_GEMM": _MOE,
        "VLLM_ALL2ALL_BACKEND": _ALLREDUCE,
        "VLLM_DEEPEP_BUFFER_SIZE_MB": _ALLREDUCE,
        "VLLM_ALLREDUCE_USE_SYMM_MEM": _ALLREDUCE,
        "VLLM_ALLREDUCE_USE_FLASHINFER": _ALLREDUCE,
        "VLLM_USE_NCCL_SYMM_MEM": _ALLREDUCE,
        "VLLM_DISABLE_PYNCCL": _ALLREDUCE,
        "VLLM_DISABLE_SHARED_EXPERTS_STREAM": "buffers of two streams are alive at once",
        "VLLM_DISABLED_KERNELS": _GEMM,
        "VLLM_TEST_FORCE_FP8_MARLIN": _GEMM,
        "VLLM_MARLIN_INPUT_DTYPE": _GEMM,
        "VLLM_USE_TRITON_AWQ": _GEMM,
        "VLLM_BATCH_INVARIANT": _GEMM,
        "VLLM_MXFP4_EMULATION_DEQUANT_AT_LOAD": "weights are held dequantized",
        "VLLM_MXFP8_EMULATION_DEQUANT_AT_LOAD": "weights are held dequantized",
        "VLLM_WEIGHT_OFFLOADING_DISABLE_PIN_MEMORY": "offloaded weights are held in another way",
        "VLLM_WEIGHT_OFFLOADING_DISABLE_UVA": "offloaded weights are held in another way",
        "VLLM_DCP_Q_REPLICATE": "queries are replicated",
        "VLLM_DISABLE_FLASHINFER_PREFILL": _ATTENTION,
        "VLLM_USE_CUDNN_PREFILL": _ATTENTION,
        "VLLM_USE_TRTLLM_RAGGED_DEEPSEEK_PREFILL": _ATTENTION,
        "VLLM_FLASH_ATTN_MAX_NUM_SPLITS_FOR_CUDA_GRAPH": _ATTENTION,
        "VLLM_DISABLE_PAD_FOR_CUDAGRAPH": _GRAPHS,
        "VLLM_ENABLE_MOE_DP_CHUNK": _MOE,
        "VLLM_MOE_DP_CHUNK_SIZE": _MOE,
        "VLLM_FLASHINFER_MOE_BACKEND": _MOE,
        "VLLM_MXFP4_USE_MARLIN": _GEMM,
        "VLLM_NVFP4_GEMM_BACKEND": _GEMM,
        "VLLM_USE_NVFP4_CT_EMULATIONS": _GEMM,
        "VLLM_USE_FBGEMM": _GEMM,
        "VLLM_PLE_CPU_OFFLOAD": "embeddings of layers lie in RAM",
        "VLLM_PREFIX_CACHE_RETENTION_INTERVAL": "blocks are kept longer",
        "VLLM_MM_INPUT_CACHE_GIB": "it is the size of the cache of images in RAM",
        "VLLM_MEDIA_LOADING_THREAD_COUNT": "each thread holds an image or a video in RAM",
        "PYTORCH_ALLOC_CONF": _ALLOCATOR,
        "PYTORCH_CUDA_ALLOC_CONF": _ALLOCATOR,
        "PYTORCH_NO_CUDA_MEMORY_CACHING": _ALLOCATOR,
        "NCCL_BUFFSIZE": _NCCL,
        "NCCL_LL_BUFFSIZE": _NCCL,
        "NCCL_LL128_BUFFSIZE": _NCCL,
        "NCCL_P2P_NVL_CHUNKSIZE": _NCCL,
        "NCCL_P2P_PCI_CHUNKSIZE": _NCCL,
        "NCCL_P2P_NET_CHUNKSIZE": _NCCL,
        "NCCL_MIN_NCHANNELS": _NCCL,
        "NCCL_MAX_NCHANNELS": _NCCL,
        "NCCL_MIN_NRINGS": _NCCL,
        "NCCL_MAX_NRINGS": _NCCL,
        "NCCL_MIN_CTAS": _NCCL,
        "NCCL_MAX_CTAS": _NCCL,
        "NCCL_MIN_P2P_NCHANNELS": _NCCL,
        "NCCL_MAX_P2P_NCHANNELS": _NCCL,
        "NCCL_NCHANNELS_PER_NET_PEER": _NCCL,
        "NCCL_ALGO": _NCCL,
        "NCCL_PROTO": _NCCL,
        "NCCL_CUMEM_ENABLE": _NCCL,
        "NCCL_NVLS_ENABLE": _NCCL,
        "NCCL_CONF_FILE": "settings in a file would pass unseen",
    }
)
_RANKS = "VLLM_DP_"
_MOE_KERNELS = "VLLM_USE_FLASHINFER_MOE_"

_HINTS = MappingProxyType(
    {
        "VLLM_ATTENTION_BACKEND": _BACKEND,
        "VLLM_PP_LAYER_PARTITION": _STAGES,
        "PYTORCH_ALLOC_CONF": _SPLITS,
        "PYTORCH_CUDA_ALLOC_CONF": _SPLITS,
    }
)


def check_variable(name: str) -> ArgumentProblem | None:
    """What is wrong with a user's variable of this name, or None."""
    if name in _MANAGED:
        return managed_variable(name, _MANAGED[name])
    if name.startswith(_RANKS):
        return managed_variable(name, "Write `vllm: {args: {data_parallel_size: ...}}`.")
    reason = _UNCOSTED.get(name, _MOE if name.startswith(_MOE_KERNELS) else None)
    return uncosted_variable(name, reason, _HINTS.get(name, "")) if reason else None
