"""What llama.cpp is, whatever it runs."""

from __future__ import annotations

from compiler.engines.traits import Traits

TRAITS = Traits(
    title="llama.cpp",
    server="llama-server",
    newest="11390",
    version_key="build",
    image="ghcr.io/ggml-org/llama.cpp:server-cuda-b{version}",
    program="llama-server",
    usual_bin="/usr/local/bin/llama-server",
    image_program="/app/llama-server",
    image_folder="/app/",
    start_seconds=120,
    cuts="layers",
    cpu_beside_gpus=True,
    offloads=True,
    formats=("gguf",),
    keys=frozenset({"offload"}),
    # The variable of --api-key (common/arg.cpp); `/health` is answered without it.
    key_variable="LLAMA_API_KEY",
    key_file="api_key_file",
    stretching=("rope_", "yarn_"),
    # common/arg.cpp of b11312.
    reads=(
        *("api_key_file", "chat_template_file", "grammar_file", "json_schema_file"),
        *("media_path", "path"),
    ),
    writes=("log_file", "slot_save_path"),
    logs="log_file",
    # src/llama-context.cpp and src/llama-model.cpp
    tokens_line=r"llama_context: n_ctx +=+ ([0-9]+)",
    layers_line=r"offloaded ([0-9]+)/[0-9]+ layers to GPU",
    aliases=(
        *("llamacpp", "llama-cpp", "llama_cpp", "llama", "llama-server", "llama.cpp-server"),
        *("ollama", "gguf", "ggml"),
    ),
)
