"""What `vllm serve` takes: flags of each version, their values and variables."""
