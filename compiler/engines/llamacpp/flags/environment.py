"""Variables that llama-server and ggml read in place of flags: managed, uncosted, or harmless.

They are those that `getenv` asks for in src/, common/ and ggml/src/ from b4980 to 0.3.36, as far as
they are read on the CPU and by the CUDA backend. Two are options of the build alone, and whoever
sets them expects other memory: GGML_CUDA_FORCE_MMQ and GGML_CUDA_NO_VMM.
"""

from __future__ import annotations

from types import MappingProxyType

from compiler.engines.variables import managed_variable, uncosted_variable
from compiler.ir.demand import ArgumentProblem

# common/arg.cpp: each flag has such a variable, which counts where the flag is not given.
_FLAGS = "LLAMA_ARG_"

_MANAGED = frozenset({"GGML_CUDA_DEVICES", "MTMD_BACKEND_DEVICE"})

_CUBLAS = "cuBLAS dequantizes whole matrices into the pool"
_HOST = "host buffers are pinned or held in another way"
_GRAPH = "nodes of the graph, and with them its buffers, are laid out in another way"

_UNCOSTED = MappingProxyType(
    {
        "GGML_BACKEND_PATH": "code of your own allocates what it likes",
        "GGML_CUDA_ALLREDUCE": "the buffers in which GPUs exchange have another size",
        "GGML_CUDA_CUBLAS_COMPUTE_TYPE": _CUBLAS,
        "GGML_CUDA_FORCE_CUBLAS": _CUBLAS,
        "GGML_CUDA_FORCE_MMQ": "products of quantized matrices take other buffers",
        "GGML_CUDA_DISABLE_FUSION": _GRAPH,
        "GGML_CUDA_DISABLE_GRAPHS": "CUDA graphs take memory, or none",
        "GGML_CUDA_ENABLE_UNIFIED_MEMORY": "what a GPU lacks is taken from RAM, unseen",
        "GGML_CUDA_GRAPH_OPT": "several streams have buffers at once",
        "GGML_CUDA_NO_PINNED": _HOST,
        "GGML_CUDA_NO_VMM": "the pool of temporary buffers grows in another way",
        "GGML_CUDA_P2P": "GPUs reach each other's memory in another way",
        "GGML_CUDA_REGISTER_HOST": _HOST,
        "GGML_OP_OFFLOAD_MIN_BATCH": "weights in RAM are copied to the GPU at other batch sizes",
        "LLAMA_ATTN_ROT_DISABLE": "the KV cache and its inputs have another form",
        "LLAMA_GRAPH_REUSE_DISABLE": _GRAPH,
        "LLAMA_SET_ROWS": _GRAPH,
    }
)


def check_variable(name: str) -> ArgumentProblem | None:
    """What is wrong with a user's variable of this name, or None."""
    if name.startswith(_FLAGS):
        flag = name.removeprefix(_FLAGS).lower()
        return managed_variable(
            name, f"Say it in the service, or as `llama.cpp: {{args: ...}}` (`{flag}`)."
        )
    if name in _MANAGED:
        return managed_variable(name, "Say `placement` in the service.")
    if name in _UNCOSTED:
        return uncosted_variable(name, _UNCOSTED[name])
    return None
