"""What a GGUF file says of a model: its header, its layers, its tensors' types."""
