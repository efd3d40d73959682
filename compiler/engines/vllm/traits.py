"""What vLLM is, whatever it runs."""

from __future__ import annotations

from compiler.engines.traits import Traits

TRAITS = Traits(
    title="vLLM",
    server="vLLM",
    newest="0.33.0",
    version_key="version",
    image="vllm/vllm-openai:v{version}",
    program="vllm",
    usual_bin="/opt/vllm/bin/vllm",
    image_program="vllm",
    image_folder="/vllm-workspace/",
    start_seconds=900,
    cuts="ranks",
    cpu_beside_gpus=False,
    offloads=False,
    formats=("safetensors", "config"),
    # Its KV cache grows into memory that is left.
    keys=frozenset({"typical", "min"}),
    # Read by the API server (vllm/envs.py); `/health` is answered without it.
    key_variable="VLLM_API_KEY",
    stages=("pipeline_parallel_size", "data_parallel_size"),
    stretching=("rope_", "hf_overrides"),
    # vllm/entrypoints/openai/cli_args.py and vllm/engine/arg_utils.py of 0.33.
    reads=(
        *("allowed_local_media_path", "chat_template", "generation_config", "lora_modules"),
        *("mm_encoder_fp8_scale_path", "reasoning_parser_plugin", "ssl_ca_certs", "tokenizer"),
        *("tool_parser_plugin",),
    ),
    paths_or_names=frozenset({"generation_config", "lora_modules", "tokenizer"}),
    writes=("download_dir", "mm_encoder_fp8_scale_save_path"),
    # vllm/v1/core/kv_cache_utils.py
    tokens_line=r"GPU KV cache size: ([0-9,]+) tokens",
    aliases=("vllm-openai", "v-llm", "vllm-v1"),
)
