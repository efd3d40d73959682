"""vLLM: the memory law of `vllm serve` and its command line; `engine` answers for it."""
