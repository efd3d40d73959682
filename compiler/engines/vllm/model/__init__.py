"""What a config.json says of a model: its shape, its towers, its quantization."""
