"""Flags that modelc sets itself, flags that the law does not cover, and successors of old ones."""

from __future__ import annotations

_PLACEMENT = "Say `placement.gpus.tensor_parallel` in the service."
_SHARE = "modelc computes the share; say `kv_tokens` in the service to guarantee more KV."
_LISTEN = "Say `listen` in the service, its host or the defaults."
_PORT = "The inventory gives the range of ports, `ports`, and the plan one of them."
_NO_SOCKET = "Replicas are reached by an address and a port: say `listen` in the service."
_UNDER_SECRETS = "Name it under `secrets` in the service, so that its value never enters a file."

MANAGED: dict[str, str] = {
    "model": "Say `model` in the service.",
    "revision": "Write `org/repo@revision` as the model.",
    "code_revision": "Write `org/repo@revision` as the model.",
    "tokenizer_revision": "Write `org/repo@revision` as the model.",
    "served_model_name": "The service's name is the name that clients use.",
    "host": _LISTEN,
    "port": _PORT,
    "uds": _NO_SOCKET,
    "max_model_len": "Say `context` in the service.",
    "max_num_seqs": "Say `concurrency` in the service.",
    "tensor_parallel_size": _PLACEMENT,
    "gpu_memory_utilization": _SHARE,
    "device_memory_utilization": _SHARE,
    "kv_cache_memory_bytes": _SHARE,
    "num_gpu_blocks_override": _SHARE,
    "task": "Say `task` in the service.",
    "runner": "Say `task` in the service.",
    "convert": "Say `task` in the service.",
    "device": "The inventory says which devices there are.",
    "device_ids": "Say `placement.pin` in the service.",
    "api_key": _UNDER_SECRETS,
    "hf_token": _UNDER_SECRETS,
}

# Why a flag cannot be carried: each of these changes the memory of a GPU, of the host, or the
# number of processes, in a way that the law has no formula for.
REFUSED: dict[str, str] = {
    "data_parallel_size_local": "all data parallel ranks of a replica stand on one host",
    "data_parallel_rank": "modelc starts all data parallel ranks of a replica together",
    "data_parallel_start_rank": "modelc starts all data parallel ranks of a replica together",
    "data_parallel_backend": "Ray keeps an object store of its own",
    "data_parallel_hybrid_lb": "modelc starts all data parallel ranks of a replica together",
    "data_parallel_external_lb": "modelc starts all data parallel ranks of a replica together",
    "nnodes": "a replica stands on one host",
    "node_rank": "a replica stands on one host",
    "master_addr": "a replica stands on one host",
    "master_port": "a replica stands on one host",
    "headless": "a replica stands on one host and serves there",
    "decode_context_parallel_size": "the KV cache is cut another way",
    "prefill_context_parallel_size": "the KV cache is cut another way",
    "dcp_q_replicate": "queries are replicated",
    "enable_eplb": "redundant experts take memory",
    "eplb_config": "redundant experts take memory",
    "num_redundant_experts": "redundant experts take memory",
    "enable_elastic_ep": "experts move between ranks",
    "elastic_ep_max_dp_size": "experts move between ranks",
    "enable_dbo": "two batches are in flight at once",
    "ubatch_size": "two batches are in flight at once",
    "all2all_backend": "its communication buffers have no formula yet",
    "worker_cls": "code of your own allocates what it likes",
    "worker_extension_cls": "code of your own allocates what it likes",
    "scheduler_cls": "code of your own decides what is in flight",
    "model_class_overrides": "another model class has other weights",
    "hf_config_path": "the facts in modelc.lock come from the model's own config",
    "kv_transfer_config": "a connector keeps KV buffers of its own",
    "ec_transfer_config": "a connector keeps buffers of its own",
    "kv_sharing_fast_prefill": "layers share their KV",
    "kv_cache_dtype_skip_layers": "layers keep KV of different size",
    "disable_sliding_window": "the context is cut to the window",
    "mamba_block_size": "recurrent states are kept in other blocks",
    "mamba_cache_mode": "another number of recurrent states is kept",
    "mamba_cache_dtype": "convolution states have another size",
    "replayssm_buffer_len": "recurrent states are buffered",
    "use_replayssm": "recurrent states are buffered",
    "enable_mamba_shared_prefix_checkpoint": "another number of recurrent states is kept",
    "prefix_cache_retention_interval": "blocks are kept longer",
    "offload_backend": "weights are moved in another way than `cpu_offload_gb` does",
    "offload_group_size": "weights are moved in another way than `cpu_offload_gb` does",
    "offload_num_in_group": "weights are moved in another way than `cpu_offload_gb` does",
    "offload_prefetch_step": "weights are moved in another way than `cpu_offload_gb` does",
    "offload_params": "only some weights are moved",
    "cpu_offload_params": "only some weights are moved",
    "enable_cumem_allocator": "memory is rounded in another way",
    "sleep_mode_backend": "memory is rounded in another way",
    "media_io_kwargs": "video frames change the peak of the vision tower",
    "video_pruning_rate": "pruned frames change the peak of the vision tower",
    "mm_encoder_only": "only the vision tower is loaded",
    "mm_ipc_gpu_memory_gb": "images wait on the GPU",
    "mm_processor_device": "images may be prepared on the GPU",
    "enable_mm_embeds": "embeddings wait on the GPU",
    "enable_prompt_embeds": "embeddings wait on the GPU",
    "ec_manager_config": "encoder outputs are kept in another way",
    "fully_sharded_loras": "adapters are cut in another way",
    "enable_tower_connector_lora": "the vision tower gets adapters",
    "specialize_active_lora": "more CUDA graphs are captured",
    "enable_prompt_adapter": "prompt adapters take memory",
    "max_prompt_adapters": "prompt adapters take memory",
    "qlora_adapter_name_or_path": "the adapter is merged in four bits",
    "spec_method": "write it as `speculative_config`",
    "spec_model": "write it as `speculative_config`",
    "spec_tokens": "write it as `speculative_config`",
    "diffusion_config": "diffusion decoding has buffers of its own",
    "engram_config": "lookup tables take memory",
    "quantization_config": "it quantizes modules one by one",
    "weight_transfer_config": "a second copy of weights may be held",
    "aux_output_config": "outputs wait in buffers",
    "enable_return_routed_experts": "outputs wait in buffers",
    "enable_batch_sharded_sampling": "sampling is cut over the ranks",
    "enable_shm_tensor_arena": "shared memory is taken at start",
    "override_attention_dtype": "attention works in another precision",
    "num_scheduler_steps": "several steps are in flight",
    "num_lookahead_slots": "several steps are in flight",
    "config": "flags in a file would pass unseen; write them here",
}

# Ways out of what is refused, where there is one.
WAYS_OUT: dict[str, str] = {
    "kv_transfer_config": "For KV in RAM write `kv_offloading_size`, in GiB, which is costed.",
    "decode_context_parallel_size": (
        "Use `placement.gpus.tensor_parallel`, or `kv_cache_dtype: fp8` for more tokens."
    ),
    "prefill_context_parallel_size": "Use `placement.gpus.tensor_parallel`.",
    "enable_eplb": "Leave it out: experts are dealt out by `enable_expert_parallel`.",
    "all2all_backend": "Leave it out: the default of the version is costed.",
    "disable_sliding_window": "Say `context` in the service: it may be as long as the window.",
    "hf_config_path": "Write the change under `hf_overrides`.",
    "quantization_config": "Write `quantization: fp8`, or use a quantized checkpoint.",
    "video_pruning_rate": "Write `limit_mm_per_prompt: {video: 0}` if videos are not needed.",
    "media_io_kwargs": "Write `limit_mm_per_prompt: {video: 0}` if videos are not needed.",
}

# With these no health check would ever succeed: it asks over http.
UNHEALTHY: dict[str, str] = {
    "grpc": "Leave it out: the service is asked over http.",
    "ssl_keyfile": "Leave it out; let a proxy before the service end TLS.",
    "ssl_certfile": "Leave it out; let a proxy before the service end TLS.",
}

# docs of vLLM 0.9 to 0.33 name these replacements in their deprecation notes.
SUCCESSORS: dict[str, str] = {
    "swap_space": "Leave it out: V1 recomputes a preempted request and swaps nothing.",
    "use_v2_block_manager": "Leave it out: there is only one block manager.",
    "num_scheduler_steps": "Use `async_scheduling`.",
    "enable_reasoning": "Use `reasoning_parser` alone.",
    "rope_scaling": "Use `hf_overrides: {rope_scaling: {...}}`.",
    "rope_theta": "Use `hf_overrides: {rope_theta: ...}`.",
    "max_seq_len_to_capture": "Use `max_cudagraph_capture_size`.",
    "preemption_mode": "Leave it out: V1 always recomputes.",
    "guided_decoding_backend": "Use `structured_outputs_config: {backend: ...}`.",
    "guided_decoding_disable_fallback": (
        "Use `structured_outputs_config: {disable_fallback: ...}`."
    ),
    "guided_decoding_disable_any_whitespace": (
        "Use `structured_outputs_config: {disable_any_whitespace: ...}`."
    ),
    "guided_decoding_disable_additional_properties": (
        "Use `structured_outputs_config: {disable_additional_properties: ...}`."
    ),
    "override_pooler_config": "Use `pooler_config`.",
    "cuda_graph_sizes": "Use `cudagraph_capture_sizes`.",
    "lora_extra_vocab_size": "Leave it out: adapters no longer extend the vocabulary.",
    "disable_frontend_multiprocessing": "Leave it out: the API server always is a process.",
    "calculate_kv_scales": "Leave it out: scales come from the checkpoint.",
    "speculative_model": "Use `speculative_config: {model: ..., num_speculative_tokens: ...}`.",
    "num_speculative_tokens": "Use `speculative_config: {num_speculative_tokens: ...}`.",
    "worker_use_ray": "Leave it out: a replica stands on one host.",
    "engine_use_ray": "Leave it out: a replica stands on one host.",
    "disable_log_requests": (
        "Leave it out: requests are not logged unless `enable_log_requests` is set."
    ),
    "disable_mm_preprocessor_cache": "Use `mm_processor_cache_gb: 0`.",
    "enable_multimodal_encoder_data_parallel": "Use `mm_encoder_tp_mode: data`.",
    "tokenizer_pool_size": "Use `api_server_count`.",
    "scheduler_delay_factor": "Leave it out: V1 has no such delay.",
    "disable_async_output_proc": "Use `async_scheduling: false`.",
    "kv_cache_memory_bytes": "Say `kv_tokens` in the service.",
}
